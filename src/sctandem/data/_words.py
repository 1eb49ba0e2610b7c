"""Words of metadata made alike over sources: by a table that the user may edit, by spelling, and never silently."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from sctandem._check_files import existing_file, readable
from sctandem._checks import check_type, listed, texts

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The columns of a collection, and the names under which sources have them, where `obs` is not given.
DEFAULT_COLUMNS: dict[str, tuple[str, ...]] = {
    "cell_type": (
        "cell_type",
        "celltype",
        "CellType",
        "cell_type_ontology_label",
        "annotation",
        "cell_label",
        "labels",
    ),
    "tissue": ("tissue", "organ", "tissue_ontology_label", "Tissue", "Organ"),
    "disease": ("disease", "condition", "diagnosis", "disease_state", "Condition"),
    "donor": ("donor", "donor_id", "patient", "individual", "subject", "Donor"),
    "assay": ("assay", "protocol", "technology", "platform", "chemistry", "library_preparation"),
}
#: Columns of names: those of two sources are not the same unless the table says so.
OWN_NAMES = ("donor", "patient", "individual", "subject", "sample", "sample_id")
UNKNOWN = "unknown"
_MISSING = {"", "nan", "na", "n a", "none", "null", "unknown", "unassigned", "not available", "missing"}


def default_columns() -> str:
    """Write the default columns and their names in sources, one column a line."""
    width = max(map(len, DEFAULT_COLUMNS))
    return "\n".join(f"  {name:<{width}}  {', '.join(places)}" for name, places in DEFAULT_COLUMNS.items())


def fold(word: str) -> str:
    """Take case, spaces and the signs between words out of a word.

    Parameters
    ----------
    word
        As a source has it.

    Returns
    -------
    What words of one spelling share.

    Examples
    --------
    >>> from sctandem.data._words import fold
    >>> fold("T_Cell") == fold("t cell")
    True
    """
    return re.sub(r"[\s_\-./]+", " ", word).strip().lower()


def read_texts(path: Any, name: str) -> pd.DataFrame:
    """Read a table of text from CSV.

    Parameters
    ----------
    path
        The file.
    name
        Of the argument, in messages.

    Returns
    -------
    The table; empty text where a field is empty.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is none; names the file.
    """
    file = existing_file(path, name)
    with readable(file, "a table in CSV", tree=True):
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def read_words(words: Any) -> pd.DataFrame | None:
    """Read the table of words.

    Parameters
    ----------
    words
        A table or the path of a CSV file with the columns `column`, `word` and `becomes`, and maybe `source`; others are passed over.

    Returns
    -------
    Text, without rows that leave `becomes` empty; a row without `source` is for all. `None` for `None`.

    Raises
    ------
    ValueError
        When a column is not there, or a word is to become two.
    """
    if words is None:
        return None
    table = words if isinstance(words, pd.DataFrame) else read_texts(words, "words")
    lacking = [name for name in ("column", "word", "becomes") if name not in table]
    if lacking:
        msg = f"words lacks the columns {listed(lacking)}; it has {listed(table.columns)}."
        raise ValueError(msg)
    table = table if "source" in table else table.assign(source="")
    table = table[["column", "source", "word", "becomes"]].fillna("").astype(str).drop_duplicates()
    table = table[table["becomes"] != ""]
    twice = table[table.duplicated(["column", "source", "word"])]
    if len(twice):
        msg = f"words says of {twice['word'].iloc[0]!r} in the column {twice['column'].iloc[0]!r} that it becomes two words."
        raise ValueError(msg)
    return table


def columns_to_find(obs: Any) -> dict[str, tuple[str, ...]]:
    """Turn the argument `obs` into the names under which each declared column may be found.

    Raises
    ------
    TypeError
        When it is not a mapping from text to text, or to several.
    """
    if obs is None:
        return dict(DEFAULT_COLUMNS)
    check_type(obs, Mapping, "obs", hint="It names columns and where sources have them.")
    found = {}
    for name, given in obs.items():
        check_type(name, str, "each column that obs names")
        places = (given,) if isinstance(given, str) else tuple(texts(given, f"obs[{name!r}]"))
        if "/" in name or name.strip() in {"", "_index", "source", "source_row", "n_counts"}:
            msg = f"obs names the column {name!r}, which a collection needs for itself or cannot hold: give it another name."
            raise ValueError(msg)
        found[name] = (*places, *(() if name in places else (name,)))
    return found


def decide_words(found: pd.DataFrame, table: pd.DataFrame | None) -> pd.DataFrame:
    """Say what becomes of each word.

    Parameters
    ----------
    found
        One row a column, source and word: `column`, `source`, `word` (empty where it is missing) and `n_cells`.
    table
        What the user says: `column`, `source` (empty for all), `word` and `becomes`; `None` for nothing.

    Returns
    -------
    The same rows with `becomes` and `status`: `given` (the table says so), `known` (a word that the table has others become),
    `spelling` (the commonest spelling of the same word), `own` (a name, kept apart by its source), `missing`, or `new`: the
    table does not know it, and it stays as it is.
    """
    given: dict[tuple[str, str, str], str] = {}
    known: dict[tuple[str, str], str] = {}
    for column, source, word, becomes in () if table is None else table.itertuples(index=False):
        given[column, source, word] = becomes
        given.setdefault((column, source, fold(word)), becomes)
        known[column, fold(becomes)] = becomes
    spelling = _spellings(found)
    rows = []
    for column, source, word in found[["column", "source", "word"]].itertuples(index=False):
        folded = fold(word)
        said = next((given[key] for key in _keys(column, source, word) if key in given), None)
        if said is not None:
            rows.append((said, "given"))
        elif folded in _MISSING:
            rows.append((UNKNOWN, "missing"))
        elif (column, folded) in known:
            rows.append((known[column, folded], "known"))
        elif column in OWN_NAMES:
            rows.append((f"{source}: {word}", "own"))
        else:
            common = spelling[column, folded]
            rows.append((common, "new" if common == word else "spelling"))
    out = found.copy()
    out["becomes"] = [becomes for becomes, _ in rows]
    out["status"] = [status for _, status in rows]
    return out


def _keys(column: str, source: str, word: str) -> list[tuple[str, str, str]]:
    """Return under what the table may have a word, the most certain first."""
    return [(column, where, what) for where in (source, "") for what in (word, fold(word))]


def _spellings(found: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return the commonest spelling of each word of each column; of two as common the first in the alphabet."""
    sums = found.groupby(["column", "word"], sort=True)["n_cells"].sum().reset_index()
    sums = sums.sort_values(["n_cells", "word"], ascending=[False, True], kind="stable")
    best: dict[tuple[str, str], str] = {}
    for column, word in sums[["column", "word"]].itertuples(index=False):
        best.setdefault((column, fold(word)), word)
    return best


def words_of(source: str, columns: Mapping[str, pd.Series]) -> Iterable[tuple[str, str, str, int]]:
    """Count the words of a source: column, source, word, cells."""
    for column, values in columns.items():
        counted = values.value_counts(sort=False)
        for word, n_cells in counted.items():
            if n_cells:
                yield column, source, str(word), int(n_cells)
