"""Weights of open chromatin for genes by fixed rules, and which gene owns a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

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
