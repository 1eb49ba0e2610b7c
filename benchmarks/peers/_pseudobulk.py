"""Peers of `tl.differential_expression` on sums of counts, one type at a time: samples x genes and a design, out come p-values.

The first three are written here after the papers of limma (Smyth 2004), limma-trend and voom (Law et al. 2014) and edgeR's quasi-likelihood
(Lun, Chen & Smyth 2016): the R packages themselves are not run.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import stats
from statsmodels.nonparametric.smoothers_lowess import lowess

from sctandem.kernels._moderation import natural_spline, variance_prior
from sctandem.kernels._nb_glm import dispersion_trend, fit_nb, size_factors


def _moderated(variance: np.ndarray, df: int, level: np.ndarray | None) -> tuple[np.ndarray, float]:
    known = np.ones((len(variance), 1)) if level is None else natural_spline(level)
    prior_df, scale = variance_prior(variance, df, known)
    total = min(df + prior_df, df * len(variance))
    return (prior_df * scale + df * variance) / (prior_df + df), total


def moderated_t(counts: np.ndarray, design: np.ndarray, *, trend: bool = False) -> np.ndarray:
    """Test the last column by limma's moderated t on log-counts per million; with `trend` as limma-trend."""
    total = counts.sum(1)
    prior = 0.5 * total / total.mean()
    logs = np.log2((counts + prior[:, None]) / (total + 2 * prior)[:, None] * 1e6)
    inverse = np.linalg.pinv(design)
    beta = inverse @ logs
    df = len(design) - design.shape[1]
    variance, free = _moderated(((logs - design @ beta) ** 2).sum(0) / df, df, logs.mean(0) if trend else None)
    t = beta[-1] / np.sqrt((inverse @ inverse.T)[-1, -1] * variance)
    return 2 * stats.t.sf(np.abs(t), free)


def trended_t(counts: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Test the last column as limma-trend."""
    return moderated_t(counts, design, trend=True)


def voom(counts: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Test the last column as voom with limma."""
    total, n = counts.sum(1), len(design)
    logs = np.log2((counts + 0.5) / (total + 1)[:, None] * 1e6)
    beta = np.linalg.pinv(design) @ logs
    df = n - design.shape[1]
    root = np.sqrt(np.sqrt(((logs - design @ beta) ** 2).sum(0) / df))
    shift = np.log2(total + 1) - np.log2(1e6)
    curve = lowess(root, logs.mean(0) + shift.mean(), frac=0.5)
    weight = 1 / np.interp(design @ beta + shift[:, None], curve[:, 0], curve[:, 1]) ** 4
    information = np.einsum("ng,np,nq->gpq", weight, design, design, optimize=True)
    inverse = np.linalg.inv(information)
    beta = np.einsum("gpq,gq->gp", inverse, (weight * logs).T @ design)
    variance, free = _moderated((weight * (logs - design @ beta.T) ** 2).sum(0) / df, df, None)
    t = beta[:, -1] / np.sqrt(inverse[:, -1, -1] * variance)
    return 2 * stats.t.sf(np.abs(t), free)


def quasi_likelihood(counts: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Test the last column by edgeR's quasi-likelihood F-test with a trended dispersion and prior."""
    depth = size_factors(counts)
    dispersion = dispersion_trend(counts, design, depth)
    fit, small = (fit_nb(counts, x, depth, dispersion) for x in (design, design[:, :-1]))
    df = len(design) - design.shape[1]
    variance, free = _moderated(fit.deviance / df, df, np.log(counts.mean(0) + 0.1))
    return stats.f.sf(np.maximum(small.deviance - fit.deviance, 0) / variance, 1, free)


def pydeseq2(counts: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Test the last column by PyDESeq2 at its defaults, without independent filtering; NaN (Cook's outliers) counts as 1."""
    return pydeseq2_table(counts, design)["pvalue"].fillna(1.0).to_numpy()


def pydeseq2_table(counts: np.ndarray, design: np.ndarray):
    """Run PyDESeq2 and give its table, in the order of the genes."""
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
    return found.results_df.loc[genes]


def rank_sums(cells: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Test log-normalised cells by the normal approximation of Wilcoxon's rank sum; 1 for a gene that does not vary."""
    depth = cells.sum(1, keepdims=True)
    logs = np.log1p(cells / depth * np.median(depth))
    with np.errstate(invalid="ignore"):
        found = stats.mannwhitneyu(logs[mask], logs[~mask], use_continuity=False, axis=0, method="asymptotic")
    return np.nan_to_num(found.pvalue, nan=1.0)
