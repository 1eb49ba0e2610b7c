from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import (
    check_modalities,
    check_number,
    check_target,
    check_type,
    listed,
    texts,
    working_copy,
)
from sctandem._keys import VERDICTS, PredictionKeys
from sctandem._random import as_generator, draw_seed
from sctandem._talen_keys import KNOCKOUT_REASONS, KNOCKOUT_VERDICTS, KnockoutKeys
from sctandem.get._select import close_names
from sctandem.get._values import cell_groups, group_members
from sctandem.tl._gene_function import _Inputs, _read
from sctandem.tl._knockout_genes import gene_changes
from sctandem.tl._knockout_motif import motif_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from sctandem._random import RNG
    from sctandem.kernels._knockout import GroupCounts
    from sctandem.model import TAPE

logger = logging.getLogger(__name__)

#: What `settings` may hold, and its defaults.
SETTINGS: dict[str, Any] = {
    "batch_key": None,
    "size_factor_key": None,
    "modalities": None,
    "windows_key": "gene_windows",
    "graph_key": "regulatory_graph",
    "skill_key": "tape",
    "n_members": 4,
    "level": 0.9,
}
#: Cells of a group and counts of a peak below which nothing is predicted.
LEAST_CELLS, LEAST_COUNTS = 10, 20
TOO_FEW_GENE, TOO_FEW_PEAK, TOO_FEW_CELLS, NO_SKILL = KNOCKOUT_REASONS[1:5]


