from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sctandem._check_arguments import check_type, listed
from sctandem._check_slots import check_frame

COLUMNS = ("chrom", "position", "strand", "count")


def tidy_tags(tags: pd.DataFrame, source: str = "tags") -> pd.DataFrame:
    """Check a table of stranded 5' ends, and bring it into order.

    Parameters
    ----------
    tags
        ``chrom``, ``position`` (0-based), ``strand`` (``+`` or ``-``) and ``count`` (1 where the column is missing); rows in
        any order, repeated positions are added up.
    source
        What to call it in messages.

    Returns
    -------
    A row per position and strand with tags, in order: ``chrom`` (category), ``position`` (int64), ``strand`` (category of
    ``+`` and ``-``) and ``count`` (int64). ``attrs`` are kept.

    Raises
    ------
    TypeError
        For what is no table.
    ValueError
        For missing columns, no tags, tags without strand or all on one, negative or fractional positions and counts.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import tidy_tags
    >>> tags = pd.DataFrame({"chrom": "chr1", "position": [9, 4, 9], "strand": ["+", "-", "+"]})
    >>> tidy_tags(tags)["count"].tolist()
    [2, 1]
    """
    check_type(tags, pd.DataFrame, source, hint="td.io.read_chipexo reads one from a file.")
    missing = [column for column in COLUMNS[:3] if column not in tags.columns]
    if missing:
        msg = f"{source} lacks the columns {listed(missing)}; it has {listed(tags.columns)}. Needed: {listed(COLUMNS)}."
        raise ValueError(msg)
    check_frame(tags, COLUMNS[:3], source)
    strand = tags["strand"].astype(object).to_numpy()
    unknown = ~tags["strand"].map(str).isin(["+", "-"]).to_numpy()
    if unknown.any():
        msg = (
            f"{source} has {int(unknown.sum())} of {len(tags)} tags without strand (the first: {strand[unknown][0]!r}). "
            "Borders are told by the strand, + or -: unstranded tags cannot be used."
        )
        raise ValueError(msg)
    count = tags["count"] if "count" in tags.columns else pd.Series(1, index=tags.index)
    table = pd.DataFrame(
        {
            "chrom": pd.Categorical(tags["chrom"].astype(str)),
            "position": _whole(tags["position"], f"{source}['position']"),
            "strand": pd.Categorical(strand, categories=["+", "-"]),
            "count": _whole(count, f"{source}['count']"),
        }
    )
    table = table[table["count"] > 0]
    if table.empty:
        msg = f"{source} holds no tags."
        raise ValueError(msg)
    on_plus = int(table.loc[table["strand"] == "+", "count"].sum())
    total = int(table["count"].sum())
    if on_plus in {0, total}:
        msg = (
            f"All {total} tags of {source} are on the {'+' if on_plus else '-'} strand. A bound protein has a border on each; "
            "are the reads unstranded, or is the file of the other strand missing?"
        )
        raise ValueError(msg)
    attrs: dict[str, Any] = dict(tags.attrs)
    table = table.groupby(["chrom", "strand", "position"], observed=True, sort=True)["count"].sum().reset_index()
    table = table[list(COLUMNS)]
    table["chrom"] = table["chrom"].cat.remove_unused_categories()
    table.attrs = attrs
    return table


def _whole(values: pd.Series, slot: str) -> np.ndarray:
    """Return whole numbers of at least 0, or say which value is none."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)
    bad = ~(np.isfinite(numbers) & (numbers >= 0) & (numbers == np.floor(numbers)))
    if bad.any():
        first = values.iloc[int(np.argmax(bad))]
        msg = (
            f"{slot} has {int(bad.sum())} values that are no whole numbers of at least 0 (the first: {first}). "
            "Raw counts of 5' ends are needed, not normalised coverage."
        )
        raise ValueError(msg)
    return numbers.astype(np.int64)
