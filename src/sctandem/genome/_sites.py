from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._check_files import existing_file
from sctandem.genome._annotation import open_text
from sctandem.genome._coordinates import locate_peaks

if TYPE_CHECKING:
    from pathlib import Path

_NARROW = 10
"""Columns of a narrowPeak file."""


def read_sites(sites: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read the binding sites that some caller has found.

    Parameters
    ----------
    sites
        A narrowPeak file, a BED file of 3 columns or more (either may be gzipped), or a table with ``chrom``, and
        ``position`` or ``start`` and ``end``, and maybe ``score``.

    Returns
    -------
    One row per site: ``chrom`` (str), ``position`` (int64, 0-based: the summit, or the middle where there is none),
    ``start``, ``end`` (int64; 0-based, half open) and ``score`` (float64).
    ``attrs["score"]`` says which column that is: of a narrowPeak file the q-value, else the p-value (both as -log10), else the
    signal, else the score (whichever first has values above 0); of a BED file the score where it has values above 0; else 1 for
    every site.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When there are no sites, coordinates are impossible, or a score is negative or no number.
    TypeError
        When `sites` is neither a path nor a table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import read_sites
    >>> read_sites(pd.DataFrame({"chrom": ["chr1"], "start": [100], "end": [121]})).position.tolist()
    [110]
    """
    if isinstance(sites, pd.DataFrame):
        return _from_table(sites)
    path = existing_file(sites, "sites")
    rows = _fields(path)
    if len(rows[0]) < 3:
        msg = f"{path} has {len(rows[0])} tab-separated columns; 3 are needed (chrom, start, end)."
        raise ValueError(msg)
    table = pd.DataFrame(rows)
    narrow = table.shape[1] == _NARROW
    names = {0: "chrom", 1: "start", 2: "end"}
    scores = {8: "q-value", 7: "p-value", 6: "signal", 4: "score"} if narrow else {4: "score"}
    summit = pd.to_numeric(table[9], errors="coerce") if narrow else None
    plain = table[[0, 1, 2]].rename(columns=names)
    plain["score"], which = 1.0, "1 for every site"
    for column, name in scores.items():
        if column < table.shape[1]:
            found = pd.to_numeric(table[column], errors="coerce")
            if found.notna().all() and (found > 0).any():
                # -1 stands for "not given" in narrowPeak files
                plain["score"], which = found.clip(lower=0) if narrow else found, name
                break
    if summit is not None and (summit >= 0).all():
        plain["position"] = pd.to_numeric(plain["start"], errors="coerce") + summit
    out = _from_table(plain, str(path))
    out.attrs["score"] = which
    return out


def _fields(path: Path) -> list[list[str]]:
    """Read the lines of a BED-like file, without headers."""
    with open_text(path) as lines:
        rows = [
            line.rstrip("\r\n").split("\t")
            for line in lines
            if line.strip() and not line.startswith(("#", "track", "browser"))
        ]
    if not rows:
        msg = f"{path} holds no sites."
        raise ValueError(msg)
    return rows


def _from_table(sites: pd.DataFrame, source: str = "sites") -> pd.DataFrame:
    """Check the coordinates and fill in what is missing."""
    table = sites.reset_index(drop=True)
    if table.empty:
        msg = f"{source} holds no sites."
        raise ValueError(msg)
    if "position" in table.columns and not {"start", "end"} <= set(table.columns):
        position = pd.to_numeric(table["position"], errors="coerce")
        table = table.assign(start=position, end=position + 1)
    where = locate_peaks(table, source)
    position = (where["start"] + where["end"]) // 2
    if "position" in table.columns:
        position = pd.to_numeric(table["position"], errors="coerce")
        outside = ~((position >= where["start"]) & (position < where["end"]))
        if outside.any():
            msg = f"{source} has {int(outside.sum())} sites whose position lies outside of start and end."
            raise ValueError(msg)
    score = pd.to_numeric(table["score"], errors="coerce") if "score" in table.columns else pd.Series(1.0, table.index)
    bad = ~(np.isfinite(score) & (score >= 0))
    if bad.any():
        first = table["score"][bad].iloc[0]
        msg = f"{source} has {int(bad.sum())} scores that are no numbers of at least 0 (the first: {first})."
        raise ValueError(msg)
    out = where.assign(position=position.astype(np.int64), score=score.astype(float))
    out = out[["chrom", "position", "start", "end", "score"]]
    out.attrs["score"] = "score" if "score" in table.columns else "1 for every site"
    return out
