"""What the design of TALENs and the table of their off-targets take from the data: peaks, genes and openness by cell type."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata.abc import CSCDataset
from mudata import MuData
from scipy import sparse

from sctandem._blocks import matrix_blocks
from sctandem._check_arguments import check_n_cells, check_present
from sctandem._checks import check_adata, check_key, check_modalities, check_roles, check_unique, listed
from sctandem._open_chromatin import check_no_genes
from sctandem.genome import read_genes
from sctandem.genome._coordinates import locate_peaks
from sctandem.genome._place import annotation, has_places
from sctandem.get._values import as_groups, cell_groups, group_members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData

logger = logging.getLogger(__name__)

#: What all cells together are called where they are not grouped.
ALL = "all cells"


def find_peaks(data: AnnData | MuData, modalities: Mapping[str, str] | None) -> tuple[AnnData | None, str]:
    """Return the accessibility and its name in messages; `None` for a MuData without."""
    if isinstance(data, MuData):
        given = {role: name for role, name in check_roles(modalities).items() if role != "rna"}
        if not given and "atac" not in data.mod:
            logger.warning(
                "mdata has no modality 'atac' (it has %s): peaks and openness are not known; modalities={'atac': <name>} names it",
                listed(data.mod),
            )
            return None, "mdata"
        name = check_modalities(data, given, required=("atac",))["atac"]
        atac, slot = data.mod[name], f"mdata[{name!r}]"
    else:
        check_adata(data)
        check_roles(modalities)
        atac, slot = data, "adata"
    check_no_genes(atac.var, slot)
    check_unique(atac.var_names, f"{slot}.var_names")
    check_present(atac.X, f"{slot}.X")
    check_n_cells(atac.n_obs, 1, f"The openness of the peaks of {slot}", slot)
    return atac, slot


def peak_table(atac: AnnData | None, slot: str) -> pd.DataFrame:
    """Return where the peaks lie; an empty table without accessibility."""
    if atac is None:
        return pd.DataFrame({"chrom": [], "start": [], "end": []}).astype({"start": np.int64, "end": np.int64})
    return locate_peaks(atac, slot)


def gene_table(
    data: AnnData | MuData, genes: str | Path | pd.DataFrame | None, modalities: Mapping[str, str] | None
) -> pd.DataFrame | None:
    """Return the annotation: the one that is given, or the coordinates in the ``var`` of the expression."""
    if genes is not None:
        return read_genes(genes)
    given = {role: name for role, name in check_roles(modalities).items() if role == "rna"}
    if not isinstance(data, MuData) or (not given and "rna" not in data.mod):
        return None
    name = check_modalities(data, given, required=("rna",))["rna"]
    var = data.mod[name].var
    return annotation(var, None, f"mdata[{name!r}].var")[1] if has_places(var) else None


def cell_labels(data: AnnData | MuData, atac: AnnData, groupby: str | None) -> pd.Series:
    """Return the group of each cell as a categorical, missing where it has none."""
    if isinstance(data, MuData):
        name = next(key for key, modality in data.mod.items() if modality is atac)
        return cell_groups(data, groupby, [name])
    if groupby is None:
        return pd.Series(pd.Categorical([ALL] * atac.n_obs), index=atac.obs_names)
    return as_groups(check_key(atac.obs, groupby, "adata.obs"), f"adata.obs[{groupby!r}]")


def open_shares(matrix: Any, groups: pd.Series) -> pd.DataFrame:
    """Return the share of the cells of each group in which each peak has a count, peaks x groups (float64)."""
    categories, members = [str(group) for group in groups.cat.categories], group_members(groups)
    counts = np.zeros((matrix.shape[1], len(categories)))
    for where, block in matrix_blocks(matrix):
        held = (sparse.csr_matrix(block) != 0).astype(np.float64)
        if isinstance(matrix, CSCDataset):
            counts[where] = (members @ held).toarray().T
        else:
            counts += (members[:, where] @ held).toarray().T
    size = np.asarray(members.sum(axis=1)).ravel()
    return pd.DataFrame(counts / np.maximum(size, 1), columns=categories)


def chosen_group(groups: pd.Series, group: str | None, groupby: str | None) -> str:
    """Check the name of a group, and return it; all cells where none is named and cells are not grouped."""
    names = [str(name) for name in groups.cat.categories]
    if groupby is None:
        return names[0]
    if group is None or str(group) not in names:
        msg = f"group={group!r} is no group of {groupby!r}; it has {listed(names, 20)}."
        raise ValueError(msg)
    return str(group)
