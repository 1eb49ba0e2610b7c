from __future__ import annotations

import gzip
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._check_files import existing_file, readable
from sctandem._checks import check_frame
from sctandem.genome._coordinates import as_text, find_columns, parse_intervals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

_COLUMNS = ["chrom", "start", "end", "name", "gene_id", "strand", "tss"]
_NAMES = ("gene_name", "gene_symbol", "symbol", "gene", "name", "Gene")
_IDS = ("gene_id", "gene_ids", "Ensembl_ID", "ensembl_id", "ensembl", "GeneID")
_FEATURES = ("gene", "transcript", "mRNA", "exon")
_SAME_WIDTH = 100
"""A table with at least this many intervals, all of one width, lists TSS and not genes."""


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, also a gzipped one (by its name), and name it when it turns out to be none."""
    with (
        readable(path, "a text file"),
        gzip.open(path, "rt") if path.suffix in {".gz", ".bgz"} else path.open() as lines,
    ):
        yield lines


def read_genes(genes: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read a gene annotation.

    Parameters
    ----------
    genes
        A BED file of at least 6 columns (a header line that starts with ``#chr`` may name more of them), a GTF or
        GFF3 file, each also gzipped, or a table. A table needs ``chrom``, ``start`` and ``end`` (0-based, half open)
        or ``interval``, and may have ``strand``, ``tss``, ``gene_id`` and the name of the gene in ``gene_name``,
        ``gene`` or ``name``; without such a column the index is taken.

    Returns
    -------
    One row per interval: ``chrom`` (str), ``start``, ``end`` (int64; 0-based, half open), ``name``, ``gene_id``
    (str, empty where not known), ``strand`` (``+``, ``-``, or ``.`` where not known), ``tss`` (int64; the 0-based
    position of the first transcribed base).
    ``attrs["tss_rule"]`` says how the TSS was found.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file or the table is no annotation.
    TypeError
        When `genes` is neither a path nor a table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import read_genes
    >>> table = pd.DataFrame({"chrom": ["chr1"], "start": [100], "end": [900], "strand": ["-"]}, index=["MS4A1"])
    >>> int(read_genes(table).tss.iloc[0])
    899

    Notes
    -----
    The TSS is the gene's 5' end by its strand. Of a GTF the lines ``gene`` are read, or the transcripts or exons where
    there are none. Intervals that are all of one width (at least 100 of them) are windows around the TSS, whose
    middle is taken. Where the strand is not known, as in the features of Cell Ranger ARC, the interval spans the
    TSS of the gene's transcripts, and its middle is taken.
    """
    if isinstance(genes, pd.DataFrame):
        table, source = _from_table(genes), "the table of genes"
    else:
        path = existing_file(genes, "genes")
        source = str(path)
        suffixes = [suffix.lower() for suffix in path.suffixes]
        table = _read_gtf(path) if {".gtf", ".gff", ".gff3"} & set(suffixes) else _read_bed(path)
    return _with_tss(table, source)


def _from_table(genes: pd.DataFrame) -> pd.DataFrame:
    """Bring the columns of a table to their usual names; rows without coordinates are left out."""
    check_frame(genes, (), "genes")
    columns = find_columns(genes)
    if columns is not None:
        table = genes[list(columns.values())].set_axis(list(columns), axis=1).astype({"chrom": object})
    elif "interval" in genes.columns:
        table = parse_intervals(genes["interval"])
    else:
        shown = ", ".join(map(str, genes.columns)) or "none"
        msg = f"The table of genes needs the columns chrom, start and end, or interval; it has {shown}."
        raise ValueError(msg)
    name = next((column for column in _NAMES if column in genes.columns), None)
    gene_id = next((column for column in _IDS if column in genes.columns), None)
    table = table.assign(
        name=np.asarray(genes.index if name is None else genes[name], dtype=object),
        gene_id="" if gene_id is None else np.asarray(genes[gene_id], dtype=object),
        strand="." if "strand" not in genes.columns else np.asarray(genes["strand"], dtype=object),
        tss=np.nan if "tss" not in genes.columns else pd.to_numeric(genes["tss"], errors="coerce").to_numpy(float),
    )
    return table.reset_index(drop=True)


