"""Test all states: regressions first, then variances that states lend to one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem.kernels._designs import Design, make_design
from sctandem.kernels._sample_de import SampleDE, StateFit, assess_column, fit_state
from sctandem.tl._de_samples import MIN_SAMPLES

if TYPE_CHECKING:
    from sctandem.kernels._cell_sums import CellSums
    from sctandem.tl._de_samples import Samples

#: Fewest cells of a sample in a state.
MIN_CELLS = 5
#: Fewest counts of a gene in all samples of a state, and samples in which it is seen.
MIN_COUNTS, MIN_SEEN = 10, 3
#: Fewest genes of a state.
MIN_GENES = 10
TESTED = "tested"


@dataclass(frozen=True, slots=True)
class StateResult:
    """What is known of a state.

    Attributes
    ----------
    name
        Of the state.
    n_cells, counts
        Of each sample, (samples,).
    used
        Whether each sample was used, (samples,).
    verdict
        `"tested"`, or why it was not.
    genes
        Positions of the genes that were tested.
    tests
        By level of the condition.
    """

    name: str
    n_cells: np.ndarray
    counts: np.ndarray
    used: np.ndarray
    verdict: str
    genes: np.ndarray
    tests: dict[str, SampleDE]


@dataclass(frozen=True, slots=True)
class _Fitted:
    used: np.ndarray
    genes: np.ndarray
    design: Design
    fit: StateFit
    cell_variance: np.ndarray


def assess_states(sums: CellSums, samples: Samples, states: list[str], groupby: str) -> list[StateResult]:
    """Test every state that has enough samples.

    Parameters
    ----------
    sums
        Counts of all samples of the first state, then of the second, and so on.
    samples
        The samples.
    states
        Names of the states.
    groupby
        Column of the condition in the table of samples.

    Returns
    -------
    One a state.

    Raises
    ------
    ValueError
        When no state can be tested; says why for each.
    """
    make_design(samples.table, samples.formula, groupby, samples.reference)  # the design of all samples must stand
    n_samples = len(samples.table)
    fitted: dict[int, _Fitted] = {}
    verdicts = []
    for number in range(len(states)):
        where = np.arange(number * n_samples, (number + 1) * n_samples)
        used = (sums.n_cells[where] >= MIN_CELLS) & (sums.counts[where].sum(1) > 0)
        try:
            fitted[number] = _fit(sums, samples, where[used], used, groupby)
            verdicts.append(TESTED)
        except ValueError as error:
            verdicts.append(str(error))
    if not fitted:
        msg = "no state can be tested. " + " ".join(
            f"{name!r}: {why}" for name, why in zip(states[:5], verdicts, strict=False)
        )
        raise ValueError(msg)
    surprises = np.full((len(states), sums.counts.shape[1]), np.nan)
    for number, one in fitted.items():
        surprises[number, one.genes] = one.fit.surprise
    results = []
    for number, name in enumerate(states):
        rows = slice(number * n_samples, (number + 1) * n_samples)
        tests, genes = {}, np.zeros(0, dtype=np.int64)
        if number in fitted:
            one = fitted[number]
            genes = one.genes
            known = np.column_stack(
                [_from_others(surprises, number)[genes], np.arcsinh(5 * np.clip(one.cell_variance, -0.5, 20))]
            )
            tests = {
                level: assess_column(one.fit, column, covariates=known) for level, column in one.design.tested.items()
            }
        totals = sums.counts[rows].sum(1)
        used = fitted[number].used if number in fitted else np.zeros(n_samples, dtype=bool)
        results.append(StateResult(name, sums.n_cells[rows], totals, used, verdicts[number], genes, tests))
    return results


def _fit(sums: CellSums, samples: Samples, groups: np.ndarray, used: np.ndarray, groupby: str) -> _Fitted:
    """Fit one state, or say why not."""
    table = samples.table[used]
    number = table[groupby].value_counts()
    present = number[number > 0]
    enough = present[present >= MIN_SAMPLES]
    if samples.reference not in enough.index or len(enough) < 2:
        counts = ", ".join(f"{count} in {level!r}" for level, count in number.items())
        msg = f"too few samples with {MIN_CELLS} cells ({counts})."
        raise ValueError(msg)
    inside = table[groupby].isin(enough.index).to_numpy()
    table, groups, used = table[inside], groups[inside], used.copy()
    used[used] = inside
    design = make_design(table, samples.formula, groupby, samples.reference)
    counts = sums.counts[groups]
    seen = (counts > 0).sum(0)
    genes = np.flatnonzero((counts.sum(0) >= MIN_COUNTS) & (seen >= min(MIN_SEEN, int(enough.min()))))
    if len(genes) < MIN_GENES:
        msg = f"only {len(genes)} genes have {MIN_COUNTS} counts, at least {MIN_GENES} are needed."
        raise ValueError(msg)
    return _Fitted(used, genes, design, fit_state(counts[:, genes], design.matrix), sums.overdispersion(groups)[genes])


def _from_others(surprises: np.ndarray, number: int) -> np.ndarray:
    """Average over other states how much more a gene varies between samples than its mean leads to expect; 0 where unknown."""
    others = np.delete(surprises, number, axis=0)
    known = np.isfinite(others)
    total = np.where(known, others, 0).sum(0)
    return total / np.maximum(known.sum(0), 1)
