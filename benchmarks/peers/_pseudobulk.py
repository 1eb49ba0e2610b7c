"""Peers of `tl.differential_expression` on sums of counts, one type at a time: samples x genes and a design, out come p-values and log2 fold changes.

All but PyDESeq2 and Wilcoxon are written here after the papers of limma (Smyth 2004), limma-trend and voom (Law et al. 2014) and edgeR's
quasi-likelihood (Lun, Chen & Smyth 2016), at the settings of limma's user guide: depths normalised by trimmed means, and a prior count of 3
for log-counts that are not weighted. The R packages themselves are not run.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats
from statsmodels.nonparametric.smoothers_lowess import lowess

from sctandem.kernels._moderation import natural_spline, variance_prior
from sctandem.kernels._nb_glm import dispersion_trend, fit_nb, size_factors

#: Counts added at the average depth before a fold change of the quasi-likelihood, as edgeR does.
PRIOR_COUNT = 0.125
#: Counts added at the average depth before the logarithm of limma and limma-trend (limma's user guide, 15.4).
LOG_PRIOR = 3.0


class Tested(NamedTuple):
    """What a peer says of the last column of the design: p-values and log2 fold changes, (genes,), and shrunken ones where it has them."""

    p: np.ndarray
    log2fc: np.ndarray
    shrunken: np.ndarray | None = None


def _moderated(variance: np.ndarray, df: int, level: np.ndarray | None) -> tuple[np.ndarray, float]:
    known = np.ones((len(variance), 1)) if level is None else natural_spline(level)
    prior_df, scale = variance_prior(variance, df, known)
    total = min(df + prior_df, df * len(variance))
    return (prior_df * scale + df * variance) / (prior_df + df), total


def moderated_t(counts: np.ndarray, design: np.ndarray, *, trend: bool = False) -> Tested:
    """Test the last column by limma's moderated t on log-counts per million; with `trend` as limma-trend."""
    depth = size_factors(counts)
    prior = LOG_PRIOR * depth / depth.mean()
    logs = np.log2((counts + prior[:, None]) / (depth + 2 * prior)[:, None] * 1e6)
    inverse = np.linalg.pinv(design)
    beta = inverse @ logs
    df = len(design) - design.shape[1]
    variance, free = _moderated(((logs - design @ beta) ** 2).sum(0) / df, df, logs.mean(0) if trend else None)
    t = beta[-1] / np.sqrt((inverse @ inverse.T)[-1, -1] * variance)
    return Tested(2 * stats.t.sf(np.abs(t), free), beta[-1])


def trended_t(counts: np.ndarray, design: np.ndarray) -> Tested:
    """Test the last column as limma-trend."""
    return moderated_t(counts, design, trend=True)


def voom(counts: np.ndarray, design: np.ndarray) -> Tested:
    """Test the last column as voom with limma."""
    depth, n = size_factors(counts), len(design)
    logs = np.log2((counts + 0.5) / (depth + 1)[:, None] * 1e6)
    beta = np.linalg.pinv(design) @ logs
    df = n - design.shape[1]
    root = np.sqrt(np.sqrt(((logs - design @ beta) ** 2).sum(0) / df))
    shift = np.log2(depth + 1) - np.log2(1e6)
    curve = lowess(root, logs.mean(0) + shift.mean(), frac=0.5)
    weight = 1 / np.interp(design @ beta + shift[:, None], curve[:, 0], curve[:, 1]) ** 4
    information = np.einsum("ng,np,nq->gpq", weight, design, design, optimize=True)
    inverse = np.linalg.inv(information)
    beta = np.einsum("gpq,gq->gp", inverse, (weight * logs).T @ design)
    variance, free = _moderated((weight * (logs - design @ beta.T) ** 2).sum(0) / df, df, None)
    t = beta[:, -1] / np.sqrt(inverse[:, -1, -1] * variance)
    return Tested(2 * stats.t.sf(np.abs(t), free), beta[:, -1])


def quasi_likelihood(counts: np.ndarray, design: np.ndarray) -> Tested:
    """Test the last column by edgeR's quasi-likelihood F-test with a trended dispersion and prior."""
    depth = size_factors(counts)
    dispersion = dispersion_trend(counts, design, depth)
    fit, small = (fit_nb(counts, x, depth, dispersion) for x in (design, design[:, :-1]))
    df = len(design) - design.shape[1]
    variance, free = _moderated(fit.deviance / df, df, np.log(counts.mean(0) + 0.1))
    p = stats.f.sf(np.maximum(small.deviance - fit.deviance, 0) / variance, 1, free)
    smoothed = fit_nb(counts + PRIOR_COUNT * (depth / depth.mean())[:, None], design, depth, dispersion)
    return Tested(p, smoothed.coefficients[:, -1] / np.log(2))


def pydeseq2(counts: np.ndarray, design: np.ndarray, *, shrink: bool = False) -> Tested:
    """Test the last column by PyDESeq2 at its defaults, without independent filtering; NaN (Cook's outliers) counts as 1."""
    table = pydeseq2_table(counts, design, shrink=shrink)
    changes = [table[name].fillna(0.0).to_numpy() for name in ("log2FoldChange", "shrunken") if name in table]
    return Tested(table["pvalue"].fillna(1.0).to_numpy(), *changes)


def pydeseq2_table(counts: np.ndarray, design: np.ndarray, *, shrink: bool = False):
    """Run PyDESeq2 and give its table, in the order of the genes; with `shrink` a column `shrunken` of its (apeglm's) fold changes."""
    import pandas as pd
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats

    names = [f"s{i}" for i in range(len(counts))]
    genes = [f"g{i}" for i in range(counts.shape[1])]
    columns = [f"x{i}" for i in range(1, design.shape[1])]
    table = pd.DataFrame(np.round(counts).astype(int), index=names, columns=genes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inference = DefaultInference(n_cpus=1)
        dds = DeseqDataSet(
            counts=table,
            metadata=pd.DataFrame(design[:, 1:], index=names, columns=columns),
            design="~ " + " + ".join(columns),
            quiet=True,
            inference=inference,
        )
        dds.deseq2()
        contrast = np.zeros(design.shape[1])
        contrast[-1] = 1
        found = DeseqStats(dds, contrast=contrast, independent_filter=False, quiet=True, inference=inference)
        found.summary()
        table = found.results_df.loc[genes].copy()
        if shrink:
            found.lfc_shrink(coeff=columns[-1])
            table["shrunken"] = found.results_df.loc[genes, "log2FoldChange"]
    return table


def rank_sums(cells: np.ndarray, mask: np.ndarray) -> Tested:
    """Test log-normalised cells by the normal approximation of Wilcoxon's rank sum; 1 for a gene that does not vary.

    The fold change is that of scanpy: between the exponentials of the mean logarithms.
    """
    depth = cells.sum(1, keepdims=True)
    logs = np.log1p(cells / depth * np.median(depth))
    with np.errstate(invalid="ignore"):
        found = stats.mannwhitneyu(logs[mask], logs[~mask], use_continuity=False, axis=0, method="asymptotic")
    means = [np.expm1(logs[rows].mean(0)) + 1e-9 for rows in (mask, ~mask)]
    return Tested(np.nan_to_num(found.pvalue, nan=1.0), np.log2(means[0] / means[1]))
