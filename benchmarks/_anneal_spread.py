"""What the cells that are drawn, and their order, change in `benchmarks/anneal.py`, beside Leiden."""

from __future__ import annotations

import time
from itertools import combinations
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._anneal_runs import LABEL, PCA, agreements, leiden, simulated
from benchmarks._labelled_sets import SETS, add_principal_components, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData

    Clustered = Callable[[AnnData, int], np.ndarray]

DEFAULT = 10_000
"""Cells that `tl.anneal` finds clusters on by default."""
DRAWS, ORDERS = 10, 5
Row = dict[str, Any]


def sets() -> Iterator[tuple[str, AnnData]]:
    """Give cells of which some are drawn: simulated, the control cells of Kang, and the labelled sets."""
    from benchmarks._de_data import TYPE, control_cells

    yield "simulated", simulated(40_000)
    real = control_cells()
    add_principal_components(real)
    real.obs[LABEL] = real.obs[TYPE]
    yield "control cells (Kang 2018)", real
    for entry in SETS:
        adata = read(entry.name)
        add_principal_components(adata, depth=entry.depth)
        yield entry.name, adata


def spread_rows(name: str, adata: AnnData) -> Iterator[Row]:
    """Cluster draws of a set, and all of it in several orders."""
    n = min(2 * adata.n_obs // 3, DEFAULT)
    ways: dict[tuple[str, str], Clustered] = {
        ("draw", "one part"): lambda cells, seed: _annealed(cells, seed, max_cells=n, consensus=False),
        ("draw", "nine parts"): lambda cells, seed: _annealed(cells, seed, max_cells=2 * n // 3, consensus=True),
        ("draw", "Leiden(1.0)"): lambda cells, seed: _leiden_of_drawn(cells, seed, n),
    }
    if adata.n_obs <= 3 * DEFAULT // 2:  # the defaults draw none
        ways |= {
            ("order", "one part"): lambda cells, seed: _annealed(cells, seed, max_cells=cells.n_obs, consensus=False),
            ("order", "nine parts"): lambda cells, seed: _annealed(cells, seed, max_cells=DEFAULT, consensus=None),
            ("order", "Leiden(1.0)"): lambda cells, seed: leiden(cells, PCA, seed),
        }
    for (changed, way), run in ways.items():
        cells_used = adata.n_obs if changed == "order" else n
        found = []
        for seed in range(ORDERS if changed == "order" else DRAWS):
            order = (
                np.random.default_rng(seed).permutation(adata.n_obs) if changed == "order" else np.arange(adata.n_obs)
            )
            start = time.perf_counter()
            clusters = run(adata[order].copy(), seed)[np.argsort(order)]
            seconds = time.perf_counter() - start
            row = {"set": name, "cells": adata.n_obs, "changed": changed, "way": way, "used": cells_used, "seed": seed}
            seen = clusters != ""  # cells that Leiden was not given have none
            found.append((row | agreements(adata[seen], clusters[seen]) | {"seconds": seconds}, clusters))
        alike = mean(_alike(a, b) for (_, a), (_, b) in combinations(found, 2))
        yield from (row | {"agreement": alike} for row, _ in found)


def _annealed(adata: AnnData, seed: int, *, max_cells: int, consensus: bool | None) -> np.ndarray:
    import sctandem as td

    found = td.tl.anneal(adata, PCA, max_cells=max_cells, consensus=consensus, rng=seed, copy=True)
    return found.obs["anneal"].to_numpy(dtype=str)


def _leiden_of_drawn(adata: AnnData, seed: int, n: int) -> np.ndarray:
    drawn = np.sort(np.random.default_rng(seed).choice(adata.n_obs, n, replace=False))
    result = np.full(adata.n_obs, "", dtype=object)
    result[drawn] = leiden(adata[drawn].copy(), PCA, seed)
    return result.astype(str)


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    both = (one != "") & (other != "")
    return float(adjusted_rand_score(one[both], other[both]))


def spread_table(rows: list[Row]) -> dict[str, Any]:
    """Lay out what draws and orders change."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["changed"], row["way"]), []).append(row)
    lines = [
        {
            "set": name,
            "cells": f"{part[0]['cells']:,}",
            "changed": changed,
            "used": f"{part[0]['used']:,}",
            "found on": way,
            "clusters": f"{min(row['clusters'] for row in part)} to {max(row['clusters'] for row in part)}",
            "ARI": f"{mean(row['ari'] for row in part):.3f} ± {stdev(row['ari'] for row in part):.3f}",
            "lowest, highest": f"{min(row['ari'] for row in part):.3f}, {max(row['ari'] for row in part):.3f}",
            "ARI among themselves": part[0]["agreement"],
            "seconds": f"{median(row['seconds'] for row in part):.1f}",
        }
        for (name, changed, way), part in groups.items()
    ]
    caption = (
        f"50 simulated dimensions, 30 principal components. *Draw*: so many cells as *used* says are drawn ({DRAWS} seeds); *one part*: clusters are found on them, "
        "*nine parts*: on nine overlapping two thirds of them (`consensus=True`); all cells are assigned, and scored. Leiden is given the drawn cells only, and scored on them. "
        f"*Order*: all cells, in {ORDERS} random orders; nine parts are the default there. Annealing draws nothing then, so that the order is all that can change. "
        "*ARI among themselves*: mean over pairs of results. The control cells are among the sets that rules were chosen on."
    )
    return {"title": "What the draw of cells and their order change", "rows": lines, "caption": caption}
