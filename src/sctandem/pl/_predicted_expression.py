from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from sctandem._checks import check_layer, check_modalities, check_slot, holds_counts
from sctandem._keys import PredictionKeys
from sctandem.get._select import close_names, gene_names
from sctandem.get._values import cell_groups, dense, per_10k, sum_of_columns
from sctandem.pl._style import INK, NEUTRAL, SMALL, TEXT, colors_of_groups, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

_N_GENES, _N_BINS = 6, 10
_PANEL = 2.2
_TICKS = np.array([0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000])


def predicted_expression(
    mdata: MuData,
    genes: str | Sequence[str] | None = None,
    *,
    groupby: str | None = None,
    layer: str | None = None,
    size_factor_key: str | None = None,
    modalities: Mapping[str, str] | None = None,
    key: str = "tape",
) -> Figure:
    """Draw predicted against measured expression of genes, for single cells and for groups of cells.

    Needs :func:`sctandem.tl.predict_expression` on data with measured expression.

    Parameters
    ----------
    mdata
        The object.
    genes
        One gene or several; by default the six that are predicted best (by Pearson correlation).
    groupby
        Column of ``obs`` whose groups are shown as large points, such as ``"cell_type"``; colours kept in
        ``uns["<groupby>_colors"]`` are used. By default the cells are cut into ten bins of equal size by their
        prediction: on the diagonal, predictions are true on average.
    layer
        Layer that holds the measured counts; by default ``X``.
    size_factor_key
        Column of ``obs`` with the library size of each cell; by default the sum of its counts, without the genes that the model
        held out, as for the prediction.
    modalities
        From the role ``"rna"`` to the name of the modality in `mdata`. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.predict_expression`.

    Returns
    -------
    A figure with a panel per gene. Small points are cells, large ones the means of groups (or bins), both in counts per
    10,000 on axes that are linear below 1 and logarithmic above. Where it is known which cells were held out of
    training, only these are shown. The title gives the gene's Pearson correlation, where it was scored.

    Raises
    ------
    KeyError
        When there is no prediction, or a gene is not in the data.
    ValueError
        When no gene was scored and `genes` is not given, or expression was not measured.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> mdata["rna"].layers["tape"] = mdata["rna"].layers["true_rate"]  # tl.predict_expression writes this
    >>> figure = td.pl.predicted_expression(mdata, mdata["rna"].var_names[:2], groupby="cell_type")

    Notes
    -----
    Means are taken over counts per 10,000 and drawn on the same axes as the cells: the logarithm of a mean is not the
    mean of logarithms.
    """
    name = check_modalities(mdata, modalities, required=("rna",))["rna"]
    rna, keys = mdata.mod[name], PredictionKeys(key)
    predict = "sctandem.tl.predict_expression(mdata, model)"
    how = mdata.uns.get(key, {}).get("params", {})
    layer, size_factor_key = layer or how.get("rna_layer"), size_factor_key or how.get("size_factor_key")
    predicted = check_slot(rna.layers, keys.layer, f"mdata[{name!r}].layers", predict)
    if not holds_counts(rna, layer):
        msg = f"mdata[{name!r}] has a prediction, but no measured expression to draw it against: its X is empty (None)."
        raise ValueError(msg)
    chosen = _choose(rna, genes, keys, name)
    groups = cell_groups(mdata, groupby, [name])
    colors = colors_of_groups(mdata, groupby, groups, [name])
    shown, which = _cells(mdata, rna, keys)
    columns = rna.var_names.get_indexer(chosen)
    counts = check_layer(rna, layer, f"mdata[{name!r}]")
    sizes = _sizes(mdata, rna, size_factor_key, name)
    heldout = how.get("heldout_genes", [])
    if sizes is None and len(heldout):  # the prediction is relative to the others
        inside = ~rna.var_names.isin(heldout)
        sizes = sum_of_columns(counts, inside)
    measured = per_10k(counts, columns, sizes)
    expected = dense(predicted[:, columns])

    n_columns = 2 if len(chosen) == 4 else min(3, len(chosen))
    n_rows = -(-len(chosen) // n_columns)
    legend = 0.4 + 0.075 * max(map(len, [*map(str, colors), groupby])) if groupby else 0.2
    size = (max(_PANEL * n_columns, 3.2) + legend, _PANEL * n_rows + 0.5)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")
    for panel, gene in enumerate(chosen):
        ax = axes.flat[panel]
        _draw_gene(ax, measured[shown, panel], expected[shown, panel], groups[shown] if groupby else None, colors)
        r = rna.var[keys.pearson].get(gene, np.nan) if keys.pearson in rna.var.columns else np.nan
        ax.set_title(gene, loc="left", fontsize=TEXT, fontstyle="italic")
        if np.isfinite(r):
            ax.set_title(f"r = {r:.2f}", loc="right", fontsize=SMALL)
    for ax in axes.flat[len(chosen) :]:
        ax.set_visible(False)
    what = "groups" if groupby else "tenths of cells by prediction"
    n_scored = int(np.isfinite(rna.var[keys.pearson].reindex(chosen)).sum()) if keys.pearson in rna.var.columns else 0
    notes = [f"{int(shown.sum()):,} {which}", f"large points: means of {what}"]
    notes += ["r: Pearson correlation over cells, log-normalised"] if n_scored else []
    note = ("; " if n_columns > 2 else "\n").join(notes)
    figure.supxlabel(f"Measured (counts per 10,000)\n{note}", fontsize=TEXT)
    figure.supylabel("Predicted (counts per 10,000)", fontsize=TEXT)
    if groupby:
        handles = [plt.Line2D([], [], marker="o", linestyle="", color=c, label=str(g)) for g, c in colors.items()]
        figure.legend(
            handles=handles, loc="outside right upper", frameon=False, fontsize=SMALL, handletextpad=0.1,
            title=groupby, title_fontsize=SMALL, alignment="left",
        )  # fmt: skip
    return figure


def _choose(rna: AnnData, genes: str | Sequence[str] | None, keys: PredictionKeys, name: str) -> list[str]:
    """Return the genes asked for, or those predicted best."""
    if genes is not None:
        chosen = gene_names(genes, "genes")
        absent = [gene for gene in chosen if gene not in rna.var_names]
        if absent or not chosen:
            shown = ", ".join(map(repr, absent[:5])) or "no gene at all"
            hint = close_names(absent[0] if absent else "", list(rna.var_names))
            msg = f"mdata[{name!r}].var_names has not {shown}; it holds {rna.n_vars:,} genes{hint}"
            raise KeyError(msg)
        return chosen
    scores = rna.var[keys.pearson].dropna() if keys.pearson in rna.var.columns else pd.Series(dtype=float)
    if scores.empty:
        msg = f"No gene has a score in mdata[{name!r}].var[{keys.pearson!r}]; say which genes to draw with genes=[...]."
        raise ValueError(msg)
    return scores.sort_values(ascending=False, kind="stable").index[:_N_GENES].tolist()


def _cells(mdata: MuData, rna: AnnData, keys: PredictionKeys) -> tuple[np.ndarray, str]:
    """Return which cells to show: those held out where this is known."""
    if keys.heldout in mdata.obs.columns:
        held_out = (mdata.obs[keys.heldout].reindex(rna.obs_names) == True).to_numpy()  # noqa: E712 - missing is not
        if held_out.any():
            return held_out, "held-out cells"
    return np.ones(rna.n_obs, dtype=bool), "cells"


def _draw_gene(
    ax: Axes, measured: np.ndarray, predicted: np.ndarray, groups: pd.Series | None, colors: dict[str, str]
) -> None:
    """Draw cells and means of one gene."""
    by = _bins(predicted) if groups is None else groups.array
    table = pd.DataFrame({"measured": measured, "predicted": predicted}).groupby(by, observed=True)
    means = table.mean()
    cell_colors = NEUTRAL if groups is None else groups.map(colors).astype(object).fillna(NEUTRAL).to_numpy()
    # whole counts lie on top of each other: a little noise, the same at every call
    noise = np.random.default_rng(0).uniform(-0.04, 0.04, len(measured)) * (1 + measured)
    ax.scatter(
        np.maximum(measured + noise, 0), predicted, c=cell_colors, s=5, alpha=0.35, linewidths=0, rasterized=True
    )
    mean_colors = INK if groups is None else [colors[group] for group in means.index]
    ax.scatter(means["measured"], means["predicted"], c=mean_colors, s=46, edgecolors="white", linewidths=0.9, zorder=3)
    top = max(measured.max(initial=0), predicted.max(initial=0), 1.0) * 1.25
    ax.plot([0, top], [0, top], color=INK, linewidth=0.7, linestyle=(0, (3, 3)), zorder=0)
    for axis, setter in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        setter("function", functions=(np.log1p, np.expm1))
        ticks = _TICKS[top >= _TICKS]
        axis.set_ticks(ticks[:: 1 + (len(ticks) > 6)])
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlim(-0.12, top)
    ax.set_ylim(-0.12, top)
    ax.set_box_aspect(1)
    plain(ax)


def _bins(predicted: np.ndarray) -> np.ndarray:
    """Cut cells into bins of equal size by their prediction."""
    rank = np.argsort(np.argsort(predicted, kind="stable"), kind="stable")
    return rank * _N_BINS // max(len(predicted), 1)


def _sizes(mdata: MuData, rna: AnnData, key: str | None, name: str) -> np.ndarray | None:
    """Return the library sizes that a column of ``obs`` holds."""
    if key is None:
        return None
    tables = {f"mdata[{name!r}].obs": rna.obs, "mdata.obs": mdata.obs}
    for table in tables.values():
        if key in table.columns:
            return table[key].reindex(rna.obs_names).to_numpy(float)
    msg = f"Neither {' nor '.join(tables)} has a column {key!r}."
    raise KeyError(msg)
