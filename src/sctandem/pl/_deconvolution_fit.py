from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from sctandem._bulk_keys import RSDKeys
from sctandem._check_arguments import check_present
from sctandem._checks import (
    check_adata,
    check_layer,
    check_slot,
    check_type,
    layer_slot,
    listed,
    numeric_column,
    numeric_table,
)
from sctandem._linear import check_linear
from sctandem.get._fractions import deconvolve_call, sample_table, sample_values
from sctandem.get._values import per_10k
from sctandem.pl._style import ACTIVATING, INK, SMALL, TEXT, name_points, plain

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Most samples that have a row with their name, and how many are named where there are more.
_MOST_NAMED, _WORST = 30, 3
#: Median absolute deviations, and the least difference, from which on the fit of a sample is far below the others.
_FAR, _LEAST = 3.0, 0.02
#: Genes that are named in a panel, and the farthest among which they are chosen.
_N_GENES, _CANDIDATES = 6, 60
#: Genes from which on points are small and faint.
_MANY = 3000
DOTS = "#6E6E6E"


class _Expression(NamedTuple):
    """The genes in common: names, measured and fitted counts per million (samples x genes), log2 factors, and the level in the reference."""

    genes: np.ndarray
    measured: np.ndarray
    fitted: np.ndarray
    factors: np.ndarray
    level: np.ndarray


def deconvolution_fit(
    adata: AnnData, sample: str | None = None, *, layer: str | None = None, key: str = "rsd"
) -> Figure:
    """Draw how well a deconvolution describes bulk samples.

    Needs :func:`sctandem.tl.deconvolve`.

    Parameters
    ----------
    adata
        The bulk.
    sample
        Name of a sample whose genes are shown by themselves, the farthest off by name; `None` for all samples together.
    layer
        Layer of the bulk; `None` for that which was deconvolved.
    key
        The `key_added` of :func:`sctandem.tl.deconvolve`.

    Returns
    -------
    A figure of three panels, for the genes that bulk and reference have in common. Left: the fit of each sample, lowest first, which is the correlation of
    measured and fitted log expression of the genes that tell types apart; red where it is far below the others (by more than three times the median absolute
    deviation, and 0.02). Middle: measured against fitted expression in counts per million, with the line of equality. Right: the factor of each gene, bulk against
    reference, by its expression in the reference.

    Raises
    ------
    KeyError
        When nothing was deconvolved under `key`, there is no such layer, or a type has gone from one of the tables.
    ValueError
        When there is no sample of this name, or the values were log-transformed since.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> signature, rna = rng.gamma(1, 1e4, (100, 2)), rng.dirichlet([2, 2], 6)
    >>> bulk = pd.DataFrame({"rsd_fit": 0.98}, index=[f"s{i}" for i in range(6)])
    >>> adata = AnnData(rng.poisson(rna @ signature.T).astype("float32"), obs=bulk)
    >>> adata.var["rsd_platform"] = rng.normal(0, 0.5, 100)
    >>> adata.varm["rsd_signature"] = pd.DataFrame(signature, index=adata.var_names, columns=["B", "T"])
    >>> adata.obsm["rsd_rna"] = pd.DataFrame(rna, index=adata.obs_names, columns=["B", "T"])
    >>> adata.uns["rsd"] = {"params": {}}  # tl.deconvolve writes all of these
    >>> figure = td.pl.deconvolution_fit(adata)
    """
    check_adata(adata)
    keys = RSDKeys(key)
    fit = sample_values(adata, keys.fit, key)
    if sample is not None:
        check_type(sample, str, "sample", hint="It names one sample.")
    if sample is not None and sample not in adata.obs_names:
        msg = f"sample={sample!r} is not in adata.obs_names, which has {listed(adata.obs_names)}."
        raise ValueError(msg)
    found = _expression(adata, keys, layer)
    size = (10.5, max(3.3, 0.9 + 0.16 * min(adata.n_obs, _MOST_NAMED)))
    figure, axes = plt.subplots(1, 3, figsize=size, layout="constrained", width_ratios=[0.8, 1, 1])
    _draw_samples(axes[0], fit, sample)
    _draw_genes(axes[1], found, None if sample is None else adata.obs_names.get_loc(sample))
    axes[1].set_title("All samples" if sample is None else sample, fontsize=TEXT, color=INK, loc="left")
    _draw_factors(axes[2], found)
    return figure


