"""Bulk samples, read and matched to the genes of a reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from sctandem._blocks import as_dense
from sctandem._checks import check_adata, check_layer, check_option, check_unique, layer_slot, listed
from sctandem._linear import check_linear
from sctandem.genome._match import strip_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

#: Genes that must be found in both.
LEAST_GENES = 100
#: Part of the smaller side that must be found: by C1orf43 and its like, some hundred names of two species agree.
LEAST_PART = 0.1
_TECHNICAL = re.compile(
    r"^(RP[LS](?!6K)\d+[A-Z]*\d*[LXYP\d]*|RPLP\d|RPSA|MRP[LS]\d+|MT-.+|MTRNR.+|HB[ABDEGMQZ]\d?|MALAT1)$", re.IGNORECASE
)


class Bulk(NamedTuple):
    """Bulk samples at the genes of a reference.

    Attributes
    ----------
    values
        Samples x matched genes, float64.
    kind
        `"counts"` or `"tpm"`.
    here, there
        Positions of the matched genes in the bulk and in the reference.
    usable
        Of the matched genes, those that are not technical and are seen in more than half of the samples.
    """

    values: np.ndarray
    kind: Literal["counts", "tpm"]
    here: np.ndarray
    there: np.ndarray
    usable: np.ndarray


def read_bulk(
    bulk: AnnData, reference: pd.DataFrame, *, layer: str | None, kind: Literal["counts", "tpm"] | None
) -> Bulk:
    """Read bulk samples.

    Parameters
    ----------
    bulk
        Samples x genes.
    reference
        `var` of the reference; its index and its columns of text are names.
    layer
        Layer of the bulk; `None` for `X`.
    kind
        What the values are; `None` takes whole numbers for counts.

    Returns
    -------
    The samples, matched by the names that fit best.

    Raises
    ------
    ValueError
        For a bulk that is genes x samples; for values that are negative, missing, logs, or no counts where they are said to be; for samples of zeros, duplicated genes, and too few
        genes in common.
    """
    check_adata(bulk)
    if kind is not None:
        check_option(kind, ("counts", "tpm"), "kind")
    slot = layer_slot("bulk", layer)
    matrix = check_layer(bulk, layer, "bulk")
    _refuse_transposed(bulk, reference)
    check_unique(bulk.var_names, "bulk.var_names")
    values = _dense(matrix, slot)
    whole = _check_values(values, slot, bulk, kind)
    here, there = _match(bulk.var, reference)
    matched = values[:, here]
    technical = technical_genes(bulk.var.iloc[here]) | technical_genes(reference.iloc[there])
    usable = ~technical & ((matched > 0).mean(0) > 0.5)
    if usable.sum() < LEAST_GENES:
        msg = (
            f"of {len(here)} genes in common, {int(usable.sum())} are seen in more than half of the samples of {slot} and are not ribosomal, "
            f"mitochondrial or of haemoglobin; at least {LEAST_GENES} are needed."
        )
        raise ValueError(msg)
    _refuse_empty(matched[:, usable], f"{slot}, in the genes that are used,", list(bulk.obs_names))
    return Bulk(matched, kind or ("counts" if whole else "tpm"), here, there, usable)


def _check_values(values: np.ndarray, slot: str, bulk: AnnData, kind: str | None) -> bool:
    """Refuse what is no expression; say whether all values are whole."""
    if not values.size:
        msg = f"{slot} holds {values.shape[0]} samples x {values.shape[1]} genes: there is nothing to take apart."
        raise ValueError(msg)
    if not np.isfinite(values).all():
        sample, gene = np.argwhere(~np.isfinite(values))[0]
        msg = (
            f"{slot} holds {values[sample, gene]} (sample {bulk.obs_names[sample]!r}, gene {bulk.var_names[gene]!r}): "
            "fill in or take out missing values."
        )
        raise ValueError(msg)
    if values.min() < 0:
        msg = (
            f"{slot} holds negative values ({values.min():.4g}): they look like logs or centred values. "
            "Give counts or TPM, such as np.exp2(x) - offset of what you have, before any centring."
        )
        raise ValueError(msg)
    _refuse_empty(values, slot, list(bulk.obs_names))
    whole = bool(np.equal(np.floor(values), values).all())
    check_linear(values, slot)
    if kind == "counts" and not whole:
        msg = f"kind='counts', but {slot} holds fractions: round expected counts, or say kind='tpm'."
        raise ValueError(msg)
    return whole


def _refuse_transposed(bulk: AnnData, reference: pd.DataFrame) -> None:
    """Refuse genes x samples, which is how tables of bulk are mostly kept."""
    rows = strip_version(bulk.obs_names)
    for names in _names(reference).values():
        genes = rows[rows.isin(names) & (rows != "")]
        if len(genes) >= LEAST_GENES:
            msg = (
                f"the bulk is genes x samples: {len(genes)} of its {bulk.n_obs} obs_names are genes of the reference "
                f"({listed(genes, 3)}). Turn it round: bulk = bulk.T.copy()."
            )
            raise ValueError(msg)


def _dense(matrix: Any, slot: str) -> np.ndarray:
    """Read a matrix of any kind, also one backed by a file."""
    if getattr(matrix, "shape", None) is None:
        msg = f"{slot} is empty (None): give counts or TPM there, or name the layer that holds them."
        raise ValueError(msg)
    dense = as_dense(matrix)
    if dense.dtype.kind not in "biuf":
        msg = f"{slot} has dtype {dense.dtype}, not numbers: give counts or TPM."
        raise ValueError(msg)
    return dense.astype(np.float64)


def _refuse_empty(values: np.ndarray, slot: str, names: list[str]) -> None:
    """Refuse samples without any expression."""
    empty = [names[i] for i in np.flatnonzero(values.sum(1) == 0)]
    if empty:
        msg = f"{len(empty)} samples of {slot} are all zeros: {listed(empty)}. Take them out."
        raise ValueError(msg)


def _names(var: pd.DataFrame) -> dict[str, pd.Series]:
    """Give the index and the columns that may name genes, without versions."""
    found: dict[str, Any] = {"var_names": var.index}
    for column in var.columns:
        values = var[column]
        if (values.dtype == object or isinstance(values.dtype, (pd.CategoricalDtype, pd.StringDtype))) and (
            values.nunique() > len(values) / 2
        ):
            found[f"var[{column!r}]"] = values
    return {name: strip_version(values) for name, values in found.items()}


def _match(bulk: pd.DataFrame, reference: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Find the genes of both by the pair of names that fits best; of names that come twice the first counts."""
    best = (np.zeros(0, dtype=int), np.zeros(0, dtype=int))
    ours, theirs = _names(bulk), _names(reference)
    for left in ours.values():
        for right in theirs.values():
            first = pd.Series(np.arange(len(left)), index=left.to_numpy())
            first = first[~first.index.duplicated() & (first.index != "")]
            unique = right[~right.duplicated() & (right != "")]
            position = first.reindex(unique.to_numpy())
            found = position.notna().to_numpy()
            if found.sum() > len(best[0]):
                best = (position[found].to_numpy(dtype=int), unique.index.to_numpy()[found])
    smaller = min(len(bulk), len(reference))
    if len(best[0]) < max(LEAST_GENES, LEAST_PART * smaller):
        shown = [
            "; ".join(f"{name}: {', '.join(map(repr, list(values)[:3]))}" for name, values in side.items())
            for side in (ours, theirs)
        ]
        msg = (
            f"bulk and reference have {len(best[0])} genes in common; at least {LEAST_GENES}, and {LEAST_PART:.0%} of the smaller "
            f"({smaller} genes), are needed. "
            f"The bulk has {shown[0]}, ...; the reference has {shown[1]}, ... {_remedy(ours, theirs)}"
        )
        raise ValueError(msg)
    return best


def _remedy(ours: Mapping[str, pd.Series], theirs: Mapping[str, pd.Series]) -> str:
    """Say what may bring the names of genes together."""
    upper = [{name.upper() for values in side.values() for name in values.astype(str)} for side in (ours, theirs)]
    if len(upper[0] & upper[1]) >= LEAST_GENES:
        return (
            "Without regard to case they would fit: write them alike, such as bulk.var_names = bulk.var_names.str.upper(), if they are "
            "of the same species (mouse genes are written Cd19, human ones CD19)."
        )
    return "Use the same kind of names, of the same species."


def technical_genes(var: pd.DataFrame) -> np.ndarray:
    """Say of each gene whether it is ribosomal, mitochondrial, of haemoglobin, or MALAT1, by any of its names.

    Parameters
    ----------
    var
        Genes; the index and the columns of text are names.

    Returns
    -------
    Mask, (genes,).
    """
    found = np.zeros(len(var), dtype=bool)
    for names in _names(var).values():
        found |= names.map(lambda name: _TECHNICAL.match(name) is not None).to_numpy(dtype=bool)
    return found
