from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sctandem._checks import check_frame, check_path, check_texts, check_type, listed
from sctandem._whole import whole_file

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = ("pair", "left_rvds", "right_rvds", "left_target", "right_target")


def write_talens(table: pd.DataFrame, path: str | Path) -> None:
    """Write pairs of TALENs to a file, for ordering.

    Parameters
    ----------
    table
        Pairs, such as :func:`sctandem.get.talens` returns them, or some of its rows.
    path
        Ends in ``.csv`` for a table, or in ``.fa`` or ``.fasta`` for the two half sites of each pair, with the repeats in the
        header. A file that is there is replaced.

    Returns
    -------
    Nothing. The file is written whole or not at all.

    Raises
    ------
    ValueError
        When the table has no rows or lacks columns, names repeat, or the ending is another.
    TypeError
        When `table` is no table.
    OSError
        When the disk does not take it; a file that was there is as it was.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> from sctandem.genome import write_talens
    >>> pair = {
    ...     "pair": "TALEN1",
    ...     "left_rvds": "NI HD",
    ...     "right_rvds": "NG NN",
    ...     "left_target": "AC",
    ...     "right_target": "TG",
    ... }
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "order.fasta")
    ...     write_talens(pd.DataFrame([pair]), path)
    ...     path.read_text().splitlines()
    ['>TALEN1_left NI-HD', 'AC', '>TALEN1_right NG-NN', 'TG']

    Notes
    -----
    A half site is written on the strand that its array binds, 5' to 3', without the upstream base.
    """
    import pandas as pd

    check_type(table, pd.DataFrame, "table", hint="td.get.talens(data) returns one.")
    check_path(path, "path")
    absent = [column for column in _NEEDED if column not in table.columns]
    if absent or not len(table):
        msg = (
            f"The table of TALENs lacks the columns {listed(absent)}." if absent else "The table of TALENs has no rows."
        )
        raise ValueError(msg)
    check_frame(table, (), "the table of TALENs")
    for column in _NEEDED:
        check_texts(table[column], f"a value of table[{column!r}]", hint="td.get.talens(data) returns a table of text.")
    if not table["pair"].is_unique:
        repeated = table["pair"][table["pair"].duplicated()].unique()
        msg = f"The pairs {listed(repeated, 3)} are there more than once; orders need names of their own."
        raise ValueError(msg)
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix == ".csv":
        text = table.to_csv(index=False)
    elif suffix in {".fa", ".fasta"}:
        text = "".join(
            f">{row.pair}_{side} {rvds.replace(' ', '-')}\n{site}\n"
            for row in table.itertuples(index=False)
            for side, rvds, site in (
                ("left", row.left_rvds, row.left_target),
                ("right", row.right_rvds, row.right_target),
            )
        )
    else:
        msg = f"path={str(path)!r} ends in {target.suffix!r}; write .csv for a table or .fasta for half sites."
        raise ValueError(msg)
    if not target.parent.is_dir():
        msg = f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first."
        raise FileNotFoundError(msg)
    with whole_file(target) as part:
        part.write_text(text)
