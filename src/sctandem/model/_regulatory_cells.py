"""Which cells `model.RegulatoryGraph` reads: all, or a sample, since it holds them dense."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sctandem._checks import check_key, check_positive, check_type
from sctandem.data import _streamed
from sctandem.data._drawn_cells import drawn_cells

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from mudata import MuData

logger = logging.getLogger(__name__)

#: Cells of a collection that are read without other wishes: at most, at least, and cells x genes at most.
MOST_CELLS, LEAST_CELLS, MOST_VALUES = 20_000, 2_000, 100_000_000


def cells_to_read(
    data: AnnData | MuData, expression: Any, n_cells: int | None, balance_key: str | None, rng: np.random.Generator
) -> np.ndarray | None:
    """Choose the cells.

    Parameters
    ----------
    data
        What the model was made with.
    expression
        Its expression, cells x genes.
    n_cells
        How many at most; `None` for all, or the default number of a collection.
    balance_key
        Column of `obs` over whose groups they are drawn evenly; `None` for at random.
    rng
        Decides which.

    Returns
    -------
    Positions, ascending; `None` for all of an AnnData or a MuData.

    Raises
    ------
    KeyError
        When the column is not there.
    TypeError
        When an argument is of another type.
    ValueError
        When `n_cells` is not above 0, or a cell is of no group.
    """
    if n_cells is not None:
        check_positive(n_cells, "n_cells", whole=True)
    groups = None if balance_key is None else _groups(data, balance_key)
    streamed = isinstance(expression, _streamed.StreamedCounts)
    if n_cells is None and streamed:
        n_cells = min(MOST_CELLS, max(LEAST_CELLS, MOST_VALUES // max(1, expression.shape[1])))
    if n_cells is None or (n_cells >= data.n_obs and not streamed):
        return None
    # cells of a collection lie in random order: those of few blocks are as good as any, and the others need not be read
    found = drawn_cells(data.n_obs, int(n_cells), rng, groups=groups, block=_streamed.BLOCK if streamed else 1)
    if len(found) < data.n_obs:
        how = "at random" if balance_key is None else f"evenly over obs[{balance_key!r}]"
        logger.info("%d of %d cells are read, drawn %s; n_cells says how many", len(found), data.n_obs, how)
    return found


def _groups(data: AnnData | MuData, balance_key: str) -> np.ndarray:
    """Read the group of each cell as a number."""
    check_type(balance_key, str, "balance_key", hint="It names a column of obs.")
    column = check_key(data.obs, balance_key, "adata.obs")
    missing = int(column.isna().sum())
    if missing:
        msg = f"adata.obs[{balance_key!r}] is missing in {missing} cells: take them out, or fill it in."
        raise ValueError(msg)
    return column.astype("category").cat.codes.to_numpy().astype("int64")
