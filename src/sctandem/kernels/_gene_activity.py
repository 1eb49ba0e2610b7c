"""Weights of open chromatin for genes by fixed rules, which gene owns a count, and the sums of a block of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sctandem._compat import cached_njit

UPSTREAM = 2000
"""Reach of `body_pairs` before the gene, bp: that of Signac, SnapATAC2 and Seurat."""

# ArchR's constants (addGeneScoreMatrix)
ARCHR_UPSTREAM = 5000
ARCHR_LEAST, ARCHR_MOST = 1000, 100_000
ARCHR_DECAY, ARCHR_FLOOR = 5000.0, float(np.exp(-1.0))
ARCHR_TILE, ARCHR_CEILING = 500, 4
ARCHR_SIZE_FACTOR = 5.0
ARCHR_TOTAL = 10_000.0
ARCHR_EXCLUDED = frozenset({"Y", "M", "MT"})


class Intervals(NamedTuple):
    """Intervals on chromosomes, which are numbered; 0-based, half open."""

    chrom: np.ndarray
    start: np.ndarray
    end: np.ndarray


class Genes(NamedTuple):
    """Genes on chromosomes, which are numbered; `minus` says which are transcribed backwards."""

    chrom: np.ndarray
    start: np.ndarray
    end: np.ndarray
    tss: np.ndarray
    minus: np.ndarray


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sources of signal and the genes that they count for, ordered by source and then gene.

    Attributes
    ----------
    source, gene
        Positions, int64.
    weight
        Of the source for the gene, float64.
    """

    source: np.ndarray
    gene: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, slots=True)
class Reach:
    """How far each gene reaches by ArchR's rules.

    Attributes
    ----------
    body
        Gene and what lies shortly before it: distance 0.
    reach
        As far as it is allowed to collect signal.
    factor
        Weight for its length.
    """

    body: Intervals
    reach: Intervals
    factor: np.ndarray


def with_upstream(genes: Genes, upstream: int) -> Intervals:
    """Extend genes against the direction of transcription; the first base may come to lie before the chromosome."""
    start = np.where(genes.minus, genes.start, genes.start - upstream)
    return Intervals(genes.chrom, start, np.where(genes.minus, genes.end + upstream, genes.end))


def overlaps(sources: Intervals, regions: Intervals) -> tuple[np.ndarray, np.ndarray]:
    """List which sources share a base with which regions, ordered by source and then region."""
    from bioframe.core.arrops import overlap_intervals

    found = [np.zeros((0, 2), dtype=np.int64)]
    for chrom in np.intersect1d(sources.chrom, regions.chrom):
        here, there = np.flatnonzero(sources.chrom == chrom), np.flatnonzero(regions.chrom == chrom)
        # nothing lies before a chromosome, and bioframe takes no negative coordinates from some versions on
        a, b = (np.maximum(ends[here], 0) for ends in (sources.start, sources.end))
        c, d = (np.maximum(ends[there], 0) for ends in (regions.start, regions.end))
        one, other = overlap_intervals(a, b, c, d)
        found.append(np.column_stack([here[one], there[other]]))
    both = np.concatenate(found)
    order = np.lexsort((both[:, 1], both[:, 0]))
    return both[order, 0], both[order, 1]


def body_pairs(sources: Intervals, genes: Genes, upstream: int = UPSTREAM) -> Pairs:
    """Give weight 1 to every source that overlaps a gene or the bases before it.

    Parameters
    ----------
    sources
        Peaks or pieces of the genome.
    genes
        The genes.
    upstream
        How far the bases before a gene belong to it.

    Returns
    -------
    The pairs.
    """
    source, gene = overlaps(sources, with_upstream(genes, upstream))
    return Pairs(source, gene, np.ones(len(source)))


