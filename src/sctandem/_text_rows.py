"""Tables as files give them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def text_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of a table new numbers, as text: files turn whole numbers into it.

    Parameters
    ----------
    table
        Whose row names are not needed.

    Returns
    -------
    The table with the rows ``"0"``, ``"1"``, ...
    """
    table = table.reset_index(drop=True)
    table.index = table.index.astype(str)
    return table
