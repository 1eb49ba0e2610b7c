from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import false_discovery_control, pearsonr

from sctandem._checks import (
    check_counts,
    check_key,
    check_layer,
    check_modalities,
    check_n_cells,
    check_number,
    check_slot,
    check_target,
    check_texts,
    check_unique,
    layer_slot,
    working_copy,
)
from sctandem._keys import PROGRAMME_VERDICTS, PredictionKeys, ProgrammeKeys
from sctandem._random import as_generator, draw_seed
from sctandem._text_rows import text_rows
from sctandem.kernels import pearson
from sctandem.kernels._gene_sets import expression_bins, gene_set_scores, matched_sets, membership
from sctandem.tl._cell_cycle import CELL_CYCLE

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData
    from numpy.typing import NDArray

    from sctandem._random import RNG

_MIN_GENES = 5
_MIN_CELLS = 10
_FDR = 0.05
_WELL = 0.3
_CELLS_A_BLOCK = 1000
#: A random number a gene of each set is held at a time.
_MOST_RANDOM = 100_000
_PREDICT = "sctandem.tl.predict_expression(mdata, model)"


class _Held(NamedTuple):
    """The held-out cells: measured and predicted, log1p of counts per 10,000, and the bins of the genes in either."""

    measured: sparse.csr_array
    predicted: NDArray[np.float32]
    measured_bins: NDArray[np.int64]
    predicted_bins: NDArray[np.int64]


