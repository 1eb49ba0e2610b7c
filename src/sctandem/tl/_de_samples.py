"""From cells to samples: the table of samples, the weights of cells in states, and the sums of counts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata.abc import CSCDataset
from scipy import sparse

from sctandem._blocks import matrix_blocks
from sctandem._checks import check_key, check_type, listed
from sctandem.kernels._cell_sums import CellSums
from sctandem.kernels._designs import formula_of, variables_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

logger = logging.getLogger(__name__)

#: Fewest samples of each condition.
MIN_SAMPLES = 2
#: Fewest cells of a sample in a state, and in all states together.
MIN_CELLS = 5


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
    groupby, sample_key
        Columns of the condition and of the sample.
    levels
        The conditions.
    reference
        The one that the others are compared with.
    """

    table: pd.DataFrame
    of_cell: np.ndarray
    formula: str
    groupby: str
    sample_key: str
    levels: list[str]
    reference: str

    @property
    def names_of_cells(self) -> np.ndarray:
        """Name of the sample of each cell; an empty text for none."""
        return np.append(self.table.index.to_numpy(dtype=object), "")[self.of_cell]


def find_samples(
    adata: AnnData,
    groupby: str,
    sample_key: str,
    *,
    covariates: str | Sequence[str] = (),
    design: str | None = None,
    reference: str | None = None,
    of_states: np.ndarray | None = None,
) -> Samples:
    """Make the table of samples: one for each sample and condition with enough cells.

    Parameters
    ----------
    adata
        The object.
    groupby, sample_key, covariates, design, reference
        As in `tl.differential_expression`.
    of_states
        How much of each cell is in any state, (cells,); `None` for all of it.

    Returns
    -------
    The samples.
    """
    names = _check_arguments(groupby, sample_key, covariates, design)
    condition, sample = (check_key(adata.obs, key, "adata.obs") for key in (groupby, sample_key))
    levels = _levels(condition, groupby)
    reference = _reference(levels, groupby, reference)
    table, numbers = _number(sample, condition, np.ones(adata.n_obs) if of_states is None else of_states)
    repeated = bool(table[sample_key].duplicated().any())
    if design is None:
        if sample_key not in names and _are_pairs(table, groupby, sample_key):
            names = (*names, sample_key)
        design = formula_of(groupby, names)
    for name in variables_of(design):
        if name not in table:
            table[name] = _of_samples(adata, name, numbers, table, sample_key)
    table[groupby] = pd.Categorical(table[groupby], levels)
    table.index = _names(table[sample_key], table[groupby], repeated=repeated)
    return Samples(table, numbers, design, groupby, sample_key, levels, reference)


def _check_arguments(
    groupby: str, sample_key: str, covariates: str | Sequence[str], design: str | None
) -> tuple[str, ...]:
    """Check what names columns, and return the covariates."""
    for name, value in (("groupby", groupby), ("sample_key", sample_key)):
        check_type(value, str, name, hint="It names one column of adata.obs.")
    if groupby == sample_key:
        msg = (
            f"groupby and sample_key are both {groupby!r}: groupby names the column of the condition, and sample_key that of the "
            "donor, animal or well, of which each condition has several."
        )
        raise ValueError(msg)
    hint = "A formula goes to design."
    check_type(covariates, Iterable, "covariates", hint=f"They name columns of adata.obs. {hint}")
    names = (covariates,) if isinstance(covariates, str) else tuple(covariates)
    for name in names:
        check_type(name, str, "covariates", hint=f"They name columns of adata.obs. {hint}")
        if "~" in name:
            msg = f"covariates={covariates!r} must name columns of adata.obs. {hint}"
            raise ValueError(msg)
    if groupby in names:
        msg = f"covariates={covariates!r} names the condition, groupby={groupby!r}, which is in the design anyway."
        raise ValueError(msg)
    if design is not None:
        hint = "It is a formula, such as '~ batch + donor + condition'; names of columns go to covariates."
        check_type(design, str, "design", hint=hint)
        if names:
            msg = (
                f"covariates={covariates!r} and design={design!r} were both given: a formula is taken as a whole. Write the "
                "covariates into it, or leave it out."
            )
            raise ValueError(msg)
    return names


def _levels(condition: pd.Series, groupby: str) -> list[str]:
    """List the conditions that have cells, in order."""
    there = condition.dropna()
    if hasattr(there, "cat"):
        known = list(there.cat.remove_unused_categories().cat.categories)
    else:
        known = list(there.unique())
        try:
            known = sorted(known)
        except TypeError:  # numbers and texts
            known = sorted(known, key=str)
    levels = list(dict.fromkeys(str(level) for level in known))
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


