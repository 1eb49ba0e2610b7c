"""Means of genes under weighted draws, with and without the correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from benchmarks._labelled_sets import BY_NAME, LABEL, add_principal_components, read
from benchmarks._longtail_data import SETS, files

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Expectations under weighted draws"
CAPTION = """\
Mean counts of the genes that have at least 0.1 a cell, over 1,000 epochs of minibatches drawn in proportion to the weights of `pp.hierarchical_weights` (kinds are the labels), against those of all
cells. *Corrected*: with the weights that the minibatches carry (`weight_use="unbiased"`). Error: of the mean, relative, what 1,000 epochs leave to chance included; the median and the largest over genes."""
SEEDS = (0,)
N_EPOCHS, LEAST = 1000, 0.1


def data() -> list[Path]:
    return files()


def measure(seed: int) -> list[dict[str, Any]]:
    import sctandem as td
    from sctandem.data import CountLoader
    from sctandem.model.base import CountVAEModel
    from sctandem.nn._weighted_mean import WEIGHT_KEY

    rows = []
    for name in SETS:
        adata = read(name)
        adata.X = adata.X.astype(np.float32)
        add_principal_components(adata, depth=BY_NAME[name].depth)
        td.pp.hierarchical_weights(adata, labels=LABEL, rng=seed)
        CountVAEModel.setup_anndata(adata)
        loader = CountLoader(CountVAEModel(adata).adata_manager, batch_size=512, shuffle=True, rng=seed)
        loader.weigh(adata.obs["hcm_weight"], "unbiased")
        sums = np.zeros((2, adata.n_vars))
        total = np.zeros(2)
        for _ in range(N_EPOCHS):
            for batch in loader:
                weight = batch[WEIGHT_KEY].double().numpy().ravel()
                both = np.stack([np.ones(len(weight)), weight])
                parts = (batch["X"].values(), batch["X"].col_indices(), batch["X"].crow_indices())
                sums += both @ sparse.csr_matrix(tuple(part.numpy() for part in parts), shape=batch["X"].shape)
                total += both.sum(1)
        truth = np.asarray(adata.X.mean(0)).ravel()
        often = truth >= LEAST
        for way, one, n in zip(("as drawn", "corrected"), sums, total, strict=True):
            error = np.abs(one[often] / n / truth[often] - 1)
            rows.append(
                {
                    "seed": seed,
                    "set": name,
                    "name": way,
                    "genes": int(often.sum()),
                    "median": float(np.median(error)),
                    "largest": float(error.max()),
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "set": row["set"],
            "genes": f"{row['genes']:,}",
            "mean": row["name"],
            "median error %": f"{100 * row['median']:.2f}",
            "largest error %": f"{100 * row['largest']:.2f}",
        }
        for row in rows
    ]


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    target = "corrected means of genes within 1 % of those of all cells"
    if not rows:
        return [{"target": target, "measured": "", "met": "not measured"}]
    worst = max(row["largest"] for row in rows if row["name"] == "corrected")
    drawn = max(row["largest"] for row in rows if row["name"] == "as drawn")
    return [
        {
            "target": target,
            "measured": f"largest error {100 * worst:.2f} %, uncorrected {100 * drawn:.0f} %",
            "met": "yes" if worst <= 0.01 else "no",
        }
    ]
