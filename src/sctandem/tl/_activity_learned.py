"""Weights of `tl.gene_activity` that are learned from paired expression, and taken to other cells, genes and peaks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mudata import MuData
from scipy import sparse

from sctandem._blocks import canonical_csr
from sctandem._checks import check_counts, check_layer, check_same_cells, layer_slot
from sctandem._chromatin_keys import GeneActivityKeys
from sctandem._open_chromatin import cell_numbers
from sctandem.genome import window_pairs
from sctandem.kernels._activity_features import WindowPairs, starts_between
from sctandem.kernels._gene_activity import Intervals, Pairs, overlaps
from sctandem.kernels._learned_activity import LearnedWeights, learn_crossed, learn_prepared, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping


logger = logging.getLogger(__name__)

#: Reach of the windows that weights are learned in, bp to both sides of the TSS.
WINDOW = 100_000
_COLUMNS = ["chrom", "start", "end"]


@dataclass(frozen=True, slots=True)
class Learned:
    """Weights and the peaks that they were learned with; and for the genes of some chromosomes weights learned without them."""

    weights: LearnedWeights
    peaks: pd.DataFrame
    crossed: tuple[tuple[list[str], LearnedWeights], ...] = ()

    def saved(self) -> dict[str, Any]:
        """Return what is written."""
        return {**self.weights.as_arrays(), GeneActivityKeys().peaks: self.peaks[_COLUMNS].reset_index(drop=True)}

    @classmethod
    def read(cls, saved: Mapping[str, Any]) -> Learned:
        """Take over what was written."""
        name = GeneActivityKeys().peaks
        if name not in saved or "features" not in saved:
            msg = (
                "reference is no entry uns['gene_activity']['learned'] of a result of weights='learned': it has "
                f"{', '.join(map(repr, saved)) or 'nothing'}."
            )
            raise ValueError(msg)
        return cls(LearnedWeights.from_arrays(saved), saved[name])

    def at(self, peaks: pd.DataFrame) -> LearnedWeights:
        """Take the weights to other peaks: each stands for the one that it shares most bases with."""
        columns = [part[_COLUMNS].astype({"chrom": str}).reset_index(drop=True) for part in (peaks, self.peaks)]
        if columns[0].equals(columns[1]):
            return self.weights
        new, old = _intervals(*columns)
        here, there = overlaps(new, old)
        shared = np.minimum(new.end[here], old.end[there]) - np.maximum(new.start[here], old.start[there])
        order = np.lexsort((there, -shared, here))
        where, first = np.unique(here[order], return_index=True)
        position = np.full(len(peaks), -1, dtype=np.int64)
        position[where] = there[order][first]
        if not len(where):
            msg = "No peak overlaps one that the weights were learned with. Are they of the same assembly?"
            raise ValueError(msg)
        return self.weights.select_peaks(position)


def _intervals(*tables: pd.DataFrame) -> list[Intervals]:
    codes = pd.factorize(pd.concat([table["chrom"] for table in tables], ignore_index=True))[0].astype(np.int64)
    cut = np.split(codes, np.cumsum([len(table) for table in tables])[:-1])
    ends = [[table[column].to_numpy(np.int64) for column in ("start", "end")] for table in tables]
    return [Intervals(chrom, *both) for chrom, both in zip(cut, ends, strict=True)]


def window_features(loci: pd.DataFrame, peaks: pd.DataFrame, every: pd.DataFrame) -> WindowPairs:
    """List the peaks in the windows of genes.

    Parameters
    ----------
    loci
        The genes.
    peaks
        Where the peaks lie.
    every
        All genes of the annotation, whose starts may lie between a peak and its gene.

    Returns
    -------
    The pairs.
    """
    found = window_pairs(loci, peaks, upstream=WINDOW, downstream=WINDOW)
    gene, peak = found["gene"].to_numpy(np.int64), found["peak"].to_numpy(np.int64)
    middle = ((peaks["start"] + peaks["end"]) // 2).to_numpy(np.int64)
    between = starts_between(
        loci["chrom"].to_numpy(str)[gene],
        middle[peak],
        loci["tss"].to_numpy(np.int64)[gene],
        all_chrom=every["chrom"].to_numpy(str),
        all_tss=every["tss"].to_numpy(np.int64),
    )
    length = (loci["end"] - loci["start"]).to_numpy(np.int64)[gene]
    width = (peaks["end"] - peaks["start"]).to_numpy(np.int64)
    return WindowPairs(gene, peak, found["distance"].to_numpy(np.int64), length, between, width, len(loci))


def _numbers(matrix: Any) -> sparse.csr_matrix:
    """Read counts into memory, as float64."""
    return canonical_csr(matrix).astype(np.float64)


def expression(mdata: MuData, name: str, genes: pd.Index, size_factor_key: str | None) -> sparse.csr_matrix:
    """Normalise expression to 10,000 counts a cell and take logarithms, cells x genes."""
    rna, slot = mdata.mod[name], f"mdata[{name!r}]"
    check_counts(rna.X, f"{slot}.X")
    counts = _numbers(rna.X)
    if size_factor_key is None:
        size = np.asarray(counts.sum(axis=1)).ravel()
    else:
        size = cell_numbers(mdata, name, size_factor_key, argument="size_factor_key")
        if not (np.isfinite(size) & (size >= 0)).all():
            bad = size[~(np.isfinite(size) & (size >= 0))][0]
            msg = f"size_factor_key={size_factor_key!r} holds {bad}: library sizes are counts of at least 0; leave out such cells."
            raise ValueError(msg)
    scaled = sparse.diags(np.divide(1e4, size, out=np.zeros_like(size), where=size > 0)) @ counts
    return sparse.csr_matrix(scaled[:, rna.var_names.get_indexer(genes)]).log1p()


def learn_from(
    mdata: Any,
    named: dict[str, str],
    loci: pd.DataFrame,
    peaks: pd.DataFrame,
    *,
    layer: str | None,
    size_factor_key: str | None,
    crossed: bool,
) -> Learned:
    """Learn weights from cells with both.

    Parameters
    ----------
    mdata
        Expression and peaks of the same cells.
    named
        Its modalities.
    loci
        All genes of the annotation; those of the expression are learned from.
    peaks
        Where the peaks lie.
    layer
        Of the counts of peaks.
    size_factor_key
        Column of the expression's `obs` with library sizes, or `None` for the sums of counts.
    crossed
        Whether to learn weights without the genes of each chromosome as well.

    Returns
    -------
    The weights.
    """
    if not isinstance(mdata, MuData) or "rna" not in named:
        msg = (
            "weights='learned' needs expression and peaks of the same cells to learn from: a MuData with both as data, or as "
            "reference=."
        )
        raise ValueError(msg)
    rna, atac = mdata.mod[named["rna"]], mdata.mod[named["atac"]]
    slots = [f"mdata[{named[role]!r}]" for role in ("rna", "atac")]
    check_same_cells(mdata, [named["rna"], named["atac"]])
    counts = check_layer(atac, layer, slots[1])
    check_counts(counts, layer_slot(slots[1], layer))
    measured = loci[loci.index.isin(rna.var_names)]
    pairs = window_features(measured, peaks, loci)
    values = expression(mdata, named["rna"], measured.index, size_factor_key)
    chromosome, material = measured["chrom"].to_numpy(str), prepare(_numbers(counts), pairs)
    weights = learn_prepared(material, values, chromosome=chromosome)
    try:
        parts = tuple(learn_crossed(material, values, chromosome=chromosome)) if crossed else ()
    except ValueError:
        parts = ()
        logger.warning(
            "too few genes or chromosomes to learn the weights of a gene from others: scores of genes that were learned from "
            "hold some of the noise of their own expression"
        )
    return Learned(weights, peaks, parts)


def apply(learned: Learned, matrix: Any, loci: pd.DataFrame, peaks: pd.DataFrame) -> tuple[Pairs, np.ndarray]:
    """Weigh the pairs of data, and score their genes; the scores are cells x genes, float32."""
    pairs, counts, chrom = window_features(loci, peaks, loci), _numbers(matrix), loci["chrom"].astype(str)
    weight = np.zeros(len(pairs.gene))
    scores = np.zeros((counts.shape[0], len(loci)), dtype=np.float32)
    crossed = [(chrom.isin(names).to_numpy(), weights) for names, weights in learned.crossed]
    rest = ~np.logical_or.reduce([genes for genes, _ in crossed] or [np.zeros(len(loci), dtype=bool)])
    for genes, weights in [*crossed, (rest, learned.at(peaks))]:
        part = pairs.at(genes)
        weight[genes[pairs.gene]] = weights.weights(part)
        scores[:, genes] = weights.scores(counts, part)
    order = np.lexsort((pairs.gene, pairs.peak))
    return Pairs(pairs.peak[order], pairs.gene[order], weight[order]), scores
