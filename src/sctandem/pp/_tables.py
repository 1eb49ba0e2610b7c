"""Tables as files give them back."""

from __future__ import annotations

from typing import Any

import pandas as pd


def numbered(columns: dict[str, Any]) -> pd.DataFrame:
    """Lay out columns, the rows numbered as text: files turn whole numbers into it.

    Parameters
    ----------
    columns
        From name to values.

    Returns
    -------
    The table with the rows ``"0"``, ``"1"``, ...
    """
    table = pd.DataFrame(columns)
    table.index = table.index.astype(str)
    return table
