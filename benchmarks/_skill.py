"""Skill of a prediction in one row."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from sctandem.kernels import auroc, correlation, log_fold_changes, pearson, within_group_pearson


@dataclass(frozen=True)
class Skill:
    """Means over genes; a gene of constant prediction counts as zero correlation, one of constant truth is left out."""

    pearson: float
    within_group_pearson: float
    rmse: float
    auroc: float
    fold_change_pearson: float
    given_library_pearson: float

    def as_dict(self) -> dict[str, float]:
        """Give the figures by name."""
        return asdict(self)


def skill(
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    *,
    target: object,
    baseline: object,
    log_library: np.ndarray,
) -> Skill:
    """Score predicted log1p CP10k of cells x genes; `rmse` is over all values of the matrix.

    `given_library_pearson` is the partial correlation given the log library size, on which log1p CP10k depends as well.
    """
    varies = np.ptp(truth, axis=0) > 0
    measured, expected = (
        log_fold_changes(values, groups, target=target, baseline=baseline) for values in (truth, predicted)
    )
    return Skill(
        pearson=float(np.nan_to_num(pearson(truth, predicted)[varies]).mean()),
        within_group_pearson=float(np.nan_to_num(within_group_pearson(truth, predicted, groups)[varies]).mean()),
        rmse=float(np.sqrt(np.mean(np.square(truth - predicted, dtype=np.float64)))),
        auroc=float(np.nanmean(auroc(truth, predicted))),
        fold_change_pearson=correlation(measured, expected),
        given_library_pearson=float(
            np.nan_to_num(pearson(_without(truth, log_library), _without(predicted, log_library))[varies]).mean()
        ),
    )


def _without(values: np.ndarray, covariate: np.ndarray) -> np.ndarray:
    """Take what a straight line in the covariate explains from every column."""
    centred = covariate - covariate.mean()
    deviations = values - values.mean(axis=0, dtype=np.float64)
    return deviations - np.outer(centred, centred @ deviations / max(float(centred @ centred), 1e-12))