def programme_skill(
    mdata: MuData,
    programmes: Mapping[str, Iterable[str]] | None = None,
    *,
    modalities: Mapping[str, str] | None = None,
    layer: str | None = None,
    size_factor_key: str | None = None,
    key: str = "tape",
    n_random: int = 1000,
    key_added: str = "tape_programmes",
    rng: RNG = None,
    copy: bool = False,
) -> MuData | None:
    """Find out which programmes of genes, such as the cell cycle, chromatin predicts.

    Each programme is scored in each held-out cell twice, from measured and from predicted expression, and the two are
    compared. Needs :func:`sctandem.tl.predict_expression` on data with measured expression.

    Parameters
    ----------
    mdata
        The object.
    programmes
        From the name of a programme to its genes, as named in ``var_names``. By default the S and the G2M phase of the
        human cell cycle [1]_.
    modalities
        From the role ``"rna"`` to the name of the modality in `mdata`. By default the same.
    layer
        Layer with the measured counts; `None` for that of the prediction.
    size_factor_key
        Column of ``mdata.obs`` or of the ``obs`` of the expression with library sizes; `None` for those
        of the prediction.
    key
        The `key_added` of :func:`sctandem.tl.predict_expression`.
    n_random
        Number of random sets of genes that each programme is compared with, at most 100,000.
    key_added
        Name of the result.
    rng
        Seed of the random sets; `None` draws one. The seed is kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `mdata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `mdata.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row per programme, in the order given: ``programme``; ``n_genes`` (int64), how many of its genes were found;
        ``pearson`` and ``gain_mean``, means over its genes of what ``var`` says of them; ``score_pearson``, the
        correlation over held-out cells of the scores from measured and from predicted expression; ``random_pearson``,
        the mean of the same over random sets; ``pvalue``, of doing better than they; ``verdict`` (category, see Notes).
    `mdata.uns[key_added]["params"]` : :class:`dict`
        The arguments, the seed, and the number of held-out cells.
    `mdata["rna"].obsm[key_added]` : :class:`pandas.DataFrame`
        Score of each programme in each cell from predicted expression, float64; programmes with too few genes are left
        out. A slash in a name, which files cannot hold, becomes an underscore.

    Raises
    ------
    KeyError
        When expression was not predicted, or not scored for want of measured expression, or a layer or column is missing.
    ValueError
        When no gene of any programme is in ``var_names``, the measured values are not counts or all zero, or there are fewer than
        10 held-out cells. Nothing is written then.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=300, n_genes=60, n_peaks=600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.model.TAPE.setup_mudata(mdata)
    >>> model = td.model.TAPE(mdata)
    >>> model.train(max_epochs=2, rng=0)
    >>> td.tl.predict_expression(mdata, model)
    >>> td.tl.programme_skill(mdata, {"first genes": mdata["rna"].var_names[:12]}, rng=0)
    >>> td.get.programme_skill(mdata)["n_genes"].tolist()
    [12]

    Notes
    -----
    The score is that of :func:`scanpy.tl.score_genes` on ``log1p`` of counts per 10,000: the mean of the genes of the
    programme minus the mean of all other genes of the same bins of expression (scanpy draws 50 a bin by default;
    here all are used, so that the score is not random). Genes without a prediction are left out.

    The verdict rests on two tests, each corrected over the programmes given (Benjamini-Hochberg, 5 %):

    - *predicted well*: the correlation of the scores is at least 0.3, above zero, and higher than that of random sets
      with as many genes of each bin of expression. ``pvalue`` is this second test by permutation, not corrected, and at
      least ``1 / (n_random + 1)``.
    - *predicted weakly*: the correlation is above zero (one-sided test over cells), but small, or no higher than that of
      random sets: the score then shows no more than what the state of the cell tells of any genes.
    - *not predicted*: the correlation cannot be told from zero.
    - *too few genes*: fewer than 5 were found.

    A measured score is noisy where the genes have few counts. This bounds the correlation that can be reached, in
    particular for the cell cycle in cells at rest. Cost: about a second a programme for 2,000 held-out cells, 20,000
    genes and 1,000 random sets.

    References
    ----------
    .. [1] Tirosh et al., *Dissecting the multicellular ecosystem of metastatic melanoma by single-cell RNA-seq*,
       Science 2016.
    """
    name = check_modalities(mdata, modalities, required=("rna",))["rna"]
    check_number(n_random, "n_random", low=1, high=_MOST_RANDOM, whole=True)
    check_target(mdata, key_added, copy=copy)
    how = mdata.uns.get(key, {}).get("params", {})
    layer, size_factor_key = layer or how.get("rna_layer"), size_factor_key or how.get("size_factor_key")
    prediction = PredictionKeys(key)
    rna = mdata.mod[name]
    _check_predicted(mdata, name, prediction)
    rows = np.flatnonzero(rna.obs_names.isin(mdata.obs_names[mdata.obs[prediction.heldout].eq(1).to_numpy()]))
    purpose = f"Comparing programmes over held-out cells (mdata.obs[{prediction.heldout!r}])"
    check_n_cells(len(rows), _MIN_CELLS, purpose, f"mdata[{name!r}]")
    predicted = _log_predicted(rna, prediction, rows)
    pool = np.flatnonzero(np.isfinite(predicted).all(axis=0))
    found = _find_genes(programmes, rna, name, pool)
    measured, predicted = _measured(mdata, name, layer, size_factor_key, rows)[:, pool], predicted[:, pool]
    n_bins = int(np.clip(len(pool) // 20, 2, 25))
    held = _Held(
        measured,
        predicted,
        expression_bins(np.asarray(measured.mean(axis=0)).ravel(), n_bins),
        expression_bins(predicted.mean(axis=0, dtype=np.float64), n_bins),
    )
    seed = draw_seed(rng)
    table = _table(found, held, rna.var, prediction, pool=pool, n_random=n_random, rng=as_generator(seed))
    scores = _cell_scores(rna, prediction, found, pool=pool, bins=held.predicted_bins)
    params: dict[str, Any] = {"rna": name, "key": key, "n_random": int(n_random), "seed": seed, "n_cells": len(rows)}
    params |= {k: v for k, v in (("layer", layer), ("size_factor_key", size_factor_key)) if v is not None}
    target = working_copy(mdata, copy=copy)
    keys = ProgrammeKeys(key_added)
    target.mod[name].obsm[keys.key] = scores
    target.uns[keys.key] = {keys.params: params, keys.table: table}
    return target if copy else None


def _check_predicted(mdata: MuData, name: str, keys: PredictionKeys) -> None:
    """Check that there is a prediction and that it was scored on held-out cells."""
    rna, slot = mdata.mod[name], f"mdata[{name!r}]"
    check_unique(rna.var_names, f"{slot}.var_names")
    check_slot(rna.layers, keys.layer, f"{slot}.layers", _PREDICT)
    if keys.pearson not in rna.var:
        msg = (
            f"{slot}.var has no {keys.pearson!r}: the prediction {keys.key!r} was not scored. Programmes are compared with "
            f"measured expression in held-out cells: run `{_PREDICT}` on data that have it."
        )
        raise KeyError(msg)
    check_slot(rna.var, keys.gain_mean, f"{slot}.var", _PREDICT)
    check_slot(mdata.obs, keys.heldout, "mdata.obs", _PREDICT)


def _find_genes(
    programmes: Mapping[str, Iterable[str]] | None, rna: AnnData, name: str, pool: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return the positions of the genes of each programme that were measured and predicted."""
    programmes = CELL_CYCLE if programmes is None else programmes
    if not isinstance(programmes, Mapping) or not programmes:
        msg = f"programmes is {programmes!r:.80}, not a dictionary from names to genes with at least one entry."
        raise ValueError(msg)
    wrong = [label for label, genes in programmes.items() if isinstance(genes, str) or not isinstance(label, str)]
    if wrong:
        msg = f"programmes[{wrong[0]!r}] is {programmes[wrong[0]]!r:.80}; names are text, and genes a list of text."
        raise ValueError(msg)
    finite = set(pool)
    listed_genes = {
        label: list(genes) if isinstance(genes, Iterable) else [genes] for label, genes in programmes.items()
    }
    for label, genes in listed_genes.items():
        check_texts(genes, f"a gene of programmes[{label!r}]", hint="Give the names of genes, as in var_names.")
    wanted = {label: list(dict.fromkeys(genes)) for label, genes in listed_genes.items()}
    found = {
        label: np.array([i for i in rna.var_names.get_indexer(genes) if i in finite], dtype=np.int64)
        for label, genes in wanted.items()
    }
    if not any(map(len, found.values())):
        genes = [gene for genes in wanted.values() for gene in genes][:3]
        msg = (
            f"no gene of any programme is in mdata[{name!r}].var_names. The programmes have {genes}, and var_names "
            f"{rna.var_names[:3].tolist()}. Both must be of one kind and species: symbols or identifiers."
        )
        raise ValueError(msg)
    columns = [_column(label) for label in found]
    if len(set(columns)) < len(columns):
        msg = f"programmes have names that differ by a slash only: {sorted(columns)}. Rename one of them."
        raise ValueError(msg)
    return found


def _dense(block: Any) -> NDArray:
    return block.toarray() if sparse.issparse(block) else np.asarray(block)


def _measured(
    mdata: MuData, name: str, layer: str | None, size_factor_key: str | None, rows: NDArray[np.int64]
) -> sparse.csr_array:
    """Return log1p of the measured counts per 10,000 of some cells."""
    rna, slot = mdata.mod[name], f"mdata[{name!r}]"
    block = check_layer(rna, layer, slot)[rows]
    check_counts(block, layer_slot(slot, layer))
    counts = sparse.csr_array(block, dtype=np.float64)
    if not counts.sum():
        msg = f"{layer_slot(slot, layer)} has no counts in the {len(rows)} held-out cells: there is nothing to compare with."
        raise ValueError(msg)
    if size_factor_key is None:
        sizes = np.asarray(counts.sum(axis=1)).ravel()
    else:
        table, where = (rna.obs, f"{slot}.obs") if size_factor_key in rna.obs.columns else (mdata.obs, "mdata.obs")
        column = check_key(table, size_factor_key, where).reindex(rna.obs_names)
        sizes = column.to_numpy(dtype=np.float64)[rows]
        if not (sizes > 0).all():
            msg = (
                f"{where}[{size_factor_key!r}] has values that are not above 0 (for example {sizes[~(sizes > 0)][0]})."
            )
            raise ValueError(msg)
    scale = np.divide(1e4, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    counts.data = np.log1p(counts.data * np.repeat(scale, np.diff(counts.indptr)))
    return counts


def _log_predicted(rna: AnnData, keys: PredictionKeys, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return log1p of the predicted counts per 10,000 of some cells."""
    return np.log1p(_dense(rna.layers[keys.layer][rows]).astype(np.float32))


def _table(
    found: dict[str, NDArray[np.int64]],
    held: _Held,
    var: pd.DataFrame,
    prediction: PredictionKeys,
    *,
    pool: NDArray[np.int64],
    n_random: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compare the programmes over held-out cells."""
    keys = ProgrammeKeys()
    rows = []
    streams = rng.spawn(len(found))
    for (label, genes), stream in zip(found.items(), streams, strict=True):
        row = {keys.programme: label, keys.n_genes: len(genes)}
        for column, source in ((keys.pearson, prediction.pearson), (keys.gain_mean, prediction.gain_mean)):
            values = var[source].to_numpy(dtype=np.float64)[genes]
            row[column] = values[np.isfinite(values)].mean() if np.isfinite(values).any() else np.nan
        enough = len(genes) >= _MIN_GENES
        tests = _compare(held, np.searchsorted(pool, genes), n_random, stream) if enough else (np.nan,) * 4
        rows.append(
            row | dict(zip((keys.score_pearson, keys.random_pearson, keys.pvalue, "above zero"), tests, strict=True))
        )
    table = pd.DataFrame(rows).astype({keys.n_genes: np.int64})
    above_zero, above_random = (_significant(table[column]) for column in ("above zero", keys.pvalue))
    well = above_zero & above_random & (table[keys.score_pearson] >= _WELL)
    code = np.select([table[keys.n_genes] < _MIN_GENES, well, above_zero], [3, 0, 1], default=2)
    table[keys.verdict] = pd.Categorical.from_codes(code, PROGRAMME_VERDICTS)
    return text_rows(table.drop(columns="above zero"))


def _compare(
    held: _Held, genes: NDArray[np.int64], n_random: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Correlate the scores of one programme and of random sets.

    Returns the correlation, the mean correlation of random sets, and the p-values of being above these and above zero.
    """
    sets = [genes, *matched_sets(held.measured_bins, genes, n_random, rng=rng)]
    members = membership(sets, len(held.measured_bins))
    measured = gene_set_scores(held.measured, held.measured_bins, members)
    predicted = gene_set_scores(held.predicted, held.predicted_bins, members)
    correlations = pearson(measured, predicted)
    own, random = correlations[0], correlations[1:]
    if np.isnan(own):
        return np.nan, _mean(random), 1.0, 1.0
    above_zero = float(pearsonr(measured[:, 0], predicted[:, 0], alternative="greater").pvalue)
    return float(own), _mean(random), float((1 + (random >= own).sum()) / (1 + n_random)), above_zero


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the finite values."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan


def _significant(pvalues: pd.Series) -> NDArray[np.bool_]:
    """Whether p-values pass the false discovery rate; missing ones do not."""
    result, tested = np.zeros(len(pvalues), dtype=bool), pvalues.notna().to_numpy()
    if tested.any():
        result[tested] = false_discovery_control(pvalues[tested]) <= _FDR
    return result


def _column(label: str) -> str:
    """Return the name of a programme as a column of a file."""
    return label.replace("/", "_")


def _cell_scores(
    rna: AnnData,
    keys: PredictionKeys,
    found: dict[str, NDArray[np.int64]],
    *,
    pool: NDArray[np.int64],
    bins: NDArray[np.int64],
) -> pd.DataFrame:
    """Score the programmes in all cells from predicted expression."""
    scored = {label: np.searchsorted(pool, genes) for label, genes in found.items() if len(genes) >= _MIN_GENES}
    members = membership(list(scored.values()), len(pool))
    scores = np.empty((rna.n_obs, len(scored)))
    for start in range(0, rna.n_obs, _CELLS_A_BLOCK) if scored else ():
        rows = np.arange(start, min(start + _CELLS_A_BLOCK, rna.n_obs))
        scores[rows] = gene_set_scores(_log_predicted(rna, keys, rows)[:, pool], bins, members)
    return pd.DataFrame(scores, index=rna.obs_names, columns=[_column(label) for label in scored])
