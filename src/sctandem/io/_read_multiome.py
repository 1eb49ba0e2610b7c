from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from anndata import AnnData, read_h5ad
from scipy import sparse

from sctandem._check_files import readable
from sctandem._checks import check_modalities, check_path, check_unique
from sctandem._compat import new_mudata, read_h5mu
from sctandem._keys import PeakColumns
from sctandem.genome import parse_intervals
from sctandem.genome._coordinates import locate_peaks
from sctandem.io._kind import check_hdf5
from sctandem.io._tenx import read_tenx

_MOST_NAMES = 0.5
"""Features are peaks when more than this part of their names are intervals."""

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from mudata import MuData


def read_multiome(
    path: str | os.PathLike[str],
    atac_path: str | os.PathLike[str] | None = None,
    *,
    modalities: Mapping[str, str] | None = None,
) -> MuData:
    """Read a multiome: genes and peaks of the same cells.

    Parameters
    ----------
    path
        A feature-barcode matrix of Cell Ranger ARC (`.h5`), a MuData (`.h5mu`), or expression alone (`.h5ad`).
    atac_path
        The accessibility (`.h5ad`) that belongs to the expression in `path`.
    modalities
        Names of the modalities in an `.h5mu` by their roles, such as ``{"rna": "gex", "atac": "peaks"}``. By default
        ``"rna"`` and ``"atac"``.

    Returns
    -------
    A MuData with the modalities

    ==================== ==============================================================================================
    ``["rna"]``          genes. From Cell Ranger: `var["gene_ids"]`, `["genome"]`, and `["interval"]` with its parts
                         `["chrom"]` (category), `["start"]`, `["end"]` (int64, or Int64 where some are missing): where
                         the transcription start sites of the gene lie. Names that occur twice are numbered
    ``["atac"]``         peaks with `var["chrom"]` (str), `["start"]`, `["end"]` (int64; 0-based, half open)
    ==================== ==============================================================================================

    Cells are those of the expression, in its order; the counts lie in `X` as CSR. What else an `.h5mu` or `.h5ad` holds
    is kept. From a pair of `.h5ad`, the columns of `obs` that only one file has, and those of both with equal values, are
    copied to the `obs` of the MuData under their own names; columns that differ stay in the modalities alone.

    Raises
    ------
    TypeError
        For a path that is neither text nor a path.
    FileNotFoundError
        For a path where there is no file.
    KeyError
        When an `.h5mu` has no modality of that name; lists those that are there.
    ValueError
        For other kinds of files, feature types that are missing, peaks without coordinates, a pair of files the wrong way
        round or with the same features, `modalities` for files that have none, and when the two modalities do not hold the same cells: says how many they share.

    Notes
    -----
    The same cells in another order are put in order; different sets of cells are an error, since dropping cells is the
    caller's decision. Counts are not looked at; the models check them.

    Examples
    --------
    >>> import tempfile
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(20, 30, 300)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, modality in mdata.mod.items():
    ...         modality.write_h5ad(f"{folder}/{name}.h5ad")
    ...     again = td.io.read_multiome(f"{folder}/rna.h5ad", f"{folder}/atac.h5ad")
    >>> again["atac"].shape
    (20, 300)
    """
    first = _existing(path, "path")
    if modalities is not None and first.suffix != ".h5mu":
        msg = f"modalities={modalities!r} names the modalities of an .h5mu; {first.name!r} has none: leave it out."
        raise ValueError(msg)
    if atac_path is not None:
        second = _existing(atac_path, "atac_path")
        for given in (first, second):
            if given.suffix != ".h5ad":
                msg = f"A pair of files is read from .h5ad, not from {given.name!r}; give .h5 and .h5mu files alone."
                raise ValueError(msg)
            check_hdf5(given)
        return _from_pair(first, second)
    check_hdf5(first)
    if first.suffix == ".h5mu":
        return _from_mudata(first, modalities)
    if first.suffix == ".h5ad":
        msg = f"{first} is one modality; give the other as well: read_multiome('rna.h5ad', 'atac.h5ad')."
        raise ValueError(msg)
    rna, atac = read_tenx(first)
    check_unique(rna.obs_names, f"the barcodes of {first}")
    return new_mudata({"rna": rna, "atac": _with_coordinates(atac, str(first))})


def _existing(path: str | os.PathLike[str], name: str) -> Path:
    """Return the path of a file that is there."""
    check_path(path, name)
    found = Path(path).expanduser()
    if found.is_dir():
        inside = sorted(entry.name for entry in found.iterdir() if entry.suffix in {".h5", ".h5mu", ".h5ad"})
        msg = f"{found} is a folder; give a file in it: {', '.join(inside) or 'there is no .h5, .h5mu or .h5ad'}."
        raise FileNotFoundError(msg)
    if not found.is_file():
        msg = f"There is no file {str(found)!r}."
        raise FileNotFoundError(msg)
    return found


