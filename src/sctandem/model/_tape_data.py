"""What TAPE reads from a MuData, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem._checks import (
    check_counts,
    check_layer,
    check_modalities,
    check_mudata,
    check_n_cells,
    check_roles,
    check_same_cells,
    check_slot,
    check_unique,
    holds_counts,
    layer_slot,
    nonempty,
    select_cells,
)
from sctandem._chromatin_keys import MotifKeys, SpectrumKeys, WordKeys
from sctandem._keys import GeneWindowKeys, SequenceKeys
from sctandem.data import as_csr
from sctandem.kernels import Windows
from sctandem.kernels._window_features import MAX_SEQUENCE_FEATURES
from sctandem.model._tape_fit import TAPEData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData
    from scvi.data import AnnDataManager

#: Positions of cells or a mask; `None` for all.
Cells = Sequence[int] | np.ndarray | None

#: Registry key of the chromatin counts.
ATAC_KEY = "atac"
#: Cells below which nothing can be learned.
MIN_CELLS = 20


def check_inputs(
    mdata: MuData,
    modalities: Mapping[str, str] | None,
    *,
    layers: tuple[str | None, str | None],
    size_factor_key: str | None,
    batch_key: str | None,
    loading: bool = False,
) -> tuple[dict[str, str], dict[str, str | None]]:
    """Check an object before anything is registered on it.

    Parameters
    ----------
    mdata
        The object.
    modalities
        Names of the modalities by role.
    layers
        Layers of RNA and ATAC.
    size_factor_key, batch_key
        Columns of `obs`.
    loading
        Whether a saved model is to read the object: what only training needs may then be missing.

    Returns
    -------
    Names of the modalities by role, and for each column the modality whose `obs` holds it (`None` for `mdata.obs`).
    """
    names = _modalities(mdata, modalities, rna_layer=layers[0], loading=loading)
    if mdata.is_view:
        msg = "mdata is a view of another MuData; take a copy first: `mdata = mdata.copy()`."
        raise ValueError(msg)
    for role, layer in zip(("rna", "atac"), layers, strict=True):
        if role not in names:
            continue
        name = names[role]
        adata = mdata.mod[name]
        check_unique(adata.var_names, f"mdata[{name!r}].var_names")
        slot = f"mdata[{name!r}]"
        check_counts(check_layer(adata, layer, slot), layer_slot(slot, layer))
        if adata.n_vars == 0:
            msg = f"mdata[{name!r}] has no {'genes' if role == 'rna' else 'peaks'}."
            raise ValueError(msg)
    check_same_cells(mdata, list(names.values()))
    first = next(iter(names.values()))
    if not mdata.obs_names.equals(mdata.mod[first].obs_names):
        msg = (
            f"the cells of mdata ({mdata.n_obs}) are not those of mdata[{first!r}] ({mdata.mod[first].n_obs}) in "
            "the same order: another modality has other cells, or the modalities were changed. Make the object anew: "
            f"mdata = mudata.MuData({{name: mdata[name].copy() for name in {list(names.values())}}})"
        )
        raise ValueError(msg)
    check_n_cells(mdata.n_obs, 1 if loading else MIN_CELLS, "TAPE", "mdata")
    tables = [mdata.obs, *(mdata.mod[names[role]].obs for role in ("rna",) if role in names)]
    if loading:
        size_factor_key, batch_key = (
            key if any(key in table for table in tables) else None for key in (size_factor_key, batch_key)
        )
    columns: dict[str, str | None] = {}
    if batch_key is not None:
        columns["batch"] = _find_column(mdata, batch_key, names.get("rna"))
        values = _column(mdata, batch_key, columns["batch"])
        if values.isna().any():
            msg = f"batch_key={batch_key!r} is missing (NaN) for {int(values.isna().sum())} of {len(values)} cells; label them."
            raise ValueError(msg)
    if size_factor_key is not None:
        columns["size_factor"] = _find_column(mdata, size_factor_key, names.get("rna"))
        values = pd.to_numeric(_column(mdata, size_factor_key, columns["size_factor"]), errors="coerce")
        if not (values > 0).all() or not np.isfinite(values).all():
            bad = values[~((values > 0) & np.isfinite(values))].iloc[0]
            msg = f"size_factor_key={size_factor_key!r} must be a positive number in every cell, got {bad}."
            raise ValueError(msg)
    return names, columns


def _modalities(
    mdata: MuData, modalities: Mapping[str, str] | None, *, rna_layer: str | None, loading: bool
) -> dict[str, str]:
    """Find the modalities; a saved model that is loaded does without RNA, or with a predicted one."""
    named = {"rna": "rna", **check_roles(modalities)}
    check_mudata(mdata)
    if loading and not (named["rna"] in mdata.mod and holds_counts(mdata.mod[named["rna"]], rna_layer)):
        return check_modalities(mdata, {k: v for k, v in named.items() if k != "rna"}, required=("atac",))
    return check_modalities(mdata, modalities)


def _find_column(mdata: MuData, key: str, rna: str | None) -> str | None:
    """Say which `obs` holds a column: that of the RNA, or that of the MuData (`None`)."""
    if rna is not None and key in mdata.mod[rna].obs:
        return rna
    if key not in mdata.obs and rna is not None:
        columns = sorted({*mdata.obs.columns, *mdata.mod[rna].obs.columns})
        msg = f"neither mdata[{rna!r}].obs nor mdata.obs has a column {key!r}; they have {columns[:20]}."
        raise KeyError(msg)
    return None


def _column(mdata: MuData, key: str, modality: str | None) -> pd.Series:
    """Return a column of `obs`."""
    return (mdata if modality is None else mdata.mod[modality]).obs[key]


def assemble(
    mdata: MuData,
    modalities: Mapping[str, str],
    *,
    manager: AnnDataManager,
    heldout_genes: Sequence[str],
    windows_key: str,
    sequence_key: str,
) -> TAPEData:
    """Read counts, library sizes and windows.

    Parameters
    ----------
    mdata
        The object, set up.
    modalities
        Names of the modalities by role.
    manager
        Of the model.
    heldout_genes
        Genes that are not learned from.
    windows_key, sequence_key
        Names of the results of `pp.gene_windows`, and of `pp.sequence_features` or `pp.nucleotide_spectrum`; the latter may
        be missing under its default.

    Returns
    -------
    The arrays.
    """
    check_n_cells(mdata.n_obs, MIN_CELLS, "TAPE", "mdata")
    adata, chromatin = mdata.mod[modalities["rna"]], mdata.mod[modalities["atac"]]
    rna = as_csr(manager.get_from_registry(REGISTRY_KEYS.X_KEY))
    atac = as_csr(manager.get_from_registry(ATAC_KEY))
    if REGISTRY_KEYS.SIZE_FACTOR_KEY in manager.data_registry:
        library = np.asarray(manager.get_from_registry(REGISTRY_KEYS.SIZE_FACTOR_KEY), dtype=np.float64).ravel()
    else:
        # what is hidden stays hidden: the totals are those of the other genes
        shown = ~adata.var_names.isin(list(heldout_genes))
        library = np.asarray(rna[:, shown].sum(1), dtype=np.float64).ravel()
    missing = [name for name in heldout_genes if name not in adata.var_names]
    if missing:
        msg = f"heldout_genes names {missing[:5]}, which are not in mdata[{modalities['rna']!r}].var_names."
        raise KeyError(msg)
    has_rna, has_atac = (
        nonempty(matrix, f"mdata[{modalities[role]!r}]")[0] for role, matrix in (("rna", rna), ("atac", atac))
    )
    counts = np.asarray(rna.sum(0)).ravel()
    learned = (counts > 0) & ~adata.var_names.isin(list(heldout_genes))
    if learned.sum() < 2:
        msg = f"only {int(learned.sum())} genes have counts and are not held out; TAPE needs at least 2."
        raise ValueError(msg)
    windows, chromosome = _windows(mdata, adata, chromatin, windows_key)
    batch = np.asarray(manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY)).ravel().astype(np.int64)
    return TAPEData(
        rna=rna,
        atac=atac,
        library=library,
        cells=has_rna & has_atac & (library > 0),
        windows=windows,
        learned=learned,
        sequence=_sequence(chromatin, sequence_key, f"mdata[{modalities['atac']!r}].varm"),
        chromosome=chromosome,
        batch=np.eye(manager.summary_stats.get("n_batch", 1))[batch],
    )


def _sequence(atac: AnnData, key: str, slot: str) -> np.ndarray | sparse.csr_matrix | None:
    """Read what is known of the sequence of each peak, a table or a sparse matrix."""
    if key != SequenceKeys().key:  # asked for by name
        calls = {
            SpectrumKeys().key: "pp.nucleotide_spectrum(mdata, fasta)",
            WordKeys().key: "pp.nucleotide_spectrum(mdata, fasta)",
            MotifKeys().key: "pp.nucleotide_spectrum(mdata, fasta, motifs=...)",
        }
        check_slot(atac.varm, key, slot, calls.get(key, f"pp.sequence_features(mdata, fasta, key_added={key!r})"))
    sequence = atac.varm.get(key)
    if sequence is None:
        return None
    if sequence.shape[1] > MAX_SEQUENCE_FEATURES:
        msg = (
            f"{slot}[{key!r}] has {sequence.shape[1]} columns, but TAPE reads at most {MAX_SEQUENCE_FEATURES}: the regression on "
            "them takes the square. Count shorter words: td.pp.nucleotide_spectrum(mdata, fasta, k=6)."
        )
        raise ValueError(msg)
    return as_csr(sequence) if sparse.issparse(sequence) else np.asarray(sequence)


def _windows(mdata: MuData, rna: AnnData, atac: AnnData, key: str) -> tuple[Windows, np.ndarray]:
    """Read the windows of `pp.gene_windows` and the chromosome code of each gene (-1 where unknown)."""
    keys = GeneWindowKeys(key)
    named = "" if key == GeneWindowKeys().key else f", key_added={key!r}"
    slot = check_slot(mdata.uns, keys.key, "mdata.uns", f"td.pp.gene_windows(mdata{named})")
    pairs, genes = slot[keys.pairs], slot[keys.genes]
    gene = rna.var_names.get_indexer(pd.Index(pairs[keys.gene].astype(str)))
    peak = atac.var_names.get_indexer(pd.Index(pairs[keys.peak].astype(str)))
    here = (gene >= 0) & (peak >= 0)
    if len(pairs) and not here.any() and set(pairs[keys.gene].astype(str)) <= set(atac.var_names):
        msg = (
            f"the genes of mdata.uns[{keys.key!r}] are in the modality that was given as chromatin: are the two exchanged? "
            "modalities={'rna': <genes>, 'atac': <peaks>}."
        )
        raise ValueError(msg)
    if not here.any():
        msg = (
            f"mdata.uns[{keys.key!r}] names none of the genes and peaks of this object; "
            "run td.pp.gene_windows again after subsetting."
        )
        raise ValueError(msg)
    windows = Windows.build(
        gene[here],
        peak[here],
        distance=pairs[keys.distance].to_numpy()[here],
        width=pairs[keys.width].to_numpy()[here],
        n_genes=rna.n_vars,
    )
    chrom = genes[keys.chrom].astype(str).reindex(rna.var_names)
    return windows, pd.factorize(chrom)[0]


def read_atac(
    mdata: MuData, name: str, *, layer: str | None, peaks: pd.Index, indices: Cells = None
) -> tuple[pd.Index, sparse.csr_matrix]:
    """Read the chromatin counts of cells, the peaks in the order of the model.

    Parameters
    ----------
    mdata
        The object; other modalities are not looked at.
    name
        The modality.
    layer
        Layer of the counts.
    peaks
        The model's peaks.
    indices
        Cells, as positions or a mask; `None` for all.

    Returns
    -------
    Names of the cells, and counts, cells x peaks.
    """
    check_mudata(mdata)
    if name not in mdata.mod:
        msg = f"mdata has no modality {name!r}; it has {list(mdata.mod)}. The model reads chromatin from {name!r}."
        raise KeyError(msg)
    adata = mdata.mod[name]
    counts = check_layer(adata, layer, f"mdata[{name!r}]")
    cells = adata.obs_names
    if indices is not None:
        rows = select_cells(indices, len(cells))
        counts, cells = as_csr(counts)[rows], cells[rows]
    if not adata.var_names.equals(peaks):
        check_unique(adata.var_names, f"mdata[{name!r}].var_names")
        order = adata.var_names.get_indexer(peaks)
        if (order < 0).any():
            absent = list(peaks[order < 0][:3])
            msg = (
                f"mdata[{name!r}] lacks {int((order < 0).sum())} of the model's {len(peaks)} peaks, such as {absent}. "
                "Count the fragments of these cells in the peaks of the model."
            )
            raise KeyError(msg)
        counts = as_csr(counts)[:, order]
    check_counts(counts, layer_slot(f"mdata[{name!r}]", layer))
    return cells, as_csr(counts)
