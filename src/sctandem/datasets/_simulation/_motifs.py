from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._whole import whole_file

if TYPE_CHECKING:
    import os

    from sctandem.datasets._simulation._genome import Genome

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
LINE = 60
GC, PEAK_GC = 0.41, 0.52
MAX_SITES = 4
"""Most sites that a peak can hold: the shortest peak is 200 bp long."""


def draw_motifs(tfs: list[str], *, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw a position probability matrix (width x ACGT, width 10 to 12) for each transcription factor."""
    motifs = {}
    for tf in tfs:
        width = int(rng.integers(10, 13))
        matrix = np.full((width, 4), 0.02)
        matrix[np.arange(width), rng.integers(4, size=width)] = 0.94
        motifs[tf] = matrix
    return motifs


def plant_sites(
    genome: Genome, bound: pd.DataFrame, motifs: dict[str, np.ndarray], *, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw a site for each row of `bound` (columns peak: position in the genome's order, tf: name).

    The peak is cut into equal parts, its sites lie in different ones and never overlap.

    Returns
    -------
    A table with tf, peak, chrom, start, end, strand and sequence (of the forward strand).
    """
    bound = bound.sort_values("peak", kind="stable", ignore_index=True)
    order = bound.groupby("peak").cumcount().to_numpy()
    peak = bound["peak"].to_numpy()
    peaks = genome.peaks.iloc[peak]
    part = (peaks["end"] - peaks["start"]).to_numpy() // MAX_SITES
    shift = rng.integers(MAX_SITES, size=len(genome.peaks))[peak]
    width = bound["tf"].map({tf: len(matrix) for tf, matrix in motifs.items()}).to_numpy(np.int64)
    start = peaks["start"].to_numpy() + part * ((order + shift) % MAX_SITES)
    start += (rng.random(len(bound)) * (part - width)).astype(np.int64)
    forward = rng.random(len(bound)) < 0.5
    sequences = np.empty(len(bound), dtype=object)
    for tf, rows in bound.groupby("tf", sort=True).indices.items():
        sequences[rows] = _draw_words(motifs[str(tf)], forward[rows], rng=rng)
    return pd.DataFrame(
        {
            "tf": bound["tf"].to_numpy(),
            "peak": peaks.index.to_numpy(),
            "chrom": peaks["chrom"].to_numpy(),
            "start": start,
            "end": start + width,
            "strand": np.where(forward, "+", "-"),
            "sequence": sequences,
        }
    )


def _draw_words(matrix: np.ndarray, forward: np.ndarray, *, rng: np.random.Generator) -> list[str]:
    """Draw words from a motif; those on the reverse strand are returned reverse complemented."""
    draws = rng.random((forward.size, len(matrix)))
    codes = (draws[:, :, None] > np.cumsum(matrix, axis=1)[None, :, :-1]).sum(2)
    codes = np.where(forward[:, None], codes, 3 - codes[:, ::-1])
    return [word.tobytes().decode() for word in BASES[codes]]


def write_fasta(path: str | os.PathLike[str], genome: Genome, sites: pd.DataFrame, *, rng: np.random.Generator) -> None:
    """Write the genome with the planted sites, 60 bases a line; the file appears whole or not at all."""
    path = Path(path)
    streams = rng.spawn(len(genome.sizes))
    with whole_file(path) as part, part.open("wb") as file:
        for (chrom, size), stream in zip(genome.sizes.items(), streams, strict=True):
            file.write(f">{chrom}\n".encode())
            file.write(_lines(_chromosome(str(chrom), int(size), genome, sites, rng=stream)))


def _letters(gc: float) -> np.ndarray:
    """Map a random byte to a base."""
    edges = np.cumsum([(1 - gc) / 2, gc / 2, gc / 2]) * 256
    return BASES[np.searchsorted(edges, np.arange(256), side="right")]


def _chromosome(chrom: str, size: int, genome: Genome, sites: pd.DataFrame, *, rng: np.random.Generator) -> np.ndarray:
    """Draw a chromosome: background, richer in GC inside peaks, and the sites on top."""
    draw = rng.integers(256, size=size, dtype=np.uint8)
    sequence, rich = _letters(GC)[draw], _letters(PEAK_GC)
    peaks = genome.peaks[genome.peaks["chrom"] == chrom]
    for start, end in zip(peaks["start"], peaks["end"], strict=True):
        sequence[start:end] = rich[draw[start:end]]
    here = sites[sites["chrom"] == chrom]
    for start, word in zip(here["start"], here["sequence"], strict=True):
        sequence[start : start + len(word)] = np.frombuffer(word.encode(), dtype=np.uint8)
    return sequence


def _lines(sequence: np.ndarray) -> bytes:
    """Break a sequence into lines."""
    whole = sequence.size // LINE * LINE
    lines = np.full((whole // LINE, LINE + 1), ord("\n"), dtype=np.uint8)
    lines[:, :LINE] = sequence[:whole].reshape(-1, LINE)
    rest = sequence[whole:].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")
