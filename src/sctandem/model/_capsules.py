"""CapsuleNet: a capsule network on counts."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from scvi import REGISTRY_KEYS
from scvi.data.fields import CategoricalObsField, LayerField
from scvi.model.base import BaseModelClass

from sctandem._checks import check_n_cells, check_type
from sctandem._random import spawn, torch_seeded
from sctandem.data import as_csr
from sctandem.kernels import merge_by_valleys
from sctandem.model.base import FilesMixin, LatentMixin, TrainMixin
from sctandem.model.base._count_vae_model import gene_shares
from sctandem.model.base._manager import ModelManager
from sctandem.model.base._warm_start import principal_loadings
from sctandem.module import CapsuleConfig, CapsuleModule
from sctandem.module._capsules import CAPSULE_KEY
from sctandem.nn._threads import torch_on_one_thread
from sctandem.train import TrainConfig

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sctandem._random import RNG

#: Part of the epochs in which there are no types yet.
FIRST_PART = 2 / 3


class CapsuleNet(FilesMixin, TrainMixin, LatentMixin, BaseModelClass):
    """Capsule network on counts, without labels: an embedding of the cells, and their types, whose number is found.

    Parameters
    ----------
    adata
        Set up with `setup_anndata`.
    config
        Architecture; `None` for the defaults.
    rng
        Seed of the initial weights; `None` for torch's global state.

    Notes
    -----
    Training has two parts. In the first there is the capsule of the cell, whose pose learns to give back the counts. Then the
    poses are cut into many parts, which are merged as long as no valley of the density lies between two of them
    (:func:`~sctandem.kernels.merge_by_valleys`); as many type capsules are made as remain. In the second part routing by
    agreement learns to tell these apart by a margin loss, while the counts are still given back. Groups that pass into one
    another without a valley, as along a differentiation, are one type. A type that is never the longest has died.

    `train` takes the settings of :class:`~sctandem.train.TrainConfig`, by default `max_epochs=45`, `batch_size=128`,
    `learning_rate=0.003`, `adam_eps=1e-08` and `gradient_clip=50`; two thirds of the epochs belong to the first part.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> import sctandem as td
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (60, 30)).astype("float32"))
    >>> td.model.CapsuleNet.setup_anndata(adata)
    >>> model = td.model.CapsuleNet(adata, rng=0)
    >>> model.train(3, rng=0)
    >>> model.get_latent_representation().shape
    (60, 16)
    """

    _module_cls = CapsuleModule
    _config_classes = (CapsuleConfig,)
    _train_config: ClassVar[TrainConfig] = TrainConfig(
        max_epochs=45, batch_size=128, learning_rate=3e-3, adam_eps=1e-8, gradient_clip=50.0
    )
    _min_training_cells: ClassVar[int] = 10

    def __init__(self, adata: AnnData, *, config: CapsuleConfig | None = None, rng: RNG = None) -> None:
        if config is not None:
            check_type(config, CapsuleConfig, "config", hint="Settings of the training go to `train(config=...)`.")
        super().__init__(adata)
        self._config, self._targets = config, None
        self._counts = as_csr(self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY))
        with nullcontext() if rng is None else torch_seeded(rng):
            self.module = self._new_module()
        self._model_summary_string = f"CapsuleNet with {self.module.config}"
        self.init_params_ = self._get_init_params(locals())

    def _new_module(self) -> CapsuleModule:
        """Make a module with one type capsule, whose decoder starts at the shares of the genes."""
        totals = np.asarray(self._counts.sum(axis=1), dtype=np.float64).ravel()
        return self._module_cls(
            self.summary_stats.n_vars,
            n_batch=self.summary_stats.get("n_batch", 1),
            config=self._config,
            shares=gene_shares(self._counts),
            depth=float(max(1.0, np.median(totals))),
        )

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        batch_key: str | None = None,
        source_registry: dict[str, Any] | None = None,
    ) -> None:
        """Register the data.

        Parameters
        ----------
        adata
            Holds counts of any features: genes, transcripts, peaks.
        layer
            Layer of the counts; `None` for `X`.
        batch_key
            Column of `obs` with the batch, which the first layer and the decoder take out.
        source_registry
            Registry of a saved model, whose categories are taken over; `load` passes it.

        Returns
        -------
        None. `adata.uns` gets the identifiers of scvi-tools, and `obs` their `_scvi_batch`.
        """
        given = dict(locals())
        given.pop("source_registry")
        setup_method_args = cls._get_setup_method_args(**given)
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=True),
            CategoricalObsField(REGISTRY_KEYS.BATCH_KEY, batch_key),
        ]
        manager = ModelManager(fields=fields, setup_method_args=setup_method_args)
        manager.register_fields(adata, source_registry)
        cls.register_manager(manager)

    def _before_training(self, train_indices: np.ndarray, *, progress: bool) -> dict[str, Any]:
        """Hand the types that were found to the minibatches."""
        return {} if self._targets is None else {"entries": {CAPSULE_KEY: torch.from_numpy(self._targets)[:, None]}}

    def train(
        self,
        max_epochs: int | None = None,
        *,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        train_size: float | None = None,
        accelerator: str = "auto",
        rng: RNG = None,
        progress: bool | None = None,
        config: TrainConfig | None = None,
    ) -> None:
        """Train the model anew.

        Parameters
        ----------
        max_epochs
            Passes through the training cells, both parts together; with 1 the types are made but not learned. This and the other arguments that default to
            `None` replace the field of `config` of the same name.
        batch_size
            Most cells in a minibatch.
        learning_rate
            Peak learning rate of Adam for a batch of 128 cells, scaled linearly with the batch in use.
        train_size
            Part of the cells to train on.
        accelerator
            `"auto"`, `"cpu"`, `"gpu"`, ... as in scvi-tools.
        rng
            Seed of all that is random in the training, the initial weights included. `None` takes what
            `scvi.settings.seed` set.
        progress
            Whether to show a progress bar; `None` for in a terminal or notebook.
        config
            All settings; `None` for the defaults of this model.

        Returns
        -------
        None. The model is then trained; `history` holds the losses of both parts, one after the other.

        Raises
        ------
        ValueError
            For a setting out of bounds, early stopping (the parts have a fixed length), or fewer than 10 training cells.
        TypeError
            When `config` is not a :class:`~sctandem.train.TrainConfig`.
        FloatingPointError
            When the loss is no longer finite.
        """
        if config is not None:
            check_type(config, TrainConfig, "config", hint="An architecture is given when the model is made.")
        given = {
            "max_epochs": max_epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "train_size": train_size,
        }
        config = replace(config or self._train_config, **{key: v for key, v in given.items() if v is not None})
        if config.early_stopping:
            msg = "early_stopping=True does not go with CapsuleNet: the two parts of its training have a fixed length."
            raise ValueError(msg)
        n_cells = round(self.adata.n_obs * config.train_size)
        check_n_cells(n_cells, self._min_training_cells, f"training with train_size={config.train_size}")
        n_epochs = config.resolve_max_epochs(n_cells)
        n_first = max(1, round(FIRST_PART * n_epochs))
        streams = spawn(int(torch.randint(2**31, ()).item()) if rng is None else rng, 4)
        with torch_seeded(streams[0]):
            self.module, self._targets, self.history_ = self._new_module(), None, None
        n_components = min(self.module.config.d_pose, min(self._counts.shape) - 2)
        if n_components > 0:
            self.module.start_from(principal_loadings(self._counts, n_components, rng=streams[0])[0])
        options: dict[str, Any] = {"accelerator": accelerator, "progress": progress, "config": config}
        super().train(n_first, rng=streams[1], **options)
        self._find_types(streams[2])
        if n_epochs > n_first:
            super().train(n_epochs - n_first, rng=streams[3], **options)

    def _find_types(self, rng: np.random.Generator) -> None:
        """Group the training cells by their poses, and make a type capsule a group."""
        config, cells = self.module.config, np.asarray(self.train_indices)
        with torch_seeded(rng):
            poses = self.get_latent_representation(indices=cells)
            found = merge_by_valleys(poses, n_start=config.max_types, max_depth=config.max_valley, rng=rng)
            centres = np.stack([poses[found == number].mean(0) for number in range(int(found.max()) + 1)])
            self.module.split(len(centres), centres)
        self._targets = np.full(self.adata.n_obs, -1, dtype=np.int64)
        self._targets[cells] = found

    @torch_on_one_thread()
    @torch.inference_mode()
    def _read(self, what: str, adata: AnnData | None, indices: ArrayLike | None, batch_size: int | None) -> np.ndarray:
        """Return one of the results of `inference` for all cells."""
        self._check_if_trained(warn=False, message="this CapsuleNet is not trained; call `model.train()` first.")
        self.module.eval()
        parts = [
            self.module.inference(**self.module._get_inference_input(batch))[what].cpu().numpy()
            for batch in self._batches(adata, indices, batch_size)
        ]
        return np.concatenate(parts)

    def get_latent_representation(
        self, adata: AnnData | None = None, *, indices: ArrayLike | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Return the pose of each cell, the embedding.

        Parameters
        ----------
        adata
            Object with the same features; `None` for the one the model was made with.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells a minibatch; bounds the memory, does not change the result.

        Returns
        -------
        float32, cells x dimensions of the pose, in units of a standard normal prior.
        """
        return self._read("pose", adata, indices, batch_size)

    def predict(
        self,
        adata: AnnData | None = None,
        *,
        soft: bool = False,
        indices: ArrayLike | None = None,
        batch_size: int | None = None,
    ) -> pd.Series | pd.DataFrame:
        """Return the type capsule of each cell.

        Parameters
        ----------
        adata
            Object with the same features; `None` for the one the model was made with.
        soft
            Whether to return the presence of all type capsules.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells a minibatch; bounds the memory, does not change the result.

        Returns
        -------
        Category, named by number from the type with most training cells, by cell; or with `soft` the lengths of all capsules,
        float32, cells x types, in [0, 1), which do not add up to 1.
        """
        presence = self._read("presence", adata, indices, batch_size)
        names = [str(number) for number in range(presence.shape[1])]
        where = (
            np.arange(len((self.adata if adata is None else adata).obs_names))
            if indices is None
            else np.asarray(indices)
        )
        cells = (self.adata if adata is None else adata).obs_names[where]
        if soft:
            return pd.DataFrame(presence, index=cells, columns=names)
        return pd.Series(pd.Categorical.from_codes(presence.argmax(1), names), index=cells, name="capsules")
