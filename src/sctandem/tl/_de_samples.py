"""From cells to samples: the table of samples, the weights of cells in states, and the sums of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata.abc import CSCDataset
from scipy import sparse

from sctandem._blocks import matrix_blocks
from sctandem._checks import check_key, listed
from sctandem.kernels._cell_sums import CellSums
from sctandem.kernels._designs import formula_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

#: Fewest samples of each condition.
MIN_SAMPLES = 2


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples and the cells in them.

    Attributes
    ----------
    table
        A row a sample, with the columns that the design names.
    of_cell
        Number of the sample of each cell, -1 for none.
    formula
        The design.
    reference
        Level of the condition that the others are compared with.
    """

    table: pd.DataFrame
    of_cell: np.ndarray
    formula: str
    reference: str

    @property
    def names_of_cells(self) -> np.ndarray:
        """Name of the sample of each cell; an empty text for none."""
        return np.append(self.table.index.to_numpy(dtype=object), "")[self.of_cell]


def find_samples(
    adata: AnnData, groupby: str, sample_key: str, *, design: str | Sequence[str], reference: str | None
) -> Samples:
    """Make the table of samples: one for each sample and condition.

    Parameters
    ----------
    adata
        The object.
    groupby, sample_key, design, reference
        As in `tl.differential_expression`.

    Returns
    -------
    The samples.
    """
    condition, sample = (check_key(adata.obs, key, "adata.obs") for key in (groupby, sample_key))
    levels = _levels(condition, groupby)
    reference = _reference(levels, groupby, reference)
    valid = (condition.notna() & sample.notna()).to_numpy()
    pairs = pd.DataFrame(
        {sample_key: sample.astype(str).to_numpy(), groupby: condition.astype(str).to_numpy()}, index=adata.obs_names
    )
    joined = pairs[sample_key] + "\t" + pairs[groupby]
    numbers = np.full(adata.n_obs, -1)
    codes, names = pd.factorize(joined[valid], sort=True)
    numbers[valid] = codes
    table = pd.DataFrame([name.split("\t") for name in names], columns=[sample_key, groupby])
    paired = table[sample_key].duplicated().any()
    if isinstance(design, str):
        formula = design if "~" in design else formula_of(groupby, (design,))
    else:
        covariates = tuple(design)
        if paired and sample_key not in covariates:
            covariates = (*covariates, sample_key)
        formula = formula_of(groupby, covariates)
    for name in _variables(formula):
        if name not in table:
            table[name] = _of_samples(adata, name, numbers, table, sample_key)
    table[groupby] = pd.Categorical(table[groupby], levels)
    table.index = pd.Index(
        [f"{row[sample_key]}, {row[groupby]}" if paired else row[sample_key] for _, row in table.iterrows()]
    )
    few = table[groupby].value_counts()
    few = few[few < MIN_SAMPLES]
    if len(few):
        msg = (
            f"adata.obs[{groupby!r}] has {few.iloc[0]} sample in {few.index[0]!r} (by adata.obs[{sample_key!r}]), at least "
            f"{MIN_SAMPLES} are needed in each condition: one sample says nothing of how samples vary. To compare the cells of "
            "single samples all the same, with nothing claimed about the conditions, ask for it by name: "
            "`td.model.DeepDE.compare_cells`."
        )
        raise ValueError(msg)
    return Samples(table, numbers, formula, reference)


def _levels(condition: pd.Series, groupby: str) -> list[str]:
    """List the conditions that have cells, in order."""
    there = condition.dropna()
    known = there.cat.remove_unused_categories().cat.categories if hasattr(there, "cat") else sorted(there.unique())
    levels = [str(level) for level in known]
    if len(levels) < 2:
        msg = f"adata.obs[{groupby!r}] has the values {listed(levels)}; a comparison needs at least two conditions."
        raise ValueError(msg)
    return levels


def _reference(levels: list[str], groupby: str, reference: str | None) -> str:
    """Return the reference, by default the first level."""
    if reference is None:
        return levels[0]
    if str(reference) not in levels:
        msg = f"reference={reference!r} is not in adata.obs[{groupby!r}], which has {listed(levels)}."
        raise ValueError(msg)
    return str(reference)


