from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import check_frame, check_type

if TYPE_CHECKING:
    from anndata import AnnData

_ALIASES = {
    "chrom": ("chrom", "chr", "chromosome", "seqnames", "seqname", "Chromosome"),
    "start": ("start", "chromStart", "Start"),
    "end": ("end", "chromEnd", "stop", "End"),
}
_INTERVAL = r"^(?P<chrom>.+)[:_-](?P<start>[\d,]+)[-_](?P<end>[\d,]+)$"


def parse_intervals(intervals: pd.Series | pd.Index) -> pd.DataFrame:
    """Split interval names into chromosome, start and end.

    Parameters
    ----------
    intervals
        Names like ``chr1:100-200``, ``chr1-100-200`` or ``chr1_100_200``; thousands may be separated by commas.

    Returns
    -------
    One row per name with the columns ``chrom`` (str or missing), ``start`` and ``end`` (float64, NaN where the name
    is no interval).

    Raises
    ------
    TypeError
        When `intervals` is neither a Series nor an Index.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import parse_intervals
    >>> parse_intervals(pd.Index(["chr1:100-200", "GL000194.1-5-90", "MS4A1"])).chrom.tolist()
    ['chr1', 'GL000194.1', nan]
    """
    check_type(intervals, pd.Series | pd.Index, "intervals", hint="pandas.Index(names) makes one.")
    names = pd.Series(np.asarray(intervals, dtype=object)).astype(str)
    parts = names.str.extract(_INTERVAL).astype(object)
    for column in ("start", "end"):
        parts[column] = pd.to_numeric(parts[column].str.replace(",", "", regex=False), errors="coerce").astype(float)
    parts.index = pd.Index(intervals) if not isinstance(intervals, pd.Series) else intervals.index
    return parts


def as_text(values: pd.Series | pd.Index) -> np.ndarray:
    """Return values as an object array of str, empty where they are missing."""
    raw = values.to_numpy(dtype=object)
    text = raw.astype(str).astype(object)
    text[pd.isna(raw)] = ""
    return text


def find_columns(table: pd.DataFrame) -> dict[str, str] | None:
    """Find the columns of a table that hold chromosome, start and end, or None unless all three are there."""
    found = {}
    for name, aliases in _ALIASES.items():
        column = next((alias for alias in aliases if alias in table.columns), None)
        if column is None:
            return None
        found[name] = column
    return found


def peak_coordinates(peaks: AnnData | pd.DataFrame) -> pd.DataFrame:
    """Find where peaks lie on the genome.

    Taken from the columns ``chrom``, ``start`` and ``end`` (or the names of other tools for them), else from a column
    ``interval`` as Cell Ranger ARC writes it, else from the names.

    Parameters
    ----------
    peaks
        An AnnData with the peaks as variables, or its ``var``.

    Returns
    -------
    Peaks x 3, indexed by the names of the peaks: ``chrom`` (str), ``start`` and ``end`` (int64; 0-based, half open).

    Raises
    ------
    ValueError
        When a peak has no coordinates or impossible ones; names the peak. When the features are genes.
    TypeError
        When `peaks` is neither an AnnData nor a table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import peak_coordinates
    >>> peak_coordinates(pd.DataFrame(index=["chr1:100-600", "chr2-50-90"])).end.tolist()
    [600, 90]
    """
    return locate_peaks(peaks, "peaks")


def locate_peaks(peaks: AnnData | pd.DataFrame, slot: str) -> pd.DataFrame:
    """Find where peaks lie, as :func:`peak_coordinates` does, with the name of the object or the file for messages."""
    table = peaks if isinstance(peaks, pd.DataFrame) else getattr(peaks, "var", peaks)
    check_frame(table, (), slot)
    _check_no_genes(table)
    columns = find_columns(table)
    if columns is not None:
        source = "the columns " + ", ".join(columns.values())
        chrom = table[columns["chrom"]].astype(object).to_numpy()
        start, end = (
            pd.to_numeric(table[columns[c]], errors="coerce").to_numpy(float, na_value=np.nan) for c in ("start", "end")
        )
    else:
        source = "the column interval" if "interval" in table.columns else "the names"
        parsed = parse_intervals(table["interval"] if "interval" in table.columns else table.index)
        chrom, start, end = (parsed[c].to_numpy() for c in ("chrom", "start", "end"))
    where = pd.DataFrame({"chrom": chrom, "start": start, "end": end}, index=table.index)
    _check(where, source, slot)
    return where.astype({"chrom": str, "start": np.int64, "end": np.int64})


def _check_no_genes(table: pd.DataFrame) -> None:
    """Raise for the genes of Cell Ranger ARC: they have an interval too, and would be read as peaks at their own starts."""
    if not len(table) or parse_intervals(table.index)["start"].notna().any():
        return
    if "feature_types" in table.columns:
        genes = (table["feature_types"].astype(str) == "Gene Expression").all()
    else:
        known: list[str] = list(as_text(table["gene_ids"])) if "gene_ids" in table.columns else []
        genes = "interval" in table.columns and len(known) > 0 and all(str(name).startswith("ENS") for name in known)
    if genes:
        msg = (
            f"The {len(table)} features, the first is {str(table.index[0])!r}, are genes, not peaks: this is the expression. "
            "Give the chromatin, mdata['atac'], or the MuData of both."
        )
        raise ValueError(msg)


def _check(where: pd.DataFrame, source: str, slot: str) -> None:
    """Raise for peaks without coordinates and for those that end before they start."""
    names, (chrom, start, end) = where.index, (where[name].to_numpy() for name in ("chrom", "start", "end"))
    missing = pd.isna(chrom) | pd.isna(start) | pd.isna(end)
    if missing.any():
        first = int(np.argmax(missing))
        msg = (
            f"{slot}: {int(missing.sum())} of {len(names)} peaks have no coordinates in {source}, the first is "
            f"{str(names[first])!r}. Give them the columns chrom, start and end, or names like chr1:100-200."
        )
        raise ValueError(msg)
    wrong = (start < 0) | (end <= start) | (start % 1 != 0) | (end % 1 != 0)
    if wrong.any():
        first = int(np.argmax(wrong))
        msg = (
            f"{slot}: {int(wrong.sum())} of {len(names)} peaks have impossible coordinates in {source}, the first is "
            f"{str(names[first])!r} ({chrom[first]}, start {start[first]:g}, end {end[first]:g}). "
            "A peak starts at 0 or later and ends after its start."
        )
        raise ValueError(msg)
