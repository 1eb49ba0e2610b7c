from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from sctandem._checks import check_adata, check_key, check_positive, check_slot, listed, numeric_table
from sctandem._keys import UNKNOWN, CapsuleKeys
from sctandem.get._capsule_genes import capsule_genes
from sctandem.pl._style import INK, SMALL, TEXT, given_axes, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_SHARES, _COUPLING = "Blues", "Purples"
#: Inches of a row, of a column of either panel, and of a character of a gene's name.
_ROW, _COLUMN, _CHARACTER = 0.25, 0.25, 0.075
#: Inches that a character of a slanted name reaches to the side and down.
_SLANTED = 0.055
#: Most groups whose shares are also written as numbers.
_MOST_WRITTEN = 12
#: Most groups that are drawn at all.
_MOST_GROUPS = 100


def capsules(
    adata: AnnData,
    groupby: str | None = None,
    *,
    n_genes: int = 5,
    key: str = "capsules",
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Draw the capsules: which groups of cells they hold, their top genes, and the programmes they are coupled to.

    Needs :func:`sctandem.tl.capsules`.

    Parameters
    ----------
    adata
        The object.
    groupby
        Column of ``obs`` with the groups. `None` for the labels that were learned, or else the sizes of the capsules.
    n_genes
        Number of genes written beside each capsule, those with the largest weights.
    key
        The `key_added` of :func:`sctandem.tl.capsules`.
    axes
        Two axes to draw to, with room for the genes between them; `None` makes a figure.

    Returns
    -------
    The figure, with the capsules that have cells. Left: capsules x groups, the share of the cells of a capsule that each group has (rows add up to 1; cells
    without a group are left out), or bars of the share of all cells. Groups, also numbered ones, are ordered by the capsule that holds most of
    them, so that what capsules hold lies along the diagonal; ordered categories (:meth:`pandas.Series.cat.as_ordered`) keep their order. Between: top genes. Right: coupling of the gene programmes, in
    columns, to the capsules.

    Raises
    ------
    KeyError
        When :func:`sctandem.tl.capsules` has not been run under `key`, its capsules have other names by now, or there is no column
        `groupby`.
    ValueError
        When `n_genes` is not an integer above 0, there are not two axes, no cell has a group, or there are more than 100 groups.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(
    ...     np.ones((3, 4)), obs=pd.DataFrame({"capsules": pd.Categorical(["0", "1", "0"])}, index=list("abc"))
    ... )
    >>> adata.varm["capsules_genes"] = pd.DataFrame(np.eye(4, 2), index=adata.var_names, columns=["0", "1"])
    >>> adata.uns["capsules"] = {
    ...     "coupling": pd.DataFrame({"0": [0.2, 0.7], "1": [0.8, 0.3]})
    ... }  # tl.capsules writes these
    >>> figure = td.pl.capsules(adata, n_genes=2)
    """
    check_adata(adata)
    check_positive(n_genes, "n_genes", whole=True)
    if not adata.n_vars:
        msg = "adata has no features: there are no genes to write beside the capsules."
        raise ValueError(msg)
    axes = given_axes(axes, 2, "two are needed, for the groups and for the coupling")
    keys = CapsuleKeys(key)
    function = f"sctandem.tl.capsules(adata, key_added={key!r})"
    found = check_slot(adata.uns, keys.key, "adata.uns", function)
    coupling = numeric_table(found, keys.coupling, f"adata.uns[{key!r}]", function)
    kinds = check_key(adata.obs, keys.key, "adata.obs").astype("category").cat.remove_unused_categories()
    renamed = kinds.cat.categories.difference(coupling.columns)
    if len(renamed):
        msg = (
            f"adata.obs[{keys.key!r}] has {listed(renamed, 3)}, but the capsules of adata.uns[{keys.key!r}] are "
            f"{listed(coupling.columns, 3)}: they were given other names. Keep the numbers, and put names into a column "
            "of their own, which goes to groupby."
        )
        raise KeyError(msg)
    groupby = keys.label if groupby is None and keys.label in adata.obs else groupby
    shares = None if groupby is None else _shares(kinds, adata.obs, groupby)
    genes = _top_genes(adata, list(kinds.cat.categories), n_genes, key)
    coupling = coupling[[str(name) for name in kinds.cat.categories]]
    if axes is None:
        names = [] if shares is None else [str(name) for name in shares.columns]
        axes = _new_axes(len(genes), names, genes, len(coupling))
    first, second = axes
    sizes = kinds.value_counts(sort=False)
    if shares is None:
        _draw_sizes(first, sizes)
    else:
        _draw_shares(first, shares, str(groupby))
    _name_rows(first, sizes)
    _write_genes(first, genes)
    _draw_coupling(second, coupling)
    return cast("Figure", first.figure)


def _shares(kinds: pd.Series, obs: pd.DataFrame, groupby: str) -> pd.DataFrame:
    """Return the share of the cells of each capsule that each group has, groups in the order of the capsules."""
    groups = check_key(obs, groupby, "adata.obs")
    if groups.isna().all():
        msg = f"adata.obs[{groupby!r}] is missing for all cells: there are no groups to draw."
        raise ValueError(msg)
    if groups.nunique() > _MOST_GROUPS:
        msg = f"adata.obs[{groupby!r}] has {groups.nunique()} different values; a column with at most {_MOST_GROUPS} groups is needed."
        raise ValueError(msg)
    counts = pd.crosstab(kinds, groups).reindex(kinds.cat.categories, fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    shares.columns = counts.columns = names = list(shares.columns.astype(str))
    if not (isinstance(groups.dtype, pd.CategoricalDtype) and groups.cat.ordered):
        of_group = (counts / counts.sum()).to_numpy()
        names = sorted(names, key=lambda name: (name == UNKNOWN, *_place(of_group[:, names.index(name)])))
    return shares[names]


def _place(column: np.ndarray) -> tuple[int, float]:
    """Return the capsule that holds most of a group, and the less the more it holds."""
    return int(column.argmax()), -float(column.max())


def _top_genes(adata: AnnData, names: list[str], n_genes: int, key: str) -> list[str]:
    """Return the names of the top genes of some capsules, as a line each."""
    keys = CapsuleKeys(key)
    table = capsule_genes(adata, names, n_genes=n_genes, key=key)
    return [", ".join(part[keys.gene].astype(str)) for _, part in table.groupby(keys.capsule, sort=False)]


def _new_axes(n_rows: int, names: list[str], genes: list[str], n_programmes: int) -> list[Axes]:
    """Make a figure whose axes have room for all rows, columns, the names of these, and genes."""
    left, right = max(1.6, _COLUMN * (len(names) or 6)), max(1.6, _COLUMN * n_programmes)
    # slanted names reach to the left of their columns, and down
    lengths = [_SLANTED * len(name) for name in names]
    over = max([0.0, *(length - _COLUMN * i - 0.9 for i, length in enumerate(lengths))])
    width = left + right + _CHARACTER * max(map(len, genes)) + 1.8 + over
    _, axes = plt.subplots(
        1,
        2,
        figsize=(width, _ROW * max(n_rows, 5) + 1.5 + max([0.5, *lengths])),
        layout="constrained",
        width_ratios=[left, right],
    )
    return list(axes)


def _draw_shares(ax: Axes, shares: pd.DataFrame, groupby: str) -> None:
    """Draw capsules x groups."""
    values = 100 * shares.to_numpy()
    image = ax.imshow(values, aspect="auto", cmap=_SHARES, vmin=0, vmax=100, interpolation="nearest")
    if shares.shape[1] <= _MOST_WRITTEN:
        for row, column in zip(*np.nonzero(values >= 0.5), strict=True):
            value = values[row, column]
            ax.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=SMALL - 1,
                color="white" if value > 60 else INK,
            )  # fmt: skip
    names = [str(name) for name in shares.columns]
    slanted = max(map(len, names)) > 3
    ax.set_xticks(range(len(names)), names)
    if slanted:
        plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    label = ax.set_xlabel(groupby, fontsize=TEXT, loc="right" if slanted else "center")
    if slanted:  # beside the names, which lean away from there; below them it would hang by itself
        ax.xaxis.set_label_coords(1.01, -0.03)
        label.set(ha="left", va="top")
    _finish(ax, image, "Share of a capsule's cells in %")


def _draw_sizes(ax: Axes, sizes: pd.Series) -> None:
    """Draw the share of the cells that each capsule has, as bars."""
    ax.barh(range(len(sizes)), 100 * sizes / max(sizes.sum(), 1), color="#6E6E6E", height=0.7)
    ax.set_ylim(len(sizes) - 0.5, -0.5)
    ax.set_xlabel("Share of the cells in %", fontsize=TEXT)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    plain(ax)


def _name_rows(ax: Axes, sizes: pd.Series) -> None:
    """Name the capsules, and say how many cells each has."""
    ax.set_yticks(range(len(sizes)), [f"{name} ({size:,})" for name, size in sizes.items()])
    ax.set_ylabel("Capsule (cells)", fontsize=TEXT)
    ax.tick_params(labelsize=SMALL)


def _write_genes(ax: Axes, genes: list[str]) -> None:
    """Write the top genes to the right of each row."""
    for row, line in enumerate(genes):
        ax.annotate(
            line, (1, row), (6, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
            va="center", fontsize=SMALL, fontstyle="italic", color=INK, annotation_clip=False,
        )  # fmt: skip


def _draw_coupling(ax: Axes, coupling: pd.DataFrame) -> None:
    """Draw capsules x programmes."""
    values = coupling.to_numpy(dtype=float).T
    image = ax.imshow(values, aspect="auto", cmap=_COUPLING, vmin=0, interpolation="nearest")
    every = -(-len(coupling) // 20)
    ax.set_xticks(
        range(0, len(coupling), every), [str(name).removeprefix("programme") for name in coupling.index[::every]]
    )
    ax.set_yticks(range(len(values)), [str(name) for name in coupling.columns])
    ax.set_xlabel("Programme", fontsize=TEXT)
    _finish(ax, image, "Coupling of programme and capsule")


def _finish(ax: Axes, image: AxesImage, what: str) -> None:
    """Set off the cells of a heat map, and put its colours above it."""
    plain(ax, keep=())
    ax.tick_params(length=0)
    ax.set_facecolor("white")
    bar = ax.figure.colorbar(
        image, ax=ax, location="top", fraction=0.04, aspect=18, pad=0.03, shrink=0.9, anchor=(0, 0)
    )
    bar.set_label(what, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL - 1, length=2)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(2, steps=[1, 2, 5, 10])
    bar.update_ticks()
