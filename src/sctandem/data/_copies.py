"""Cells that several sources have: which of them stays, and what it takes from its copies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import listed
from sctandem.data._words import OWN_NAMES, UNKNOWN
from sctandem.kernels._harmonise import later_duplicates

if TYPE_CHECKING:
    from sctandem.data._plan import Plan
    from sctandem.data._stage import Unit

    #: By source and column: rows of the source, sorted, and their places among the words of the collection.
    Filled = dict[tuple[int, str], tuple[np.ndarray, np.ndarray]]

logger = logging.getLogger(__name__)


def find_duplicates(plan: Plan, units: list[tuple[int, Unit]]) -> pd.DataFrame:
    """Find cells that an earlier source, or an earlier row, has as well: same barcode, same counts.

    Returns
    -------
    One row a cell that is left out: `source` and `row`, and of the cell that stays `kept_source` and `kept_row`; sources by number.
    """
    offsets = _offsets(plan)
    of_source, n_sets = plan.gene_sets.of_source, len(plan.gene_sets.least)
    pairs: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0, dtype=np.int64),) * 2]
    for one in range(n_sets):
        for other in range(one, n_sets):
            compared = plan.gene_sets.least[one, other] < np.iinfo(np.int64).max
            found = [
                (i, unit, other if of_source[i] == one else one) for i, unit in units if of_source[i] in {one, other}
            ]
            if not compared or not found:
                continue
            cells = np.concatenate([offsets[i] + unit.read("row") for i, unit, _ in found])
            keys = np.concatenate([unit.read(f"key {number}") for _, unit, number in found])
            order = np.argsort(cells)
            cells, keys = cells[order], keys[order]
            later, first = later_duplicates(keys)
            pairs.append((cells[later], cells[first]))
    joined = pd.DataFrame(
        {"later": np.concatenate([a for a, _ in pairs]), "first": np.concatenate([b for _, b in pairs])}
    )
    joined = joined.groupby("later", sort=True)["first"].min()
    later, first = joined.index.to_numpy(dtype=np.int64), joined.to_numpy(dtype=np.int64)
    first = _that_stay(later, first)
    table = {}
    for prefix, cells in (("", later), ("kept_", first)):
        number = np.searchsorted(offsets, cells, side="right") - 1
        table[f"{prefix}source"], table[f"{prefix}row"] = number, cells - offsets[number]
    return pd.DataFrame(table)


def fill_from_copies(
    plan: Plan, units: list[tuple[int, Unit]], duplicates: pd.DataFrame
) -> tuple[pd.DataFrame, Filled]:
    """Give cells that stay the words which only their copies have: the source named first that has one says it.

    Parameters
    ----------
    plan
        What is to be built.
    units
        Those of the first pass, whose words are already those of the collection.
    duplicates
        Cells that are left out, by source and row, as `find_duplicates` gives them.

    Returns
    -------
    The table of duplicates with `filled`, the columns in which the cell that stays took the word of this one, and `differs`, those in
    which both have a word and they are not the same; names of donors, which differ by source, are none of these. And the words to put in.
    """
    offsets = _offsets(plan)
    later = offsets[duplicates["source"].to_numpy(dtype=np.int64)] + duplicates["row"].to_numpy(dtype=np.int64)
    first = offsets[duplicates["kept_source"].to_numpy(dtype=np.int64)] + duplicates["kept_row"].to_numpy(
        dtype=np.int64
    )
    wanted = np.unique(np.r_[later, first])
    at_later, at_first = np.searchsorted(wanted, later), np.searchsorted(wanted, first)
    said = {name: np.full(len(duplicates), "", dtype=object) for name in ("filled", "differs")}
    put: Filled = {}
    for column in plan.settings.columns if len(duplicates) else ():
        words = plan.categories[column]
        unknown = words.index(UNKNOWN) if UNKNOWN in words else -1
        codes = _codes_of(column, units, offsets, wanted)
        known, empty = codes[at_later] != unknown, codes[at_first] == unknown
        gives = np.flatnonzero(known & empty)  # rows are in the order of the sources: the first of a cell is its giver
        cells, givers = np.unique(first[gives], return_index=True)
        givers = gives[givers]
        number = np.searchsorted(offsets, cells, side="right") - 1
        for source in np.unique(number):
            own = number == source
            put[int(source), column] = (cells[own] - offsets[source], codes[at_later[givers[own]]])
        _note(said["filled"], givers, column)
        codes[at_first[givers]] = codes[at_later[givers]]
        other = np.flatnonzero(known & (codes[at_later] != codes[at_first]))
        if column not in OWN_NAMES and len(other):
            _note(said["differs"], other, column)
            named = listed(sorted({plan.sources[i].name for i in duplicates["source"].iloc[other]}), 3)
            logger.warning(
                "%d duplicates left out of %s have another word in the column %r than the cell that stays, whose word holds.",
                len(other),
                named,
                column,
            )
    return duplicates.assign(**said), put


def put_words(codes: np.ndarray, rows: np.ndarray, filled: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Put what copies say into the words of some cells of a source.

    Parameters
    ----------
    codes
        Places of their words, (cells,).
    rows
        Their rows in the source, (cells,).
    filled
        Rows of the source, sorted, and the places of the words that they take; `None` for nothing.

    Returns
    -------
    The places of their words, (cells,).
    """
    if filled is None or not len(rows):
        return codes
    place = np.minimum(np.searchsorted(filled[0], rows), len(filled[0]) - 1)
    return np.where(filled[0][place] == rows, filled[1][place], codes)


def _offsets(plan: Plan) -> np.ndarray:
    """Return the number of cells before each source, int64, (sources + 1,)."""
    return np.concatenate([[0], np.cumsum([source.n_cells for source in plan.sources])]).astype(np.int64)


def _that_stay(later: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Follow cells that stay in one comparison and are left out in another, to those that stay in all."""
    first = first.copy()
    while len(later):
        place = np.minimum(np.searchsorted(later, first), len(later) - 1)
        gone = later[place] == first
        if not gone.any():
            break
        first[gone] = first[place[gone]]
    return first


def _codes_of(column: str, units: list[tuple[int, Unit]], offsets: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Read the places of the words of some cells, given sorted; int32, (cells,)."""
    codes = np.full(len(wanted), -1, dtype=np.int32)
    for number, unit in units:
        cells = offsets[number] + unit.read("row")
        place = np.minimum(np.searchsorted(wanted, cells), len(wanted) - 1)
        here = wanted[place] == cells
        if here.any():
            codes[place[here]] = unit.read(f"code {column}")[here]
    return codes


def _note(said: np.ndarray, rows: np.ndarray, column: str) -> None:
    """Add a column to those that are named of some rows."""
    said[rows] = [f"{before}, {column}" if before else column for before in said[rows]]