def _variables(formula: str) -> list[str]:
    """List the variables of a formula."""
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        return sorted(str(name) for name in Formula(formula).required_variables)
    except FormulaicError as error:
        msg = f"design={formula!r} is not a formula that formulaic reads: {error}"
        raise ValueError(msg) from error


def _of_samples(adata: AnnData, name: str, numbers: np.ndarray, table: pd.DataFrame, sample_key: str) -> np.ndarray:
    """Return the one value of a column in each sample."""
    column = check_key(adata.obs, name, "adata.obs")
    inside = numbers >= 0
    grouped = column[inside].astype(object).groupby(numbers[inside])
    number = grouped.nunique(dropna=False)
    if (number > 1).any():
        first = int(number.index[(number > 1)][0])
        seen = listed(column[inside][numbers[inside] == first].unique(), 4)
        msg = (
            f"adata.obs[{name!r}] has several values in sample {table[sample_key].iloc[first]!r} ({seen}): a covariate of samples "
            f"has one value in each. Use what is constant in them, or a sample_key that parts them."
        )
        raise ValueError(msg)
    values = grouped.first().reindex(range(len(table)))
    if values.isna().any():
        msg = f"adata.obs[{name!r}] is missing in sample {table[sample_key].iloc[int(values.isna().argmax())]!r}."
        raise ValueError(msg)
    # numbers stay numbers: formulaic makes a category of each value of an object column
    return values.to_numpy(dtype=np.float64) if column.dtype.kind in "iuf" else values.astype(str).to_numpy()


def state_weights(adata: AnnData, cell_types: str) -> tuple[Any, list[str]]:
    """Return the weight of each cell in each state.

    Parameters
    ----------
    adata
        The object.
    cell_types
        Column of `obs` with a state a cell, or key of `obsm` with weights.

    Returns
    -------
    Cells x states (CSR for a column), and the names of the states.
    """
    if cell_types in adata.obs:
        states = adata.obs[cell_types].astype("category").cat.remove_unused_categories()
        known = np.flatnonzero(states.notna())
        codes = states.cat.codes.to_numpy()[known]
        shape = (adata.n_obs, len(states.cat.categories))
        return sparse.csr_matrix((np.ones(len(known)), (known, codes)), shape=shape), [
            str(name) for name in states.cat.categories
        ]
    if cell_types not in adata.obsm:
        msg = (
            f"cell_types={cell_types!r} is neither in adata.obs, which has {listed(adata.obs.columns)}, nor in adata.obsm, "
            f"which has {listed(adata.obsm)}."
        )
        raise KeyError(msg)
    found = adata.obsm[cell_types]
    names = [str(name) for name in found.columns] if isinstance(found, pd.DataFrame) else None
    weights = found.to_numpy(dtype=float) if isinstance(found, pd.DataFrame) else np.asarray(found, dtype=float)
    if weights.ndim != 2 or not np.isfinite(weights).all() or (weights < 0).any() or (weights.sum(1) > 1 + 1e-3).any():
        msg = f"adata.obsm[{cell_types!r}] does not hold weights of states: at least 0, finite, adding up to at most 1 in a cell."
        raise ValueError(msg)
    return sparse.csr_matrix(weights), names or [str(i) for i in range(weights.shape[1])]


def sum_cells(matrix: Any, of_cell: np.ndarray, weights: Any, n_samples: int) -> CellSums:
    """Add up the counts of each sample and state, in blocks.

    Parameters
    ----------
    matrix
        Counts, cells x genes.
    of_cell
        Number of the sample of each cell, -1 for none.
    weights
        Cells x states.
    n_samples
        Number of samples.

    Returns
    -------
    Sums whose groups are all samples of the first state, then those of the second, and so on.
    """
    entries = sparse.coo_matrix(weights)
    inside = of_cell[entries.row] >= 0
    row, state, value = entries.row[inside], entries.col[inside], entries.data[inside]
    n_groups = weights.shape[1] * n_samples
    groups = sparse.csr_matrix((value, (row, state * n_samples + of_cell[row])), shape=(len(of_cell), n_groups))
    sums = CellSums(n_groups, matrix.shape[1])
    if isinstance(matrix, CSCDataset):
        matrix = matrix.to_memory()
    for where, block in matrix_blocks(matrix):
        sums.add(block, groups[where])
    return sums