def archr_reach(genes: Genes) -> Reach:
    """Work out how far genes reach: at least 1 kb, at most 100 kb, and not into the neighbours [Granja21]_.

    Parameters
    ----------
    genes
        All of them: the neighbours set the limits, and the lengths the factors.

    Returns
    -------
    The reach. Neighbours are, as in ArchR, the genes before and after in the order of starts (then ends), each with 5 kb
    before it; where genes lie inside one another those are not always the nearest.

    References
    ----------
    .. [Granja21] Granja et al., ArchR is a scalable software package for integrative single-cell chromatin accessibility
       analysis, Nature Genetics 53 (2021).
    """
    body = with_upstream(genes, ARCHR_UPSTREAM)
    order = np.lexsort((body.end, body.start, body.chrom))
    chrom, start, end = (ends[order] for ends in body)
    first = np.r_[True, chrom[1:] != chrom[:-1]]
    before = np.where(first, 0, np.r_[0, end[:-1] + ARCHR_TILE - 1])
    after = np.where(np.r_[first[1:], True], np.iinfo(np.int64).max, np.r_[start[1:] - ARCHR_TILE + 1, 0])
    low, high = np.empty_like(body.start), np.empty_like(body.end)
    low[order] = np.minimum(start - ARCHR_LEAST, np.maximum(before, start - ARCHR_MOST))
    high[order] = np.maximum(end + ARCHR_LEAST, np.minimum(after, end + ARCHR_MOST))
    shortness = 1.0 / (body.end - body.start)
    spread = float(np.ptp(shortness)) if len(shortness) else 0.0
    # of one length: ArchR would divide by zero
    factor = 1.0 + (ARCHR_SIZE_FACTOR - 1.0) * shortness / spread if spread > 0 else np.ones(len(shortness))
    return Reach(body, Intervals(genes.chrom, low, high), factor)


def archr_pairs(sources: Intervals, reach: Reach) -> Pairs:
    """Weigh sources by ArchR's rule: `exp(-distance / 5000) + exp(-1)`, times the factor for the length of the gene.

    Parameters
    ----------
    sources
        Peaks or tiles.
    reach
        Of the genes.

    Returns
    -------
    The pairs.
    """
    source, gene = overlaps(sources, reach.reach)
    gap = np.maximum(reach.body.start[gene] - sources.end[source], sources.start[source] - reach.body.end[gene])
    weight = np.exp(-np.maximum(gap, 0) / ARCHR_DECAY) + ARCHR_FLOOR
    return Pairs(source, gene, weight * reach.factor[gene])


def owners(pairs: Pairs, sources: Intervals, genes: Genes) -> np.ndarray:
    """Find the one gene to which all counts of a source go.

    Parameters
    ----------
    pairs
        With their weights; those that are not positive own nothing.
    sources, genes
        What they stand for.

    Returns
    -------
    Of each source the gene with the largest weight, among equals that with the nearest TSS, then the first; -1 for none.
    """
    owner = np.full(len(sources.start), -1, dtype=np.int64)
    kept = np.flatnonzero(pairs.weight > 0)
    source, gene = pairs.source[kept], pairs.gene[kept]
    # twice the distance from the middle of the source to that of the first base: whole, and alike on both strands
    apart = np.abs(sources.start[source] + sources.end[source] - 1 - 2 * genes.tss[gene])
    order = np.lexsort((gene, apart, -pairs.weight[kept], source))
    where, first = np.unique(source[order], return_index=True)
    owner[where] = gene[order][first]
    return owner


#: What `places` tells apart.
PLACES = ("gene body", "upstream", "distal", "unassigned")


def places(owner: np.ndarray, sources: Intervals, genes: Genes, upstream: int) -> np.ndarray:
    """Say where each source lies, seen from the gene that owns it.

    Parameters
    ----------
    owner
        As `owners` returns it.
    sources, genes
        What they stand for.
    upstream
        How far the bases before a gene belong to it.

    Returns
    -------
    Positions in `PLACES`, int8. A source is in the gene body when it overlaps that, upstream when it overlaps the bases
    before it, else distal.
    """
    owned = owner >= 0
    gene = np.where(owned, owner, 0)
    inside, near = np.zeros((2, len(owner)), dtype=bool)
    if owned.any():
        region = with_upstream(genes, upstream)
        inside = (sources.start < genes.end[gene]) & (sources.end > genes.start[gene])
        near = (sources.start < region.end[gene]) & (sources.end > region.start[gene])
    return np.select([~owned, inside, near], [3, 0, 1], 2).astype(np.int8)


