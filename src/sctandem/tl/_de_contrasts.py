"""What is compared: the design of the samples and the contrasts, from the arguments of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import check_number, check_type, listed
from sctandem.kernels._contrasts import Contrast, lay_out
from sctandem.kernels._designs import Design, make_design
from sctandem.tl._de_samples import MIN_CELLS, MIN_SAMPLES

if TYPE_CHECKING:
    from sctandem._keys import DEKeys
    from sctandem.tl._de_samples import Samples

#: Pairs of levels, or weights of the columns of the design by name of the contrast.
Contrasts = Sequence[tuple[str, str]] | Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared.

    Attributes
    ----------
    samples
        The samples.
    design
        Of all samples.
    contrasts
        What is tested; with all samples each can be.
    """

    samples: Samples
    design: Design
    contrasts: list[Contrast]

    def as_table(self, keys: DEKeys) -> pd.DataFrame:
        """Return the weights of the columns of the design, a row a contrast and column that has one."""
        rows = [
            {keys.contrast: one.name, keys.column: name, keys.weight: float(weight)}
            for one in self.contrasts
            for name, weight in zip(self.design.columns, one.weights, strict=True)
            if weight != 0
        ]
        return pd.DataFrame(rows)


def plan_contrasts(samples: Samples, contrasts: Contrasts | None, *, chosen: bool) -> Plan:
    """Lay out the design and the contrasts.

    Parameters
    ----------
    samples
        The samples.
    contrasts
        As in `tl.differential_expression`.
    chosen
        Whether the user has named a reference.

    Returns
    -------
    The plan.

    Raises
    ------
    TypeError, ValueError
        When they are not what they should be, there are too few samples, or one cannot be told from the rest of the design.
    """
    weights = _check_weights(contrasts) if isinstance(contrasts, Mapping) else None
    pairs = [] if weights is not None else _pairs(samples, contrasts, chosen=chosen)
    _check_enough(samples, pairs)
    design = make_design(samples.table, samples.formula, samples.groupby, samples.reference)
    if weights is None:
        found = [Contrast(f"{one} vs {two}", design.difference(one, two), (one, two)) for one, two in pairs]
    else:
        found = [weighted(design, name, columns) for name, columns in weights.items()]
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        msg = f"contrasts={contrasts!r} names {listed(pd.Index(names)[pd.Index(names).duplicated()])} twice."
        raise ValueError(msg)
    faults = lay_out(design, np.ones(len(samples.table), dtype=bool), found).faults
    if faults:
        raise ValueError(next(iter(faults.values())))
    return Plan(samples, design, found)


def weighted(design: Design, name: str, columns: Mapping[str, float]) -> Contrast:
    """Make a contrast from weights of columns of a design.

    Parameters
    ----------
    design
        The design.
    name
        Of the contrast.
    columns
        Weights, by column.

    Returns
    -------
    The contrast.

    Raises
    ------
    ValueError
        When a column is not there, or the contrast is no difference.
    """
    absent = [column for column in columns if column not in design.columns]
    if absent:
        msg = f"contrasts[{name!r}] names {listed(absent)}, but design={design.formula!r} has the columns {design.columns}."
        raise ValueError(msg)
    weights = np.zeros(len(design.columns))
    for column, weight in columns.items():
        weights[design.columns.index(column)] = weight
    constant = np.linalg.lstsq(design.matrix, np.ones(len(design.matrix)), rcond=None)[0]
    if not np.any(weights) or abs(weights @ constant) > 1e-6 * np.abs(weights).max():
        msg = (
            f"contrasts[{name!r}]={dict(columns)} is no difference between samples: it would change with the depth of all of them. "
            "Leave the intercept out, and let weights of levels that are complete add up to 0."
        )
        raise ValueError(msg)
    return Contrast(name, weights)


