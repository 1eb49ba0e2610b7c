"""DeepDE: states of cells that are free of their samples, and effects of the samples on genes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scvi import REGISTRY_KEYS
from scvi.data.fields import LayerField
from scvi.model.base import BaseModelClass

from sctandem._checks import (
    check_adata,
    check_counts,
    check_key,
    check_layer,
    check_n_cells,
    check_number,
    check_positive,
    check_slot_names,
    check_type,
    layer_slot,
    select_cells,
)
from sctandem._random import as_generator, torch_seeded
from sctandem.data._streamed import held_counts
from sctandem.kernels._annealing_fit import anneal
from sctandem.model.base import FilesMixin, LatentMixin, PartialFitMixin, TrainMixin, TransferMixin, WarmStartMixin
from sctandem.model.base._collection import CollectionMixin, collection_setup
from sctandem.model.base._count_vae_model import gene_shares, mean_logs
from sctandem.model.base._manager import register
from sctandem.model.base._text_fields import TextObsField
from sctandem.module import DeepDEModule
from sctandem.module.base import CountVAEConfig
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sctandem._random import RNG


class DeepDE(
    CollectionMixin, PartialFitMixin, FilesMixin, TransferMixin, TrainMixin, WarmStartMixin, LatentMixin, BaseModelClass
):
    """Latent states of cells without what their sample (donor, batch, condition) adds, and that addition, gene by gene.

    Parameters
    ----------
    adata
        Set up with `setup_anndata`.
    config
        Architecture; `None` for the defaults. Its likelihood must be `"nb"`.
    rng
        Seed of the initial weights; `None` for torch's global state.

    Raises
    ------
    ValueError
        For another likelihood.
    TypeError
        When `adata` is not an AnnData, or `config` of another kind.

    Notes
    -----
    :func:`~sctandem.tl.differential_expression` takes the states from here where no cell types are given. Effects of samples are
    estimates without errors: test with that function, which counts samples and not cells.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> import sctandem as td
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (120, 30)).astype("float32"))
    >>> adata.obs["sample"] = np.repeat(["a", "b", "c"], 40)
    >>> td.model.DeepDE.setup_anndata(adata, "sample")
    >>> model = td.model.DeepDE(adata, rng=0)
    >>> model.train(3, rng=0)
    >>> model.get_sample_effects().shape
    (30, 3)
    """

    _module_cls = DeepDEModule
    _config_classes = (CountVAEConfig,)

    def __init__(self, adata: AnnData, *, config: CountVAEConfig | None = None, rng: RNG = None) -> None:
        if config is not None:
            check_type(config, CountVAEConfig, "config", hint="Settings of the training go to `train(config=...)`.")
            if config.likelihood != "nb":
                msg = f"config.likelihood={config.likelihood!r}, but DeepDE has a negative binomial likelihood: 'nb'."
                raise ValueError(msg)
        super().__init__(adata)
        counts = held_counts(self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY))
        with nullcontext() if rng is None else torch_seeded(rng):
            self.module = self._module_cls(
                self.summary_stats.n_vars,
                n_samples=self.summary_stats.get("n_batch", 1),
                n_cells=self.summary_stats.n_cells,
                config=config,
                shares=gene_shares(counts),
            )
        self.module.mean_logs.copy_(mean_logs(counts))
        self._model_summary_string = f"DeepDE with {self.module.config}"
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        sample_key: str,
        *,
        layer: str | None = None,
        source_registry: dict[str, Any] | None = None,
    ) -> None:
        """Register the data.

        Parameters
        ----------
        adata
            Holds counts.
        sample_key
            Column of `obs` with the sample; a donor in two conditions is two samples.
        layer
            Layer of the counts; `None` for `X`.
        source_registry
            Registry of a saved model, whose categories are taken over; `load` passes it.

        Returns
        -------
        None. `adata.uns` gets the identifiers of scvi-tools, and `obs` their `_scvi_batch`.

        Raises
        ------
        KeyError
            When the layer or the column is not there.
        ValueError
            When the counts are none: not whole, negative or missing; or when a cell has no sample.
        TypeError
            When `adata` is not an AnnData, or a name not text.
        """
        given = dict(locals())
        given.pop("source_registry")
        check_adata(adata)
        check_type(sample_key, str, "sample_key")
        check_slot_names(given)
        check_counts(check_layer(adata, layer, "adata"), layer_slot("adata", layer))
        missing = int(check_key(adata.obs, sample_key, "adata.obs").isna().sum())
        if missing:
            msg = f"adata.obs[{sample_key!r}] is missing in {missing} cells: take them out, or name their sample."
            raise ValueError(msg)
        setup_method_args = cls._get_setup_method_args(**given)
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False, correct_data_format=False),
            TextObsField(REGISTRY_KEYS.BATCH_KEY, sample_key),
        ]
        register(cls, adata, fields, setup_method_args, source_registry)

    setup_collection = collection_setup(setup_anndata)

    def get_state_weights(
        self, adata: AnnData | None = None, *, n_states: int | None = None, rng: RNG = None
    ) -> pd.DataFrame:
        """Return in which states each cell is: soft clusters of the latent states, whose number is found.

        Parameters
        ----------
        adata
            Object with the same genes; `None` for the one the model was made with.
        n_states
            How many; `None` finds it.
        rng
            Seed; matters for more than 8,000 cells, of which as many are drawn to find the states on.

        Returns
        -------
        float32, cells x states; rows add up to 1. Columns are numbers as text, the state with most cells first.

        Raises
        ------
        KeyError
            When a layer, a column or a modality that the model reads is missing.
        TypeError
            When the data are not those of a model of this kind.
        ValueError
            When the data have no cells, are not counts, or lack features or categories of the model; when `n_states` is out of range.
        RuntimeError
            When the model is not trained.
        """
        if n_states is not None:
            check_positive(n_states, "n_states", whole=True)
        points = self.get_latent_representation(adata)
        check_n_cells(len(points), 2, "finding states", "adata")
        found = anneal(points, n_clusters=n_states, rng=as_generator(rng)).memberships
        cells = (self.adata if adata is None else adata).obs_names
        return pd.DataFrame(found, index=cells, columns=[str(i) for i in range(found.shape[1])])

    def get_sample_effects(self) -> pd.DataFrame:
        """Return the effect of each sample on each gene, beside the state of the cell.

        Returns
        -------
        Genes x samples, log2, around the mean of the samples.

        Raises
        ------
        RuntimeError
            When the model is not trained.
        """
        self._check_if_trained(warn=False, message="this DeepDE is not trained; call `model.train()` first.")
        effect = self.module.sample_effect.detach().cpu().numpy().astype(np.float64) / np.log(2)
        samples = self.adata_manager.get_state_registry(REGISTRY_KEYS.BATCH_KEY).categorical_mapping
        return pd.DataFrame(effect - effect.mean(1, keepdims=True), index=self.adata.var_names, columns=samples)

    @torch_on_one_thread()
    @torch.inference_mode()
    def compare_cells(
        self,
        first: ArrayLike,
        second: ArrayLike,
        *,
        delta: float = 0.25,
        n_draws: int = 5000,
        rng: RNG = None,
    ) -> pd.DataFrame:
        """Compare two groups of cells by the posterior. Cells are the unit: this says nothing about samples or conditions.

        Parameters
        ----------
        first, second
            Cells of the groups, as positions or masks.
        delta
            Log2 fold change that counts as a difference.
        n_draws
            Pairs of cells that are drawn.
        rng
            Seed of the draws.

        Returns
        -------
        A row a gene, most probable first: `probability` (that the fold change exceeds `delta` between a cell of one group and one of the
        other), `log2fc` and `log2fc_sd` (over pairs).

        Raises
        ------
        RuntimeError
            When the model is not trained.
        TypeError
            When the cells are neither positions nor a mask.
        ValueError
            When there are none, a position or the length of a mask is not that of the data, or a number is out of bounds.

        Notes
        -----
        Differences between two donors are found here as surely as those between two conditions. No p-values follow from it.
        Fold changes are drawn towards 0 by the decoder, the more the shorter the training.
        """
        self._check_if_trained(warn=False, message="this DeepDE is not trained; call `model.train()` first.")
        check_number(delta, "delta")
        check_positive(n_draws, "n_draws", whole=True)
        self.module.eval()
        generator = as_generator(rng)
        groups = []
        for name, given in (("first", first), ("second", second)):
            cells = select_cells(() if given is None else given, self.adata.n_obs, name)
            if not len(cells):
                msg = f"{name} holds no cells."
                raise ValueError(msg)
            groups.append(cells)
        total, square, over = (np.zeros(self.adata.n_vars) for _ in range(3))
        done = 0
        with torch_seeded(generator):
            while done < n_draws:
                size = min(500, n_draws - done)
                one, two = (self._drawn_logs(generator.choice(cells, size)) for cells in groups)
                change = one - two
                total, square, over = (
                    total + change.sum(0),
                    square + (change**2).sum(0),
                    over + (np.abs(change) > delta).sum(0),
                )
                done += size
        mean = total / n_draws
        table = pd.DataFrame(
            {
                "probability": over / n_draws,
                "log2fc": mean,
                "log2fc_sd": np.sqrt(np.maximum(square / n_draws - mean**2, 0)),
            },
            index=self.adata.var_names,
        )
        return table.sort_values("probability", ascending=False, kind="stable")

    def _drawn_logs(self, cells: np.ndarray) -> np.ndarray:
        """Draw the state of some cells and decode it in their own sample, log2 of shares per 10,000 and a hundredth."""
        order = np.argsort(cells, kind="stable")
        parts = []
        for batch in self._batches(None, cells[order], None):
            _, outputs = self.module.forward(batch, compute_loss=False)
            parts.append(self.module.shares(outputs).cpu().numpy())
        logs = np.log2(1e4 * np.concatenate(parts).astype(np.float64) + 0.01)
        drawn = np.empty_like(logs)
        drawn[order] = logs
        return drawn
