from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mudata import MuData

from sctandem._checks import (
    check_adata,
    check_modalities,
    check_target,
    check_type,
    check_unique,
    listed,
    working_copy,
)
from sctandem._open_chromatin import check_no_genes
from sctandem._regulation_keys import ChipexoKeys
from sctandem.genome import call_chipexo_sites, match_chromosomes, read_sites
from sctandem.genome._chipexo import ChipexoSites, profile_of
from sctandem.genome._coordinates import locate_peaks
from sctandem.genome._overlaps import peaks_over

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from anndata import AnnData

logger = logging.getLogger(__name__)

_COUNTS = ("n_left", "n_right", "n_replicates")
_RATES = ("pvalue", "fdr")


def chipexo_sites(
    data: AnnData | MuData,
    tags: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    *,
    tf: str,
    sites: str | Path | pd.DataFrame | ChipexoSites | None = None,
    footprint: int | None = None,
    fdr: float = 0.05,
    min_replicates: int | None = None,
    modalities: Mapping[str, str] | None = None,
    key_added: str = "chipexo",
    copy: bool = False,
) -> AnnData | MuData | None:
    """Put the binding sites of a transcription factor, found by ChIP-exo, onto the peaks.

    Called once a factor; the factors of earlier calls stay, one of the same name is replaced.

    Parameters
    ----------
    data
        An AnnData of peaks, or a MuData with accessibility. The peaks need coordinates (see
        :func:`sctandem.genome.peak_coordinates`).
    tags
        Stranded 5' ends as :func:`sctandem.io.read_chipexo` reads them, or a list of such tables, one a replicate. With `sites` they
        only serve to draw the profile.
    tf
        The name of the factor, as that of its gene.
    sites
        Sites that another caller has found are taken as they are: a narrowPeak or BED file or a table (see
        :func:`sctandem.genome.read_sites`), or what :func:`sctandem.genome.call_chipexo_sites` returned. By default they are
        called from the `tags`.
    footprint
        Distance of the two borders of a site, bp. By default learned from the tags.
    fdr
        False discovery rate up to which sites are called.
    min_replicates
        How many replicates have to support a site. By default 2, or 1 where there is but one.
    modalities
        From the role ``"atac"`` to the name of the modality in a MuData. By default the same.
    key_added
        Name of the result in ``varm`` and ``uns`` of the accessibility.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields of `data`, or of the accessibility of a MuData:

    `.varm[key_added]` : :class:`pandas.DataFrame`
        Peaks x factors (float32): the highest score of the sites in the peak, 0 where there is none.
    `.uns[key_added]["sites"]` : :class:`pandas.DataFrame`
        A row per site, also of those in no peak: ``tf`` (category), ``peak`` (category; missing outside of peaks; of overlapping
        peaks the first), ``chrom`` (str, as in the peaks), ``position``, ``left``, ``right`` (int64, 0-based: middle and
        borders, of given sites their first and last base), ``score`` (float32: -log10 of the FDR, or the score of the file), ``pvalue``, ``fdr``
        (float64; missing where sites were given), ``n_left``, ``n_right``, ``n_replicates`` (int64; 0 where sites were given).
    `.uns[key_added]["residual"]` : :class:`pandas.DataFrame`
        A row per factor and chromosome, and ``total``, of sites that were called: ``tf``, ``chrom`` (str, as in the tags), ``length``,
        ``n_sites``, ``n_tags``, ``n_explained``, ``n_borders``, ``n_unpaired`` (int64) and ``share_residual`` (float64: of the tags those
        that lie at no border of a site).
    `.uns[key_added]["profile"]` : :class:`pandas.DataFrame`
        Of factors with tags ``tf`` (str), ``offset`` (int64, bp from the site), ``plus``, ``minus`` (float64, mean tags a site); no rows without `tags`.
    `.uns[key_added]["params"]` : :class:`dict`
        For each factor what :func:`sctandem.genome.call_chipexo_sites` was given and learned, the source of the score, and the numbers of
        sites, of those in peaks, and of peaks with a site.

    Raises
    ------
    KeyError
        When the modality is missing.
    FileNotFoundError
        When `sites` is no file.
    TypeError
        When `data`, `tf` or `key_added` are of the wrong type.
    ValueError
        When there are neither tags nor sites, tags have no strand, no chromosome of the sites is among those of the peaks,
        ``varm[key_added]`` is not of this function, or a name has a slash. Nothing is written then.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> peaks = AnnData(var=pd.DataFrame(index=["chr1:100-600", "chr1:900-1400"]))
    >>> summits = pd.DataFrame({"chrom": ["1", "1"], "position": [310, 5000], "score": [12.5, 8.0]})
    >>> td.pp.chipexo_sites(peaks, tf="CTCF", sites=summits)
    >>> peaks.varm["chipexo"]["CTCF"].tolist()
    [12.5, 0.0]

    Notes
    -----
    How sites are called, and what that cannot see, is in :func:`sctandem.genome.call_chipexo_sites`, which also has further
    settings. Scores of files are taken as they are: those of several callers are on different scales.

    ChIP-exo is of many cells at once, mostly of another sample: a site in a peak says that the factor can bind there, not in
    which of the cells it does.
    """
    atac, name = _accessibility(data, modalities)
    check_target(data, key_added, copy=copy)
    _check_name(tf)
    keys = ChipexoKeys(key_added)
    if tags is None and sites is None:
        msg = "Give tags (td.io.read_chipexo reads them) or sites that another caller has found."
        raise ValueError(msg)
    slot = f"mdata[{name!r}]" if name else "adata"
    before = _before(atac, keys, slot)
    peaks = locate_peaks(atac, slot)
    if sites is None:
        found = call_chipexo_sites(tags, footprint=footprint, fdr=fdr, min_replicates=min_replicates)  # type: ignore[arg-type]
    elif isinstance(sites, ChipexoSites):
        found = sites
    else:
        found = _given(read_sites(sites), tags)
    table, first, evidence = _on_peaks(found.sites, peaks)
    if not len(table):
        logger.warning("there is no site of %s: none of the pairs of borders passes fdr=%s", tf, fdr)
    elif not (first >= 0).any():
        logger.warning("none of the %d sites of %s lies in a peak", len(table), tf)
    params = found.params | {
        keys.n_sites: len(found.sites),
        "n_sites_in_peaks": int((first >= 0).sum()),
        "n_peaks": int((evidence > 0).sum()),
    }
    table[keys.peak] = np.where(first >= 0, atac.var_names.to_numpy(object)[first], None)
    result = _joined(before, keys, tf, found._replace(sites=table, params=params))
    values = before["varm"].drop(columns=tf, errors="ignore").assign(**{tf: evidence})
    target = working_copy(data, copy=copy)
    adata = target.mod[name] if name else target
    adata.varm[keys.key] = values
    adata.uns[keys.key] = result
    return target if copy else None


