"""The next batch of data of a model, and old cells beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem._blocks import matrix_blocks
from sctandem._compat import ModelLayout
from sctandem.model.base._query import categories
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scvi.model.base import BaseModelClass

    from sctandem.kernels._latent_memory import LatentMemory

_BLOCK = 1024


class Increment(NamedTuple):
    """Cells as a model reads them."""

    counts: sparse.csr_matrix
    """Cells x features of the model."""
    columns: pd.DataFrame
    """What else is read."""
    features: list[str]
    """Names: those of the model, and the new ones of `extra`."""
    extra: sparse.csr_matrix | None
    """Counts of features that the model does not know; `None` where there are none, or these are ignored."""
    latent: np.ndarray | None
    """Latent states, where they were needed."""


def joined(old: Increment | None, new: Increment, *, rng: np.random.Generator) -> tuple[Increment, int]:
    """Put old cells before new ones; say how many they are.

    Features that are new are lent to each old cell by the new cell whose latent state is nearest, at the depth of the old one.
    """
    extra = new.extra
    own = new.counts if extra is None else sparse.csr_matrix(sparse.hstack([new.counts, extra]))
    if old is None:
        return new._replace(counts=own), 0
    counts = old.counts
    if extra is not None:
        from sklearn.neighbors import NearestNeighbors

        near = NearestNeighbors(n_neighbors=1).fit(new.latent).kneighbors(old.latent, return_distance=False)[:, 0]
        depth, lent = (np.maximum(np.asarray(x.sum(1)).ravel(), 1) for x in (old.counts, new.counts[near]))
        means = sparse.csr_matrix(extra[near]).multiply((depth / lent)[:, None]).tocsr()
        means.data = rng.poisson(means.data).astype(np.float32)
        means.eliminate_zeros()
        counts = sparse.hstack([counts, means])
    columns = pd.concat([old.columns.astype(object), new.columns.astype(object)])
    for name, column in new.columns.items():
        columns[name] = columns[name].astype(column.dtype)
    columns.index = pd.Index(_unique(columns.index))
    return Increment(
        sparse.csr_matrix(sparse.vstack([counts, own])), columns, new.features, None, None
    ), old.counts.shape[0]


def _unique(names: pd.Index) -> list[str]:
    """Give names that come again a number."""
    seen: dict[str, int] = {}
    out = []
    for name in map(str, names):
        seen[name] = seen.get(name, -1) + 1
        out.append(name if seen[name] == 0 else f"{name}-again{seen[name]}")
    return out


@torch_on_one_thread()
@torch.inference_mode()
def completed(
    module: Any, latent: np.ndarray, counts: sparse.csr_matrix, places: np.ndarray, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Draw the features that cells lack from a model, given their latent state and the depth of the others.

    Parameters
    ----------
    module
        Its `latent_shares` decodes.
    latent
        Cells x dimensions.
    counts
        Cells x features at hand.
    places
        Where these are among those of the module.
    rng
        Draws the counts.

    Returns
    -------
    Cells x features of the module.
    """
    module.eval()
    absent = np.setdiff1d(np.arange(module.n_genes), places)
    theta = module.log_theta.exp().cpu().numpy()[absent]
    depth = np.asarray(counts.sum(1)).ravel()
    parts = []
    for start in range(0, len(latent), _BLOCK):
        rows = slice(start, start + _BLOCK)
        states = torch.from_numpy(np.ascontiguousarray(latent[rows], dtype=np.float32)).to(module.device)
        shares = module.latent_shares(states).cpu().numpy()
        scale = depth[rows] / np.maximum(shares[:, places].sum(1), 1e-6)
        parts.append(_negative_binomial(shares[:, absent] * scale[:, None], theta, rng))
    drawn = sparse.vstack(parts)
    order = np.argsort(np.concatenate([places, absent]))
    return sparse.csr_matrix(sparse.csr_matrix(sparse.hstack([counts, drawn]))[:, order])


@torch_on_one_thread()
@torch.inference_mode()
def drawn_counts(
    module: Any,
    memory: LatentMemory,
    latent: np.ndarray,
    *,
    depth: np.ndarray,
    group: np.ndarray,
    rng: np.random.Generator,
) -> sparse.csr_matrix:
    """Draw cells of groups from a model, cells x features, with the mean counts that each group had."""
    module.eval()
    theta = module.log_theta.exp().cpu().numpy()
    parts = []
    for rows, shares in _decoded(module, latent, memory.codes[group, 0]):
        mean = shares * np.exp(memory.residuals[group[rows]])
        mean *= depth[rows, None] / mean.sum(1, keepdims=True)
        parts.append(_negative_binomial(mean, theta, rng))
    return sparse.csr_matrix(sparse.vstack(parts))


@torch_on_one_thread()
@torch.inference_mode()
def group_totals(
    module: Any, counts: Any, latent: np.ndarray, batch: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the counts of each group, and those that the decoder expects of it, groups x features."""
    module.eval()
    n_groups, depth = int(group.max()) + 1, np.asarray(counts.sum(1)).ravel()
    member = sparse.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))), (n_groups, len(group)))
    found, expected = np.zeros((n_groups, module.n_genes)), np.zeros((n_groups, module.n_genes))
    for rows, block in matrix_blocks(counts):  # a collection does not fit into memory
        found += (member[:, rows] @ block).toarray()
    for rows, shares in _decoded(module, latent, batch):
        expected += member[:, rows] @ (shares * depth[rows, None])
    return found, expected


def _decoded(module: Any, latent: np.ndarray, batch: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Decode blocks of latent states in their batches; give the rows and the shares of the features."""
    for start in range(0, len(latent), _BLOCK):
        rows = slice(start, start + _BLOCK)
        states = torch.from_numpy(np.ascontiguousarray(latent[rows], dtype=np.float32)).to(module.device)
        index = torch.from_numpy(batch[rows, None].astype(np.int64)).to(module.device)
        yield rows, module.latent_shares(states, index).cpu().numpy().astype(np.float64)


def _negative_binomial(mean: np.ndarray, theta: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
    """Draw counts."""
    rates = rng.gamma(np.broadcast_to(theta, mean.shape), np.maximum(mean, 1e-12) / theta)
    return sparse.csr_matrix(rng.poisson(rates).astype(np.float32))


def memory_columns(model: BaseModelClass, codes: np.ndarray, depth: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Lay out the columns of drawn cells from the codes of their batch and label."""
    table = pd.DataFrame(index=names)
    for key, category in categories(model).items():
        is_batch = key == REGISTRY_KEYS.BATCH_KEY
        known = [*category.known] if is_batch else [*category.known, category.unlabeled]
        table[category.column] = pd.Categorical.from_codes(codes[:, 0 if is_batch else 1] % len(known), known)
    size = model.registry_[ModelLayout().setup_args].get("size_factor_key")
    if size is not None:
        table[size] = depth
    return table
