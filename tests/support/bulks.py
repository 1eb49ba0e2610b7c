"""Bulk samples with the slots of a deconvolution, made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

TYPES = ("B", "Mono", "NK", "T")


def bulk(
    seed: int = 0,
    *,
    n: int = 8,
    n_genes: int = 600,
    n_changed: int = 40,
    effect: float = 1.0,
    shift: float = 0.15,
    noise: float = 0.15,
    counts: bool = True,
    wrong: float = 0.0,
) -> AnnData:
    """Two groups of `n` samples of unlike composition; the first genes change by `effect` doublings in one type, in turn, up and down in turn.

    `wrong` is the standard deviation of errors of the signature, natural logarithm. The changes are in `varm["true"]`.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1], n)
    mean = np.array([0.2, 0.2, 0.2, 0.4]) + np.outer(group, [0, shift, 0, -shift])
    shares = np.array([rng.dirichlet(40 * row) for row in mean])
    level = np.exp(rng.normal(3, 1.2, n_genes))
    theta = level[:, None] * np.exp(rng.normal(0, 1.0, (n_genes, len(TYPES))))
    true = np.zeros((n_genes, len(TYPES)))
    changed = np.arange(n_changed)
    true[changed, changed % len(TYPES)] = np.where(changed // len(TYPES) % 2, -effect, effect)
    rate = np.einsum("st,gt,sgt->sg", shares, theta, 2.0 ** (group[:, None, None] * true))
    depth = np.exp(rng.normal(0, 0.3, 2 * n))
    values = rate * np.exp(rng.normal(0, noise, rate.shape)) * depth[:, None] if noise else rate * depth[:, None]
    if counts and noise:
        values = rng.poisson(5 * values).astype(float)
    names = [f"s{i}" for i in range(2 * n)]
    obs = pd.DataFrame({"group": np.where(group, "case", "control"), "lane": np.arange(2 * n) % 2}, index=names)
    obs["lane"] = obs["lane"].map({0: "one", 1: "two"})
    adata = AnnData(values, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]))
    given = theta * np.exp(rng.normal(0, wrong, theta.shape)) if wrong else theta
    adata.varm["true"] = pd.DataFrame(true, index=adata.var_names, columns=list(TYPES))
    adata.varm["rsd_signature"] = pd.DataFrame(given, index=adata.var_names, columns=list(TYPES))
    adata.obsm["rsd_rna"] = pd.DataFrame(shares, index=names, columns=list(TYPES))
    adata.obsm["rsd_fractions"] = adata.obsm["rsd_rna"].copy()
    adata.obs["rsd_unknown"] = 0.0
    adata.uns["rsd"] = {"params": {"kind": "counts" if counts else "tpm"}}
    return adata
