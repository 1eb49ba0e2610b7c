from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sctandem._checks import check_number, check_option, check_slot, check_table
from sctandem._chromatin_keys import GRAMMAR_TESTS, GrammarKeys
from sctandem._open_chromatin import open_chromatin

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData
    from mudata import MuData


def motif_grammar(
    data: AnnData | MuData,
    group: str | None = None,
    fdr: float | None = None,
    *,
    test: str | None = None,
    modalities: Mapping[str, str] | None = None,
    key: str = "motif_grammar",
) -> pd.DataFrame:
    """Read which pairs of motifs lie together, in an order, or at a spacing.

    Needs :func:`sctandem.tl.motif_grammar`.

    Parameters
    ----------
    data
        The object.
    group
        One group of cells; by default all.
    fdr
        Keep only rows with at most this false discovery rate, between 0 and 1.
    test
        ``"cooccurrence"``, ``"order"`` or ``"spacing"``; by default all.
    modalities
        From the role ``"atac"`` to the name of the modality of a MuData. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.motif_grammar`.

    Returns
    -------
    One row per group, pair and test, by rising p-value: ``group``, ``motif_a``, ``motif_b``, ``test``, ``n_peaks``, ``observed``,
    ``expected``, ``effect``, ``spacing``, ``pvalue``, ``fdr``; see :func:`sctandem.tl.motif_grammar`.

    Raises
    ------
    KeyError
        When the grammar was not read.
    ValueError
        For a group or test that is not there, and when `fdr` is not between 0 and 1.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> row = {"group": "B", "motif_a": "PAX5", "motif_b": "EBF1", "test": "order", "pvalue": 0.01, "fdr": 0.02}
    >>> adata = AnnData(shape=(2, 3))
    >>> adata.uns["motif_grammar"] = {"table": pd.DataFrame([row])}  # tl.motif_grammar writes this
    >>> len(td.get.motif_grammar(adata, "B", fdr=0.05))
    1
    """
    keys = GrammarKeys(key)
    peaks = open_chromatin(data, modalities)
    function, slot = "td.tl.motif_grammar(data)", f"{peaks.slot}.uns"
    found = check_slot(peaks.adata.uns, key, slot, function)
    rows = check_table(found, keys.table, f"{slot}[{key!r}]", function, (keys.group, keys.test, keys.fdr))
    if group is not None:
        _check_group(group, peaks.adata.uns[key], keys, f"{peaks.slot}.uns[{key!r}]")
        rows = rows[rows[keys.group].astype(str) == group]
    if test is not None:
        check_option(test, GRAMMAR_TESTS, "test")
        rows = rows[rows[keys.test] == test]
    if fdr is not None:
        check_number(fdr, "fdr", low=0, high=1)
        rows = rows[rows[keys.fdr] <= fdr]
    return rows.reset_index(drop=True)


def _check_group(group: str, found: dict[str, Any], keys: GrammarKeys, slot: str) -> None:
    """Say of a group without tests whether it was left out, or is none."""
    tested = list(found[keys.table][keys.group].astype(str).unique())
    if group not in tested and keys.groups in found and keys.params in found:
        rows = found[keys.groups].set_index(keys.group)
        if group in rows.index.astype(str):
            msg = (
                f"{slot} has no tests for the group {group!r}: it has {rows.loc[group, keys.n_peaks]} peaks of its own "
                f"(at least {found[keys.params]['min_peaks']} are needed, and pairs that are expected in enough of them). "
                f"There are tests for {', '.join(map(repr, tested)) or 'none'}."
            )
            raise ValueError(msg)
    check_option(group, tested, "group")
