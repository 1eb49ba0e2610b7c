"""What the samples at hand tell of contrasts of a design, and designs one column of which is the contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem._checks import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sctandem.kernels._designs import Design

#: Singular values, and what is left of a column beside others, below this part of the largest count as none.
_RANK = 1e-8
#: Weights, leverages and what is not told of a contrast count above this.
_SEEN = 1e-6


@dataclass(frozen=True, slots=True)
class Contrast:
    """What is tested.

    Attributes
    ----------
    name
        Such as ``"stim vs ctrl"``.
    weights
        Of the columns of the design, (columns,).
    levels
        The two levels of the condition that are compared; empty for any other combination of columns.
    """

    name: str
    weights: np.ndarray
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A design of the samples at hand, and what can be tested with it.

    Attributes
    ----------
    matrix
        Samples x columns, none of which follows from others.
    weights
        Of these columns, by name of the contrast; of those that can be told.
    faults
        Why the others cannot, by name.
    """

    matrix: np.ndarray
    weights: dict[str, np.ndarray]
    faults: dict[str, str]

    def turned(self, name: str) -> tuple[np.ndarray, int]:
        """Return a matrix with the same span, and the column of it whose coefficient is the contrast."""
        weights = self.weights[name]
        pivot = int(np.abs(weights).argmax())
        if weights[pivot] == 1 and np.count_nonzero(weights) == 1:
            return self.matrix, pivot
        result = self.matrix - np.outer(self.matrix[:, pivot], weights / weights[pivot])
        result[:, pivot] = self.matrix[:, pivot] / weights[pivot]
        return result, pivot

    def samples_behind(self, name: str) -> np.ndarray:
        """Return which samples the estimate of a contrast depends on, with equal variances, (samples,)."""
        share = self.weights[name] @ np.linalg.pinv(self.matrix)
        return np.abs(share) > _SEEN * np.abs(share).max()


def lay_out(design: Design, used: np.ndarray, contrasts: Sequence[Contrast]) -> Layout:
    """Take the design of some samples, and see which contrasts they tell.

    Parameters
    ----------
    design
        Of all samples.
    used
        Which of them are at hand, (samples,) bool.
    contrasts
        What is to be tested.

    Returns
    -------
    The layout. Of columns that follow from one another as many are left out as needed: the span, and with it every contrast that can be
    told, stays the same.

    Raises
    ------
    ValueError
        When nothing is left to estimate the variance between samples from.
    """
    rows = design.matrix[used]
    faults, told = {}, []
    for one in contrasts:
        fault = _confounding(rows, one, design)
        if fault:
            faults[one.name] = fault
        else:
            told.append(one)
    first = np.flatnonzero(np.any([one.weights != 0 for one in told], axis=0)) if told else np.zeros(0, dtype=int)
    kept = independent_columns(rows, first)
    if told and len(rows) <= len(kept):
        msg = (
            f"design={design.formula!r} has {len(kept)} columns for {len(rows)} samples: nothing is left to estimate the variance "
            "between samples from. Leave covariates out."
        )
        raise ValueError(msg)
    layout = Layout(rows[:, kept], {one.name: one.weights[kept] for one in told}, faults)
    for one in told:
        if not one.levels and _rests_on_one(layout, one.name):
            del layout.weights[one.name]
            faults[one.name] = (
                f"contrast {one.name!r} rests on a single sample, which says nothing of how samples vary."
            )
    return layout


def independent_columns(matrix: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Choose columns with the same span, none of which follows from others.

    Parameters
    ----------
    matrix
        Samples x columns.
    first
        Columns that are kept before others.

    Returns
    -------
    Their positions, in order.
    """
    basis = np.zeros((len(matrix), 0))
    kept = []
    for column in dict.fromkeys([*first, *range(matrix.shape[1])]):
        rest = matrix[:, column] / max(float(np.linalg.norm(matrix[:, column])), 1e-300)
        for _ in range(2):
            rest = rest - basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if size > _SEEN:
            basis = np.column_stack([basis, rest / size])
            kept.append(column)
    return np.sort(np.array(kept, dtype=np.int64))


def _confounding(rows: np.ndarray, contrast: Contrast, design: Design) -> str:
    """Say with what a contrast is confounded; empty where it can be told."""
    size = np.abs(rows).max(0, initial=0)
    size = np.where(size > 0, size, 1)
    _, values, right = np.linalg.svd(rows / size, full_matrices=False)
    right = right[values > _RANK * values.max(initial=0)]
    wanted = contrast.weights / size
    untold = wanted - right.T @ (right @ wanted)
    if np.abs(untold).max() <= _SEEN * np.abs(wanted).max():
        return ""
    clear = np.abs(untold) > _SEEN * np.abs(wanted).max()
    others = [
        name
        for name, weight, seen in zip(design.columns, contrast.weights, clear, strict=True)
        if seen and weight == 0 and name != "Intercept"
    ]
    if not others:
        return f"the samples say nothing of contrast {contrast.name!r} by themselves with design={design.formula!r}."
    what = repr(design.groupby) if contrast.levels else f"contrast {contrast.name!r}"
    return (
        f"design={design.formula!r} confounds {what} with [{listed(others, 4)}]: given these columns every sample's {design.groupby!r} is "
        f"known, so that no effect of it can be told from theirs. Leave them out of the design, or use samples in which they vary "
        f"within the levels of {design.groupby!r}."
    )


def _rests_on_one(layout: Layout, name: str) -> bool:
    """Whether the estimate of a contrast depends on a sample that the design fits whatever its value."""
    leverage = np.einsum("sc,cs->s", layout.matrix, np.linalg.pinv(layout.matrix))
    return bool((layout.samples_behind(name) & (leverage > 1 - _SEEN)).any())
