"""The plain count VAE as a model, for the benchmark and as a pattern."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scvi import REGISTRY_KEYS
from scvi.data.fields import LayerField, NumericalObsField
from scvi.model.base import BaseModelClass

from sctandem._blocks import matrix_blocks
from sctandem._checks import check_slot_names
from sctandem._random import torch_seeded
from sctandem.data._streamed import held_counts
from sctandem.model.base._collection import CollectionMixin, collection_setup
from sctandem.model.base._depths import read_depths
from sctandem.model.base._files import FilesMixin
from sctandem.model.base._latent import LatentMixin
from sctandem.model.base._manager import register
from sctandem.model.base._partial_fit import PartialFitMixin
from sctandem.model.base._text_fields import TextObsField
from sctandem.model.base._train import TrainMixin
from sctandem.model.base._transfer import TransferMixin
from sctandem.model.base._warm_start import WarmStartMixin
from sctandem.module.base import CountVAE, CountVAEConfig

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG


def gene_shares(counts: Any) -> np.ndarray:
    """Return the share of each gene in all counts, with one count added to every gene.

    Parameters
    ----------
    counts
        Cells x genes; sparse, dense or backed.

    Returns
    -------
    (genes,), above 0, adding up to 1.
    """
    totals = np.asarray(held_counts(counts).sum(axis=0), dtype=np.float64).ravel() + 1
    return totals / totals.sum()


def mean_logs(counts: Any) -> torch.Tensor:
    """Return the mean of `log1p` of each gene, (genes,), float32."""
    matrix, total = held_counts(counts), np.zeros(counts.shape[1])
    for _, block in matrix_blocks(matrix):  # a collection does not fit into memory
        logs = block.astype(np.promote_types(block.dtype, np.float32), copy=False).log1p()  # of truth values too
        total += np.asarray(logs.sum(axis=0)).ravel()
    return torch.from_numpy((total / max(1, counts.shape[0])).astype(np.float32))


class CountVAEModel(
    CollectionMixin, PartialFitMixin, FilesMixin, TransferMixin, TrainMixin, WarmStartMixin, LatentMixin, BaseModelClass
):
    """Variational autoencoder of counts, scVI's model on the sparse path.

    Parameters
    ----------
    adata
        Set up with `setup_anndata`.
    config
        Architecture; `None` for the defaults, which are those of scVI.
    rng
        Seed of the initial weights; `None` for torch's global state.

    Notes
    -----
    Internal: the models of this package build on its parts.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> from sctandem.model.base import CountVAEModel
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (60, 20)).astype("float32"))
    >>> CountVAEModel.setup_anndata(adata)
    >>> model = CountVAEModel(adata, rng=0)
    >>> model.train(2, rng=0)
    >>> model.get_latent_representation().shape
    (60, 10)
    """

    _module_cls = CountVAE
    _config_classes = (CountVAEConfig,)

    def __init__(self, adata: AnnData, *, config: CountVAEConfig | None = None, rng: RNG = None) -> None:
        super().__init__(adata)
        counts = held_counts(self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY))
        with nullcontext() if rng is None else torch_seeded(rng):
            self.module = self._module_cls(
                self.summary_stats.n_vars,
                n_batch=self.summary_stats.get("n_batch", 1),
                config=config,
                shares=gene_shares(counts),
            )
        self.module.mean_logs.copy_(mean_logs(counts))
        self._model_summary_string = f"CountVAE with {self.module.config}"
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        batch_key: str | None = None,
        size_factor_key: str | None = None,
        source_registry: dict[str, Any] | None = None,
    ) -> None:
        """Register the data.

        Parameters
        ----------
        adata
            Holds counts.
        layer
            Layer of the counts; `None` for `X`.
        batch_key
            Column of `obs` with the batch.
        size_factor_key
            Column of `obs` with library sizes; `None` for the total counts.
        source_registry
            Registry of a saved model, whose categories are taken over; scvi-tools passes it when a model is loaded.

        Returns
        -------
        None. `adata.uns` gets the identifiers of scvi-tools, and `obs` their `_scvi_batch`.
        """
        given = dict(locals())
        given.pop("source_registry")
        check_slot_names(given)
        if size_factor_key is not None:
            read_depths(adata, size_factor_key)
        setup_method_args = cls._get_setup_method_args(**given)
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=True),
            TextObsField(REGISTRY_KEYS.BATCH_KEY, batch_key),
            NumericalObsField(REGISTRY_KEYS.SIZE_FACTOR_KEY, size_factor_key, required=False),
        ]
        register(cls, adata, fields, setup_method_args, source_registry)

    setup_collection = collection_setup(setup_anndata)
