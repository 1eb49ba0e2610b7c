from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._check_files import existing_file, readable
from sctandem._checks import check_number, check_option, check_path, listed
from sctandem.genome._annotation import open_text
from sctandem.genome._tags import tidy_tags

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

BLOCK = 1 << 20
"""Reads that are held as Python objects at a time."""
LONG = 5
"""A bedGraph whose intervals are this wide on average holds coverage, not 5' ends."""
DUPLICATES = ("keep", "flagged", "collapse")

Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_chipexo(
    path: str | Path,
    minus: str | Path | None = None,
    *,
    mapping_quality: int = 10,
    duplicates: str = "keep",
) -> pd.DataFrame:
    r"""Read the stranded 5' ends of ChIP-exo (or ChIP-nexus) reads.

    Parameters
    ----------
    path
        A BAM, SAM or CRAM file (in any order, no index needed), a BED file of at least 6 columns with a row per read, or with
        `minus` the bedGraph file of the + strand. BED and bedGraph may be gzipped.
    minus
        The bedGraph file of the - strand. Its values may all be negative, as many tools write them; their sign is dropped.
    mapping_quality
        Reads of a BAM file that map with less are left out.
    duplicates
        What is done with reads that start at the same base: `"keep"` them, leave out those `"flagged"` as duplicates in a BAM
        file, or `"collapse"` each position and strand (for paired reads: each position, strand and fragment length) to one.

    Returns
    -------
    A row per position and strand with tags: ``chrom`` (category), ``position`` (int64, 0-based: the base of the 5' end),
    ``strand`` (category, ``+`` or ``-``) and ``count`` (int64). ``attrs`` say where it comes from (``source``), what was left
    out (``left_out``, reads by reason), and of a BAM file the ``chromosome_sizes``.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ImportError
        For a BAM file without pysam.
    TypeError
        When a path is no path.
    ValueError
        For a file without tags, without strands (a BED file of fewer than 6 columns, strands other than + and -, all tags on
        one strand), with negative or fractional values, for bedGraph files that share no chromosome, and for an argument that
        is not known.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import sctandem as td
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bed = Path(folder) / "reads.bed"
    ...     _ = bed.write_text("chr1\t100\t136\tr1\t60\t+\nchr1\t95\t131\tr2\t60\t-\n")
    ...     tags = td.io.read_chipexo(bed)
    >>> tags.position.tolist()
    [100, 130]

    Notes
    -----
    The border that the exonuclease leaves is the 5' end of the read, of paired reads that of read 1 alone: read 2 starts at the
    sheared end of the fragment, and is left out. Reads that are unmapped, secondary, supplementary or failed are left out as
    well.

    In ChIP-exo reads that start at the same base are what is looked for. Marking duplicates by the 5' end alone (single reads)
    throws the signal away, which is why the default keeps them; with paired reads `"flagged"` is safer.

    A BAM file is read once from end to end, about a million reads in two seconds; what is held are its distinct positions.
    """
    check_path(path, "path")
    check_option(duplicates, DUPLICATES, "duplicates")
    check_number(mapping_quality, "mapping_quality", whole=True)
    file = existing_file(path, "path")
    if minus is not None:
        other = existing_file(minus, "minus")
        if other.samefile(file):
            msg = (
                f"path and minus are the same file, {str(minus)!r}: give the bedGraph files of the + and the - strand."
            )
            raise ValueError(msg)
        return _collapsed(_bedgraphs(file, other), duplicates)
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in {".bam", ".sam", ".cram"}:
        return _alignments(file, mapping_quality, duplicates)
    if {".bedgraph", ".bg", ".bdg"} & set(suffixes):
        msg = f"{file} is one bedGraph file: give that of the - strand as well, minus=<file>."
        raise ValueError(msg)
    return _collapsed(_bed(file), duplicates)


def _collapsed(tags: pd.DataFrame, duplicates: str) -> pd.DataFrame:
    """Count every position once where that is asked for; files without reads have no flags."""
    if duplicates == "flagged":
        msg = "duplicates='flagged' needs a BAM file; BED and bedGraph have no flags. Choose 'keep' or 'collapse'."
        raise ValueError(msg)
    if duplicates == "collapse":
        before = int(tags["count"].sum())
        tags["count"] = np.ones(len(tags), dtype=np.int64)
        tags.attrs["left_out"] = {"duplicates": before - len(tags)}
    return tags


