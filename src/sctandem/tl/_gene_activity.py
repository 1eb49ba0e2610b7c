from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pandas as pd
from anndata import AnnData
from mudata import MuData

from sctandem._checks import (
    check_modalities,
    check_option,
    check_slot_names,
    check_target,
    check_unique,
    listed,
    working_copy,
)
from sctandem._chromatin_keys import GeneActivityKeys
from sctandem._compat import add_modality
from sctandem._keys import MODALITIES
from sctandem._open_chromatin import check_no_genes, check_peaks_object
from sctandem.tl._activity_sources import Found, from_fragments, from_peaks
from sctandem.tl._activity_sums import RULES

if TYPE_CHECKING:
    from pathlib import Path


def gene_activity(
    data: AnnData | MuData,
    genes: str | Path | pd.DataFrame | None = None,
    *,
    fragments: str | Path | None = None,
    weights: str = "gene_body",
    reference: Any = None,
    modalities: Mapping[str, str] | None = None,
    layer: str | None = None,
    size_factor_key: str | None = None,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Map open chromatin onto genes, as whole counts and as weighted scores.

    Each peak, or with `fragments` each cut site, has a weight for every gene it may belong to. The scores are the sums of
    the signal times these weights; signal near several genes enters the score of each. The counts go whole to one gene,
    that with the largest weight (among equals that with the nearest transcription start site, TSS; then the first), so that
    what the genes got and what is left add up to the input, cell by cell.

    Parameters
    ----------
    data
        Counts of peaks, alone or in a MuData with expression. Peaks need coordinates (see
        :func:`sctandem.genome.peak_coordinates`), unless `fragments` are read.
    genes
        Where the genes lie, from their first to their last base: a BED (6 columns or more), GTF or GFF3 file, also gzipped,
        or a table (see :func:`sctandem.genome.read_genes`). All of them are in the result; those that are in the expression
        of a MuData, by name or identifier, come first and are named as there. By default, in a MuData, the coordinates in
        the ``var`` of its expression, which must reach over the whole genes: those of Cell Ranger ARC do not.
    fragments
        A fragment file, sorted and indexed, to be read instead of the peaks; `data` says of which cells, whose names are
        the barcodes, and may then be any AnnData of them.
    weights
        The rule.

        ``"gene_body"``: 1 from 2 kb before the gene to its end, nothing elsewhere.

        ``"archr"``: that of ArchR's gene scores [Granja21]_.

        ``"learned"``: learned from paired expression, from how far and on which side of the gene peaks lie, whether other
        genes start in between, and with which peaks they open; they may be negative.
    reference
        For ``"learned"``: a MuData with expression and peaks of the same cells to learn from (raw counts in ``X``, the peaks
        in `layer`), or what was learned before, ``uns["gene_activity"]["learned"]`` of that result. By default `data` itself.
    modalities
        For a MuData: from the roles ``"rna"`` and ``"atac"`` to the names of the modalities. By default the same.
    layer
        Layer with the counts of peaks; `None` for ``X``.
    size_factor_key
        For ``"learned"``: column in the ``obs`` of the expression with the library sizes; by default the sums of its counts.
    key_added
        Name of the result: of the new modality (by default ``"activity"``), or of the slots of an AnnData (by default
        ``"gene_activity"``).
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. :func:`sctandem.get.gene_activity` reads the result as an AnnData. To a MuData a
    modality is added:

    `mdata[key_added].X` : :class:`scipy.sparse.csr_matrix`
        Counts, cells x genes (int32).
    `mdata[key_added].layers["score"]` : :class:`scipy.sparse.csr_matrix`
        Scores, cells x genes (float32); for ``"gene_body"`` plain sums, for ``"archr"`` scaled to 10,000 in each cell; for
        ``"learned"`` an array, in standard deviations of the log expression that is expected, around 0.
    `mdata[key_added].var` : :class:`pandas.DataFrame`
        ``chrom`` (str), ``start``, ``end``, ``tss`` (int64; 0-based, half open), ``strand`` (str), ``n_sources`` (int64;
        peaks, or pieces of the genome that cut sites were counted in, with a weight for the gene), ``coverage`` (float64;
        share of the cells with signal for the gene), ``diversity`` (float64; from how many sources the score comes: the
        exponential of the entropy of their shares; 0 without signal).
    `mdata[key_added].obs["unassigned"]` : :class:`pandas.Series`
        Counts that no gene got (int64).
    `mdata[key_added].uns["gene_activity"]["table"]` : :class:`pandas.DataFrame`
        What the counts went to: a row each for sources in the ``gene body`` of the gene that got them, ``upstream`` of it,
        ``distal``, and ``unassigned``, with ``n_sources``, ``counts`` (int64) and ``share`` (float64).
    `mdata[key_added].uns["gene_activity"]["weights"]` : :class:`pandas.DataFrame`
        From peaks only, a row per peak and gene: ``peak``, ``gene`` (category), ``weight`` (float32), and ``owned`` (bool;
        whether the counts of the peak are this gene's).
    `mdata[key_added].uns["gene_activity"]["learned"]` : :class:`dict`
        For ``"learned"``: the weights and their peaks, to be given as `reference` for other cells.
    `mdata[key_added].uns["gene_activity"]["params"]` : :class:`dict`
        The arguments and what the weights are made of; how genes were found; how many sources have a weight
        (``n_sources``), of those how many for several genes (``n_sources_shared``), and how many genes they are
        (``n_genes_sharing``); the share of genes with a peak within 1 kb of their TSS (``share_near_start``).

    In an AnnData the same is in ``obsm[key_added]``, ``obsm[key_added + "_scores"]``, ``uns[key_added]["genes"]``,
    ``obs[key_added + "_unassigned"]`` and ``uns[key_added]``.

    Raises
    ------
    KeyError
        When a modality or layer is missing.
    TypeError
        When `data` is neither an AnnData nor a MuData.
    ValueError
        When there are no raw counts, names repeat, coordinates are missing or impossible, genes and signal share no
        chromosome, no gene gets any signal, or `key_added` is taken by something else. Nothing is written then.

    Notes
    -----
    ``"gene_body"`` counts all cut sites in the interval, as SnapATAC2 does with ``counting_strategy="insertion"`` (its version
    2.9 leaves out the last base of a gene). By default it counts two of one fragment in one interval once, and Signac and
    muon count fragments: numbers of half the size that follow these closely (Pearson correlation 0.999 in blood);
    :func:`sctandem.pp.count_fragments` gives them. A *peak* counts where it shares a base with the interval, the rule of
    Seurat's ``CreateGeneActivityMatrix``, which however gives each peak to one gene; here the counts do so, and the scores do
    not.

    ``"archr"``: signal within the gene and 5 kb before it has distance 0, and any other the distance to that; the weight is
    ``exp(-distance / 5000) + exp(-1)``. A gene reaches 1 kb to each side at least and 100 kb at most, and in between not
    closer than 500 bp to the neighbouring genes with their 5 kb; neighbours are those before and after in the order of
    starts, so that a gene within another may hide what lies beyond. Weights are multiplied by ``1 + 4 m / (max(m) - min(m))``,
    where ``m`` is one over the length of the gene with its 5 kb. Cut sites are counted in tiles of 500 bp; of a tile, or
    peak, at most 4 a cell enter the score (and all of them the counts). Scores are scaled to 10,000 in a cell. Genes on Y
    and the mitochondrion are left out. Unlike ArchR, a score is not rounded to three digits, no blacklist is applied, and
    genes of one length have a factor of 1, where ArchR divides by zero.

    ``"learned"``: peaks within 100 kb of the TSS; the file ``kernels/_learned_activity.py`` has the model. Peaks of other data stand for those
    learned with that they overlap most, and count for nothing where they overlap none. The counts of a peak go to the gene
    with its largest weight, and to none where no weight is positive. The peaks are held in memory, and the scores are dense.
    Learned from `data` itself, each gene is scored by weights that were learned from the genes of other chromosomes (``cross_fitted`` in ``params``), so that a score
    holds nothing of the expression that it may be held against: the genes of a quarter of the chromosomes at a time are left out. With a `reference` nothing is left out: one of the same cells
    gives scores that have seen their expression (learned from expression exchanged between cells at random they still correlate with it, 0.016 a gene on average in 2,641 A549 cells).

    Scores near several genes count for each, so they do not add up to the input; the counts do. As counts they fit models
    of counts; the scores of ``"gene_body"`` from cut sites do too.

    The genes are then in two modalities by the same names, about which mudata warns when it copies or reads the object.

    A gene with several rows, its transcripts, reaches from the first to the last of their bases; of a name that occurs in
    several places the locus with the most rows counts (see :func:`sctandem.genome.gene_loci`).

    An annotation of another assembly gives a result all the same; a warning is logged where fewer than 30 % of the genes
    have a peak within 1 kb of their TSS (see :func:`sctandem.pp.gene_windows`), and where genes have no strand.

    10,000 cells x 100,000 peaks (4,200 of them in a cell) and 20,500 genes take 5 s of processor time by ``"archr"``, less by
    ``"gene_body"``, and at most 1.3 GB beside the peaks, results of 160 to 240 MB each included. Cut sites are read in one
    pass; ``"archr"`` reads the file twice and holds the tiles of one chromosome.

    References
    ----------
    .. [Granja21] Granja et al., ArchR is a scalable software package for integrative single-cell chromatin accessibility
       analysis, Nature Genetics 53 (2021).

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> td.tl.gene_activity(mdata)
    >>> mdata["activity"].shape
    (50, 40)
    >>> table = mdata["activity"].uns["gene_activity"]["table"]
    >>> bool(table["counts"].sum() == mdata["atac"].X.sum())
    True
    """
    check_option(weights, tuple(RULES), "weights")
    check_slot_names({"layer": layer, "size_factor_key": size_factor_key})
    keys, named = GeneActivityKeys(), _roles(data, modalities, genes)
    if key_added is None:
        key_added = keys.modality if isinstance(data, MuData) else keys.key
    check_target(data, key_added, copy=copy)
    _check_free(data, key_added, named)
    if isinstance(data, MuData) and data.is_view and not copy:
        msg = "mdata is a view, to which no modality can be added: take mdata.copy() first, or copy=True."
        raise ValueError(msg)
    _check_options(weights, {"reference": reference, "size_factor_key": size_factor_key}, fragments, layer)
    atac, slot = (data.mod[named["atac"]], f"mdata[{named['atac']!r}]") if named else (data, "adata")
    _check_size(atac, slot, data.mod[named["rna"]] if "rna" in named else None, named)
    if fragments is None:
        check_no_genes(atac.var, slot)
        found = from_peaks(
            data, genes, named, weights=weights, reference=reference, layer=layer, size_factor_key=size_factor_key
        )
    else:
        found = from_fragments(data, genes, named, weights=weights, fragments=fragments)
    params = found.params | named | {"weights": weights, "version": version("sctandem")}
    if fragments is None and layer is not None:
        params["layer"] = layer
    target = working_copy(data, copy=copy)
    _write(target, found, params, key_added, atac.obs_names)
    return target if copy else None


def _roles(data: Any, modalities: Mapping[str, str] | None, genes: Any) -> dict[str, str]:
    """Find the modalities; nothing for an AnnData. Without expression the genes must come from an annotation."""
    if isinstance(data, MuData):
        with_rna = genes is None or "rna" in (modalities or {}) or "rna" in data.mod
        return check_modalities(data, modalities, required=MODALITIES if with_rna else MODALITIES[1:])
    check_peaks_object(data, modalities)
    if genes is None:
        msg = (
            "genes is needed with an AnnData of peaks: a BED or GTF file, or a table (a MuData may have it in rna.var)."
        )
        raise ValueError(msg)
    return {}


def _check_options(weights: str, learning: dict[str, Any], fragments: Any, layer: str | None) -> None:
    """Check that no option is given that the rule, or the file of fragments, has no use for."""
    for name, value in learning.items():
        if value is not None and weights != "learned":
            msg = f"{name} is for weights='learned', but weights={weights!r}; leave it out."
            raise ValueError(msg)
    if fragments is not None and layer is not None:
        msg = f"layer={layer!r} names counts of peaks, but fragments are read in their place; leave out one of them."
        raise ValueError(msg)


def _check_free(data: AnnData | MuData, key: str, named: dict[str, str]) -> None:
    """Check that nothing is overwritten but an earlier result of this function."""
    keys = GeneActivityKeys(key)
    if isinstance(data, MuData):
        if key in named.values() or (key in data.mod and keys.mark not in data.mod[key].uns):
            msg = (
                f"mdata has a modality {key!r} that this function has not written; give the result another name with "
                f"key_added (the modalities are {listed(data.mod)})."
            )
            raise ValueError(msg)
        return
    taken = [f"obsm[{name!r}]" for name in (keys.key, keys.scores) if name in data.obsm]
    taken += [f"obs[{keys.left!r}]"] * (keys.left in data.obs)
    held = data.uns.get(key)
    if (taken or held is not None) and not (isinstance(held, Mapping) and keys.genes in held):
        msg = (
            f"adata has {', '.join(taken) or f'uns[{key!r}]'}, which this function has not written; give the result another "
            "name with key_added."
        )
        raise ValueError(msg)


def _check_size(atac: AnnData, slot: str, rna: AnnData | None, named: dict[str, str]) -> None:
    """Check for empty axes and repeated names."""
    if atac.n_obs == 0 or atac.n_vars == 0:
        msg = f"{slot} is empty: it has {atac.n_obs} cells and {atac.n_vars} peaks."
        raise ValueError(msg)
    check_unique(atac.obs_names, f"{slot}.obs_names")
    check_unique(atac.var_names, f"{slot}.var_names")
    if rna is not None:
        check_unique(rna.var_names, f"mdata[{named['rna']!r}].var_names")


def _write(target: Any, found: Found, params: dict[str, Any], key: str, cells: pd.Index) -> None:
    """Write the result."""
    keys, sums = GeneActivityKeys(key), found.sums
    held: dict[str, Any] = {keys.params: params, keys.table: sums.table}
    if found.weights is not None:
        held[keys.weights] = found.weights
    held |= found.extra
    if not isinstance(target, MuData):
        target.obsm[keys.key], target.obsm[keys.scores] = sums.counts, sums.scores
        target.obs[keys.left] = sums.unassigned
        target.uns[keys.key] = held | {keys.genes: sums.var}
        return
    obs = pd.DataFrame({keys.unassigned: sums.unassigned}, index=pd.Index(cells, name=None))
    new = AnnData(sums.counts, obs=obs, var=sums.var, layers={keys.score: sums.scores}, uns={keys.mark: held})
    before = target.mod.get(key)
    try:
        add_modality(target, key, new)
    except Exception:  # an object that mudata cannot bring up to date stays as it was
        del target.mod[key]
        if before is not None:
            target.mod[key] = before
        raise
