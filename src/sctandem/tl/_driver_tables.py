"""One comparison of bulk groups: the kernels one after the other, and the rows of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from sctandem.kernels._decomposition import contrast_of, decompose
from sctandem.kernels._driver_model import model_bulk
from sctandem.kernels._driver_patterns import name_candidates, name_patterns
from sctandem.kernels._driver_types import assess_types, credible, single_type
from sctandem.kernels._drivers import assess_genes

if TYPE_CHECKING:
    from sctandem._bulk_keys import DriverKeys
    from sctandem.tl._driver_inputs import Comparison

#: Largest q-value of a driver, where patterns are named.
LEVEL = 0.05
#: Largest q-value of a gene whose types are looked at closely.
CLOSELY = 0.2
#: Smallest part of the expression of a gene that a type must have to be tested in it: below, a doubling changes the gene by less than 5 %.
SMALLEST_SHARE = 0.05
_UNIT = 1 / np.log(2)


@dataclass(frozen=True, slots=True)
class Compared:
    """Tables of one comparison: a row a gene, a row a gene and type, and what is to be said of the group."""

    genes: pd.DataFrame
    types: pd.DataFrame
    group: dict[str, Any]


def compare(
    values: np.ndarray,
    comparison: Comparison,
    keys: DriverKeys,
    *,
    shares: np.ndarray,
    signature: pd.DataFrame,
    counts: bool,
    n_permutations: int,
    rng: np.random.Generator,
) -> Compared:
    """Compare one group with the reference.

    Parameters
    ----------
    values
        Samples of both x genes.
    comparison
        The group.
    keys
        Names of the columns.
    shares
        Share of RNA of each type, samples x types.
    signature
        Genes x types, with their names.
    counts
        Whether `values` are counts.
    n_permutations
        Permutations of the samples.
    rng
        Draws them.

    Returns
    -------
    The tables.
    """
    types, group = list(signature.columns), comparison.group
    model = model_bulk(values, shares, signature.to_numpy(), group, covariates=comparison.covariates, counts=counts)
    test = assess_genes(model, n_permutations=n_permutations, rng=rng)
    q_value = false_discovery_control(test.p_value)
    within = assess_types(model, test, q_value <= CLOSELY)
    split = decompose(model.log, model.expected, within.effect, contrast_of(model.fixed, group))
    tested = within.part >= SMALLEST_SHARE
    p_type = test.tail(within.statistic)
    driver, looked = q_value <= LEVEL, np.flatnonzero(q_value <= CLOSELY)
    alone = np.zeros(tested.shape)
    alone[looked] = single_type(model, test, looked)
    # a call is wrong where the gene does not change, or changes elsewhere: the chances of both are added up. That of the second is
    # the larger of two: the p-value, for as many types, and the probability that one other type is behind it
    elsewhere = np.maximum(p_type * tested.sum(1, keepdims=True), 1 - alone)
    q_type = np.minimum(1.0, q_value[:, None] + elsewhere)
    called = np.where(tested & (q_type <= LEVEL), np.sign(within.effect), 0).astype(int)
    possible = credible(alone) & driver[:, None]
    names = signature.index.to_numpy(dtype=object)
    genes = pd.DataFrame(
        {
            keys.gene: names,
            keys.group: comparison.name,
            keys.log2fc: split.total * _UNIT,
            keys.composition: split.composition * _UNIT,
            keys.expression: split.expression * _UNIT,
            keys.statistic: test.statistic,
            keys.p_value: test.p_value,
            keys.q_value: q_value,
            keys.pattern: name_patterns(driver, test.effect, called, types),
            keys.candidates: name_candidates(possible, types),
        }
    )
    row, column = np.nonzero(tested)
    by_type = pd.DataFrame(
        {
            keys.gene: names[row],
            keys.cell_type: np.array(types, dtype=object)[column],
            keys.group: comparison.name,
            keys.log2fc: within.effect[row, column] * _UNIT,
            keys.se: within.error[row, column] * _UNIT,
            keys.share: within.part[row, column],
            keys.statistic: within.statistic[row, column],
            keys.p_value: p_type[row, column],
            keys.q_value: q_type[row, column],
        }
    )
    said = {
        keys.group: comparison.name,
        keys.n_samples: int(group.sum()),
        keys.n_reference: int((1 - group).sum()),
        keys.n_genes: len(genes),
        keys.n_drivers: int(driver.sum()),
        keys.n_permutations: test.n_permutations,
        keys.exact: test.exact,
        keys.resolution: test.resolution,
        keys.prior_df: test.prior_df,
        keys.spread: test.spread,
    }
    return Compared(
        _sorted(genes, keys)[list(keys.gene_columns)], _sorted(by_type, keys)[list(keys.type_columns)], said
    )


def _sorted(table: pd.DataFrame, keys: DriverKeys) -> pd.DataFrame:
    """Sort rows by rising p-value, then by falling size of the statistic, then as the genes were."""
    return table.iloc[np.lexsort([-np.abs(table[keys.statistic]), table[keys.p_value]])]