def _alignments(file: Path, mapping_quality: int, duplicates: str) -> pd.DataFrame:
    """Read a BAM file from end to end."""
    try:
        import pysam
    except ImportError as error:
        msg = "Reading BAM files needs pysam: pip install pysam. BED and bedGraph files are read without it."
        raise ImportError(msg) from error
    left_out = dict.fromkeys(["unmapped", "secondary", "failed", "read 2", "mapping quality", "duplicates"], 0)
    parts: list[pd.DataFrame] = []
    # index warnings of htslib say nothing here: nothing is looked up
    silent = pysam.set_verbosity(0)
    try:
        with pysam.AlignmentFile(str(file), check_sq=False) as alignments:
            names = list(alignments.references)
            sizes = dict(zip(names, map(int, alignments.lengths), strict=True))
            reads = (
                (read.reference_id, int(read.reference_end or 0) - 1, 1, read.template_length)
                if read.is_reverse
                else (read.reference_id, read.reference_start, 0, read.template_length)
                for read in alignments.fetch(until_eof=True)
                if not _left_out(read, mapping_quality, duplicates, left_out)
            )
            while block := list(islice(reads, BLOCK)):
                parts.append(_counted(np.array(block, dtype=np.int64), by_length=duplicates == "collapse"))
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read as a BAM, SAM or CRAM file: {error}"
        raise ValueError(msg) from error
    finally:
        pysam.set_verbosity(silent)
    logger.info("%s: reads left out: %s", file, ", ".join(f"{n} {why}" for why, n in left_out.items()))
    if not parts:
        why = ", ".join(f"{n} {reason}" for reason, n in left_out.items() if n) or "it holds none"
        msg = f"{file} has no reads to take ({why})."
        raise ValueError(msg)
    table = pd.concat(parts)
    if duplicates == "collapse":  # a fragment of one place and length once
        n_reads = int(table["count"].sum())
        table = table.drop_duplicates(["chrom", "position", "strand", "length"]).assign(count=1)
        left_out["duplicates"] = n_reads - len(table)
    table["chrom"] = pd.Categorical.from_codes(table["chrom"], categories=names)
    table["strand"] = np.where(table["strand"] == 1, "-", "+")
    table.attrs = {"source": str(file), "left_out": left_out, "chromosome_sizes": sizes}
    return tidy_tags(table, str(file))


def _left_out(read: Any, mapping_quality: int, duplicates: str, left_out: dict[str, int]) -> bool:
    """Whether a read is left out; count why."""
    if read.is_unmapped:
        why = "unmapped"
    elif read.is_secondary or read.is_supplementary:
        why = "secondary"
    elif read.is_qcfail:
        why = "failed"
    elif read.is_paired and not read.is_read1:
        why = "read 2"
    elif read.mapping_quality < mapping_quality:
        why = "mapping quality"
    elif duplicates == "flagged" and read.is_duplicate:
        why = "duplicates"
    else:
        return False
    left_out[why] += 1
    return True


def _counted(block: np.ndarray, *, by_length: bool) -> pd.DataFrame:
    """Count the reads of a block by chromosome, position, strand and, if asked for, length of the fragment."""
    rows, count = np.unique(block if by_length else block[:, :3], axis=0, return_counts=True)
    names = ["chrom", "position", "strand", "length"][: rows.shape[1]]
    return pd.DataFrame(rows, columns=names).assign(count=count)


def _table(file: Path, what: str) -> pd.DataFrame:
    """Read the rows of a file of tab-separated columns, without headers."""
    skip = 0
    with open_text(file) as lines:
        for line in lines:
            if line.strip() and not line.startswith(("#", "track", "browser")):
                break
            skip += 1
        else:
            msg = f"{file} is empty: it has no lines of {what}."
            raise ValueError(msg)
    try:
        with readable(file, "a table of tab-separated columns"):  # it may be damaged further down
            # comments further down are rare, and would be rows of one column
            return pd.read_csv(
                file, sep="\t", header=None, skiprows=skip, dtype={0: str}, comment="#", low_memory=False
            )
    except pd.errors.ParserError as error:
        msg = f"{file} is no table of tab-separated columns: {error}"
        raise ValueError(msg) from error


