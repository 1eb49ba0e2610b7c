from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

from sctandem._checks import check_number, check_positive
from sctandem._keys import DEKeys
from sctandem.get._de import check_one, de
from sctandem.pl._style import INK, TEXT, draw_changes, label_changes

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


def de_heatmap(
    adata: AnnData,
    n_genes: int = 5,
    *,
    contrast: str | None = None,
    q_value: float = 0.05,
    key: str = "deepde",
    ax: Axes | None = None,
) -> Axes:
    """Draw the fold changes of the most significant genes of each state in all states.

    Needs :func:`sctandem.tl.differential_expression`.

    Parameters
    ----------
    adata
        The object.
    n_genes
        Genes a state, the most significant first.
    contrast
        Which contrast, such as `"stim vs ctrl"`; may be left out where there is one.
    q_value
        Only genes up to this q-value in some state are shown; in the states where they reach it they have a dot.
    key
        The `key_added` of :func:`sctandem.tl.differential_expression`.
    ax
        Axes to draw into; `None` makes new ones.

    Returns
    -------
    The axes: genes across, states down, coloured by shrunken log2 fold change (red a rise, blue a fall, grey not tested).

    Raises
    ------
    KeyError
        When nothing was tested under `key`.
    ValueError
        When there are several contrasts and none is named, or no gene reaches `q_value`.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> row = dict.fromkeys(["lfc_se", "ci_low", "ci_high", "log2fc_raw", "statistic", "base_mean"], 1.0)
    >>> row |= {"gene": "G1", "contrast": "stim vs ctrl", "n_samples": 8, "p_value": 0.01, "q_value": 0.02}
    >>> table = pd.DataFrame([row | {"state": "B", "log2fc": 1.0}, row | {"state": "NK", "log2fc": -2.0}])
    >>> adata = AnnData(uns={"deepde": {"table": table}})  # tl.differential_expression writes this
    >>> ax = td.pl.de_heatmap(adata)
    """
    keys = DEKeys(key)
    check_positive(n_genes, "n_genes", whole=True)
    check_number(q_value, "q_value", low=0, high=1)
    table = de(adata, contrast=contrast, key=key)
    check_one(table, keys.contrast, "contrast", key)
    reached = table[table[keys.q_value] <= q_value]
    if not len(reached):
        msg = f"no gene of adata.uns[{key!r}] has a q-value of at most {q_value}."
        raise ValueError(msg)
    first = reached.groupby(keys.state, sort=False).head(n_genes)
    genes = list(dict.fromkeys(first[keys.gene]))
    states = list(table[keys.state].unique())
    change = table.pivot_table(index=keys.state, columns=keys.gene, values=keys.log2fc).reindex(states, columns=genes)
    below = table.pivot_table(index=keys.state, columns=keys.gene, values=keys.q_value).reindex(states, columns=genes)
    if ax is None:
        size = (1.6 + 0.22 * len(genes), 1.2 + 0.26 * len(states))
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    image = draw_changes(ax, change, (below <= q_value).to_numpy(), dot=9)
    title = f"{table[keys.contrast].iloc[0]}\n● q ≤ {q_value:g}"
    ax.set_title(title, fontsize=TEXT, color=INK, loc="left")
    label_changes(ax.figure.colorbar(image, ax=ax, shrink=0.8))
    return ax