def _number(sample: pd.Series, condition: pd.Series, weight: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Give numbers to the samples that have enough cells, and to their cells; what is left out is told in the log."""
    for one in (condition, sample):
        missing = int(one.isna().sum())
        if missing:
            logger.warning("adata.obs[%r] is missing in %d cells of %d: they are left out", one.name, missing, len(one))
    valid = (condition.notna() & sample.notna()).to_numpy()
    pairs = pd.DataFrame({one.name: one[valid].astype(str).to_numpy() for one in (sample, condition)})
    grouped = pairs.groupby(list(pairs.columns), sort=True)
    codes = grouped.ngroup().to_numpy()
    table = grouped.size().index.to_frame(index=False)
    size = np.bincount(codes, weight[valid], minlength=len(table))
    enough = size >= MIN_CELLS - 1e-3  # weights of five cells add up to about five
    if not enough.all():
        left = [f"{row[0]} ({row[1]})" for row in table[~enough].itertuples(index=False)]
        logger.warning(
            "%d samples are left out, since they have fewer than %d cells in all states together: %s",
            len(left),
            MIN_CELLS,
            listed(left),
        )
    number = np.where(enough, np.cumsum(enough) - 1, -1)
    numbers = np.full(len(sample), -1)
    numbers[valid] = number[codes]
    return table[enough].reset_index(drop=True), numbers


def _are_pairs(table: pd.DataFrame, groupby: str, sample_key: str) -> bool:
    """Whether samples are to be compared within donors: at least half of the donors have cells in several conditions."""
    number = table.groupby(sample_key)[groupby].nunique()
    several = number.index[number > 1]
    if 0 < len(several) < len(number) / 2:
        logger.warning(
            "%d of %d values of adata.obs[%r] have cells in several conditions (%s): too few for a paired comparison. Their samples "
            "are compared as if they were of different ones; covariates=(%r,) compares within them only",
            len(several),
            len(number),
            sample_key,
            listed(several, 5),
            sample_key,
        )
        return False
    return bool(len(several))


def _names(sample: pd.Series, condition: pd.Series, *, repeated: bool) -> pd.Index:
    """Name the samples, no two alike."""
    if not repeated:
        return pd.Index(sample.astype(str), name=None)
    both = list(zip(sample.astype(str), condition.astype(str), strict=True))
    names = pd.Index([f"{one}, {two}" for one, two in both])
    return names if names.is_unique else pd.Index([f"{one!r}, {two!r}" for one, two in both])


def _of_samples(adata: AnnData, name: str, numbers: np.ndarray, table: pd.DataFrame, sample_key: str) -> Any:
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
    if column.dtype.kind in "iuf":
        return values.to_numpy(dtype=np.float64)
    texts = values.astype(str)
    # categories keep their order: the first is the level that the columns of the design are compared with
    known = [str(one) for one in column.cat.categories] if hasattr(column, "cat") else sorted(texts.unique())
    return pd.Categorical(texts, [one for one in known if (texts == one).any()])


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
    Cells x states, CSR, and the names of the states.
    """
    check_type(cell_types, str, "cell_types", hint="It names one column of adata.obs, or weights in adata.obsm.")
    if cell_types in adata.obs:
        states = adata.obs[cell_types].astype("category").cat.remove_unused_categories()
        if not len(states.cat.categories):
            msg = f"adata.obs[{cell_types!r}] has no values: no cell has a type."
            raise ValueError(msg)
        known = np.flatnonzero(states.notna())
        codes = states.cat.codes.to_numpy()[known]
        shape = (adata.n_obs, len(states.cat.categories))
        of_column = _no_two_alike(states.cat.categories, f"adata.obs[{cell_types!r}]")
        return sparse.csr_matrix((np.ones(len(known)), (known, codes)), shape=shape), of_column
    if cell_types not in adata.obsm:
        msg = (
            f"cell_types={cell_types!r} is neither in adata.obs, which has {listed(adata.obs.columns)}, nor in adata.obsm, "
            f"which has {listed(adata.obsm)}."
        )
        raise KeyError(msg)
    found = adata.obsm[cell_types]
    names: list[str] = []
    if isinstance(found, pd.DataFrame):
        names = _no_two_alike(found.columns, f"adata.obsm[{cell_types!r}]")
        text = [name for name, dtype in found.dtypes.items() if dtype.kind not in "iufb"]
        if text:
            msg = f"adata.obsm[{cell_types!r}] does not hold weights of states: {listed(text)} are no numbers."
            raise ValueError(msg)
        found = found.to_numpy(dtype=float)
    weights = sparse.csr_matrix(found if sparse.issparse(found) else np.atleast_2d(np.asarray(found)), dtype=float)
    total = np.asarray(weights.sum(1)).ravel()
    bad = not np.isfinite(weights.data).all() or (weights.data < 0).any() or (total > 1 + 1e-3).any()
    if bad or weights.shape[0] != adata.n_obs:
        msg = f"adata.obsm[{cell_types!r}] does not hold weights of states: at least 0, finite, adding up to at most 1 in a cell."
        raise ValueError(msg)
    return weights, names or [str(i) for i in range(weights.shape[1])]


def _no_two_alike(names: Iterable[object], slot: str) -> list[str]:
    """Write the names of states as text, and check that each is there once."""
    texts = [str(name) for name in names]
    twice = [name for i, name in enumerate(texts) if name in texts[:i]]
    if twice:
        msg = f"{slot} has several states called {listed(dict.fromkeys(twice))} (as text): results could not be told apart. Rename them."
        raise ValueError(msg)
    return texts


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
