from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem._checks import listed
from sctandem.genome._chromosomes import match_chromosomes
from sctandem.genome._sequence_stream import stretches

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_SIZE = 1 << 22


@dataclass(frozen=True, slots=True)
class LocusBases:
    """The bases of a stretch of the genome.

    Attributes
    ----------
    name
        The sequence, as the file names it.
    start
        Position of the first of `codes`, 0-based.
    codes
        0 to 3 for A, C, G, T and 4 for all else, uint8.
    """

    name: str
    start: int
    codes: np.ndarray


def locus_bases(loci: pd.DataFrame, fasta: str | Path, *, flank: int = 0) -> list[LocusBases]:
    """Read the bases of a few loci and around them.

    Parameters
    ----------
    loci
        ``chrom``, ``start`` and ``end`` (0-based, half open), indexed by names that messages may use.
    fasta
        The genome: plain text, gzip or bgzip. It is read from its start until all loci were met; no index is needed.
    flank
        How many bases to add on both sides; fewer where the sequence ends.

    Returns
    -------
    One item per locus.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no FASTA file, or a locus lies outside its sequences; names the locus.
    """
    rows_of = {str(chrom): rows for chrom, rows in loci.groupby("chrom", sort=False).indices.items()}
    start = np.maximum(loci["start"].to_numpy(np.int64) - flank, 0)
    end = loci["end"].to_numpy(np.int64)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(loci))]
    names, reached = [""] * len(loci), np.zeros(len(loci), dtype=np.int64)
    chrom_of: dict[str, str | None] = {}
    used: dict[str, str] = {}
    for stretch in stretches(fasta, before=0, after=0, size=_SIZE):
        if stretch.name not in chrom_of:
            # a name that fits exactly may still come where another spelling was taken
            if all(used.get(chrom) == chrom for chrom in rows_of) and bool((reached >= end).all()):
                break
            chrom = match_chromosomes([stretch.name], rows_of).get(stretch.name)
            if chrom is not None and chrom in used and used[chrom] != stretch.name:
                if chrom not in {used[chrom], stretch.name}:
                    msg = f"{fasta} has {used[chrom]!r} and {stretch.name!r}; which of them is {chrom!r} is not clear."
                    raise ValueError(msg)
                if used[chrom] == chrom:  # the exact name wins
                    chrom = None
                else:
                    for row in rows_of[chrom]:
                        parts[row], reached[row] = [], 0
            chrom_of[stretch.name] = chrom
            if chrom is not None:
                used[chrom] = stretch.name
        chrom = chrom_of[stretch.name]
        if chrom is None or used[chrom] != stretch.name:
            continue
        last = stretch.offset + len(stretch.codes)
        for row in rows_of[chrom]:
            names[row], reached[row] = stretch.name, max(reached[row], last)
            low, high = max(start[row], stretch.offset), min(end[row] + flank, last)
            if low < high:
                parts[row].append(stretch.codes[low - stretch.offset : high - stretch.offset].copy())
    missing = [chrom for chrom in rows_of if chrom not in used]
    if missing:
        first = loci.index[rows_of[missing[0]][0]]
        msg = (
            f"{fasta} has no sequence {missing[0]!r}, where {str(first)!r} lies; it has {listed(chrom_of, 5)}. "
            "Is this the genome of the data?"
        )
        raise ValueError(msg)
    beyond = np.flatnonzero(reached < end)
    if len(beyond):
        row = int(beyond[0])
        msg = (
            f"{str(loci.index[row])!r} ends at {end[row]}, beyond the end of {names[row]!r} in {fasta} "
            f"({reached[row]} bp). Is this the genome of the data?"
        )
        raise ValueError(msg)
    return [
        LocusBases(names[row], int(start[row]), np.concatenate(parts[row]).astype(np.uint8)) for row in range(len(loci))
    ]
