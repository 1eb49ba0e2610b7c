"""Clusters that splits into training, validation and test miss."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._labelled_sets import BY_NAME, LABEL, add_principal_components, read
from benchmarks._longtail_data import SETS, files

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

TITLE = "Clusters that a split misses"
CAPTION = """\
Splits of 80, 10 and 10 % of the cells. Clusters are those of `pp.hierarchical_weights` with the labels and three times as many clusters as labels, at least three cells each, and on the
simulated set (20,000 cells, 30 types that fall to 3 cells) the types. *Missed*: pairs of a cluster of at least three cells and a part that has none of it. scikit-learn's stratified split
(`train_test_split`, twice) leaves to chance what is rounded, and refuses clusters of one cell or two; these are given to a class of their own. Divergence: the symmetric Kullback-Leibler divergence of the
compositions of training and test, nats."""
SEEDS = (0, 1, 2, 3, 4)
SIZES = (0.8, 0.1, 0.1)
OWN, RANDOM, STRATIFIED = "long_tail_split", "random", "stratified"


def data() -> list[Path]:
    return files()


def simulated(seed: int) -> AnnData:
    """Draw normal types whose sizes fall exponentially to 3."""
    from anndata import AnnData

    rng = np.random.default_rng(seed)
    falling = np.maximum(3, np.round(5700 * 0.72 ** np.arange(30))).astype(int)
    types = np.repeat(np.arange(30), falling)
    points = 3 * rng.normal(size=(30, 20))[types] + rng.normal(size=(len(types), 20))
    adata = AnnData(obsm={"X_pca": points.astype(np.float32)})
    adata.obs["cluster"] = [f"type {i}" for i in types]
    return adata


def _prepared(name: str, seed: int) -> AnnData:
    import sctandem as td

    if name == "simulated":
        return simulated(seed)
    adata = read(name)
    add_principal_components(adata, depth=BY_NAME[name].depth, seed=seed)
    n = adata.obs[LABEL].nunique()
    td.pp.hierarchical_weights(adata, labels=LABEL, n_clusters=(n, 3 * n), min_cells=3, rng=seed)
    adata.obs["cluster"] = adata.obs["hcm_cluster"]
    return adata


def _stratified(codes: np.ndarray, seed: int) -> np.ndarray:
    """Divide by scikit-learn's stratified split."""
    from sklearn.model_selection import train_test_split

    size = np.bincount(codes)
    strata = np.where(size[codes] >= 3, codes, -1)
    parts = np.zeros(len(codes), dtype=int)
    rest = np.arange(len(codes))
    for part, share in ((1, 0.1), (2, 0.1 / 0.9)):
        counts = {value: int((strata[rest] == value).sum()) for value in np.unique(strata[rest])}
        classes = np.array([value if counts[value] > 1 else -1 for value in strata[rest]])
        if (classes == -1).sum() == 1:
            classes[classes == -1] = np.argmax(np.bincount(classes[classes >= 0]))
        rest, chosen = train_test_split(rest, test_size=share, stratify=classes, random_state=seed)
        parts[chosen] = part
    return parts


def measure(seed: int) -> list[dict[str, Any]]:
    import sctandem as td
    from sctandem.kernels._tail_split import composition_divergence

    rows = []
    for name in (*SETS, "simulated"):
        adata = _prepared(name, seed)
        codes = adata.obs["cluster"].astype("category").cat.codes.to_numpy().astype(int)
        rng = np.random.default_rng(seed)
        start = time.process_time()
        td.pp.long_tail_split(adata, "cluster", sizes=SIZES, rng=seed)
        seconds = time.process_time() - start
        own = adata.obs["split"].cat.codes.to_numpy().astype(int)
        for method, parts in (
            (OWN, own),
            (STRATIFIED, _stratified(codes, seed)),
            (RANDOM, rng.permutation(own)),
        ):
            counts = np.bincount(parts * (codes.max() + 1) + codes, minlength=3 * (codes.max() + 1)).reshape(3, -1)
            enough = counts.sum(0) >= 3
            rows.append(
                {
                    "seed": seed,
                    "set": name,
                    "name": method,
                    "cells": len(codes),
                    "clusters": int(enough.sum()),
                    "missed": int((counts[:, enough] == 0).sum()),
                    "clusters_missed": int((counts[:, enough] == 0).any(0).sum()),
                    "divergence": float(composition_divergence(counts)[0, 2]),
                    "largest_size_error": float(np.abs(counts.sum(1) / len(codes) - SIZES).max()),
                    "seconds": seconds if method == OWN else None,
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    out = []
    for name in (*SETS, "simulated"):
        for method in (OWN, STRATIFIED, RANDOM):
            own = [row for row in rows if row["set"] == name and row["name"] == method]
            if own:
                missed = [row["missed"] for row in own]
                out.append(
                    {
                        "set": name,
                        "cells": f"{own[0]['cells']:,}",
                        "clusters": f"{np.mean([row['clusters'] for row in own]):.0f}",
                        "split": method,
                        "missed": f"{np.mean(missed):.1f} ({min(missed)} to {max(missed)})",
                        "clusters missed": f"{np.mean([row['clusters_missed'] for row in own]):.1f}",
                        "divergence": f"{np.mean([row['divergence'] for row in own]):.3f}",
                    }
                )
    return out


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    target = "every cluster of at least 3 cells in each part; a random split misses some"
    if not rows:
        return [{"target": target, "measured": "", "met": "not measured"}]
    missed = {m: [row["missed"] for row in rows if row["name"] == m] for m in (OWN, RANDOM)}
    return [
        {
            "target": target,
            "measured": f"{max(missed[OWN])} missed in {len(missed[OWN])} splits; random: {np.mean(missed[RANDOM]):.1f} a split",
            "met": "yes" if max(missed[OWN]) == 0 and max(missed[RANDOM]) > 0 else "no",
        }
    ]
