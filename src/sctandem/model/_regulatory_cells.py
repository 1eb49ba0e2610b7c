"""Which cells `model.RegulatoryGraph` reads: all, or a sample, since it holds them dense; a saved model keeps which."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import check_key, check_positive, check_type
from sctandem.data import _streamed
from sctandem.data._drawn_cells import drawn_cells
from sctandem.model._regulatory_pairs import FEWEST_STATES

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

logger = logging.getLogger(__name__)

#: Cells of a collection that are read without other wishes: at most, at least, and cells x genes at most.
MOST_CELLS, LEAST_CELLS, MOST_VALUES = 20_000, 2_000, 100_000_000
#: Relative difference that sums of one cell may have: they are of float32, and the logarithm differs between machines.
_SAME = 1e-4


def cells_to_read(
    data: AnnData | MuData,
    expression: Any,
    n_cells: int | None,
    balance_key: str | None,
    rng: np.random.Generator,
    *,
    saved: dict[str, Any] | None = None,
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
    saved
        Those of a saved model, from `cells_for_file`: the same are read again of as many cells, and all of data that hold as many as these;
        for other data they are drawn anew, which is warned of. `None` where there is none.

    Returns
    -------
    Positions, ascending; `None` for all of an AnnData or a MuData.

    Raises
    ------
    KeyError
        When the column is not there, and cells are drawn.
    TypeError
        When an argument is of another type, or the column holds numbers on a continuous scale.
    ValueError
        When `n_cells` is below the states that are needed, or the number of groups, or a cell is of no group.
    """
    streamed = isinstance(expression, _streamed.StreamedCounts)
    if saved is not None and data.n_obs in (saved["n_obs"], len(saved["positions"])):
        whole = data.n_obs == len(saved["positions"])
        return saved["positions"] if not whole else np.arange(data.n_obs) if streamed else None
    if saved is not None and len(saved["positions"]) < saved["n_obs"]:
        logger.warning(
            "the model reads %d cells that were drawn of %d, and these data hold %d: other cells are drawn, and groups of cells, weights of edges and "
            "FDR are theirs. Pass the data that the model was made with, or these cells alone",
            *(len(saved["positions"]), saved["n_obs"], data.n_obs),
        )
    if n_cells is not None:
        check_positive(n_cells, "n_cells", whole=True)
        if n_cells < FEWEST_STATES:
            msg = f"n_cells={n_cells} is too few: expression is predicted between {FEWEST_STATES} groups of alike cells or more."
            raise ValueError(msg)
    groups = None if balance_key is None else _groups(data, balance_key)
    if n_cells is None and streamed:
        n_cells = min(MOST_CELLS, max(LEAST_CELLS, MOST_VALUES // max(1, expression.shape[1])))
    if n_cells is None or (n_cells >= data.n_obs and not streamed):
        return None
    if groups is not None and (n_groups := int(groups.max(initial=-1)) + 1) > n_cells:
        msg = (
            f"n_cells={n_cells} is fewer than the {n_groups} groups of balance_key={balance_key!r}, and some would be left out: pass "
            f"n_cells={n_groups} or more, or a column with fewer groups."
        )
        raise ValueError(msg)
    # cells of a collection lie in random order: those of few blocks are as good as any, and the others need not be read
    found = drawn_cells(data.n_obs, int(n_cells), rng, groups=groups, block=_streamed.BLOCK if streamed else 1)
    if len(found) < data.n_obs:
        how = "at random" if balance_key is None else f"evenly over obs[{balance_key!r}]"
        logger.info("%d of %d cells are read, drawn %s; n_cells says how many", len(found), data.n_obs, how)
    return found


def cells_for_file(drawn: np.ndarray | None, values: np.ndarray, n_obs: int) -> dict[str, Any]:
    """Return which cells are read, as a saved model keeps it.

    Parameters
    ----------
    drawn
        Their positions; `None` for all.
    values
        Their expression, cells x genes.
    n_obs
        Cells of the data.

    Returns
    -------
    ``n_obs``, ``positions`` (int64, ascending), and ``totals``: the sum of the expression of each (float32), by which they are known again whatever
    they are called, since a collection has other names for cells than the AnnData that is read of it.
    """
    positions = np.arange(n_obs) if drawn is None else drawn
    totals = values.sum(axis=1, dtype=np.float64).astype(np.float32)
    return {"n_obs": int(n_obs), "positions": positions.astype(np.int64), "totals": totals}


def saved_cells(kept: Any) -> dict[str, Any]:
    """Check what a file holds of the cells that were read; see `cells_for_file`.

    Raises
    ------
    ValueError
        When it is not that.
    """
    try:
        n_obs, positions, totals = int(kept["n_obs"]), np.asarray(kept["positions"]), np.asarray(kept["totals"])
        fits = positions.dtype.kind == "i" and positions.ndim == 1 and positions.shape == totals.shape
        fits = fits and len(positions) > 0 and positions[0] >= 0 and positions[-1] < n_obs
        fits = bool(fits and (np.diff(positions) > 0).all())
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        msg = "the model file is damaged: it does not say which cells the model read."
        raise ValueError(msg)
    return {"n_obs": n_obs, "positions": positions, "totals": totals}


def tell_other_cells(found: dict[str, Any], saved: dict[str, Any] | None) -> None:
    """Warn where the cells that were read are as many as those of a sample that the model was saved with, and others.

    Parameters
    ----------
    found
        Of `cells_for_file`.
    saved
        That of the file; `None` where there is none.
    """
    if saved is None or len(saved["positions"]) == saved["n_obs"] or len(found["totals"]) != len(saved["totals"]):
        return  # a model of all cells is read with any, and other numbers were told
    other = ~np.isclose(found["totals"], saved["totals"], rtol=_SAME, atol=_SAME)
    if other.any():
        logger.warning(
            "%d of the %d cells that the model was made with have other values in these data: these are other cells, or the same in another order. Groups "
            "of cells, weights of edges and FDR are those of the cells passed",
            *(int(other.sum()), len(other)),
        )


def _groups(data: AnnData | MuData, balance_key: str) -> np.ndarray:
    """Read the group of each cell as a number, from 0 without gaps."""
    check_type(balance_key, str, "balance_key", hint="It names a column of obs.")
    column = check_key(data.obs, balance_key, obs := _streamed.obs_slot(data))
    missing = int(column.isna().sum())
    if missing:
        msg = f"{obs}[{balance_key!r}] is missing in {missing} cells: take them out, or fill it in."
        raise ValueError(msg)
    found, codes = np.unique(column.astype("category").cat.codes.to_numpy(), return_inverse=True)
    measured = pd.api.types.is_float_dtype(column.dtype) or (
        pd.api.types.is_integer_dtype(column.dtype) and 2 * len(found) > len(column)
    )
    if measured:
        msg = (
            f"balance_key={balance_key!r} names numbers ({column.dtype}, {len(found)} values in {len(column)} cells), not groups: name a column of groups, "
            f"cut it into some with pandas.cut, or, where the numbers are names, make them text: {obs}[{balance_key!r}].astype(str)."
        )
        raise TypeError(msg)
    return codes.ravel().astype(np.int64)
