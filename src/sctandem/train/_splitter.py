"""Training, validation and test cells, loaded by `CountLoader`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scvi import settings
from scvi.dataloaders import DataSplitter

from sctandem._random import as_generator
from sctandem.data import CountLoader
from sctandem.data._streamed import streams_counts

if TYPE_CHECKING:
    from scvi.data import AnnDataManager
    from torch import Tensor

    from sctandem._random import RNG
    from sctandem.data._weights import WeightUse


class CountDataSplitter(DataSplitter):
    """Split the cells at random, and load them by :class:`~sctandem.data.CountLoader`.

    A drop-in for :class:`scvi.dataloaders.DataSplitter`: set `_data_splitter_cls = CountDataSplitter` on any scvi-tools
    model.

    Parameters
    ----------
    adata_manager
        Of an AnnData or MuData that was set up.
    train_size
        Part of the cells to train on; `None` for 0.9.
    validation_size
        Part of the cells to validate on; `None` for all the others.
    load_sparse_tensor
        Whether matrices come as CSR tensors; stock scvi-tools modules want `False`.
    weights
        Weight of each cell in training, 0 or more; `None` for equal ones. Cells of weight 0 are in no part.
    weight_use
        What they do; see :class:`~sctandem.train.TrainConfig`.
    rng
        Seed of the split and of the order of the epochs; `None` for `scvi.settings.seed` and torch's global generator.
    splitter_options
        Passed on to :class:`scvi.dataloaders.DataSplitter` and from there to the loader, such as `batch_size`,
        `shuffle_set_split` and `external_indexing`.

    Examples
    --------
    >>> import scvi
    >>> from sctandem.train import CountDataSplitter
    >>> class FastSCVI(scvi.model.SCVI):
    ...     _data_splitter_cls = CountDataSplitter
    """

    data_loader_cls = CountLoader

    def __init__(
        self,
        adata_manager: AnnDataManager,
        train_size: float | None = None,
        validation_size: float | None = None,
        *,
        load_sparse_tensor: bool = True,
        weights: np.ndarray | None = None,
        weight_use: WeightUse = "sampler",
        rng: RNG = None,
        **splitter_options: Any,
    ) -> None:
        self.rng = None if rng is None else as_generator(rng)
        self.weights, self.weight_use = weights, weight_use
        #: Further entries of the minibatches that are trained on, one row a cell.
        self.entries: dict[str, Tensor] = {}
        # the loader deals the cells evenly, so that scvi-tools need not move or warn about a small last batch
        drop_last = splitter_options.pop("drop_last", False)
        super().__init__(
            adata_manager,
            train_size=train_size,
            validation_size=validation_size,
            load_sparse_tensor=load_sparse_tensor,
            drop_last=True,
            **splitter_options,
        )
        self.drop_last = drop_last
        if self.data_loader_kwargs.get("batch_size") is None:
            self.data_loader_kwargs["batch_size"] = settings.batch_size

    def setup(self, stage: str | None = None) -> None:
        """Draw the split.

        Parameters
        ----------
        stage
            Ignored, as in scvi-tools.
        """
        super().setup(stage)
        on_disk = streams_counts(self.adata_manager)
        if self.rng is None and on_disk:
            self.rng = as_generator(settings.seed)
        if self.rng is not None:
            self._draw(self.rng, on_disk=on_disk)
        if self.weights is not None:
            self.keep(self.weights > 0)

    def _draw(self, rng: np.random.Generator, *, on_disk: bool) -> None:
        """Draw the split and the seed of the orders."""
        if self.external_indexing is None and self.shuffle_set_split:
            n_cells = self.adata_manager.adata.n_obs
            # on disk in random order, and cells that lie next to one another are read together
            order = np.roll(np.arange(n_cells), -int(rng.integers(n_cells))) if on_disk else rng.permutation(n_cells)
            ends = np.cumsum([self.n_val, self.n_train])
            self.val_idx, self.train_idx, self.test_idx = np.split(order, ends)
        self.data_loader_kwargs["rng"] = int(rng.integers(2**31))

    def train_dataloader(self) -> CountLoader:
        """Load the training cells, by their weights.

        Returns
        -------
        The loader.
        """
        loader = super().train_dataloader()
        if self.weights is not None:
            loader.weigh(self.weights, self.weight_use)
        for key, values in self.entries.items():
            loader.add(key, values)
        return loader

    def keep(self, cells: np.ndarray) -> None:
        """Leave cells out of all parts of the split, after `setup`.

        Parameters
        ----------
        cells
            Which to keep, a mask over all cells.
        """
        self.train_idx, self.val_idx, self.test_idx = (
            indices[cells[indices]] for indices in map(np.asarray, (self.train_idx, self.val_idx, self.test_idx))
        )
