"""What `tl.drivers` needs of a bulk, checked: its composition, its groups and its values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._blocks import as_dense
from sctandem._bulk_keys import RSDKeys
from sctandem._checks import check_key, check_layer, check_slot, check_type, layer_slot, listed
from sctandem._linear import check_linear
from sctandem.kernels._designs import formula_of, make_design

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

#: Fewest samples of a group.
MIN_SAMPLES = 3
#: Fewest counts, or transcripts per million, of a gene in as many samples as the smaller group has.
MIN_COUNTS, MIN_TPM = 5.0, 0.5
#: Fewest genes.
MIN_GENES = 20
_RUN = "td.tl.deconvolve(adata, reference, cell_type=...)"


@dataclass(frozen=True, slots=True)
class Composition:
    """What a deconvolution found.

    Attributes
    ----------
    shares
        Of RNA, samples x types; what is missing to 1 is unknown.
    signature
        Genes x types; NaN for genes that the reference lacks.
    types
        Names.
    counts
        Whether the bulk holds counts.
    layer
        Layer of the bulk that was deconvolved.
    """

    shares: np.ndarray
    signature: np.ndarray
    types: list[str]
    counts: bool
    layer: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A group and the reference.

    Attributes
    ----------
    name
        Of the group.
    rows
        Positions of the samples of both.
    group
        1 in the group, 0 in the reference.
    covariates
        Samples x columns, without a constant.
    """

    name: str
    rows: np.ndarray
    group: np.ndarray
    covariates: np.ndarray


def read_composition(adata: AnnData, deconvolution: str) -> Composition:
    """Read and check what `tl.deconvolve` wrote.

    Parameters
    ----------
    adata
        The bulk.
    deconvolution
        Its `key_added`.

    Returns
    -------
    The composition.
    """
    check_type(deconvolution, str, "deconvolution", hint="It is the `key_added` of td.tl.deconvolve.")
    keys = RSDKeys(deconvolution)
    run = check_slot(adata.uns, keys.key, "adata.uns", _RUN)
    params = check_slot(run, keys.params, f"adata.uns[{keys.key!r}]", _RUN)
    kind = check_slot(params, keys.kind, f"adata.uns[{keys.key!r}][{keys.params!r}]", _RUN)
    shares = _frame(check_slot(adata.obsm, keys.rna, "adata.obsm", _RUN), f"adata.obsm[{keys.rna!r}]")
    signature = _frame(check_slot(adata.varm, keys.signature, "adata.varm", _RUN), f"adata.varm[{keys.signature!r}]")
    types = [str(name) for name in shares.columns]
    if types != [str(name) for name in signature.columns]:
        msg = (
            f"adata.obsm[{keys.rna!r}] has the types {listed(types)} and adata.varm[{keys.signature!r}] {listed(signature.columns)}: "
            f"they are of two runs. Run `{_RUN}` again."
        )
        raise ValueError(msg)
    values = shares.to_numpy(dtype=np.float64)
    total = values.sum(1)
    bad = ~np.isfinite(values).all(1) | (values < -1e-6).any(1) | (total > 1 + 1e-3) | ~(total > 1e-3)
    if bad.any():
        msg = (
            f"adata.obsm[{keys.rna!r}] has no composition for {listed(adata.obs_names[bad], 5)}: shares of RNA are finite, at least 0, "
            f"and add up to 1 less the unknown share. Run `{_RUN}` again, or leave these samples out."
        )
        raise ValueError(msg)
    layer = params.get(keys.layer)
    return Composition(np.maximum(values, 0), signature.to_numpy(dtype=np.float64), types, kind != "tpm", layer)


def _frame(found: Any, slot: str) -> pd.DataFrame:
    """Check that a slot holds a table."""
    check_type(found, pd.DataFrame, slot, hint=f"Run `{_RUN}` again.")
    return found


def read_values(adata: AnnData, layer: str | None, composition: Composition) -> tuple[np.ndarray, np.ndarray]:
    """Read the values of the genes that can be tested at all.

    Parameters
    ----------
    adata
        The bulk.
    layer
        As in `tl.drivers`.
    composition
        What a deconvolution found.

    Returns
    -------
    Positions of the genes that the reference has, and samples x these genes.
    """
    layer = composition.layer if layer is None else layer
    matrix, slot = check_layer(adata, layer, "adata"), layer_slot("adata", layer)
    if getattr(matrix, "shape", None) is None:
        msg = f"{slot} is empty (None): the values that were deconvolved are needed there, or name their layer."
        raise ValueError(msg)
    values = np.asarray(as_dense(matrix), dtype=np.float64)
    check_linear(values, slot)
    known = np.isfinite(composition.signature).all(1) & (composition.signature.sum(1) > 0)
    genes = np.flatnonzero(known)
    return genes, values[:, genes]


