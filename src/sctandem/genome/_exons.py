from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd


def read_exons(genes: str | Path | pd.DataFrame) -> pd.DataFrame | None:
    """Read the exons of a GTF or GFF3 file.

    Parameters
    ----------
    genes
        An annotation, as :func:`sctandem.genome.read_genes` takes it.

    Returns
    -------
    ``chrom`` (str), ``start`` and ``end`` (int64; 0-based, half open), overlapping exons united; `None` for annotations that
    know no exons.
    """
    if isinstance(genes, pd.DataFrame):
        return None
    path = Path(genes)
    if not {".gtf", ".gff", ".gff3"} & {suffix.lower() for suffix in path.suffixes}:
        return None
    import bioframe

    with path.open("rb") as handle:
        zipped = handle.read(2) == b"\x1f\x8b"
    rows = set()
    with gzip.open(path, "rt") if zipped else path.open() as lines:
        for line in lines:
            fields = line.split("\t", 5)
            if len(fields) == 6 and fields[2] == "exon" and not line.startswith("#"):
                rows.add((fields[0], int(fields[3]) - 1, int(fields[4])))
    if not rows:
        return None
    exons = pd.DataFrame(sorted(rows), columns=["chrom", "start", "end"])
    return bioframe.merge(exons)[["chrom", "start", "end"]].astype({"chrom": object, "start": int, "end": int})