def _interval(table: pd.DataFrame, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return start and end, checked."""
    start, end = (pd.to_numeric(table[c], errors="coerce").to_numpy(float, na_value=np.nan) for c in (1, 2))
    bad = ~((start >= 0) & (end > start) & (start == np.floor(start)) & (end == np.floor(end)))
    if bad.any():
        first = table.iloc[int(np.argmax(bad))]
        msg = (
            f"{file} has {int(bad.sum())} rows with impossible coordinates, the first is {first[0]}, {first[1]}, "
            f"{first[2]}. A row starts at 0 or later and ends after its start."
        )
        raise ValueError(msg)
    return start.astype(np.int64), end.astype(np.int64)


def _bed(file: Path) -> pd.DataFrame:
    """Read the 5' ends of a BED file."""
    table = _table(file, "reads")
    if table.shape[1] < 6:
        msg = (
            f"{file} has {table.shape[1]} tab-separated columns; 6 are needed (chrom, start, end, name, score, strand): "
            "without strands borders cannot be told."
        )
        raise ValueError(msg)
    start, end = _interval(table, file)
    strand = table[5].astype(str)
    tags = pd.DataFrame(
        {"chrom": table[0].to_numpy(), "position": np.where(strand == "-", end - 1, start), "strand": strand.to_numpy()}
    )
    tags.attrs = {"source": str(file), "left_out": {}}
    return tidy_tags(tags, str(file))


def _bedgraphs(plus: Path, minus: Path) -> pd.DataFrame:
    """Read the two strands from two files."""
    parts = [_bedgraph(plus, "+"), _bedgraph(minus, "-")]
    shared = set(parts[0]["chrom"]) & set(parts[1]["chrom"])
    if not shared:
        msg = (
            f"{plus} and {minus} share no chromosome: they have {listed(parts[0]['chrom'].unique(), 3)} and "
            f"{listed(parts[1]['chrom'].unique(), 3)}. Are they the two strands of one sample?"
        )
        raise ValueError(msg)
    single = sorted((set(parts[0]["chrom"]) | set(parts[1]["chrom"])) - shared)
    if single:
        logger.warning("chromosomes with tags on one strand only: %s", listed(single))
    tags = pd.concat(parts, ignore_index=True)
    tags.attrs = {"source": f"{plus}, {minus}", "left_out": {}}
    return tidy_tags(tags, f"{plus} and {minus}")


def _bedgraph(file: Path, strand: str) -> pd.DataFrame:
    """Read one strand: every base of an interval has its value."""
    table = _table(file, "values")
    if table.shape[1] != 4:
        msg = f"{file} has {table.shape[1]} tab-separated columns; a bedGraph file has 4 (chrom, start, end, value)."
        raise ValueError(msg)
    start, end = _interval(table, file)
    value = pd.to_numeric(table[3], errors="coerce").to_numpy(float, na_value=np.nan)
    if strand == "-" and (value <= 0).all() and (value < 0).any():
        logger.warning("%s: all values are negative; they are read as counts of the - strand", file)
        value = -value
    if not (np.isfinite(value) & (value >= 0) & (value == np.floor(value))).all():
        bad = table[3][~(np.isfinite(value) & (value >= 0) & (value == np.floor(value)))]
        msg = (
            f"{file} has {len(bad)} values that are no counts (the first: {bad.iloc[0]}). Whole numbers of at least 0 are "
            "needed: 5' ends, not normalised (in the file of the - strand all may be negative)."
        )
        raise ValueError(msg)
    used = value > 0
    start, end, value, chrom = start[used], end[used], value[used], table[0].to_numpy()[used]
    width = end - start
    if used.any() and np.average(width) >= LONG:
        logger.warning(
            "%s: intervals are %.0f bp wide on average; is this coverage and not 5' ends?", file, width.mean()
        )
    position = np.repeat(start - np.cumsum(width) + width, width) + np.arange(width.sum())
    return pd.DataFrame(
        {"chrom": np.repeat(chrom, width), "position": position, "strand": strand, "count": np.repeat(value, width)}
    )
