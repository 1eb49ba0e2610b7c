"""Batches cut from the counts as they lie in memory, in the order of the epoch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from anndata.abc import CSCDataset, CSRDataset
from scipy import sparse

from sctandem._compat import registry_dtype
from sctandem._random import torch_generator
from sctandem.data._streamed import StreamedCounts, by_blocks, cut_batches, held_counts
from sctandem.data._weights import systematic_draw
from sctandem.nn._sparse import scipy_to_csr
from sctandem.nn._weighted_mean import WEIGHT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike
    from scvi.data import AnnDataManager
    from torch import Tensor

    from sctandem._random import RNG
    from sctandem.data._weights import WeightUse

_MATRIX_SLOTS = ("X", "layers")
#: Of columns that hold one of few words: a byte a cell of a collection, and 64 bits in a batch.
_CODES = (torch.int8, torch.int16, torch.int32)


def _is_matrix(manager: AnnDataManager, key: str, data: Any) -> bool:
    """Whether what is registered under a key is a matrix of counts, and not a column or an embedding."""
    if sparse.issparse(data) or isinstance(data, CSRDataset | CSCDataset):
        return True
    return manager.data_registry[key].attr_name in _MATRIX_SLOTS


def _dense(key: str, data: Any) -> Tensor:
    """Return a registered column or table as a tensor with one row a cell; codes stay as narrow as they are."""
    values = data.to_numpy() if isinstance(data, pd.DataFrame | pd.Series) else np.asarray(data)
    narrow = values.dtype in (np.int8, np.int16, np.int32) and np.dtype(registry_dtype(key)).kind == "i"
    values = np.array(values, dtype=values.dtype if narrow else registry_dtype(key), order="C")
    return torch.from_numpy(values.reshape(len(values), -1))


def _keys(manager: AnnDataManager, wanted: Sequence[str] | None) -> list[str]:
    """Return the registry keys to load: all that hold an array, or those asked for."""
    available = list(manager.data_registry.keys())
    if wanted is None:
        return [key for key in available if not isinstance(manager.get_from_registry(key), str)]
    missing = [key for key in wanted if key not in available]
    if missing:
        msg = f"data_and_attributes names {missing}, but the registry of this object holds {available}"
        raise KeyError(msg)
    return list(wanted)


class CountLoader:
    """Minibatches of everything that a model registered, count matrices as sparse CSR tensors.

    Stands in for :class:`scvi.dataloaders.AnnDataLoader` in :class:`~sctandem.train.CountDataSplitter` and in
    `model._make_data_loader`. Each epoch draws one permutation of the cells, and each batch takes its rows of the CSR in
    one go: nothing is made dense, and no process is started.

    Parameters
    ----------
    adata_manager
        Of an AnnData or MuData that was set up; several registered matrices give several entries of the batch.
    indices
        Cells to visit, as positions or as a boolean mask; `None` for all.
    batch_size
        Most cells in a batch. The cells are dealt evenly to as few batches as that takes, so that none is left tiny.
    shuffle
        Whether to visit the cells in a new random order in every epoch.
    drop_last
        Whether to make every batch full and leave out the cells that remain.
    data_and_attributes
        Registry keys to load (a mapping's values are ignored); `None` for all.
    entries
        Further entries of the batches, CSR matrices and tensors with one row a cell; they go before registered ones.
    load_sparse_tensor
        Whether matrices come as CSR tensors; else dense, as stock scvi-tools modules want them.
    rng
        Seed of the orders; `None` draws one from torch's global generator, as torch's own loader does.
    loader_options
        Ignored: what scvi-tools passes on to torch's loader, such as `num_workers` and `pin_memory`.

    Notes
    -----
    The counts are not copied when they are CSR in memory; CSC, dense and backed matrices are converted once. Those of a
    collection stay on disk and are read in blocks, while the last ones are used. The same seed gives the same order. Batches are dicts from registry key to tensor: `X` float32 (cells x genes), `batch` int64
    (cells x 1) and so on.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> from sctandem.data import CountLoader
    >>> from sctandem.model.base import CountVAEModel
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (50, 20)).astype("float32"))
    >>> CountVAEModel.setup_anndata(adata)
    >>> loader = CountLoader(CountVAEModel(adata).adata_manager, batch_size=20, shuffle=True, rng=0)
    >>> [tuple(batch["X"].shape) for batch in loader]
    [(16, 20), (17, 20), (17, 20)]
    """

    def __init__(
        self,
        adata_manager: AnnDataManager,
        indices: ArrayLike | None = None,
        *,
        batch_size: int = 128,
        shuffle: bool = False,
        drop_last: bool = False,
        data_and_attributes: Sequence[str] | None = None,
        entries: Mapping[str, sparse.csr_matrix | Tensor] | None = None,
        load_sparse_tensor: bool = True,
        rng: RNG = None,
        **loader_options: Any,
    ) -> None:
        if loader_options.get("distributed_sampler"):
            msg = "distributed_sampler=True is not supported: the batches are cut in one process"
            raise ValueError(msg)
        if batch_size < 1:
            msg = f"batch_size must be at least 1, got {batch_size}"
            raise ValueError(msg)
        self.n_obs = adata_manager.adata.n_obs
        self.indices = self._positions(indices)
        self.batch_size, self.shuffle, self.drop_last = int(batch_size), shuffle, drop_last
        self.load_sparse_tensor = load_sparse_tensor
        self._generator = torch_generator(int(torch.empty((), dtype=torch.int64).random_()) if rng is None else rng)
        self._draw_weights: np.ndarray | None = None
        self._rank, self._n_shares = 0, 1
        self._offsets = np.random.default_rng(self._generator.initial_seed())
        self._matrices: dict[str, Any] = {}
        self._tables: dict[str, Tensor] = {}
        for key in _keys(adata_manager, data_and_attributes):
            data = adata_manager.get_from_registry(key)
            if data.shape[0] != self.n_obs:
                msg = f"{key!r} has {data.shape[0]} cells, but the object has {self.n_obs}; every modality needs every cell"
                raise ValueError(msg)
            if _is_matrix(adata_manager, key, data):
                self._matrices[key] = held_counts(data)
            else:
                self._tables[key] = _dense(key, data)
        for key, value in (entries or {}).items():
            (self._matrices if sparse.issparse(value) else self._tables)[key] = value

    def _positions(self, indices: ArrayLike | None) -> np.ndarray:
        """Return the cells as positions."""
        if indices is None:
            return np.arange(self.n_obs)
        indices = np.asarray(indices)
        if indices.dtype == bool:
            if len(indices) != self.n_obs:
                msg = f"indices is a mask of {len(indices)} cells, but the object has {self.n_obs}"
                raise ValueError(msg)
            return np.flatnonzero(indices)
        indices = indices.astype(np.int64, copy=False).ravel()
        if indices.size and not (indices.min() >= 0 and indices.max() < self.n_obs):
            msg = f"indices must lie in [0, {self.n_obs}), got {indices.min()} to {indices.max()}"
            raise ValueError(msg)
        return indices

    def weigh(self, weights: ArrayLike, use: WeightUse = "sampler") -> None:
        """Let cells count by weights from here on.

        Parameters
        ----------
        weights
            Weight of each cell of the object, 0 or more; those of the cells to visit are scaled to mean 1.
        use
            `"sampler"` draws cells in proportion to them, as many in an epoch as there are to visit. `"loss"` visits each once, and puts
            its weight into the batch, as `sample_weight` (cells x 1). `"unbiased"` draws in proportion, and puts 1 / weight there:
            means over an epoch of what is multiplied by that have the expectation of means over the cells.

        Raises
        ------
        ValueError
            When there is not one weight a cell, or all cells to visit have a weight of 0.
        """
        values = np.asarray(weights, dtype=np.float64).ravel()
        if len(values) != self.n_obs or not values[self.indices].any():
            msg = f"weights has {len(values)} values, {np.count_nonzero(values)} above 0; the object has {self.n_obs} cells."
            raise ValueError(msg)
        values = values / values[self.indices].mean()
        self._draw_weights = None if use == "loss" else values[self.indices]
        if use != "sampler":
            shown = values if use == "loss" else np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
            self._tables[WEIGHT_KEY] = torch.from_numpy(shown.astype(np.float32)[:, None])

    def state(self) -> dict[str, Any]:
        """Return the state of the random streams that decide the orders of the epochs to come.

        Returns
        -------
        A tensor and text.
        """
        return {
            "orders": self._generator.get_state(),
            "offsets": json.dumps(self._offsets.bit_generator.state),
        }

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Give from here on the epochs that a loader would have given.

        Parameters
        ----------
        state
            From `state` of that loader, of the same cells and settings.
        """
        self._generator.set_state(state["orders"])
        self._offsets.bit_generator.state = json.loads(state["offsets"])

    def divide(self, rank: int, size: int) -> None:
        """Give from here on the share of one of several processes, each of which has the same loader.

        Parameters
        ----------
        rank
            Which, from 0.
        size
            How many. Of each batch each has a share; together they visit every cell as often as one loader would.
        """
        self._rank, self._n_shares = rank, size

    def share(self, number: int) -> float:
        """Return the weight of the share of a batch: its cells by the mean number of cells of the shares.

        Parameters
        ----------
        number
            Of the batch, from 0.

        Returns
        -------
        1 for a loader that is not divided. With it the mean over the processes of means over cells is the mean over the cells of the batch.
        """
        if self._n_shares == 1:
            return 1.0
        sizes = [stop - start for start, stop in (self._part(number, rank) for rank in range(self._n_shares))]
        return sizes[self._rank] * self._n_shares / max(1, sum(sizes))

    def _part(self, number: int, rank: int) -> tuple[int, int]:
        """Return where the share of a process of a batch begins and ends: in the order of the epoch, or, on disk, in its own cells."""
        n, n_batches, total = self._n_shares, len(self), self._n_visited()
        if self._streamed() is None:
            start, stop = (i * total // n_batches for i in (number, number + 1))
            return start + (stop - start) * rank // n, start + (stop - start) * (rank + 1) // n
        n_cells = total * (rank + 1) // n - total * rank // n
        return number * n_cells // n_batches, (number + 1) * n_cells // n_batches

    def _own_parts(self) -> list[tuple[int, int]]:
        """Return what of each batch is the share of this process."""
        return [self._part(number, self._rank) for number in range(len(self))]

    def _n_visited(self) -> int:
        """Return how many cells an epoch visits, in all processes."""
        return len(self) * self.batch_size if self.drop_last else len(self.indices)

    def add(self, key: str, values: Tensor) -> None:
        """Put an entry into the batches, in the place of one of this name.

        Parameters
        ----------
        key
            Its name.
        values
            One row a cell of the object.

        Raises
        ------
        ValueError
            When there are not as many rows as cells.
        """
        if len(values) != self.n_obs:
            msg = f"{key} has {len(values)} rows; the object has {self.n_obs} cells."
            raise ValueError(msg)
        self._tables[key] = values

    def __len__(self) -> int:
        full, rest = divmod(len(self.indices), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if (streamed := self._streamed()) is not None:
            yield from self._stream(streamed)
            return
        order = self._drawn()
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=self._generator).numpy()]
        for start, stop in self._own_parts():
            yield self.take(order[start:stop])

    def _drawn(self) -> np.ndarray:
        """Return the cells of an epoch: all once, or drawn in proportion to their weights."""
        if not self.shuffle or self._draw_weights is None:
            return self.indices
        return self.indices[systematic_draw(self._draw_weights, self._offsets.random())]

    def _streamed(self) -> str | None:
        """Return the key of the counts that lie on disk."""
        return next((key for key, matrix in self._matrices.items() if isinstance(matrix, StreamedCounts)), None)

    def _stream(self, key: str) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of an epoch, of counts that lie on disk."""
        counts = self._matrices[key]
        if self.shuffle:
            seed = int(torch.empty((), dtype=torch.int64).random_(generator=self._generator))
            rng = np.random.default_rng(seed)
            if self._n_shares > 1:  # the same blocks in the same order for all; then each its own
                order = by_blocks(self._drawn(), rng)
                parts = counts.shuffled(self._own(order), rng.spawn(self._n_shares)[self._rank])
            else:
                parts = counts.shuffled(self._drawn(), rng)
        else:
            parts = counts.in_order(self._own(self.indices))
        for cells, rows in cut_batches(parts, [stop - start for start, stop in self._own_parts()]):
            yield self._batch(cells, {key: rows})

    def _own(self, order: np.ndarray) -> np.ndarray:
        """Return the cells of this process, which lie next to one another in an order."""
        total = self._n_visited()
        return order[total * self._rank // self._n_shares : total * (self._rank + 1) // self._n_shares]

    def take(self, cells: np.ndarray) -> dict[str, Tensor]:
        """Return the batch of these cells, in this order.

        Parameters
        ----------
        cells
            Positions in the object.

        Returns
        -------
        From registry key to tensor.
        """
        return self._batch(cells, {})

    def _batch(self, cells: np.ndarray, read: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the batch of cells, some of whose counts were read."""
        batch = {}
        for key, matrix in self._matrices.items():
            rows = scipy_to_csr(read[key] if key in read else matrix[cells])
            batch[key] = rows if self.load_sparse_tensor else rows.to_dense()
        where = torch.from_numpy(np.ascontiguousarray(cells))
        for key, table in self._tables.items():
            rows = table[where]
            batch[key] = rows.long() if rows.dtype in _CODES else rows
        return batch
