from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from mudata import MuData

from sctandem._checks import check_key, check_modalities, check_positive, listed, numeric_table
from sctandem._keys import MODALITIES
from sctandem._regulation_keys import RegulatoryGraphKeys
from sctandem.get import regulatory_graph as read_edges
from sctandem.get._select import gene_names
from sctandem.get._values import as_groups, cell_groups
from sctandem.pl._regulatory_graph import strongest_factors
from sctandem.pl._style import INK, SMALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes

#: Inches of a dot's cell; areas of the smallest and largest dot.
_CELL, _SMALLEST, _LARGEST = 0.32, 4.0, 130.0


def regulator_dotplot(
    data: AnnData | MuData,
    groupby: str,
    tfs: Sequence[str] | None = None,
    *,
    n_tfs: int = 20,
    modalities: Mapping[str, str] | None = None,
    key: str = "regulatory_graph",
    ax: Axes | None = None,
) -> Axes:
    """Draw how active each factor is in each group of cells.

    Needs :func:`sctandem.tl.regulatory_graph`.

    Parameters
    ----------
    data
        The object.
    groupby
        Column of ``obs`` of the MuData (or of its expression) with groups of cells, drawn in the order of its categories; cells without one are left out.
    tfs
        The factors; by default those with the largest sum of weights.
    n_tfs
        How many of these, at most.
    modalities
        From the role ``"rna"`` to the name of the modality of a MuData. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.regulatory_graph`.
    ax
        Axes to draw on; by default new ones.

    Returns
    -------
    The axes: groups across, factors down. Colour: mean activity in standard deviations. Size: share of the cells of the group in which the factor is
    more active than on average.

    Raises
    ------
    KeyError
        When there is no such result or column.
    ValueError
        For a factor that is not there.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(obs=pd.DataFrame({"group": ["a", "b"]}, index=["1", "2"]))
    >>> edges = pd.DataFrame({"tf": ["SPI1"], "target": ["LYZ"], "weight": [1.0], "fdr": [0.01]})
    >>> adata.uns["regulatory_graph"] = {"table": edges}  # tl.regulatory_graph writes this and the next
    >>> adata.obsm["tf_activity"] = pd.DataFrame({"SPI1": [1.0, -1.0]}, index=["1", "2"])
    >>> ax = td.pl.regulator_dotplot(adata, "group")
    """
    check_positive(n_tfs, "n_tfs", whole=True)
    keys = RegulatoryGraphKeys(key)
    edges = read_edges(data, key=key).astype({keys.tf: str})
    rna, slot = data, "adata"
    if isinstance(data, MuData):
        name = check_modalities(data, modalities, required=MODALITIES[:1])[MODALITIES[0]]
        rna, slot = data.mod[name], f"mdata[{name!r}]"
    activity = numeric_table(rna.obsm, keys.activities, f"{slot}.obsm", "sctandem.tl.regulatory_graph(data, tfs)")
    if isinstance(data, MuData):
        groups = cell_groups(data, groupby, [name])
    else:
        groups = as_groups(check_key(rna.obs, groupby, f"{slot}.obs"), f"{slot}.obs[{groupby!r}]")
    if groups.isna().all():
        msg = f"groupby={groupby!r} puts no cell into a group: there is nothing to draw."
        raise ValueError(msg)
    member = pd.Categorical(groups)
    names = strongest_factors(edges, keys, int(n_tfs)) if tfs is None else list(dict.fromkeys(gene_names(tfs, "tfs")))
    if not names:
        msg = "tfs names no factor: there is nothing to draw."
        raise ValueError(msg)
    absent = [name for name in names if name not in activity.columns]
    if absent:
        msg = f"tfs: {listed(absent)} have no activity; there are {listed(activity.columns)}."
        raise ValueError(msg)
    shown = activity[names]
    mean = shown.groupby(member, observed=True).mean()
    share = (shown > 0).groupby(member, observed=True).mean()
    # factors that are most active in the same group stand together
    names = [names[i] for i in np.argsort(mean.to_numpy().argmax(axis=0), kind="stable")]
    mean, share = mean[names], share[names]
    if ax is None:
        size = (_CELL * len(mean) + 3.0, _CELL * len(names) + 1.2)
        _, ax = plt.subplots(figsize=size, layout="constrained")
    x, y = np.meshgrid(range(len(mean)), range(len(names)))
    limit = max(float(np.abs(mean.to_numpy()).max()), 0.5)
    dots = ax.scatter(
        x, y, s=_SMALLEST + (_LARGEST - _SMALLEST) * share.to_numpy().T, c=mean.to_numpy().T, cmap="RdBu_r",
        vmin=-limit, vmax=limit, edgecolors=INK, linewidths=0.3,
    )  # fmt: skip
    ax.grid(visible=False)
    ax.set_xticks(range(len(mean)), mean.index.astype(str), rotation=90, fontsize=SMALL)
    ax.set_yticks(range(len(names)), names, fontsize=SMALL)
    ax.set_xlim(-0.6, len(mean) - 0.4)
    ax.set_ylim(len(names) - 0.4, -0.6)
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.6, pad=0.02)
    bar.set_label("Mean activity, s.d.", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    sizes = [
        Line2D([], [], marker="o", linestyle="", color="#B3B3B3", label=f"{part:.0%}", markersize=_side(part))
        for part in (0.25, 0.5, 1)
    ]
    ax.legend(
        handles=sizes,
        title="Active cells",
        fontsize=SMALL,
        title_fontsize=SMALL,
        frameon=False,
        loc="lower left",
        ncols=3,
        bbox_to_anchor=(0, 1),
    )
    return ax


def _side(share: float) -> float:
    return float(np.sqrt(_SMALLEST + (_LARGEST - _SMALLEST) * share))