def _expression(adata: AnnData, keys: RSDKeys, layer: str | None) -> _Expression:
    """Read the genes that have a factor."""
    call = deconvolve_call(keys.key)
    run = check_slot(adata.uns, keys.key, "adata.uns", call)
    check_slot(adata.var, keys.platform, "adata.var", call)
    factor = numeric_column(adata.var, keys.platform, "adata.var")
    signature = numeric_table(adata.varm, keys.signature, "adata.varm", call)
    rna = sample_table(adata, keys.rna, keys.key)
    if list(rna.columns) != list(signature.columns):
        msg = f"adata.obsm[{keys.rna!r}] and adata.varm[{keys.signature!r}] have different types; run `{call}` again."
        raise KeyError(msg)
    layer = run.get(keys.params, {}).get(keys.layer) if layer is None else layer
    matrix = check_layer(adata, layer, "adata")
    check_present(matrix, layer_slot("adata", layer))
    check_linear(matrix, layer_slot("adata", layer))
    profiles = signature.to_numpy(dtype=float)
    used = np.flatnonzero(np.isfinite(factor) & np.isfinite(profiles).all(axis=1))
    shares = rna.to_numpy(dtype=float)
    fitted = shares / shares.sum(axis=1, keepdims=True) @ profiles[used].T
    measured = 100 * per_10k(matrix, used)
    # the bulk may have genes that the reference lacks: its parts per million are then of something else
    fitted *= np.exp(np.median(np.log(measured + 1) - np.log(fitted + 1), axis=1))[:, None]
    level = (profiles[used] * np.exp(-factor[used])[:, None]).mean(axis=1)
    return _Expression(adata.var_names.to_numpy()[used].astype(str), measured, fitted, factor[used] / np.log(2), level)


def _draw_samples(ax: Axes, fit: pd.Series, sample: str | None) -> None:
    """Draw the fit of each sample, lowest on top, with the names of all or of the lowest."""
    ordered = fit.astype(float).dropna().sort_values(kind="stable")
    if ordered.empty:
        msg = f"adata.obs[{str(fit.name)!r}] has no values: no sample was fitted."
        raise ValueError(msg)
    values, names = ordered.to_numpy(dtype=float), ordered.index.astype(str).to_numpy()
    middle = float(np.median(values))
    far = middle - np.maximum(_FAR * np.median(np.abs(values - middle)), _LEAST)
    shades = np.where(values < far, ACTIVATING, np.where(names == sample, INK, DOTS))
    rows = np.arange(len(values))
    ax.scatter(values, rows, s=float(np.clip(900 / len(values), 8, 22)), c=shades, linewidths=0)
    ax.axvline(middle, color=INK, linewidth=0.6, linestyle=":")
    ax.set_ylim(len(values) - 0.4, -0.6)
    if len(rows) <= _MOST_NAMED:
        ax.set_yticks(rows, names, fontsize=SMALL)
    else:
        ax.set_yticks([])
        lowest = [f"{name}  {value:.3f}" for name, value in zip(names[:_WORST], values, strict=False)]
        ax.text(0.04, 0.03, "\n".join(["lowest:", *lowest]), transform=ax.transAxes, fontsize=SMALL, color=INK)
    low, high = values.min(), max(values.max(), middle + 0.005)
    ax.set_xlim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.set_xlabel("Correlation of measured and fitted", fontsize=TEXT)
    ax.set_title(f"Fit of {len(values)} sample{'s' if len(values) > 1 else ''}", fontsize=TEXT, color=INK, loc="left")
    plain(ax)


def _draw_genes(ax: Axes, found: _Expression, sample: int | None) -> None:
    """Draw measured against fitted expression: all samples as a density, one as points with the names of the farthest."""
    rows = slice(None) if sample is None else [sample]
    fitted, measured = (np.log10(values[rows] + 1).ravel() for values in (found.fitted, found.measured))
    top = 1.05 * float(max(fitted.max(), measured.max()))
    if sample is None:
        ax.hexbin(
            fitted, measured, gridsize=45, bins="log", mincnt=1, cmap="Greys", linewidths=0, extent=(0, top, 0, top)
        )
    else:
        _points(ax, fitted, measured)
    ax.plot([0, top], [0, top], color=ACTIVATING, linewidth=0.8)
    ax.set_xlim(0, top)
    ax.set_ylim(0, top)
    if sample is not None:
        order = np.argsort(-np.abs(measured - fitted), kind="stable")[:_CANDIDATES]
        name_points(ax, found.genes[order], fitted[order], measured[order], _N_GENES)
    for axis in (ax.xaxis, ax.yaxis):
        powers = np.arange(int(top) + 1)
        axis.set_ticks(np.log10(10.0**powers + 1), [f"{10**power:,}" for power in powers])
    ax.set_xlabel("Fitted, per million", fontsize=TEXT)
    ax.set_ylabel("Measured, per million", fontsize=TEXT)
    plain(ax)


def _draw_factors(ax: Axes, found: _Expression) -> None:
    """Draw the factors of the platform over the expression in the reference."""
    level = np.maximum(found.level, 0.1)
    _points(ax, level, found.factors)
    ax.set_xscale("log")
    ax.axhline(0, color=ACTIVATING, linewidth=0.8)
    spread = np.median(np.abs(found.factors))
    ax.set_title(f"{len(level):,} genes, half within {2**spread:.3g}-fold", fontsize=TEXT, color=INK, loc="left")
    ax.margins(x=0.12)
    order = np.argsort(-np.abs(found.factors), kind="stable")[:_CANDIDATES]
    name_points(ax, found.genes[order], level[order], found.factors[order], _N_GENES)
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("Mean in the reference, per million", fontsize=TEXT)
    ax.set_ylabel("Factor of the platform, log2", fontsize=TEXT)
    plain(ax)


def _points(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw a point for each gene."""
    many = len(x) > _MANY
    ax.scatter(x, y, s=4 if many else 7, color=DOTS, alpha=0.2 if many else 0.6, linewidths=0, rasterized=many)
