from __future__ import annotations

import logging
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sctandem._checks import (
    check_adata,
    check_complete,
    check_counts,
    check_key,
    check_layer,
    check_n_cells,
    check_positive,
    check_slot_names,
    check_target,
    check_type,
    check_unique,
    layer_slot,
    listed,
    working_copy,
)
from sctandem._compat import ModelLayout, forget_data
from sctandem._keys import UNKNOWN, CapsuleKeys
from sctandem._random import draw_seed
from sctandem.data import as_csr
from sctandem.kernels._gene_names import symbols_for_ids
from sctandem.tl._train_model import train_capsules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sctandem._random import RNG
    from sctandem.model import CapsuleNet

logger = logging.getLogger(__name__)

_MIN_CELLS = 10
_FEW_CELLS = 3
"""Labels and batches of fewer cells are named in the log."""
_MIN_TYPICALITY = 0.01
"""Typicality below which a cell is `"unknown"`: of cells with a label about as many are turned away."""


def capsules(
    adata: AnnData,
    labels: str | None = None,
    n_capsules: int | None = None,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    size_factor_key: str | None = None,
    model: CapsuleNet | None = None,
    key_added: str = "capsules",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    """Embed cells and find their types with a capsule network, and learn labels where some are given.

    Needs raw counts of any features: genes, transcripts or peaks; genes are best chosen first, such as with
    :func:`scanpy.pp.highly_variable_genes`. Nothing else has to be run before.

    Parameters
    ----------
    adata
        The object to write to.
    labels
        Column of ``obs`` with the labels to learn, at least two. Cells without one are ``"unknown"`` or missing. `None` for no
        labels.
    n_capsules
        Number of type capsules. `None` finds it.
    layer
        Layer of the counts; `None` for `X`, or with `model` for what that reads.
    batch_key
        Column of ``obs`` with the batch, which is taken out; `None` for none, or with `model` for that of the model.
    size_factor_key
        Column of ``obs`` with the depth of each cell, in counts and above 0, where the features are a selection; `None` for
        the sum of the counts, or with `model` for that of the model.
    model
        A trained :class:`~sctandem.model.CapsuleNet` that knows the same features, in any order. `None` trains one at its defaults on a copy,
        which leaves no trace in `adata`.
    key_added
        Name of the result.
    rng
        Seed of the training; `None` draws one. Kept in ``params``. Without effect with a `model`.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.obsm["X_<key_added>"]` : :class:`numpy.ndarray` (dtype ``float32``)
        Embedding: pose of each cell, cells x dimensions, in units of a standard normal prior.
    `adata.obs[key_added]` : :class:`pandas.Series` (dtype ``category``)
        Capsule of each cell, the one that is longest; ``"0"`` that with most cells. Capsules that are the longest in no cell
        have died and are left out, here and below.
    `adata.obs["<key_added>_confidence"]` : :class:`pandas.Series` (dtype ``float64``)
        Calibrated chance, between 0 and 1, that one half of the molecules of a cell puts it into the same capsule as the other half.
    `adata.obsm["<key_added>_presence"]` : :class:`pandas.DataFrame` (dtype ``float32``)
        Lengths of the capsules, cells x capsules, between 0 and 1; rows do not add up to 1.
    `adata.varm["<key_added>_genes"]` : :class:`pandas.DataFrame` (dtype ``float32``)
        Genes x capsules: natural-log fold change of the expected share of a gene at the mean pose of the capsule's cells
        against the (geometric) mean over capsules.
    `adata.obs["<key_added>_label"]` : :class:`pandas.Series` (dtype ``category``)
        With labels only: label of each cell, those that had one included; ``"unknown"`` where its typicality is below 0.01.
    `adata.obs["<key_added>_label_confidence"]` : :class:`pandas.Series` (dtype ``float64``)
        With labels only: calibrated probability of the likeliest label, given that it is one of those known.
    `adata.obs["<key_added>_label_typicality"]` : :class:`pandas.Series` (dtype ``float64``)
        With labels only: between 0 and 1, small for cells of a type that none of the labels names; see
        :meth:`~sctandem.model.CapsuleNet.get_typicality`. Another threshold than 0.01 is set on it.
    `adata.uns[key_added]["coupling"]` : :class:`pandas.DataFrame`
        Programmes (primary capsules) x capsules: part of a programme that is routed to a capsule, between 0 and 1, on average
        over the cells of that capsule.
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with: arguments that were given, ``n_died`` (capsules that were left out), ``trained`` (whether a model was
        trained here), and ``seed`` where it was.

    Raises
    ------
    KeyError
        When a column or a layer is not there; lists what is.
    ValueError
        For values that are not counts, cells without counts, fewer than two labels, fewer than 10 cells to train on, columns with
        missing or bad values or with the name of a result, or features that are not those of `model`. Nothing is written then.
    TypeError
        When `adata` is not an AnnData, `model` not a CapsuleNet, or a name not text.
    RuntimeError
        When `model` is not trained.

    Notes
    -----
    Cells that pass into one another without a valley of the density, as along a differentiation, get one capsule. For finer or coarser
    clusters run :func:`sctandem.tl.anneal` on ``X_<key_added>``. Of cells that a given `model` was not made with, typicality is below 0.01 only
    where at least 100 labelled cells were left out of its training. Cost: that of the training, linear in the cells; keep a
    model of your own to use it again, or to train it with weights of the cells (:meth:`~sctandem.model.CapsuleNet.train`). Memory: the counts once more where they are not CSR.

    References
    ----------
    Sabour, Frosst & Hinton, Dynamic routing between capsules, NeurIPS (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> types = rng.integers(2, size=300)
    >>> rates = np.exp(rng.normal(size=(2, 40)))
    >>> adata = AnnData(rng.poisson(5 * rates[types]).astype("float32"))
    >>> td.tl.capsules(adata, rng=0)
    >>> adata.obs["capsules"].nunique()
    2
    """
    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    keys = CapsuleKeys(key_added)
    counts = {"layer": layer, "batch_key": batch_key, "size_factor_key": size_factor_key}
    check_slot_names(counts)
    if labels is not None:
        check_type(labels, str, "labels", hint="It names one column.")
    _check_choices(labels, n_capsules, model, adata.n_obs)
    known = _setup_of(model) if model is not None else {}
    # of the cells that it was made with a model knows more: which of them lie where none has a label
    own = model is not None and model.adata is adata and not any(counts.values())
    counts = {name: known.get(name) if value is None else value for name, value in counts.items()}
    columns = {name: value for name, value in counts.items() if name != "layer"}
    _check_results({"labels": known.get("labels_key") if own else labels, **columns}, keys)
    bare = _bare(adata, labels, **counts)
    result = working_copy(adata, copy=copy)
    params: dict[str, Any] = {"trained": model is None, **counts}
    with warnings.catch_warnings():
        # names codes, and comes also where cells are only read; the log names labels and batches
        warnings.filterwarnings("ignore", "Category .* has fewer than 3 cells", UserWarning)
        if model is None:
            params |= {"seed": draw_seed(rng), "labels": labels, "n_capsules": n_capsules}
            _tell_few(bare, labels, batch_key)
            model = train_capsules(bare, labels=labels, n_capsules=n_capsules, seed=params["seed"], **columns)
        elif not own:
            bare = _as_known(bare, model, known, counts)
        params = {name: value for name, value in params.items() if value is not None}
        slots = _read(model, None if own or model.adata is bare else bare, adata.var_names, keys, params)
    if not own:
        forget_data(model, bare)
    _write(result, slots, keys)
    return result if copy else None


def _check_choices(labels: Any, n_capsules: Any, model: Any, n_cells: int) -> None:
    """Check the arguments that say what to learn."""
    if model is not None:
        from sctandem.model import CapsuleNet

        check_type(model, CapsuleNet, "model")
        for name, value in (("labels", labels), ("n_capsules", n_capsules)):
            if value is not None:
                msg = f"{name}={value!r} does not go with a model, which is trained: leave {name} out, or the model."
                raise ValueError(msg)
        check_n_cells(n_cells, 1, "Reading capsules", "adata")
        return
    check_n_cells(n_cells, _MIN_CELLS, "Training a CapsuleNet", "adata")
    if n_capsules is not None:
        check_positive(n_capsules, "n_capsules", whole=True)
        if n_capsules > n_cells:
            msg = f"n_capsules={n_capsules} is more than the {n_cells} cells."
            raise ValueError(msg)


def _check_results(columns: Mapping[str, str | None], keys: CapsuleKeys) -> None:
    """Check that no column that is read is also the name of a result."""
    for name, column in columns.items():
        if column in {keys.key, keys.confidence, *keys.labels}:
            msg = (
                f"{name}={column!r} is also the name of a result, which would take its place; choose another key_added."
            )
            raise ValueError(msg)


def _setup_of(model: CapsuleNet) -> dict[str, Any]:
    """Return the arguments with which the data of a model were set up."""
    return model.adata_manager.registry[ModelLayout().setup_args]


def _bare(
    adata: AnnData, labels: str | None, *, layer: str | None, batch_key: str | None, size_factor_key: str | None
) -> AnnData:
    """Return the counts and the columns that are read, checked, in an object of their own."""
    check_unique(adata.obs_names, "adata.obs_names")
    check_unique(adata.var_names, "adata.var_names")
    slot = layer_slot("adata", layer)
    matrix = check_layer(adata, layer, "adata")
    check_counts(matrix, slot)
    matrix = sparse.csr_matrix(as_csr(matrix))  # scvi-tools does not know sparse arrays
    empty = np.flatnonzero(np.asarray(matrix.sum(axis=1)).ravel() == 0)
    if len(empty):
        msg = (
            f"{slot} has no counts in {len(empty)} cells, first in {adata.obs_names[empty[0]]!r}. Leave these cells out: "
            "`sc.pp.filter_cells(adata, min_counts=1)`."
        )
        raise ValueError(msg)
    obs = pd.DataFrame(index=adata.obs_names)
    if batch_key is not None:
        obs[batch_key] = _batches(adata, batch_key)
    if size_factor_key is not None:
        obs[size_factor_key] = _depths(adata, size_factor_key)
    if labels is not None:
        column = check_key(adata.obs, labels, "adata.obs")
        obs[labels] = pd.Categorical(
            [UNKNOWN if missing else str(name) for name, missing in zip(column, column.isna(), strict=True)]
        )
    return AnnData(matrix, obs=obs, var=pd.DataFrame(index=adata.var_names))


def _batches(adata: AnnData, key: str) -> pd.Series:
    """Return the batch of each cell."""
    column = check_complete(check_key(adata.obs, key, "adata.obs"), f"adata.obs[{key!r}]", "every cell needs a batch")
    return column.cat.remove_unused_categories() if isinstance(column.dtype, pd.CategoricalDtype) else column


def _depths(adata: AnnData, key: str) -> np.ndarray:
    """Return the depth of each cell."""
    column = check_key(adata.obs, key, "adata.obs")
    if not pd.api.types.is_numeric_dtype(column):
        msg = (
            f"adata.obs[{key!r}] does not hold numbers but {column.dtype}; the depth of each cell is needed, in counts."
        )
        raise ValueError(msg)
    depth = column.to_numpy(dtype=np.float64)
    bad = depth[~((depth > 0) & np.isfinite(depth))]
    if len(bad):
        msg = f"adata.obs[{key!r}] has {len(bad)} values that are not finite and above 0 (for example {bad[0]})."
        raise ValueError(msg)
    return depth


def _tell_few(bare: AnnData, *columns: str | None) -> None:
    """Tell in the log which labels and batches have too few cells to learn from."""
    for column in filter(None, columns):
        size = bare.obs[column].value_counts().drop(UNKNOWN, errors="ignore")
        few = size.index[(size > 0) & (size < _FEW_CELLS)]
        if len(few):
            logger.warning(
                "adata.obs[%r] has fewer than %d cells of %s: little can be learned of them",
                column,
                _FEW_CELLS,
                listed(few),
            )


def _as_known(bare: AnnData, model: CapsuleNet, known: dict[str, Any], given: dict[str, Any]) -> AnnData:
    """Return the bare object with the features in the order of a model, and all else under the names it knows."""
    features = model.adata.var_names
    absent, extra = features.difference(bare.var_names), bare.var_names.difference(features)
    if len(absent) or len(extra):
        way = "Take the features of the model: `adata[:, model.adata.var_names]`."
        if symbols_for_ids(bare.var_names, features):
            way = (
                "The model knows Ensembl identifiers, and these look like symbols: rename them first. Where it is of a collection, "
                "`collection.genes` has both."
            )
        elif len(absent):
            way = "Genes that are absent are not made up: train the model on genes that both have."
        msg = (
            f"adata.var_names are not the {len(features)} features of the model: {len(absent)} of these are absent ({listed(absent, 3)}), "
            f"and {len(extra)} others are there ({listed(extra, 3)}). {way}"
        )
        raise ValueError(msg)
    bare = bare[:, features].copy()
    for name in ("batch_key", "size_factor_key"):
        if known.get(name) is not None:
            bare.obs[known[name]] = bare.obs[given[name]]
    if known.get("labels_key") is not None:  # they are not read, but have to be there
        bare.obs[known["labels_key"]] = known["unlabeled_category"]
    if known["layer"] is not None:
        bare.layers[known["layer"]] = bare.X
    return bare


def _read(
    model: CapsuleNet, data: AnnData | None, features: pd.Index, keys: CapsuleKeys, params: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return what is to be written, by slot."""
    presence = model.get_capsules(data)
    longest = presence.to_numpy().argmax(axis=1)
    size = np.bincount(longest, minlength=presence.shape[1])
    order = np.argsort(-size, kind="stable")[: int((size > 0).sum())]
    names = [str(number) for number in range(len(order))]
    code = np.empty(len(size), dtype=np.int64)
    code[order] = np.arange(len(order))

    def table(frame: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
        return pd.DataFrame(frame.to_numpy(dtype=np.float32)[:, order], index=index, columns=names)

    coupling = model.get_coupling()
    obs = {
        keys.key: pd.Categorical.from_codes(code[longest], names),
        keys.confidence: model.get_confidence(data).to_numpy(dtype=np.float64),
    }
    if model.label_names:
        obs[keys.label] = model.predict(data, min_typicality=_MIN_TYPICALITY).array
        obs[keys.label_confidence] = model.predict(data, soft=True).max(axis=1).to_numpy(dtype=np.float64)
        obs[keys.label_typicality] = model.get_typicality(data).to_numpy(dtype=np.float64)
    weights = model.get_gene_weights().loc[features].to_numpy(dtype=np.float64)[:, order]
    weights -= weights.mean(axis=1, keepdims=True)  # over the capsules that are left
    return {
        "obs": obs,
        "obsm": {
            keys.embedding: model.get_latent_representation(data),
            keys.presence: table(presence, presence.index),
        },
        "varm": {keys.genes: pd.DataFrame(weights.astype(np.float32), index=features, columns=names)},
        "uns": {
            keys.key: {
                keys.params: {**params, "n_died": len(size) - len(order), "version": version("sctandem")},
                keys.coupling: table(coupling, coupling.index.astype(str)),
            }
        },
    }


def _write(adata: AnnData, slots: dict[str, dict[str, Any]], keys: CapsuleKeys) -> None:
    """Write all slots, and take away labels of an earlier call."""
    for column in keys.labels:
        if column in adata.obs and column not in slots["obs"]:
            del adata.obs[column]
    for slot, entries in slots.items():
        for name, value in entries.items():
            getattr(adata, slot)[name] = value