def knockout(
    mdata: MuData,
    peaks: str | Sequence[str] | None = None,
    *,
    genes: str | Sequence[str] | None = None,
    motif: tuple[str, str] | None = None,
    model: TAPE | None = None,
    groupby: str | None = "cell_type",
    settings: Mapping[str, Any] | None = None,
    key_added: str = "knockout",
    rng: RNG = None,
    copy: bool = False,
) -> MuData | None:
    r"""Predict how expression changes when an element closes, a motif is disrupted, or a gene is knocked out.

    Needs :func:`sctandem.pp.gene_windows`, and counts in ``X`` of both modalities. Give one of `peaks`, `genes` and `motif`.

    Parameters
    ----------
    mdata
        Expression and accessibility of the same cells.
    peaks
        Names of peaks to close, each alone.
    genes
        Names of genes to knock out, each alone: what they regulate in ``uns["regulatory_graph"]["table"]`` changes.
    motif
        A peak and a motif in it to disrupt, of :func:`sctandem.pp.nucleotide_spectrum` with motifs.
    model
        A trained :class:`~sctandem.model.TAPE` of the same genes and peaks, of which the effects that its windows lead to expect are
        used beside those that are learned here.
    groupby
        Column of ``obs`` (of `mdata` or a modality) with the groups to predict for; `None` for all cells together.
    settings
        Any of ``batch_key`` and ``size_factor_key`` (columns of ``obs``, as in :func:`sctandem.tl.gene_function`), ``modalities``,
        ``windows_key``, ``graph_key``, ``skill_key`` (the `key_added` of :func:`sctandem.tl.predict_expression`, whose verdicts are heeded where
        there are any), ``n_members`` (4; of the ensemble, each fitted without its part of the cells; 0 or 1 for none) and ``level`` (0.9; of
        the intervals).
    key_added
        Name of the result.
    rng
        Seed of the parts of the cells and of the draws that the intervals are read from; `None` draws one. The seed is kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `mdata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `mdata.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row per element, gene and group, those that change most first within an element: ``element`` (category; peak, ``peak without motif``,
        or gene), ``gene``, ``group`` (category), ``distance`` (float64, bp from the start of the gene to the middle of the peak, negative
        upstream; NaN for genes), ``log2fc``, ``low``, ``high`` (float64; predicted log2 fold change of the mean expression and its interval; NaN where
        nothing is predicted), ``verdict`` (category; ``"down"`` or ``"up"`` where the interval excludes 0, ``"unclear"``, ``"not predicted"``), ``reason``
        (category; why nothing is predicted).
    `mdata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When windows, motifs, the regulatory graph, a column, or a name is missing.
    TypeError
        For a `model` that is no TAPE.
    RuntimeError
        When the model is not trained.
    ValueError
        For other than one of `peaks`, `genes` and `motif`, unknown settings, or data that :func:`sctandem.tl.gene_function` refuses. Nothing is written then.

    Notes
    -----
    *Peaks.* Expression is taken to be log-linear in openness. The effect of each peak given all others of the window is that of
    :func:`sctandem.tl.gene_function` (generalised least squares, on 10 components of the chromatin), per relative change of its openness: that is
    what closing it takes away in a cell of average openness. In a group it is scaled by how open the peak is there. Effects are taken to be mixed from
    nothing and normal distributions, with shares that depend on the size of the effect that genes of other chromosomes lead to expect; the guess is the
    mean of the mixture's and the least squares'. Intervals hold the noise of the counts and the credit that peaks share; the spread of
    an ensemble of fits without a part of the cells, whose mixtures are pooled; the noise of the openness in the group; and a factor (standard deviation 0.5 of its logarithm, set on
    one simulation) for expression that is not log-linear in openness.

    *Motifs.* The part of the openness that a peak loses is learned from all peaks: a ridge regression of the log openness of peaks
    in each group on their motifs.

    *Genes.* A target follows its factor as it does between groups (log-linear, through their means), down to the lowest group; the direction is that of
    the graph, and where the groups contradict it nothing is predicted. Targets of targets are not followed.

    Nothing is predicted for genes with fewer than 20 counts, peaks with fewer than 20, groups of fewer than 10 cells, and genes
    that :func:`sctandem.tl.predict_expression` predicts no better than their mean. Where that was not run no gene is left out for want of skill.

    On three simulated multiomes of 1,500 cells that were not used to choose the method (``python -m benchmarks talen --part knockout``), of the 50 elements
    with the largest predictions 88 to 98 % drive a gene, predictions and truth have a Spearman correlation of 0.68 to 0.78 over all genes in reach (0.49 where all genes
    are said to go down, the nearer the more), and 81 % of the 90 % intervals of genes that they drive hold the truth. The sign is right there in 99.8 % of the changes above 0.5, as it is for whoever says that all
    genes go down. Over all elements that drive a gene, most of which are predicted to do little, signs are right for 87 % (80 % if all go down) and the correlation is 0.50; intervals of the genes they drive hold
    the truth in 33 to 48 %: **what is predicted to be small may be large**. Few rows have a verdict (56 of 46,711 over 1,000 elements each drawn at random).

    Everything here is learned from associations between cells: a peak that opens together with the true enhancer shares its credit. What is not seen: peaks that
    are open alike in all cells, boundaries (closing one lets other peaks reach the gene), effects beyond the window, compensation, and what a cut does to the
    sequence. Predictions order experiments; they do not replace one.
    Cost: `n_members` + 1 fits, each some times that of :func:`sctandem.tl.gene_function`, for one peak or for all: close all that are of interest in one call.

    References
    ----------
    Stephens, False discovery rates: a new deal, Biostatistics 18 (2017), for the mixture. Lakshminarayanan et al., Simple and
    scalable predictive uncertainty estimation using deep ensembles, NIPS 30 (2017), for pooled members.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=300, n_genes=60, n_peaks=600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.tl.knockout(mdata, mdata["atac"].var_names[5], settings={"n_members": 0}, rng=0)
    >>> td.get.knockout(mdata).columns.tolist()
    ['element', 'gene', 'group', 'distance', 'log2fc', 'low', 'high', 'verdict', 'reason']
    """
    chosen = _settings(settings)
    named = check_modalities(mdata, chosen["modalities"])
    check_target(mdata, key_added, copy=copy)
    if sum(given is not None for given in (peaks, genes, motif)) != 1:
        msg = "give one of peaks, genes and motif: which element is to close, which gene to be knocked out, or which motif of which peak to be disrupted."
        raise ValueError(msg)
    if model is not None:
        from sctandem.model import TAPE

        check_type(model, TAPE, "model")
    seed = draw_seed(rng)
    if genes is not None:
        table = gene_changes(
            mdata, _names(genes, mdata.mod[named["rna"]].var_names, "genes"), groupby, names=named, settings=chosen
        )
    else:
        table = _peak_changes(
            mdata, peaks, motif, groupby=groupby, named=named, settings=chosen, model=model, rng=as_generator(seed)
        )
    keys = KnockoutKeys(key_added)
    params = {name: value for name, value in chosen.items() if value is not None and name != "modalities"}
    if groupby is not None:
        params["groupby"] = groupby
    params |= {**named, "seed": seed, "with_model": model is not None, "version": version("sctandem")}
    result = working_copy(mdata, copy=copy)
    result.uns[keys.key] = {keys.params: params, keys.table: _finish(table, keys)}
    return result if copy else None


