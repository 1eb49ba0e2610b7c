from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from sctandem.datasets._simulation._config import SimulationDesign

SLOT = 2000
"""Peaks lie on a grid of this many bp, one in a cell of it, so that they never overlap."""

WINDOW = 100_000
"""Reach of a peak up- and downstream of a transcription start site, in bp."""

PROMOTERS = 0.75
"""Share of the genes with a peak at their transcription start site."""

NEAR = 0.15
"""Share of the distal peaks that crowd around genes (log-uniform distance); the others fill the windows evenly."""


@dataclass(frozen=True, slots=True)
class Genome:
    """Where things lie.

    Attributes
    ----------
    sizes
        Length of each chromosome in bp.
    genes
        Genes in the order of the genome: chrom, start, end, strand, tss; indexed by name.
    peaks
        Peaks in the order of the genome: chrom, start, end; indexed by `chrom:start-end`.
    promoter
        For each peak whether it lies at a transcription start site.
    """

    sizes: pd.Series
    genes: pd.DataFrame
    peaks: pd.DataFrame
    promoter: np.ndarray

    @property
    def midpoints(self) -> np.ndarray:
        """Midpoints of the peaks on their chromosomes, in bp."""
        return ((self.peaks["start"] + self.peaks["end"]) // 2).to_numpy()


def lay_out(n_genes: int, n_peaks: int, *, design: SimulationDesign, rng: np.random.Generator) -> Genome:
    """Place genes and peaks on the chromosomes.

    The gaps between transcription start sites are gamma distributed (clusters and deserts). Three of four genes have a
    promoter peak; the other peaks lie around random genes, a few of them crowded near the start site and most anywhere
    in the window, as in the real data.
    """
    chromosome = np.sort(np.arange(n_genes) % design.n_chromosomes)
    tss = np.empty(n_genes, dtype=np.int64)
    sizes = np.empty(design.n_chromosomes, dtype=np.int64)
    for index in range(design.n_chromosomes):
        here = chromosome == index
        gaps = 2 * SLOT + rng.gamma(0.8, design.gene_spacing / 0.8, here.sum())
        tss[here] = WINDOW + np.cumsum(gaps).astype(np.int64)
        last = tss[here][-1] if here.any() else 0
        sizes[index] = -(-(last + 2 * WINDOW) // SLOT) * SLOT
    names = np.array([f"chr{index + 1}" for index in range(design.n_chromosomes)])
    genes = _genes(names[chromosome], tss, sizes[chromosome], rng=rng)
    peaks, promoter = _peaks(chromosome, tss, names, n_peaks, sizes=sizes, rng=rng)
    return Genome(pd.Series(sizes, index=names, name="size"), genes, peaks, promoter)


def _genes(chrom: np.ndarray, tss: np.ndarray, size: np.ndarray, *, rng: np.random.Generator) -> pd.DataFrame:
    forward = rng.random(tss.size) < 0.5
    length = np.clip(rng.lognormal(np.log(20_000), 0.9, tss.size), 1_000, 80_000).astype(np.int64)
    start = np.where(forward, tss, np.maximum(tss - length + 1, 0))
    end = np.where(forward, np.minimum(tss + length, size), tss + 1)
    names = [f"G{index + 1:04d}" for index in range(tss.size)]
    strand = np.where(forward, "+", "-")
    return pd.DataFrame({"chrom": chrom, "start": start, "end": end, "strand": strand, "tss": tss}, index=names)


def _peaks(
    chromosome: np.ndarray,
    tss: np.ndarray,
    names: np.ndarray,
    n_peaks: int,
    *,
    sizes: np.ndarray,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw grid cells for the peaks, promoters first, then draw each peak inside its cell."""
    n_slots = sizes // SLOT
    first = np.concatenate([[0], np.cumsum(n_slots)])
    at_start = first[chromosome] + tss // SLOT
    taken = np.unique(rng.choice(at_start, min(int(PROMOTERS * tss.size), n_peaks // 2), replace=False))
    promoters = taken
    reach = np.arange(-(WINDOW // SLOT) + 1, WINDOW // SLOT)
    room = np.unique((first[chromosome] + tss // SLOT)[:, None] + reach).size
    if n_peaks > 0.8 * room:
        msg = (
            f"n_peaks={n_peaks} do not fit: {tss.size} genes have room for {int(0.8 * room)} peaks around them. "
            "Ask for fewer peaks, more genes or a larger gene_spacing."
        )
        raise ValueError(msg)
    while taken.size < n_peaks:
        anchor = rng.integers(tss.size, size=2 * (n_peaks - taken.size))
        even = rng.uniform(SLOT, WINDOW, anchor.size)
        crowded = SLOT * (WINDOW / SLOT) ** rng.random(anchor.size)
        distance = np.where(rng.random(anchor.size) < NEAR, crowded, even) * rng.choice([-1, 1], anchor.size)
        place = first[chromosome[anchor]] + (tss[anchor] + distance).astype(np.int64) // SLOT
        fresh = np.setdiff1d(place, taken)
        taken = np.union1d(taken, rng.permutation(fresh)[: n_peaks - taken.size])
    width = np.clip(rng.lognormal(np.log(650), 0.7, n_peaks), 200, SLOT - 100).astype(np.int64)
    where = np.searchsorted(first, taken, side="right") - 1
    start = (taken - first[where]) * SLOT + (rng.random(n_peaks) * (SLOT - width)).astype(np.int64)
    chrom, end = names[where], start + width
    index = [f"{c}:{s}-{e}" for c, s, e in zip(chrom, start, end, strict=True)]
    return pd.DataFrame({"chrom": chrom, "start": start, "end": end}, index=index), np.isin(taken, promoters)
