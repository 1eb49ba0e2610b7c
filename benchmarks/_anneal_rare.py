"""A planted type of 50 of 100,000 cells, and what is found where there is none."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._anneal_runs import PCA

N_CELLS, N_RARE, N_DIMS, N_TYPES = 100_000, 50, 50, 12
MIN_CELLS = 20
"""The documented setting: `min_cells` of `tl.anneal`."""
DISTANCES = (0, 4, 5, 6, 8)
"""Standard deviations between the rare type and the type nearest to it; none is planted at 0."""


def planted(apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw types of one stretched covariance (1 to 3 standard deviations) and masses of 1 to 30 parts, and a rare one beside one of them."""
    rng = np.random.default_rng(seed)
    masses = np.geomspace(1, 30, N_TYPES)
    kind = rng.choice(N_TYPES, N_CELLS, p=masses / masses.sum())
    means = 1.2 * rng.normal(size=(N_TYPES, N_DIMS)).astype(np.float32)
    points = rng.standard_normal((N_CELLS, N_DIMS), dtype=np.float32)
    side = rng.normal(size=N_DIMS)
    points += means[kind]
    if apart:
        rows = rng.choice(N_CELLS, N_RARE, replace=False)
        kind[rows] = N_TYPES
        points[rows] = means[3] + apart * side / np.linalg.norm(side) + rng.normal(size=(N_RARE, N_DIMS))
    return points * np.geomspace(3, 1, N_DIMS).astype(np.float32), kind


def rare_row(apart: float, seed: int, min_cells: int | None) -> dict[str, Any]:
    """Cluster once; give how much of the planted type is in the cluster that holds most of it, and of that cluster in the type."""
    from anndata import AnnData

    import sctandem as td

    points, kind = planted(apart, seed)
    adata = AnnData(obsm={PCA: points})
    start = time.process_time()
    td.tl.anneal(adata, min_cells=min_cells, rng=seed)
    row: dict[str, Any] = {"apart": apart, "seed": seed, "min_cells": min_cells, "CPU s": time.process_time() - start}
    found = adata.obs["anneal"].cat.codes.to_numpy()
    row |= {"clusters": int(found.max()) + 1, "types": N_TYPES + bool(apart)}
    if apart:
        rare = kind == N_TYPES
        hit = found == np.bincount(found[rare]).argmax()
        both = (rare & hit).sum()
        row |= {"recall": float(both / rare.sum()), "precision": float(both / hit.sum())}
    return row


def rare_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row a distance and setting: the worst over seeds."""
    table = []
    for apart, setting in dict.fromkeys((row["apart"], row["min_cells"]) for row in rows):
        same = [row for row in rows if (row["apart"], row["min_cells"]) == (apart, setting)]
        table.append(
            {
                "distance": apart or "none planted",
                "min_cells": setting or "not given",
                "types": same[0]["types"],
                "clusters": ", ".join(str(row["clusters"]) for row in same),
                "least recall": min(row["recall"] for row in same) if apart else None,
                "least precision": min(row["precision"] for row in same) if apart else None,
                "CPU s": sum(row["CPU s"] for row in same) / len(same),
                "seeds": len(same),
            }
        )
    return table