def _read_bed(path: Path) -> pd.DataFrame:
    """Read a BED file with or without a header line."""
    header, skip = None, 0
    with open_text(path) as lines:
        for line in lines:
            fields = line.rstrip("\r\n").split("\t")
            if line.startswith("#") and len(fields) >= 6:
                header = [fields[0].lstrip("#"), *fields[1:]]
            elif line.strip() and not line.startswith(("#", "track", "browser")):
                break
            skip += 1
        else:
            msg = f"{path} holds no lines of genes."
            raise ValueError(msg)
    if len(fields) < 6:
        msg = (
            f"{path} has {len(fields)} tab-separated columns in line {skip + 1}; 6 are needed "
            "(chrom, start, end, name, score, strand)."
        )
        raise ValueError(msg)
    table = pd.read_csv(path, sep="\t", header=None, skiprows=skip, dtype=str, keep_default_na=False)
    names = ["chrom", "start", "end", "name", "score", "strand"]
    extra = header[6:] if header is not None and len(header) == table.shape[1] else []
    table.columns = pd.Index([*names, *(extra or [f"column_{i}" for i in range(6, table.shape[1])])])
    ids = next((column for column in table.columns[6:] if column in _IDS or _is_ensembl(table[column])), None)
    return table.assign(gene_id="" if ids is None else table[ids], tss=np.nan)


def _is_ensembl(column: pd.Series) -> bool:
    return bool(column.iloc[:100].str.match(r"ENS[A-Z]*G\d+").all())


def _read_gtf(path: Path) -> pd.DataFrame:
    """Read the genes of a GTF or GFF3 file, or the transcripts or exons where it lists none."""
    kept: dict[str, list[list[str]]] = {feature: [] for feature in _FEATURES}
    with open_text(path) as lines:
        for line in lines:
            fields = line.split("\t", 8)
            if len(fields) != 9 or line.startswith("#"):
                continue
            feature = fields[2]
            # exons come after their gene: once there are genes or transcripts nobody asks for them
            if feature in kept and not (feature == "exon" and (kept["gene"] or kept["transcript"])):
                kept[feature].append([fields[0], fields[3], fields[4], fields[6], fields[8]])
    rows = next((kept[feature] for feature in _FEATURES if kept[feature]), None)
    if rows is None:
        msg = f"{path} has no lines of genes, transcripts or exons with 9 tab-separated columns."
        raise ValueError(msg)
    table = pd.DataFrame(rows, columns=["chrom", "start", "end", "strand", "attributes"])
    attributes = table.pop("attributes")
    gene_id = attributes.str.extract(r'\bgene_id[ =]+"?([^";]+)', expand=False).fillna("")
    name = attributes.str.extract(r'\b(?:gene_name|gene|Name)[ =]+"?([^";]+)', expand=False)
    start = pd.to_numeric(table["start"], errors="coerce") - 1  # GTF counts from 1
    return table.assign(start=start, name=name.fillna(gene_id).str.strip(), gene_id=gene_id.str.strip(), tss=np.nan)


def _with_tss(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Check the coordinates, drop rows without any, and find the TSS of the rest."""
    chrom = table["chrom"].astype(object)
    start, end = (pd.to_numeric(table[c], errors="coerce").astype(float) for c in ("start", "end"))
    keep = (chrom.notna() & start.notna() & end.notna()).to_numpy()
    if not keep.any():
        msg = f"{source} has no gene with coordinates (chrom, start, end)."
        raise ValueError(msg)
    wrong = keep & ((start < 0) | (end <= start)).to_numpy()
    if wrong.any():
        first = int(np.argmax(wrong))
        msg = (
            f"{source} has {int(wrong.sum())} genes with impossible coordinates, the first is "
            f"{table['name'].iloc[first]!r} (start {start.iloc[first]:g}, end {end.iloc[first]:g})."
        )
        raise ValueError(msg)
    text = {c: as_text(table[c][keep]) for c in ("name", "gene_id")}
    written = as_text(table["strand"][keep])
    strand = np.select([np.isin(written, ["+", "1"]), np.isin(written, ["-", "-1"])], ["+", "-"], ".").astype(object)
    first, last = start[keep].to_numpy(np.int64), end[keep].to_numpy(np.int64)
    tss = table["tss"][keep].to_numpy(float)
    given = ~np.isnan(tss)
    width = last - first
    if given.all():
        found, rule = tss, "given"
    elif len(width) >= _SAME_WIDTH and (width == width[0]).all():
        found, rule = (first + last) // 2, "middle of intervals of one width"
    else:
        found = np.select([strand == "+", strand == "-"], [first, last - 1], (first + last) // 2)
        rule = "middle of the interval (no strand)" if (strand == ".").all() else "5' end"
    found = np.where(given, tss, found).astype(np.int64)
    columns = [as_text(chrom[keep]), first, last, text["name"], text["gene_id"], strand, found]
    genes = pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))
    genes.attrs["tss_rule"] = rule
    return genes
