"""Scores of estimated compositions, intervals, unknown shares and cell-type expression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Least mean expression of a gene in a type, as a share of its RNA, for its expression to be compared.
EXPRESSED = 1e-4


def ccc(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Give Lin's concordance: 2 cov / (var + var + (difference of means)^2), all with denominator n.

    It is 1 only where the two are equal; NaN where neither varies and both are equal, which says nothing.
    """
    truth, estimate = np.ravel(truth).astype(float), np.ravel(estimate).astype(float)
    covariance = np.mean((truth - truth.mean()) * (estimate - estimate.mean()))
    below = truth.var() + estimate.var() + (truth.mean() - estimate.mean()) ** 2
    return float(2 * covariance / below) if below > 0 else float("nan")


def rmse(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Give the root of the mean squared difference over all pairs of type and sample."""
    return float(np.sqrt(np.mean((np.asarray(estimate) - np.asarray(truth)) ** 2)))


def composition(truth: pd.DataFrame, estimate: pd.DataFrame) -> dict[str, Any]:
    """Compare compositions that add up to 1 over the types of the reference.

    `ccc` is that of all pairs of type and sample, `ccc_types` the mean over types of that across samples, `bias` the mean difference of each type.
    """
    estimate = estimate.loc[truth.index, truth.columns]
    estimate = estimate.div(estimate.sum(axis=1), axis=0)
    values = [ccc(truth[kind], estimate[kind]) for kind in truth]
    return {
        "ccc": ccc(truth, estimate),
        "ccc_types": float(np.nanmean(values)),
        "rmse": rmse(truth, estimate),
        "bias": {kind: float(np.mean(estimate[kind] - truth[kind])) for kind in truth},
    }


def uniform(truth: pd.DataFrame) -> float:
    """Give the RMSE of a guess of even shares."""
    return rmse(truth, np.full(truth.shape, 1 / truth.shape[1]))


def with_contents(shares: pd.DataFrame, contents: Mapping[str, float]) -> pd.DataFrame:
    """Turn shares of RNA into shares of cells: divide by the RNA of a cell of each type."""
    found = shares / pd.Series(contents)[shares.columns]
    return found.div(found.sum(axis=1), axis=0)


def coverage(truth: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame) -> dict[str, Any]:
    """Give the part of pairs of type and sample whose truth lies in the interval, ends included, and the mean width."""
    low, high = low.loc[truth.index, truth.columns], high.loc[truth.index, truth.columns]
    inside = (truth >= low) & (truth <= high)
    return {
        "coverage": float(inside.to_numpy().mean()),
        "coverage_types": {kind: float(inside[kind].mean()) for kind in truth},
        "width": float((high - low).to_numpy().mean()),
    }


def missing(absolute: pd.DataFrame, other: pd.Series, estimate: pd.DataFrame, unknown: pd.Series) -> dict[str, Any]:
    """Compare shares of all cells, those of no type of the reference included.

    `unknown_error` is the mean absolute difference of the unknown share and the share of the others, `unknown_bias` the mean difference;
    `bias` that of each type, `worst_bias` the largest of these without sign, `mean_bias` their mean without sign. A method that knows no unknown share says 0.
    """
    estimate, unknown = estimate.loc[absolute.index, absolute.columns], unknown.loc[absolute.index]
    known = estimate.div(estimate.sum(axis=1), axis=0).mul(1 - unknown, axis=0)
    bias = (known - absolute).mean()
    return {
        "other": float(other.mean()),
        "unknown": float(unknown.mean()),
        "unknown_error": float((unknown - other).abs().mean()),
        "unknown_bias": float((unknown - other).mean()),
        "bias": {kind: float(value) for kind, value in bias.items()},
        "worst_bias": float(bias.abs().max()),
        "mean_bias": float(bias.abs().mean()),
    }


def expression(truth: Mapping[str, pd.DataFrame], estimate: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Correlate the expression of each type over samples by rank, a gene at a time; mean over the genes that the type expresses.

    A gene whose estimate is the same in all samples counts as 0.
    """
    found = {}
    for kind, true in truth.items():
        genes = true.columns[(true.mean() >= EXPRESSED).to_numpy()].intersection(estimate[kind].columns)
        one, two = true[genes].rank(), estimate[kind].loc[true.index, genes].round(12).rank()
        found[kind] = float(one.corrwith(two).fillna(0.0).mean()) if (two.std() > 0).any() else 0.0
    return {"spearman": float(np.mean(list(found.values()))), "spearman_types": found}