def gene_pieces(genes: Genes, upstream: int = UPSTREAM) -> Intervals:
    """Cut the genes and the bases before them into pieces that no border crosses.

    All bases of a piece belong to the same genes and have the same nearest TSS among those, so that whatever is counted
    in pieces can be summed up for each gene exactly, and given to one of them exactly.

    Parameters
    ----------
    genes
        The genes.
    upstream
        How far the bases before a gene belong to it.

    Returns
    -------
    The pieces, ordered by chromosome and start.
    """
    region = with_upstream(genes, upstream)
    region = Intervals(region.chrom, np.maximum(region.start, 0), region.end)
    chrom = np.tile(genes.chrom, 4)
    pieces = _cut(chrom, np.concatenate([region.start, region.end, genes.start, genes.end]))
    source, gene = overlaps(pieces, region)
    # between two TSS the nearest one changes half-way; at a base that is as near to both, at that base
    order = np.lexsort((genes.tss[gene], source))
    source, tss = source[order], genes.tss[gene[order]]
    same = source[1:] == source[:-1]
    between = (tss[1:] + tss[:-1])[same]
    where = source[1:][same]
    point = np.concatenate([(between + 1) // 2, between // 2 + 1])
    where = np.concatenate([where, where])
    within = (point > pieces.start[where]) & (point < pieces.end[where])
    borders = [pieces.start, pieces.end, point[within]]
    pieces = _cut(np.concatenate([pieces.chrom, pieces.chrom, pieces.chrom[where[within]]]), np.concatenate(borders))
    covered = np.unique(overlaps(pieces, region)[0])
    return Intervals(*(ends[covered] for ends in pieces))


def _cut(chrom: np.ndarray, points: np.ndarray) -> Intervals:
    """Make the intervals between points that follow one another on a chromosome."""
    both = np.unique(np.column_stack([chrom, points]), axis=0)
    follows = both[1:, 0] == both[:-1, 0]
    return Intervals(both[:-1, 0][follows], both[:-1, 1][follows], both[1:, 1][follows])


def gene_tiles(reach: Intervals) -> Intervals:
    """List the tiles of 500 bp that any gene reaches, cut where ArchR cuts them: it divides positions that count from 1.

    Parameters
    ----------
    reach
        Of the genes.

    Returns
    -------
    The tiles, ordered by chromosome and start.
    """
    found = [np.zeros((0, 3), dtype=np.int64)]
    for chrom in np.unique(reach.chrom):
        here = reach.chrom == chrom
        first, last = np.maximum(reach.start[here] + 1, 0) // ARCHR_TILE, reach.end[here] // ARCHR_TILE
        step = np.zeros(int(last.max()) + 2, dtype=np.int64)
        np.add.at(step, first, 1)
        np.add.at(step, last + 1, -1)
        start = np.flatnonzero(np.cumsum(step) > 0) * ARCHR_TILE - 1
        found.append(np.column_stack([np.full(len(start), chrom), np.maximum(start, 0), start + ARCHR_TILE]))
    tiles = np.concatenate(found)
    return Intervals(tiles[:, 0], tiles[:, 1], tiles[:, 2])


def effective_number(pairs: Pairs, signal: np.ndarray, n_genes: int) -> np.ndarray:
    """Count from how many sources the signal of a gene comes: the exponential of the entropy of their shares.

    Parameters
    ----------
    pairs
        With their weights.
    signal
        Of each source, summed over the cells.
    n_genes
        How many genes there are.

    Returns
    -------
    Between 1 (one source brings it all) and the number of sources; 0 for genes without signal.
    """
    given = np.abs(pairs.weight * signal[pairs.source])
    total = np.bincount(pairs.gene, given, minlength=n_genes)
    share = given[given > 0] / total[pairs.gene[given > 0]]
    entropy = np.bincount(pairs.gene[given > 0], -share * np.log(share), minlength=n_genes)
    return np.where(total > 0, np.exp(entropy), 0.0)


class GeneSums(NamedTuple):
    """Sums of a block of cells; counts and scores as data, indices and indptr of cells x genes in the CSR format, sorted."""

    counts: tuple[np.ndarray, np.ndarray, np.ndarray]
    """int32."""
    scores: tuple[np.ndarray, np.ndarray, np.ndarray]
    """float32."""
    unassigned: np.ndarray
    """Of each cell the counts that no gene owns, int64."""
    size: np.ndarray
    """Of each cell the sum of the scores, float64."""
    counted: np.ndarray
    """Of each source the counts, int64."""
    capped: np.ndarray
    """Of each source the counts that entered the scores, int64."""
    largest: int
    """The largest count of a gene in a cell: int32 may be too small for it."""


@cached_njit(nogil=True)
def _room(indptr, indices, per_source, n_genes):  # pragma: no cover
    room = 0
    for cell in range(len(indptr) - 1):
        most = 0
        for at in range(indptr[cell], indptr[cell + 1]):
            most += per_source[indices[at]]
        room += min(most, n_genes)  # no cell fills more places than it has pairs, or than there are genes
    return room


@cached_njit(nogil=True)
def _sum_rows(indptr, indices, data, owner, starts, genes, weights, ceiling, n_genes, room):  # pragma: no cover
    n_cells, n_sources = len(indptr) - 1, len(owner)
    count, score = np.zeros(n_genes, np.int64), np.zeros(n_genes, np.float64)
    count_ptr, score_ptr = np.zeros(n_cells + 1, np.int64), np.zeros(n_cells + 1, np.int64)
    # one place more: what comes out as zero is written and then overwritten
    count_gene, count_value = np.empty(room + 1, np.int32), np.empty(room + 1, np.int32)
    score_gene, score_value = np.empty(room + 1, np.int32), np.empty(room + 1, np.float32)
    unassigned, size = np.zeros(n_cells, np.int64), np.zeros(n_cells, np.float64)
    counted, capped = np.zeros(n_sources, np.int64), np.zeros(n_sources, np.int64)
    n_counts, n_scores, largest = 0, 0, 0
    for cell in range(n_cells):
        for at in range(indptr[cell], indptr[cell + 1]):
            source, value = indices[at], data[at]
            signal = min(value, ceiling)
            counted[source] += value
            capped[source] += signal
            gene = owner[source]
            if gene >= 0:
                count[gene] += value
            else:
                unassigned[cell] += value
            for pair in range(starts[source], starts[source + 1]):
                score[genes[pair]] += weights[pair] * signal
        for gene in range(n_genes):
            largest = max(largest, count[gene])
            count_gene[n_counts], count_value[n_counts] = gene, count[gene]
            n_counts += count[gene] != 0
            score_gene[n_scores], score_value[n_scores] = gene, score[gene]
            n_scores += score[gene] != 0
            size[cell] += score[gene]
        count[:], score[:] = 0, 0
        count_ptr[cell + 1], score_ptr[cell + 1] = n_counts, n_scores
    return (
        (count_value[:n_counts].copy(), count_gene[:n_counts].copy(), count_ptr),
        (score_value[:n_scores].copy(), score_gene[:n_scores].copy(), score_ptr),
        unassigned,
        size,
        counted,
        capped,
        largest,
    )


def gene_sums(
    block: tuple[np.ndarray, np.ndarray, np.ndarray], owner: np.ndarray, pairs: Pairs, n_genes: int, ceiling: int | None
) -> GeneSums:
    """Sum the signal of a block of cells for every gene.

    Parameters
    ----------
    block
        Counts of the cells, cells x sources, as data, indices and indptr of the CSR format without duplicates.
    owner
        As `owners` returns it.
    pairs
        With their weights, ordered by source.
    n_genes
        How many genes there are.
    ceiling
        Counts of one source in one cell above this add nothing to the score; they are counted all the same.

    Returns
    -------
    The sums.
    """
    data, indices, indptr = block
    starts = np.searchsorted(pairs.source, np.arange(len(owner) + 1))
    room = _room(indptr, indices, np.maximum(np.diff(starts), owner >= 0), n_genes)
    limit = np.iinfo(np.int64).max if ceiling is None else ceiling
    data = data.astype(np.int64, copy=False)
    return GeneSums(*_sum_rows(indptr, indices, data, owner, starts, pairs.gene, pairs.weight, limit, n_genes, room))
