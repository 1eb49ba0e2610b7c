"""Places of motifs in peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class MotifSites:
    """Places of motifs, one row a place, sorted by peak, then motif, then start.

    Attributes
    ----------
    peak, motif, start
        Positions, and bp from the start of the peak, (sites,).
    strand
        1 or -1; 0 where the motif fits both strands, at the same place or overlapping, so that it has no direction, (sites,).
    quality
        Rank of the score among those of the same motif, 0 to 1, (sites,).
    first
        Position of each peak's first site, and the number of sites, (peaks + 1,).
    width
        Of each motif in bp, (motifs,).
    """

    peak: np.ndarray
    motif: np.ndarray
    start: np.ndarray
    strand: np.ndarray
    quality: np.ndarray
    first: np.ndarray
    width: np.ndarray

    @classmethod
    def build(
        cls,
        peak: np.ndarray,
        motif: np.ndarray,
        start: np.ndarray,
        *,
        strand: np.ndarray,
        score: np.ndarray,
        width: np.ndarray,
        n_peaks: int,
    ) -> MotifSites:
        """Sort hits, make one place of hits on both strands, and take the direction from those that have none."""
        order = np.lexsort((-score, start, motif, peak))
        peak, motif, start = (np.asarray(x)[order].astype(np.int64) for x in (peak, motif, start))
        strand, score = np.asarray(strand)[order].astype(np.int8), np.asarray(score)[order]
        same = np.zeros(peak.size, dtype=bool)
        same[1:] = (np.diff(peak) == 0) & (np.diff(motif) == 0) & (np.diff(start) == 0)
        keep = np.flatnonzero(~same)
        both = np.zeros(0, dtype=bool)
        if keep.size:
            both = np.minimum.reduceat(strand, keep) != np.maximum.reduceat(strand, keep)
        peak, motif, start, score = peak[keep], motif[keep], start[keep], score[keep]
        strand = np.where(both, 0, strand[keep]).astype(np.int8)
        near = (np.diff(peak) == 0) & (np.diff(motif) == 0) & (np.diff(start) < np.asarray(width)[motif[:-1]])
        opposite = near & (strand[:-1] != strand[1:])
        strand[:-1][opposite] = 0
        strand[1:][opposite] = 0
        quality = np.empty(peak.size)
        by_motif = np.lexsort((score, motif))
        count = np.bincount(motif, minlength=len(width))
        rank = np.arange(peak.size) - np.repeat(np.cumsum(count) - count, count)
        quality[by_motif] = (rank + 0.5) / np.repeat(np.maximum(count, 1), count)
        first = np.searchsorted(peak, np.arange(n_peaks + 1))
        return cls(peak, motif, start, strand, quality, first, np.asarray(width, dtype=np.int64))

    def rows(self, peaks: np.ndarray, motif: int) -> np.ndarray:
        """Return the rows of one motif in some peaks."""
        rows = np.flatnonzero(self.motif == motif)
        return rows[np.isin(self.peak[rows], peaks)]