def _check_weights(contrasts: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Check that contrasts are weights of columns by name."""
    if not contrasts:
        msg = "contrasts={} names nothing to test; None compares every condition with the reference."
        raise ValueError(msg)
    for name, columns in contrasts.items():
        check_type(name, str, "the name of a contrast")
        hint = "It leads from columns of the design to their weights, such as {'condition[T.stim]': 1}."
        check_type(columns, Mapping, f"contrasts[{name!r}]", hint=hint)
        for column, weight in columns.items():
            check_number(weight, f"contrasts[{name!r}][{column!r}]", low=-1e6, high=1e6)
    return dict(contrasts)


def _pairs(samples: Samples, contrasts: Contrasts | None, *, chosen: bool) -> list[tuple[str, str]]:
    """Return the pairs of conditions that are compared."""
    levels = samples.levels
    if contrasts is None:
        return [(level, samples.reference) for level in levels if level != samples.reference]
    if chosen:
        msg = (
            f"reference={samples.reference!r} and contrasts={contrasts!r} both say what is compared: give one of them."
        )
        raise ValueError(msg)
    kind = "pairs of conditions, such as [('stim', 'ctrl')], or {'name': {column of the design: weight}}"
    if isinstance(contrasts, str) or not isinstance(contrasts, Sequence):
        msg = f"contrasts must be {kind}, got {type(contrasts).__name__}: {contrasts!r:.80}"
        raise TypeError(msg)
    pairs = []
    for one in contrasts:
        pair = () if isinstance(one, str) or not isinstance(one, Sequence) else tuple(str(level) for level in one)
        if len(pair) != 2 or pair[0] == pair[1]:
            msg = f"contrasts={contrasts!r} has {one!r}: it must be {kind}."
            raise ValueError(msg)
        absent = [level for level in pair if level not in levels]
        if absent:
            msg = f"contrasts={contrasts!r} names {listed(absent)}, but adata.obs[{samples.groupby!r}] has {listed(levels)}."
            raise ValueError(msg)
        pairs.append((pair[0], pair[1]))
    if not pairs:
        msg = f"contrasts={contrasts!r} names nothing to test; None compares every condition with the reference."
        raise ValueError(msg)
    return pairs


def _check_enough(samples: Samples, pairs: list[tuple[str, str]]) -> None:
    """Check that every condition that is compared has samples enough."""
    if not len(samples.table):
        msg = (
            f"no value of adata.obs[{samples.sample_key!r}] has {MIN_CELLS} cells in a condition of adata.obs[{samples.groupby!r}]: "
            "sample_key names the donor, animal or well that cells are of, not the cell."
        )
        raise ValueError(msg)
    number = samples.table[samples.groupby].value_counts()
    # the reference first: what others are compared with
    levels = sorted(samples.levels, key=lambda level: level != samples.reference)
    replicated = [level for level in levels if number[level] >= MIN_SAMPLES]
    for level in dict.fromkeys(level for pair in pairs for level in pair):
        if number[level] < MIN_SAMPLES:
            others = (
                f"To compare only conditions that have them name these: contrasts=[({replicated[1]!r}, {replicated[0]!r})]. "
                if len(replicated) > 1
                else ""
            )
            msg = (
                f"adata.obs[{samples.groupby!r}] has {number[level]} sample{'s' if number[level] != 1 else ''} of at least "
                f"{MIN_CELLS} cells in {level!r} (by adata.obs[{samples.sample_key!r}]), at least {MIN_SAMPLES} are needed in each "
                f"condition: one sample says nothing of how samples vary. {others}To compare the cells of single samples all the same, "
                "with nothing claimed about the conditions, ask for it by name: `td.model.DeepDE.compare_cells`."
            )
            raise ValueError(msg)
    if len(samples.table) <= MIN_SAMPLES:
        msg = f"there are {len(samples.table)} samples of at least {MIN_CELLS} cells: nothing can be said of how samples vary."
        raise ValueError(msg)
