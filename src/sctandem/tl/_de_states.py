"""Test all states: regressions first, then variances that states lend to one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem.kernels._contrasts import Layout, lay_out
from sctandem.kernels._sample_de import SampleDE, StateFit, assess_column, fit_state
from sctandem.tl._de_samples import MIN_CELLS, MIN_SAMPLES

if TYPE_CHECKING:
    from sctandem.kernels._cell_sums import CellSums
    from sctandem.kernels._contrasts import Contrast
    from sctandem.tl._de_contrasts import Plan

#: Fewest counts of a gene in all samples of a state, and samples in which it is seen.
MIN_COUNTS, MIN_SEEN = 10, 3
#: Fewest genes of a state.
MIN_GENES = 10
#: Largest overlap of two states (see `state_overlap`) that lend each other what they know of variances. Of states that share
#: cells the one would vouch for the other with the same chance counts.
LARGEST_OVERLAP = 0.1
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
    genes
        Positions of the genes that were tested.
    verdicts
        `"tested"`, or why it was not, by contrast.
    tests
        By contrast, of those that were tested.
    n_samples
        How many samples are compared, by contrast, of those that were tested.
    """

    name: str
    n_cells: np.ndarray
    counts: np.ndarray
    used: np.ndarray
    genes: np.ndarray
    verdicts: dict[str, str]
    tests: dict[str, SampleDE]
    n_samples: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Fitted:
    used: np.ndarray
    genes: np.ndarray
    layout: Layout
    fit: StateFit
    cell_variance: np.ndarray
    faults: dict[str, str]

    def test(self, name: str, covariates: np.ndarray) -> SampleDE:
        """Test a contrast. One that is no column of the design is made one, which needs another fit."""
        matrix, column = self.layout.turned(name)
        fit = self.fit if matrix is self.layout.matrix else fit_state(self.fit.counts, matrix)
        return assess_column(fit, column, covariates=covariates)


def assess_states(sums: CellSums, plan: Plan, states: list[str], *, overlap: np.ndarray) -> list[StateResult]:
    """Test every state that has enough samples.

    Parameters
    ----------
    sums
        Counts of all samples of the first state, then of the second, and so on.
    plan
        What is compared.
    states
        Names of the states.
    overlap
        How far they hold the same cells, states x states.

    Returns
    -------
    One a state.

    Raises
    ------
    ValueError
        When no state can be tested; says why for each.
    """
    n_samples = len(plan.samples.table)
    fitted: dict[int, _Fitted] = {}
    verdicts = []
    for number in range(len(states)):
        where = np.arange(number * n_samples, (number + 1) * n_samples)
        used = (sums.n_cells[where] >= MIN_CELLS) & (sums.counts[where].sum(1) > 0)
        try:
            fitted[number] = _fit(sums, plan, where, used)
            verdicts.append({one.name: fitted[number].faults.get(one.name, TESTED) for one in plan.contrasts})
        except ValueError as error:
            verdicts.append({one.name: str(error) for one in plan.contrasts})
    if not fitted:
        msg = "no state can be tested. " + " ".join(
            f"{name!r}: {next(iter(why.values()))}" for name, why in zip(states[:5], verdicts, strict=False)
        )
        raise ValueError(msg)
    surprises = np.full((len(states), sums.counts.shape[1]), np.nan)
    for number, one in fitted.items():
        surprises[number, one.genes] = one.fit.surprise
    results = []
    for number, name in enumerate(states):
        rows = slice(number * n_samples, (number + 1) * n_samples)
        tests, n_compared, genes = {}, {}, np.zeros(0, dtype=np.int64)
        used = np.zeros(n_samples, dtype=bool)
        if number in fitted:
            one = fitted[number]
            genes, used = one.genes, one.used
            others = surprises[overlap[number] <= LARGEST_OVERLAP]  # the state itself is not among them
            known = np.column_stack([_from_others(others)[genes], np.arcsinh(5 * np.clip(one.cell_variance, -0.5, 20))])
            for contrast in plan.contrasts:
                if contrast.name in one.layout.weights:
                    tests[contrast.name] = one.test(contrast.name, known)
                    n_compared[contrast.name] = _n_compared(plan, one, contrast)
        totals = sums.counts[rows].sum(1)
        results.append(StateResult(name, sums.n_cells[rows], totals, used, genes, verdicts[number], tests, n_compared))
    return results


def _fit(sums: CellSums, plan: Plan, where: np.ndarray, used: np.ndarray) -> _Fitted:
    """Fit one state, or say why not."""
    condition = plan.samples.table[plan.samples.groupby]
    number = condition[used].value_counts()
    enough = number[number >= MIN_SAMPLES]
    counted = ", ".join(f"{count} in {level!r}" for level, count in number.items())
    short = f"too few samples with {MIN_CELLS} cells ({counted})."
    faults = {one.name: short for one in plan.contrasts if not set(one.levels) <= set(enough.index)}
    asked = [one for one in plan.contrasts if one.name not in faults]
    if not asked or not len(enough):
        raise ValueError(short)
    used = used & condition.isin(enough.index).to_numpy()
    layout = lay_out(plan.design, used, asked)
    faults |= layout.faults
    if not layout.weights:
        raise ValueError(next(iter(layout.faults.values())))
    groups = where[used]
    counts = sums.counts[groups]
    seen = (counts > 0).sum(0)
    genes = np.flatnonzero((counts.sum(0) >= MIN_COUNTS) & (seen >= min(MIN_SEEN, int(enough.min()))))
    if len(genes) < MIN_GENES:
        msg = f"only {len(genes)} genes have {MIN_COUNTS} counts, at least {MIN_GENES} are needed."
        raise ValueError(msg)
    fit = fit_state(counts[:, genes], layout.matrix)
    return _Fitted(used, genes, layout, fit, sums.overdispersion(groups)[genes], faults)


def _n_compared(plan: Plan, fitted: _Fitted, contrast: Contrast) -> int:
    """Count the samples of the two conditions, or for another contrast those that its estimate depends on."""
    if not contrast.levels:
        return int(fitted.layout.samples_behind(contrast.name).sum())
    condition = plan.samples.table[plan.samples.groupby]
    return int(condition[fitted.used].isin(contrast.levels).sum())


def _from_others(others: np.ndarray) -> np.ndarray:
    """Average over other states how much more a gene varies between samples than its mean leads to expect; 0 where unknown."""
    known = np.isfinite(others)
    total = np.where(known, others, 0).sum(0)
    return total / np.maximum(known.sum(0), 1)