def _accessibility(data: AnnData | MuData, modalities: Mapping[str, str] | None) -> tuple[AnnData, str | None]:
    """Return the object that holds the peaks, and the name of its modality."""
    if isinstance(data, MuData):
        name = check_modalities(data, modalities, required=("atac",))["atac"]
        atac, slot = data.mod[name], f"mdata[{name!r}]"
    else:
        check_adata(data)
        name, atac, slot = None, data, "adata"
    if not atac.n_vars:
        msg = f"{slot} has no peaks."
        raise ValueError(msg)
    check_no_genes(atac.var, slot)
    check_unique(atac.var_names, f"{slot}.var_names")
    return atac, name


def _check_name(tf: Any) -> None:
    """Check the name of a factor, which becomes a key and the name of a column."""
    check_type(tf, str, "tf", hint="One factor a call.")
    if not tf or "/" in tf:
        msg = f"tf={tf!r} must be a name without a slash: files could not give it back."
        raise ValueError(msg)


def _before(atac: AnnData, keys: ChipexoKeys, slot: str) -> dict[str, Any]:
    """Return what earlier calls have written, or what stands for nothing."""
    tables = (keys.sites, keys.residual, keys.profile)
    if keys.key not in atac.varm and keys.key not in atac.uns:
        empty = dict.fromkeys(tables, None) | {keys.params: {}}
        return {"uns": empty, "varm": pd.DataFrame(index=atac.var_names)}
    values, entry = atac.varm.get(keys.key), atac.uns.get(keys.key)
    if not isinstance(values, pd.DataFrame) or not hasattr(entry, "keys") or not {*tables, keys.params} <= set(entry):
        msg = (
            f"{slot} has a {keys.key!r} in varm or uns that pp.chipexo_sites has not written: choose another name, "
            "key_added=<name>, or delete both."
        )
        raise ValueError(msg)
    return {"uns": dict(entry), "varm": values}