def _settings(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check settings, and fill in defaults."""
    if given is not None:
        check_type(given, Mapping, "settings", hint="Such as {'batch_key': 'batch'}.")
    unknown = [name for name in given or {} if name not in SETTINGS]
    if unknown:
        msg = f"settings has {unknown[0]!r}, which is none of {listed(list(SETTINGS), 20)}."
        raise ValueError(msg)
    chosen = SETTINGS | dict(given or {})
    check_number(chosen["n_members"], "settings['n_members']", low=0, high=100, whole=True)
    check_number(chosen["level"], "settings['level']", low=0.5, high=0.999)
    return chosen


def _names(given: str | Sequence[str], known: pd.Index, what: str) -> list[str]:
    """Check that all names are there."""
    names = [given] if isinstance(given, str) else texts(given, what)
    if not names:
        msg = f"{what} is empty: name at least one."
        raise ValueError(msg)
    absent = [name for name in names if name not in known]
    if absent:
        msg = f"{what} names {absent[0]!r}, which is none of those of mdata{close_names(absent[0], list(known))}"
        raise KeyError(msg)
    return list(dict.fromkeys(names))


def _peak_changes(
    mdata: MuData,
    peaks: str | Sequence[str] | None,
    motif: tuple[str, str] | None,
    *,
    groupby: str | None,
    named: dict[str, str],
    settings: dict[str, Any],
    model: TAPE | None,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Predict changes when peaks close, or lose a motif."""
    from sctandem.kernels._knockout import GroupCounts, closing_effects, predict_changes

    atac, rna = mdata.mod[named["atac"]], mdata.mod[named["rna"]]
    if motif is not None and (isinstance(motif, str) or len(motif) != 2):
        msg = f"motif={motif!r:.80} must be a pair: the name of a peak, and that of a motif."
        raise ValueError(msg)
    given, what = ([motif[0]], "motif") if motif is not None else ([] if peaks is None else peaks, "peaks")
    wanted = _names(given, atac.var_names, what)
    windows_key = settings["windows_key"]
    inputs = _read(
        mdata,
        named,
        batch_key=settings["batch_key"],
        size_factor_key=settings["size_factor_key"],
        windows_key=windows_key,
    )
    windows = inputs.windows
    pairs = np.flatnonzero(np.isin(windows.peak, atac.var_names.get_indexer(wanted)))
    alone = [name for name in wanted if name not in set(atac.var_names[windows.peak[pairs]])]
    if pairs.size == 0:
        msg = f"{listed(alone)} is in the window of no gene: nothing can be predicted; widen the windows with td.pp.gene_windows(mdata, upstream=..., downstream=...)."
        raise ValueError(msg)
    if alone:
        logger.warning("%d peaks are in the window of no gene and have no rows, such as %s", len(alone), alone[0])
    labels = cell_groups(mdata, groupby, [named["rna"], named["atac"]])
    groups, member = [str(name) for name in labels.cat.categories], group_members(labels)[:, inputs.seen]
    counts = GroupCounts.of(inputs.atac, member)
    lost, suffix = None, ""
    if motif is not None:
        lost = motif_loss(atac, motif, counts, slot=f"mdata[{named['atac']!r}]", rng=rng)
        suffix = f" without {motif[1]}"
    closing = closing_effects(
        inputs.rna,
        inputs.atac,
        windows,
        library=inputs.library,
        chromosome=inputs.chromosome,
        batch=inputs.batch,
        told=None if model is None else _told(model, mdata, named, inputs),
        n_members=settings["n_members"],
        rng=rng,
    )
    peak = windows.peak[pairs]
    values = predict_changes(closing, counts, pairs, peak, lost=lost, level=settings["level"], rng=rng)
    reason = _reasons(
        rna, inputs, counts, pairs, size=np.asarray(member.sum(axis=1)).ravel(), key=settings["skill_key"]
    )
    n_groups = len(groups)
    table = pd.DataFrame(
        {
            "element": np.repeat(np.array([f"{name}{suffix}" for name in atac.var_names[peak]]), n_groups),
            "gene": np.repeat(rna.var_names[windows.gene[pairs]].to_numpy(), n_groups),
            "group": np.tile(np.array(groups), pairs.size),
            "distance": np.repeat(windows.distance[pairs].astype(np.float64), n_groups),
            "reason": reason.ravel(),
        }
    )
    for name, part in zip(("log2fc", "low", "high"), values, strict=True):
        table[name] = np.where(table["reason"] == "", part.ravel(), np.nan)
    order = {f"{name}{suffix}": at for at, name in enumerate(wanted)}
    return table.assign(order=table["element"].map(order))


def _told(model: TAPE, mdata: MuData, named: dict[str, str], inputs: _Inputs) -> np.ndarray:
    """Return what the windows of a model, which had not seen the gene, lead to expect of each pair; 0 for pairs it does not know."""
    if not model.is_trained:
        msg = "this TAPE model is not trained; call `model.train()` first."
        raise RuntimeError(msg)
    kept = model.module.get_fitted()
    known = pd.MultiIndex.from_arrays([model.gene_names[kept["pair_gene"]], model.peak_names[kept["pair_peak"]]])
    rna, atac = mdata.mod[named["rna"]].var_names, mdata.mod[named["atac"]].var_names
    wanted = pd.MultiIndex.from_arrays([rna[inputs.windows.gene], atac[inputs.windows.peak]])
    told = pd.Series(kept["pair_unseen"], index=known).reindex(wanted)
    if not told.notna().any():
        msg = "the model knows none of the pairs of mdata: it was trained on other genes or peaks."
        raise ValueError(msg)
    return told.fillna(0.0).to_numpy(np.float64)


def _reasons(
    rna: Any, inputs: _Inputs, counts: GroupCounts, pairs: np.ndarray, *, size: np.ndarray, key: str
) -> np.ndarray:
    """Say for each pair and group why nothing is predicted; empty where something is."""
    gene, peak = inputs.windows.gene[pairs], inputs.windows.peak[pairs]
    of_gene = np.asarray(inputs.rna.sum(axis=0)).ravel()[gene]
    of_peak = np.asarray(inputs.atac.sum(axis=0)).ravel()[peak]
    verdict = PredictionKeys(key).verdict
    unskilled = np.zeros(gene.size, dtype=bool)
    if verdict in rna.var.columns:
        unskilled = (rna.var[verdict].astype(str) == VERDICTS[2]).to_numpy()[gene]
    reason = np.select(
        [of_gene < LEAST_COUNTS, of_peak < LEAST_COUNTS, unskilled], [TOO_FEW_GENE, TOO_FEW_PEAK, NO_SKILL], ""
    )
    table = np.repeat(reason[:, None], counts.counts.shape[1], axis=1).astype(object)
    table[(table == "") & (size < LEAST_CELLS)] = TOO_FEW_CELLS
    return table


def _finish(table: pd.DataFrame, keys: KnockoutKeys) -> pd.DataFrame:
    """Order the rows, add the verdicts, and set the types."""
    low, high, none = table[keys.low], table[keys.high], table[keys.log2fc].isna()
    codes = np.select([none, high < 0, low > 0], [3, 0, 1], 2)
    table = table.assign(
        **{
            keys.verdict: pd.Categorical.from_codes(codes, list(KNOCKOUT_VERDICTS)),
            keys.reason: pd.Categorical(table[keys.reason], list(KNOCKOUT_REASONS)),
        }
    )
    for name in (keys.element, keys.gene, keys.group):
        table[name] = pd.Categorical(table[name], list(dict.fromkeys(table[name])))
    most = (
        table[keys.log2fc]
        .abs()
        .groupby([table["order"], table[keys.gene]], observed=True)
        .transform("max")
        .fillna(-1.0)
    )
    rows = np.lexsort((np.arange(len(table)), table[keys.gene].cat.codes, -most, table["order"]))
    columns = [
        keys.element, keys.gene, keys.group, keys.distance, keys.log2fc, keys.low, keys.high, keys.verdict, keys.reason,
    ]  # fmt: skip
    out = table.iloc[rows][columns]
    return out.set_axis(np.arange(len(out)).astype(str))
