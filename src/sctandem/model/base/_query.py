"""Cells as a trained model wants them: its features in its order, its columns, and its categories before new ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem._checks import (
    check_adata,
    check_counts,
    check_layer,
    check_n_cells,
    check_unique,
    layer_slot,
    listed,
)
from sctandem._compat import ModelLayout
from sctandem.data import as_csr
from sctandem.model.base._depths import read_depths
from sctandem.model.base._manager import given_categories
from sctandem.model.base._text_fields import as_text, complete_text, text_of
from sctandem.module.base._take_over import FeatureMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scvi.model.base import BaseModelClass

logger = logging.getLogger(__name__)

#: Batch of cells of which none is given.
QUERY_BATCH = "query"
#: Share of the features of a model below which cells are not read.
LEAST_SHARED = 0.05


class Category(NamedTuple):
    """A registered column of categories."""

    column: str
    known: list[str]
    unlabeled: str | None = None


def categories(model: BaseModelClass) -> dict[str, Category]:
    """Return the columns of categories that a model was set up with, by registry key."""
    layout, found = ModelLayout(), {}
    for key in (REGISTRY_KEYS.BATCH_KEY, REGISTRY_KEYS.LABELS_KEY):
        field = model.registry_[layout.fields].get(key)
        if field is None or (given := given_categories(field)) is None:
            continue
        column, known = given
        unlabeled = field[layout.field_state].get("unlabeled_category")
        found[key] = Category(*((column, known) if unlabeled is None else (column, known[:-1], text_of(unlabeled))))
    return found


def read_names(model: BaseModelClass) -> set[str]:
    """Return the names of the columns of `obs` that a model reads."""
    size = model.registry_[ModelLayout().setup_args].get("size_factor_key")
    return {category.column for category in categories(model).values()} | ({size} if size is not None else set())


def read_counts(adata: AnnData, layer: str | None) -> sparse.csr_matrix:
    """Return the counts, checked, as CSR in memory."""
    check_adata(adata)
    check_n_cells(adata.n_obs, 1, "Reading cells", "adata")
    check_unique(adata.var_names, "adata.var_names")
    slot, matrix = layer_slot("adata", layer), check_layer(adata, layer, "adata")
    check_counts(matrix, slot)
    return sparse.csr_matrix(as_csr(matrix)).astype(np.float32)


def shared_features(adata: AnnData, features: pd.Index) -> pd.Index:
    """Return the features of a model that cells have, in its order.

    Raises
    ------
    ValueError
        When there are less than a twentieth: names of another kind are the likely reason.
    """
    shared = features[features.isin(adata.var_names)]
    if len(shared) < max(2, LEAST_SHARED * len(features)):
        msg = (
            f"adata.var_names holds {len(shared)} of the {len(features)} features of the model. The model knows names like "
            f"{listed(features, 3)}, the cells have names like {listed(adata.var_names, 3)}: give them names of the same kind."
        )
        raise ValueError(msg)
    if len(shared) < len(features):
        logger.info(
            "%d of the %d features of the model are not in the cells and are left out of it, not set to 0",
            len(features) - len(shared),
            len(features),
        )
    return shared


def feature_map(new: pd.Index, old: pd.Index) -> FeatureMap:
    """Say where the features of a new object stand in those of a model."""
    return FeatureMap(np.asarray(old.get_indexer(new), dtype=np.int64), len(old))


def read_columns(adata: AnnData, model: BaseModelClass, *, learn_labels: bool) -> pd.DataFrame:
    """Return the columns that a model reads, with its categories first and new ones after them.

    Parameters
    ----------
    adata
        The cells.
    model
        The model.
    learn_labels
        Whether labels that the model does not know become labels of their own; else these cells have none.

    Returns
    -------
    A table of the cells.

    Raises
    ------
    KeyError
        When the depth of the cells is not there, and the model reads it.
    ValueError
        For missing values.
    """
    table = pd.DataFrame(index=adata.obs_names)
    for key, category in categories(model).items():
        if key == REGISTRY_KEYS.BATCH_KEY:
            table[category.column] = _batches(adata, category)
        else:
            table[category.column] = _labels(adata, category, learn=learn_labels)
    layout = ModelLayout()
    size = model.registry_[layout.setup_args].get("size_factor_key")
    if size is not None:
        table[size] = read_depths(adata, size)
    return table


def _batches(adata: AnnData, category: Category) -> pd.Categorical:
    """Return batches; where the column is absent all cells are of one new batch."""
    if category.column not in adata.obs:
        logger.info("adata.obs has no %r: all cells are taken as one new batch, %r", category.column, QUERY_BATCH)
        values = pd.Series(QUERY_BATCH, index=adata.obs_names)
    else:
        values = complete_text(adata.obs[category.column], f"adata.obs[{category.column!r}]").astype(object)
    new = sorted(set(values) - set(category.known))
    return pd.Categorical(values, [*category.known, *new])


def _labels(adata: AnnData, category: Category, *, learn: bool) -> pd.Categorical:
    """Return labels; cells without one, or without the column, are unlabelled."""
    if category.column not in adata.obs:
        values = pd.Series(category.unlabeled, index=adata.obs_names, dtype=object)
    else:
        given = as_text(adata.obs[category.column], f"adata.obs[{category.column!r}]")
        values = pd.Series(given, index=adata.obs_names, dtype=object)
        values = values.where(values.notna(), category.unlabeled)
    new = sorted(set(values) - {*category.known, category.unlabeled})
    if new and not learn:
        logger.warning(
            "adata.obs[%r] has labels that the reference does not know: %s. Their cells count as unlabelled; "
            "`model.partial_fit` learns new labels",
            category.column,
            listed(new),
        )
        values, new = values.where(~values.isin(new), category.unlabeled), []
    return pd.Categorical(values, [*category.known, *new, category.unlabeled])


def bare_object(
    counts: sparse.csr_matrix, columns: pd.DataFrame, features: Sequence[str], layer: str | None
) -> AnnData:
    """Return an object with what a model reads and nothing else."""
    found = AnnData(counts, obs=columns, var=pd.DataFrame(index=pd.Index(features)))
    if layer is not None:
        found.layers[layer] = found.X
    return found
