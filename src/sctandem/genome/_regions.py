from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sctandem._check_arguments import received
from sctandem._check_files import existing_file
from sctandem._checks import listed
from sctandem.genome._annotation import open_text
from sctandem.genome._coordinates import find_columns, locate_peaks

if TYPE_CHECKING:
    from anndata import AnnData


def read_regions(regions: str | Path | pd.DataFrame | AnnData) -> pd.DataFrame:
    """Read where regions lie.

    Parameters
    ----------
    regions
        A BED file of 3 columns or more, may be gzipped; a table or an AnnData with coordinates, as `peak_coordinates` takes
        them. A table without an index of its own is named by the intervals.

    Returns
    -------
    ``chrom`` (str), ``start`` and ``end`` (int64; 0-based, half open), indexed by the names of the regions: of a BED file its
    4th column where all names in it differ, else ``chrom:start-end``.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    TypeError
        For anything else.
    ValueError
        When there are no regions, one has no or impossible coordinates, or names repeat.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome._regions import read_regions
    >>> read_regions(pd.DataFrame({"chrom": ["chr1"], "start": [5], "end": [9]})).index.tolist()
    ['chr1:5-9']
    """
    if isinstance(regions, pd.DataFrame):
        table, source = regions, "regions"
    elif isinstance(regions, str | PathLike):
        table, source = _read_bed(Path(regions)), str(regions)
    elif hasattr(regions, "mod"):
        msg = "regions is a MuData; give the modality with the peaks: mdata['atac']."
        raise TypeError(msg)
    else:
        table, source = getattr(regions, "var", None), "regions.var"
    if not isinstance(table, pd.DataFrame):
        msg = f"regions must be a BED file, a table or an AnnData, got {received(regions)}"
        raise TypeError(msg)
    if not len(table):
        msg = f"{source} holds no regions."
        raise ValueError(msg)
    where = locate_peaks(table, source)
    if isinstance(table.index, pd.RangeIndex) and find_columns(table) is not None:
        named = table["name"] if "name" in table.columns else pd.Series(dtype=str)
        usable = len(named) and named.is_unique and (named != "").all() and named.notna().all()
        where.index = pd.Index(named.astype(str) if usable else _intervals(where))
    where.index = where.index.astype(str).rename(None)
    if not where.index.is_unique:
        repeated = where.index[where.index.duplicated()].unique()
        msg = f"{source} has {len(repeated)} names of regions more than once: {listed(repeated, 3)}. Name them apart."
        raise ValueError(msg)
    return where


def _intervals(where: pd.DataFrame) -> list[str]:
    return [f"{chrom}:{start}-{end}" for chrom, start, end in where.itertuples(index=False)]


def _read_bed(path: Path) -> pd.DataFrame:
    """Read the first columns of a BED file; lines of comments, `track` and `browser` are left out."""
    existing_file(path, "regions")
    rows = []
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith(("#", "track", "browser")):
                continue
            fields = line.rstrip("\r\n").split("\t", 4)
            if len(fields) < 3:
                msg = f"{path} has {len(fields)} tab-separated columns in line {number}; 3 are needed (chrom, start, end)."
                raise ValueError(msg)
            rows.append([*fields[:3], fields[3] if len(fields) > 3 else ""])
    return pd.DataFrame(rows, columns=["chrom", "start", "end", "name"])
