"""Fragment files drawn at random, and the plainest way to count them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pysam

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BARCODES = ["AAACCCGGGT-1", "CCCAAATTTG-1", "GGGTTTAAAC-1", "TTTGGGCCCA-1", "ACACACACAC-1"]
CONTIGS = ["chr1", "chr2", "chrX"]


def write(folder: Path, text: str | Iterable[tuple], name: str = "fragments.tsv") -> Path:
    """Write a file as it is to be: compressed by bgzip, with its index beside it."""
    if not isinstance(text, str):
        text = "".join("\t".join(map(str, row)) + "\n" for row in text)
    plain = folder / name
    plain.write_text(text)
    return index(compress(plain))


def compress(plain: Path) -> Path:
    packed = plain.with_name(plain.name + ".gz")
    pysam.tabix_compress(str(plain), str(packed), force=True)
    return packed


def index(packed: Path) -> Path:
    pysam.tabix_index(str(packed), preset="bed", force=True)
    return packed


def draw(
    rng: np.random.Generator, n: int = 3000, length: int = 400_000, contigs: list[str] | None = None
) -> list[tuple]:
    """Draw fragments, sorted; some share their start, some are long, a tenth has a barcode of its own."""
    rows = []
    for contig in contigs or CONTIGS:
        start = np.sort(rng.integers(0, length, n))
        start[1::10] = start[::10][: start[1::10].size]
        start.sort()
        width = np.where(rng.random(n) < 0.02, rng.integers(5_000, 60_000, n), rng.integers(1, 600, n))
        barcodes = [BARCODES[i] if i < len(BARCODES) else f"GATTACA{j}-1" for j, i in enumerate(rng.integers(0, 6, n))]
        copies = rng.integers(1, 9, n)
        rows += [
            (contig, int(a), int(a + b), c, int(d)) for a, b, c, d in zip(start, width, barcodes, copies, strict=True)
        ]
    return rows


def draw_regions(rng: np.random.Generator, n: int = 120, length: int = 400_000) -> pd.DataFrame:
    """Draw regions in no order, many overlapping, one inside another, one that holds a whole chromosome, one of a single base."""
    start = rng.integers(0, length, n)
    table = pd.DataFrame(
        {
            "chrom": rng.choice(CONTIGS, n),
            "start": start,
            "end": start + np.where(rng.random(n) < 0.1, rng.integers(10_000, 80_000, n), rng.integers(1, 2_000, n)),
        }
    )
    special = [("chr1", 0, length + 100_000), ("chr1", 1_000, 1_001), ("chr2", 100, 5_000), ("chr2", 200, 300)]
    table = pd.concat([table, pd.DataFrame(special, columns=table.columns)], ignore_index=True)
    table = table.drop_duplicates().sample(frac=1, random_state=0)
    return table.set_axis([f"region{i}" for i in range(len(table))])


def naive(path: Path, regions: pd.DataFrame, cells: list[str], counting: str) -> np.ndarray:
    """Count line by line and region by region."""
    counts = np.zeros((len(cells), len(regions)), dtype=int)
    row = {cell: i for i, cell in enumerate(cells)}
    places = list(regions[["chrom", "start", "end"]].itertuples(index=False, name=None))
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            chrom, start, end, barcode = line.rstrip("\r\n").split("\t")[:4]
            if barcode not in row:
                continue
            bases = range(int(start), int(end))
            for j, (where, first, last) in enumerate(places):
                if where != chrom:
                    continue
                if counting == "insertions":
                    counts[row[barcode], j] += (bases[0] in range(first, last)) + (bases[-1] in range(first, last))
                else:
                    counts[row[barcode], j] += bases[0] < last and first <= bases[-1]
    return counts