def _from_pair(first: Path, second: Path) -> MuData:
    """Read expression and accessibility from two `.h5ad`; what is known of the cells goes to the whole as well."""
    with readable(first, "an .h5ad file", tree=True):
        rna = read_h5ad(first)
    with readable(second, "an .h5ad file", tree=True):
        atac = read_h5ad(second)
    _check_kinds(rna, atac, first, second)
    atac = _with_coordinates(_aligned(rna, atac, f"{first} and {second}"), str(second))
    mdata = new_mudata({"rna": _csr(rna), "atac": atac})
    for column in rna.obs.columns.union(atac.obs.columns, sort=False):
        found = [adata.obs[column] for adata in (rna, atac) if column in adata.obs]
        if all(values.astype(object).equals(found[0].astype(object)) for values in found):
            mdata.obs[column] = found[0]
    return mdata


def _check_kinds(rna: AnnData, atac: AnnData, first: Path, second: Path) -> None:
    """Refuse the two files the wrong way round, and the same features twice."""
    usage = (
        "read_multiome(<expression>, <accessibility>): path= names the file of the genes, atac_path= that of the peaks"
    )
    if set(rna.var_names) == set(atac.var_names):
        msg = f"{first} and {second} hold the same {rna.n_vars} features ({_shown(rna)}). Give {usage}."
        raise ValueError(msg)
    if parse_intervals(rna.var_names)["start"].notna().mean() > _MOST_NAMES:
        msg = (
            f"{first}, given as the expression, holds peaks ({_shown(rna)}), and {second}, given as the accessibility, holds "
            f"{_shown(atac)}. Are they the wrong way round? It is {usage}."
        )
        raise ValueError(msg)


def _shown(adata: AnnData) -> str:
    return ", ".join(map(repr, adata.var_names[:2])) + ", ..." * (adata.n_vars > 2)


def _from_mudata(path: Path, modalities: Mapping[str, str] | None) -> MuData:
    """Read an `.h5mu`; call its modalities rna and atac, and bring them into one order."""
    mdata = read_h5mu(path)
    named = check_modalities(mdata, modalities)
    rna, atac = mdata.mod[named["rna"]], mdata.mod[named["atac"]]
    in_order = rna.obs_names.equals(atac.obs_names)
    atac = _with_coordinates(_aligned(rna, atac, str(path)), str(path))
    _csr(rna)
    if in_order and all(role == name for role, name in named.items()):
        return mdata
    others = {name: mod for name, mod in mdata.mod.items() if name not in named.values()}
    result = new_mudata({"rna": rna, "atac": atac, **others})
    order = mdata.obs_names.get_indexer(result.obs_names)
    result.obs = mdata.obs.iloc[order].copy()
    for key, value in mdata.obsm.items():
        if key not in mdata.mod:  # those are mudata's own masks
            result.obsm[key] = value.iloc[order] if isinstance(value, pd.DataFrame) else value[order]
    result.uns.update(mdata.uns)
    return result


def _aligned(rna: AnnData, atac: AnnData, source: str) -> AnnData:
    """Return the accessibility in the order of the cells of the expression."""
    for adata, what in ((rna, "expression"), (atac, "accessibility")):
        check_unique(adata.obs_names, f"{source}: obs_names of the {what}")
    if rna.obs_names.equals(atac.obs_names):
        return atac
    shared = rna.obs_names.intersection(atac.obs_names)
    if not len(shared) == rna.n_obs == atac.n_obs:
        only = [
            str(names[0])
            for names in (rna.obs_names.difference(shared), atac.obs_names.difference(shared))
            if len(names)
        ]
        msg = (
            f"{source} do not hold the same cells: {rna.n_obs} with expression, {atac.n_obs} with accessibility, "
            f"{len(shared)} with both (without their other half, for example, {', '.join(map(repr, only))}). "
            "Keep the shared cells of both, and make their names alike if they differ by a suffix."
        )
        raise ValueError(msg)
    return atac[rna.obs_names].copy()


def _csr(adata: AnnData) -> AnnData:
    """Keep the counts in CSR."""
    if not (sparse.issparse(adata.X) and adata.X.format == "csr"):
        adata.X = sparse.csr_matrix(adata.X)
    return adata


def _with_coordinates(atac: AnnData, source: str) -> AnnData:
    """Write the coordinates of the peaks to their usual columns."""
    where, columns = locate_peaks(atac, source), PeakColumns()
    for name in (columns.chrom, columns.start, columns.end):
        atac.var[name] = where[name]
    return _csr(atac)
