from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_data, check_option, check_slot, check_table
from sctandem._talen_keys import TalenKeys
from sctandem.get._select import close_names

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

_MADE_BY = {
    "table": "sctandem.tl.design_talens(data, targets, fasta)",
    "offtargets": "sctandem.tl.talen_offtargets(data, fasta)",
    "safety": "sctandem.tl.talen_offtargets(data, fasta)",
}


def talens(
    data: AnnData | MuData,
    pair: str | None = None,
    *,
    target: str | None = None,
    what: str = "table",
    key: str = "talens",
) -> pd.DataFrame:
    """Read pairs of TALENs, or the other places that they may cut.

    Needs :func:`sctandem.tl.design_talens`, and :func:`sctandem.tl.talen_offtargets` for the places.

    Parameters
    ----------
    data
        The object.
    pair
        One pair, such as ``"TALEN1"``; by default all.
    target
        Only pairs for this target; by default all.
    what
        ``"table"`` for the pairs, ``"offtargets"`` for the places that they may cut, ``"safety"`` for their summary.
    key
        The `key_added` of :func:`sctandem.tl.design_talens`.

    Returns
    -------
    The table, see there for its columns.

    Raises
    ------
    KeyError
        When the table was not made, or has nothing of that name.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.
    ValueError
        When `what` is none of the tables.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> pairs = pd.DataFrame({"pair": ["TALEN1", "TALEN2"], "target": ["A", "B"]})
    >>> mdata.uns["talens"] = {"params": {}, "table": pairs}  # tl.design_talens writes this
    >>> td.get.talens(mdata, target="B")["pair"].tolist()
    ['TALEN2']
    """
    check_data(data)
    keys = TalenKeys(key)
    check_option(what, list(_MADE_BY), "what")
    slot = f"uns[{key!r}]"
    result = check_slot(data.uns, keys.key, "uns", _MADE_BY["table"])
    pairs = check_table(result, keys.table, slot, _MADE_BY["table"], (keys.pair, keys.target))
    table = check_table(result, what, slot, _MADE_BY[what], (keys.pair,))
    for name, column in ((pair, keys.pair), (target, keys.target)):
        if name is None:
            continue
        known = list(pairs[column].unique())
        if name not in known:
            msg = f"{slot} has no {column} {name!r}{close_names(name, known)}"
            raise KeyError(msg)
        chosen = pairs[keys.pair][pairs[column] == name]
        table = table[table[keys.pair].isin(chosen)]
    return table.reset_index(drop=True)