def find_comparisons(
    adata: AnnData, groupby: str, *, reference: str | None, covariates: str | Sequence[str]
) -> tuple[str, list[Comparison], tuple[str, ...]]:
    """Find the groups, and lay out each against the reference.

    Parameters
    ----------
    adata
        The bulk.
    groupby, reference, covariates
        As in `tl.drivers`.

    Returns
    -------
    The reference, the comparisons, and the names of the covariates.
    """
    check_type(groupby, str, "groupby", hint="It names one column of adata.obs.")
    check_type(covariates, Iterable, "covariates", hint="They name columns of adata.obs.")
    names = (covariates,) if isinstance(covariates, str) else tuple(covariates)
    column = check_key(adata.obs, groupby, "adata.obs")
    if groupby in names:
        msg = f"covariates={covariates!r} names the group, groupby={groupby!r}, which is in the design anyway."
        raise ValueError(msg)
    grouped = column.notna().to_numpy()
    table = pd.DataFrame({name: _covariate(adata, name, grouped) for name in names}, index=range(adata.n_obs))
    there = column.astype("category").cat.remove_unused_categories()
    levels = [str(one) for one in there.cat.categories]
    if len(levels) < 2:
        msg = f"adata.obs[{groupby!r}] has the values {listed(levels)}; a comparison needs at least two groups."
        raise ValueError(msg)
    first = levels[0] if reference is None else str(reference)
    if first not in levels:
        msg = f"reference={reference!r} is not in adata.obs[{groupby!r}], which has {listed(levels)}."
        raise ValueError(msg)
    text = there.astype(str).where(there.notna(), None).to_numpy(dtype=object)
    sizes = {level: int((text == level).sum()) for level in levels}
    few = [f"{level} ({size})" for level, size in sizes.items() if size < MIN_SAMPLES]
    if few:
        numbers = (
            " Numbers are compared as groups: cut them first, such as with pd.qcut."
            if column.dtype.kind in "iuf"
            else ""
        )
        msg = (
            f"adata.obs[{groupby!r}] has groups of fewer than {MIN_SAMPLES} samples: {listed(few)}. The variance between samples "
            f"cannot be told: leave these groups out (set them to NaN), or join them with others.{numbers}"
        )
        raise ValueError(msg)
    found = [_comparison(table, text, groupby, levels=(level, first)) for level in levels if level != first]
    return first, found, names


def _covariate(adata: AnnData, name: str, grouped: np.ndarray) -> Any:
    """Return a column of `obs`: numbers, or a category; the samples that have a group need a value."""
    check_type(name, str, "covariates", hint="They name columns of adata.obs.")
    column = check_key(adata.obs, name, "adata.obs")
    missing = column.isna().to_numpy() & grouped
    if missing.any():
        msg = f"adata.obs[{name!r}] is missing in sample {adata.obs_names[int(missing.argmax())]!r}."
        raise ValueError(msg)
    return (
        column.to_numpy(dtype=np.float64, na_value=np.nan)
        if column.dtype.kind in "iuf"
        else column.astype(str).to_numpy()
    )


def _comparison(table: pd.DataFrame, text: np.ndarray, groupby: str, *, levels: tuple[str, str]) -> Comparison:
    """Lay out one group and the reference; the columns of the table are the covariates."""
    level, reference = levels
    names = tuple(table.columns)
    rows = np.flatnonzero((text == level) | (text == reference))
    group = (text[rows] == level).astype(np.float64)
    if not names:
        return Comparison(level, rows, group, np.empty((len(rows), 0)))
    part = table.iloc[rows].copy()
    part[groupby] = pd.Categorical(text[rows], [reference, level])
    design = make_design(part, formula_of(groupby, names), groupby, reference)
    other = design.matrix[:, np.abs(design.effects[level]) < 1e-9]
    other = other[:, other.std(0) > 1e-12]
    other = (other - other.mean(0)) / other.std(0)
    full = np.column_stack([np.ones(len(rows)), other, group])
    if np.linalg.matrix_rank(full) < full.shape[1] or full.shape[1] >= len(rows) - 1:
        msg = (
            f"covariates={names!r} cannot be adjusted for in {level!r} against {reference!r}: {len(rows)} samples and "
            f"{full.shape[1]} columns that follow from one another or leave nothing to estimate the variance from. Leave some out."
        )
        raise ValueError(msg)
    return Comparison(level, rows, group, other)


def genes_seen(values: np.ndarray, comparison: Comparison, *, counts: bool) -> np.ndarray:
    """Return which genes are seen often enough in the samples that are compared, (genes,)."""
    part = values[comparison.rows]
    smaller = int(min(comparison.group.sum(), (1 - comparison.group).sum()))
    return (part >= (MIN_COUNTS if counts else MIN_TPM)).sum(0) >= smaller