def _given(sites: pd.DataFrame, tags: pd.DataFrame | Sequence[pd.DataFrame] | None) -> ChipexoSites:
    """Bring sites that another caller has found into the form of our own."""
    rows = len(sites)
    table = pd.DataFrame(
        {
            "chrom": sites["chrom"],
            "position": sites["position"],
            "left": sites["start"],
            "right": sites["end"] - 1,
            "score": sites["score"],
            **{rate: np.full(rows, np.nan) for rate in _RATES},
            **{count: np.zeros(rows, dtype=np.int64) for count in _COUNTS},
        }
    )
    profile = pd.DataFrame() if tags is None else profile_of(tags, table)
    return ChipexoSites(table, pd.DataFrame(), profile, {"score": str(sites.attrs["score"])})


def _on_peaks(sites: pd.DataFrame, peaks: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Name chromosomes as in the peaks; return the sites, the first peak of each (-1 for none) and the evidence of each peak."""
    known = match_chromosomes(sites["chrom"].unique(), peaks["chrom"].unique())
    if len(sites) and not known:
        msg = (
            f"Sites and peaks share no chromosome: the sites are on {listed(sites['chrom'].unique(), 3)}, the peaks on "
            f"{listed(peaks['chrom'].unique(), 3)}. Are they of the same genome?"
        )
        raise ValueError(msg)
    renamed = {old: new for old, new in known.items() if old != new}
    if renamed:
        logger.warning("chromosomes of the sites were renamed as in the peaks: %s", renamed)
    chrom = sites["chrom"].map(lambda old: known.get(old, old)).astype(object)
    columns = ["position", "left", "right", "score", *_RATES, *_COUNTS]
    table = pd.concat([chrom.rename("chrom"), sites[columns]], axis=1).reset_index(drop=True)
    table["score"] = table["score"].astype(np.float32)
    evidence = np.zeros(len(peaks), dtype=np.float32)
    site, peak, first = peaks_over(peaks, chrom.to_numpy(), table["position"].to_numpy())
    np.maximum.at(evidence, peak, table["score"].to_numpy()[site])
    return table, first, evidence


def _joined(before: dict[str, Any], keys: ChipexoKeys, tf: str, found: ChipexoSites) -> dict[str, Any]:
    """Put the tables of one factor to those of the others."""
    residual = found.residual.rename_axis(keys.chrom).reset_index() if len(found.residual) else found.residual
    result: dict[str, Any] = {}
    for name, new in ((keys.sites, found.sites), (keys.residual, residual), (keys.profile, found.profile)):
        old = before["uns"][name]
        parts = [] if old is None or not len(old) else [old[old[keys.tf] != tf]]
        if len(new):
            parts.append(new.assign(**{keys.tf: tf})[[keys.tf, *new.columns]])
        parts = [part.astype({c: object for c in (keys.tf, keys.peak) if c in part}) for part in parts if len(part)]
        table = pd.concat(parts, ignore_index=True) if parts else new.assign(**{keys.tf: pd.Series(dtype=object)})
        table.index = table.index.astype(str)
        if name == keys.sites:
            peak = table[keys.peak].where(table[keys.peak].notna(), None)
            table[keys.peak] = pd.Categorical(peak)
            table = table[[keys.tf, keys.peak, *(c for c in table if c not in {keys.tf, keys.peak})]]
            table[keys.tf] = pd.Categorical(table[keys.tf])
        result[name] = table.astype({c: str for c in (keys.tf, keys.chrom) if c in table and table[c].dtype == object})
    result[keys.params] = {**before["uns"][keys.params], tf: found.params}
    return result
