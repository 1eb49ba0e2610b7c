"""What functions on open chromatin have in common: the peaks in the object they were given, counts, and columns of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from mudata import MuData

from sctandem._blocks import canonical_csr
from sctandem._check_arguments import received
from sctandem._checks import check_counts, check_layer, check_modalities, check_type, layer_slot, listed
from sctandem._keys import MODALITIES, GeneColumns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from scipy import sparse

#: Column of `var` in which readers of 10x files keep what a variable is, and what they write there for genes.
_TYPES, _GENE = "feature_types", "Gene Expression"


@dataclass(frozen=True, slots=True)
class OpenChromatin:
    """The peaks in an object.

    Attributes
    ----------
    adata
        The peaks.
    slot
        What to call them in messages.
    name
        Their modality, `None` where the object is an AnnData.
    """

    adata: AnnData
    slot: str
    name: str | None

    def of(self, target: Any) -> AnnData:
        """Return the same peaks of a copy of the object."""
        return target if self.name is None else target.mod[self.name]

    @property
    def params(self) -> dict[str, str]:
        """What the parameters of a result say of the modality."""
        return {} if self.name is None else {MODALITIES[1]: self.name}


def open_chromatin(data: Any, modalities: Mapping[str, str] | None = None) -> OpenChromatin:
    """Find the peaks in the object that a function was given.

    Parameters
    ----------
    data
        An AnnData of peaks, or a MuData with such a modality.
    modalities
        From the role `"atac"` to the name of the modality; only for a MuData.

    Returns
    -------
    The peaks, and what to call them.

    Raises
    ------
    KeyError
        For a modality that is not there.
    TypeError
        When it is neither.
    ValueError
        For modalities of an AnnData, for other roles, and where the variables are genes.
    """
    if isinstance(data, MuData):
        name = check_modalities(data, modalities, required=MODALITIES[1:])[MODALITIES[1]]
        found = OpenChromatin(data.mod[name], f"mdata[{name!r}]", name)
    else:
        check_peaks_object(data, modalities)
        found = OpenChromatin(data, "adata", None)
    check_no_genes(found.adata.var, found.slot)
    return found


def check_peaks_object(data: Any, modalities: Mapping[str, str] | None) -> None:
    """Check an object that is no MuData: an AnnData, which has no modalities to be named."""
    if not isinstance(data, AnnData):
        msg = f"data must be an AnnData of peaks or a MuData, got {received(data)}"
        raise TypeError(msg)
    if modalities:
        msg = f"modalities={modalities!r} names modalities of a MuData, but data is an AnnData; leave it out."
        raise ValueError(msg)


def check_no_genes(var: pd.DataFrame, slot: str) -> None:
    """Check that variables are no genes, as far as their table says what they are.

    Raises
    ------
    ValueError
        Says how to take the peaks out of an object with both, or to name the modality.
    """
    if _TYPES in var.columns:
        is_gene = (var[_TYPES].astype(str) == _GENE).to_numpy()
    else:  # only genes start to be transcribed
        is_gene = np.full(len(var), GeneColumns().tss in var.columns)
    if not is_gene.any():
        return
    first = str(var.index[int(np.argmax(is_gene))])
    mend = (
        "name the modality of the peaks: modalities={'atac': <its name>}, or give their AnnData."
        if is_gene.all()
        else f"take the peaks alone: peaks = {slot}[:, {slot}.var[{_TYPES!r}] != {_GENE!r}].copy()."
    )
    msg = f"{slot} has {int(is_gene.sum())} genes among its {len(var)} variables, the first is {first!r}: {mend}"
    raise ValueError(msg)


def read_counts(adata: AnnData, slot: str, layer: str | None = None) -> sparse.csr_matrix:
    """Read counts into memory, checked.

    Parameters
    ----------
    adata
        Where they are.
    slot
        What to call it in messages.
    layer
        The layer; `None` for `X`.

    Returns
    -------
    CSR, whose entries stand in order and once each; what the object holds is not changed.

    Raises
    ------
    KeyError
        When there is no such layer.
    TypeError
        When `layer` is not text.
    ValueError
        When these are not counts, or there are none at all.
    """
    if layer is not None:
        check_type(layer, str, "layer", hint="It names one layer.")
    matrix, name = check_layer(adata, layer, slot), layer_slot(slot, layer)
    check_counts(matrix, name)
    counts = canonical_csr(matrix)
    if counts.data.size == 0 or not counts.data.any():
        msg = f"{name} ({counts.shape[0]} x {counts.shape[1]}) has no counts at all."
        raise ValueError(msg)
    return counts


def cell_column(data: AnnData | MuData, name: str | None, key: str) -> pd.Series:
    """Return a column that describes cells: of their modality, or else of the whole object.

    Parameters
    ----------
    data
        The object.
    name
        The modality, `None` where the object is an AnnData.
    key
        The column.

    Returns
    -------
    The column, in the order of the modality's cells.

    Raises
    ------
    KeyError
        Names the modality that has such a column, or the columns that there are.
    """
    adata = data if name is None else data.mod[name]
    if key in adata.obs.columns:
        return adata.obs[key]
    if name is None:
        msg = f"adata.obs has no column {key!r}; it has {listed(adata.obs.columns, 20)}."
        raise KeyError(msg)
    if key in data.obs.columns:
        return data.obs[key].reindex(adata.obs_names)
    elsewhere = next((other for other, each in data.mod.items() if key in each.obs.columns), None)
    msg = f"neither mdata[{name!r}].obs nor mdata.obs has a column {key!r}; "
    msg += (
        f"they have {listed([*adata.obs.columns, *data.obs.columns.difference(adata.obs.columns, sort=False)], 20)}."
        if elsewhere is None
        else f"mdata[{elsewhere!r}].obs has it: mdata.obs[{key!r}] = mdata[{elsewhere!r}].obs[{key!r}]."
    )
    raise KeyError(msg)


def cell_numbers(data: AnnData | MuData, name: str | None, key: str, *, argument: str) -> np.ndarray:
    """Return a column of numbers that describe cells, float64, as `cell_column` finds it; NaN where it is missing.

    Parameters
    ----------
    data, name, key
        As in `cell_column`.
    argument
        The argument that named the column, for messages.

    Returns
    -------
    The numbers, in the order of the modality's cells.

    Raises
    ------
    KeyError
        When there is no such column.
    ValueError
        When it holds no numbers.
    """
    column = cell_column(data, name, key)
    if column.dtype.kind not in "iuf":
        msg = f"{argument}={key!r} holds no numbers: its dtype is {column.dtype}."
        raise ValueError(msg)
    return column.to_numpy(np.float64, na_value=np.nan)
