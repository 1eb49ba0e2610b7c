"""RSD: RNA-seq deconvolution with a count model of single cells."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scvi import REGISTRY_KEYS
from scvi.data.fields import LayerField
from scvi.model.base import BaseModelClass

from sctandem._checks import (
    check_adata,
    check_counts,
    check_key,
    check_layer,
    check_number,
    check_slot_names,
    check_type,
    check_unique,
    layer_slot,
)
from sctandem._compat import ModelLayout
from sctandem._random import as_generator, torch_seeded
from sctandem.data._streamed import obs_slot
from sctandem.kernels._signature import Signature, signature_of_blocks, telling_genes
from sctandem.kernels._type_expression import type_expression
from sctandem.model._bulk import Bulk, read_bulk, technical_genes
from sctandem.model._cell_contents import cell_contents
from sctandem.model._deconvolution import Deconvolution
from sctandem.model._rsd_cells import names_of, reference_cells
from sctandem.model._rsd_fit import Parts, describe_genes, take_apart
from sctandem.model._rsd_read import RSDReadMixin
from sctandem.model.base import CollectionMixin, FilesMixin, NoTransferMixin
from sctandem.model.base._checkpoint import part_of
from sctandem.model.base._collection import collection_setup
from sctandem.model.base._manager import register
from sctandem.model.base._text_fields import TextObsField
from sctandem.model.base._train_method import ADVERSARIAL, DOMAIN, OPTIMISER, VALIDATION, TrainMethodMixin
from sctandem.model.base._weights import read_weights, relative_weights
from sctandem.module import MixtureConfig, RSDConfig, RSDModule
from sctandem.nn._threads import torch_on_one_thread
from sctandem.train import TrainConfig
from sctandem.train._mixtures import train_on_mixtures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.model.base._train_method import Run

#: Genes that have to tell types apart.
LEAST_TELLING = 10
#: Of a training without other settings: epochs of 25 batches, and mixtures in a batch.
EPOCHS, BATCH_SIZE = 20, 128
#: What is read of a collection.
_READ = """\
All cells are read, 16,384 at a time, and none is kept or drawn: the model is that of the same cells in memory, up to the rounding of sums. Setting
up reads them once; making the model once for sums of each type, and with `donor_key` once more for those of each donor within a type, or once for as
many types as have 2^25 sums (types x donors x genes). Training with weights of cells does so again. Memory grows with types x donors x genes, and not
with cells but for their metadata."""
#: Most mixtures in a batch.
_MOST_MIXTURES = 100_000
_UNTRAINED = "this RSD is not trained; call `model.train()` first."


class RSD(RSDReadMixin, NoTransferMixin, TrainMethodMixin, CollectionMixin, FilesMixin, BaseModelClass):
    """Take bulk samples apart into the types of a single-cell reference.

    Parameters
    ----------
    adata
        The reference, set up with `setup_anndata`; or a collection, set up with `setup_collection`.
    config
        Settings of the network; `None` for the defaults.
    rng
        Seed of the initial weights; `None` for torch's global state.

    Raises
    ------
    ValueError
        When the reference was not set up, has one type only, or types with fewer than 10 cells.
    TypeError
        When `config` is of another type.

    Notes
    -----
    The signature of a type is a posterior mean over its molecules, with a spread between donors where there are several. A network learns on
    mixtures simulated from it (types missing, RNA that is of none of them, genes not measured, factors of the platform) to read shares of
    RNA. In :meth:`deconvolve` a likelihood finds shares and a factor of every gene that all samples share; the network reads the samples
    again without the factors, and the likelihood once more on markers alone; the mean of the three is the estimate.

    `train` takes, by default, `max_epochs=20`, each of 25 batches, and `batch_size=128` mixtures. Weights of cells are relative to each other within a
    type: what its cells contribute to its profile, from which mixtures are made; they may not be 0 in all of them. Without weights the profiles stay
    as they are, at first those of equal weights. `history_["train_loss"]` holds the cross-entropy of each epoch, in nats. It refuses
    what is for models that learn from single cells, and says why.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> import sctandem as td
    >>> rng = np.random.default_rng(0)
    >>> profiles = rng.gamma(0.5, 1.0, (3, 300))
    >>> types = np.repeat([0, 1, 2], 40)
    >>> reference = AnnData(rng.poisson(10 * profiles[types]).astype("float32"))
    >>> reference.obs["cell_type"] = np.array(["a", "b", "c"])[types]
    >>> bulk = AnnData(rng.poisson(1000 * (rng.dirichlet(np.ones(3), 6) @ profiles)).astype("float32"))
    >>> td.model.RSD.setup_anndata(reference, "cell_type")
    >>> model = td.model.RSD(reference, rng=0)
    >>> model.train(2, rng=0)
    >>> model.deconvolve(bulk, rng=0).fractions.shape
    (6, 3)
    """

    _instead = (
        "the queries of an RSD are bulk samples, which `model.deconvolve(bulk)` reads as they are, with the genes that they have. Its signature "
        "takes seconds: for more cells of reference make a model of all."
    )
    _one_process = "it learns in seconds, from mixtures that it makes itself"
    _train_config: ClassVar[TrainConfig] = TrainConfig(max_epochs=EPOCHS, batch_size=BATCH_SIZE)
    _refused: ClassVar[dict[str, str]] = {
        **dict.fromkeys(OPTIMISER, "its network learns at a rate of its own"),
        **dict.fromkeys(
            VALIDATION, "it learns from mixtures that are made anew in every step, and keeps no cells apart"
        ),
        **dict.fromkeys(
            ADVERSARIAL, "it learns from mixtures of profiles, and has no network that reads counts of cells"
        ),
        **dict.fromkeys(DOMAIN, "it learns from mixtures of profiles, and gives cells no state"),
        "weight_use": "weights say what cells contribute to the profile of their type",
        "accelerator": "it learns on the processor, in seconds",
    }
    _module_cls = RSDModule
    _config_classes = (RSDConfig, MixtureConfig)

    def __init__(self, adata: AnnData, *, config: RSDConfig | None = None, rng: RNG = None) -> None:
        if config is not None:
            check_type(config, RSDConfig, "config")
        super().__init__(adata)
        found, chosen = self._signature()
        with nullcontext() if rng is None else torch_seeded(rng):
            self.module = self._module_cls(
                found.shares, found.molecules, found.spread, found.clarity, genes=chosen, config=config
            )
        self._model_summary_string = f"RSD of {len(self.cell_types)} types with {self.module.config}"
        self.init_params_ = self._get_init_params(locals())

    @property
    def cell_types(self) -> list[str]:
        """Types of the reference, in order."""
        return names_of(self.adata_manager, REGISTRY_KEYS.LABELS_KEY)

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        cell_type_key: str,
        *,
        donor_key: str | None = None,
        unlabeled_category: str | int = "unknown",
        layer: str | None = None,
        source_registry: dict[str, Any] | None = None,
    ) -> None:
        """Register the reference.

        Parameters
        ----------
        adata
            Single cells; holds counts.
        cell_type_key
            Column of `obs` with the type.
        donor_key
            Column of `obs` with the donor or sample; `None` where there is one, or where it is not known.
        unlabeled_category
            The type of cells that have none: they are left out of the reference, and the log says how many. Cells whose donor is called so
            belong to it, but say nothing of how donors differ. In a collection it is the word for what is missing.
        layer
            Layer of the counts; `None` for `X`.
        source_registry
            Registry of a saved model, whose categories are taken over; `load` passes it.

        Returns
        -------
        None. `adata.uns` gets the identifiers of scvi-tools, and `obs` their `_scvi_labels` and `_scvi_batch` (integers from 0).

        Raises
        ------
        KeyError
            When the layer or a column is not there.
        ValueError
            When there are no cells, the counts are none, names of genes repeat, or a cell has no type or donor.
        TypeError
            When `adata` is not an AnnData, or a name not text.
        """
        if source_registry is not None:  # what a model learned of types it keeps: files of before have no such word
            unlabeled_category = source_registry[ModelLayout().setup_args].get("unlabeled_category")
        given = dict(locals())
        given.pop("source_registry")
        check_adata(adata)
        check_type(cell_type_key, str, "cell_type_key")
        check_slot_names(given)
        check_unique(adata.var_names, "adata.var_names")
        if not adata.n_obs:
            msg = "adata holds no cells: there is nothing to learn types from."
            raise ValueError(msg)
        check_counts(check_layer(adata, layer, "adata"), layer_slot("adata", layer))
        for key in (cell_type_key, donor_key):
            missing = 0 if key is None else int(check_key(adata.obs, key, obs_slot(adata)).isna().sum())
            if missing:
                msg = f"{obs_slot(adata)}[{key!r}] is missing in {missing} cells: take them out, or fill it in."
                raise ValueError(msg)
        setup_method_args = cls._get_setup_method_args(**given)
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False, correct_data_format=False),
            TextObsField(REGISTRY_KEYS.LABELS_KEY, cell_type_key),
            TextObsField(REGISTRY_KEYS.BATCH_KEY, donor_key),
        ]
        register(cls, adata, fields, setup_method_args, source_registry)

    setup_collection = collection_setup(setup_anndata, notes=_READ)

    def _signature(self, weights: np.ndarray | None = None) -> tuple[Signature, np.ndarray]:
        """Summarise the reference, and choose the genes that the network reads; weights are relative within types."""
        n_types = len(self.cell_types)
        if (
            weights is None and self.adata_manager.is_transferred
        ):  # a model that is being loaded: all of it is replaced by what was saved
            blank = np.ones((n_types, self.adata.n_vars))
            return Signature(blank, blank, blank, blank), np.zeros(1, dtype=np.int64)
        cells = reference_cells(self.adata_manager)
        relative = None if weights is None else relative_weights(weights[cells.kept], cells.types, self.cell_types)
        counts = self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        found = signature_of_blocks(
            lambda: cells.blocks(counts), counts.shape[1], cells.types, cells.donors, n_types, relative
        )
        usable = ~technical_genes(self.adata.var)
        chosen = telling_genes(found, usable=usable)
        if len(chosen) < LEAST_TELLING:
            msg = (
                f"{len(chosen)} genes of the reference tell its types apart (three times as much in one as in another, and measured well); "
                f"at least {LEAST_TELLING} are needed. Give adata more cells, or unite types that are alike."
            )
            raise ValueError(msg)
        # types differ in what ribosomal genes take, and platforms more so: RNA is counted without technical genes
        return found._replace(shares=found.shares / found.shares[:, usable].sum(1, keepdims=True)), chosen

    @torch_on_one_thread()
    def _train(self, config: TrainConfig, run: Run) -> None:
        """Train the network on mixtures that are simulated as it goes."""
        max_epochs, batch_size = config.max_epochs or EPOCHS, config.batch_size or BATCH_SIZE
        # mixtures are made, so there are no cells that bound how many
        check_number(batch_size, "batch_size", low=2, high=_MOST_MIXTURES, whole=True)
        weights = read_weights(self.adata, config.sample_weight)
        profiles = None if weights is None else self._signature(weights)[0]
        settings = {"max_epochs": max_epochs, "batch_size": batch_size, "sample_weight": config.sample_weight}
        kept = self._open_checkpoint(run.checkpoint, settings, accelerator="cpu", rng=run.rng)
        if profiles is not None:
            self.module.set_profiles(*profiles)
        loop: dict[str, Any] = {"rng": as_generator(run.rng if kept is None else kept.seed), "part": part_of(kept)}
        losses = train_on_mixtures(self.module, max_epochs, batch_size=batch_size, progress=run.progress, **loop)
        self._end_plain_loop(losses, max_epochs, kept)

    @torch_on_one_thread()
    def deconvolve(
        self,
        bulk: AnnData,
        *,
        kind: Literal["counts", "tpm"] | None = None,
        layer: str | None = None,
        contents: Mapping[str, float] | None = None,
        expression: bool = False,
        rng: RNG = None,
    ) -> Deconvolution:
        """Take bulk samples apart.

        Parameters
        ----------
        bulk
            Samples x genes, counts or TPM on the linear scale. Genes are matched by symbols or Ensembl identifiers (without versions),
            whichever column of `var` fits. All samples of one platform belong into one call: they share its factors.
        kind
            What the values are; `None` takes whole numbers for counts.
        layer
            Layer of the bulk; `None` for `X`.
        contents
            Messenger RNA of a cell of each type, in any unit. `None` looks types of blood up in a published table [EPIC17]_, by name, and
            takes types that it does not know for average; without any that it knows all are equal.
        expression
            Whether to estimate what each type expresses in each sample.
        rng
            Seed of the intervals.

        Returns
        -------
        A named tuple. Tables of samples x types: `fractions` of cells (rows add up to 1 - `unknown`), `low` and `high` of their intervals of
        90 %, and `rna`, shares of RNA. By sample: `unknown` and `fit`, the correlation of measured and fitted log expression. By gene of the
        bulk: `signature` (expected counts per million, genes x types) and `platform` (log factors), NaN where the reference lacks the gene.
        `contents` and `kind` that were assumed; `expression`, when asked for: of each type counts per million, samples x genes, float32.

        Raises
        ------
        RuntimeError
            When the model is not trained.
        ValueError
            For a bulk that is negative, missing, log-transformed or all zeros, fewer than 100 genes in common, or bad contents.
        KeyError
            When a layer or a content is missing.
        TypeError
            When `bulk` is not an AnnData, or `expression` not a bool.

        References
        ----------
        .. [EPIC17] Racle et al., Simultaneous enumeration of cancer and immune cell types from bulk tumor gene expression data, eLife 6 (2017).
        """
        self._check_if_trained(warn=False, message=_UNTRAINED)
        check_type(expression, bool, "expression")
        assumed, sd = cell_contents(self.cell_types, contents)
        read = read_bulk(bulk, self.adata.var, layer=layer, kind=kind)
        use = read.there[read.usable]
        stored = self._stored()
        covered = stored.shares[:, use].sum(1)  # of the RNA of a type, what the genes in use make
        parts = take_apart(
            read.values[:, read.usable],
            stored.at(use),
            lambda logs, genes: self._read_shares(logs, use[genes], covered),
            counts=read.kind == "counts",
            contents=np.array(list(assumed.values())) * covered,
            content_sd=sd,
            rng=as_generator(rng),
        )
        total = parts.rna / covered  # from shares of these genes to shares of all RNA
        total *= parts.rna.sum(1, keepdims=True) / total.sum(1, keepdims=True)
        return self._result(bulk, read, parts._replace(rna=total), assumed, expression=expression)

    def _result(
        self, bulk: AnnData, read: Bulk, parts: Parts, contents: dict[str, float], *, expression: bool
    ) -> Deconvolution:
        """Lay out tables."""
        types, samples = self.cell_types, bulk.obs_names
        tables = {
            name: pd.DataFrame(getattr(parts, name), index=samples, columns=types)
            for name in ("cells", "low", "high", "rna")
        }
        stored = self._stored()
        shares, spread = stored.shares[:, read.there], stored.spread[:, read.there]
        genes = describe_genes(read.values, parts.rna, shares, counts=read.kind == "counts")
        profile = np.full((bulk.n_vars, len(types)), np.nan)
        profile[read.here] = genes.signature.T
        platform = np.full(bulk.n_vars, np.nan)
        platform[read.here] = genes.platform
        layers = None
        if expression:
            layers = {}
            noise = genes.variance + parts.composition.sigma**2
            changes = type_expression(genes.ratio, parts.rna, genes.signature, spread=spread, noise=noise)
            for name, mean, change in zip(types, genes.signature, changes, strict=True):
                layers[name] = np.full(bulk.shape, np.nan, dtype=np.float32)
                layers[name][:, read.here] = mean * np.exp(change)
        return Deconvolution(
            fractions=tables["cells"],
            low=tables["low"],
            high=tables["high"],
            rna=tables["rna"],
            unknown=pd.Series(parts.unknown, index=samples),
            fit=pd.Series(parts.fit, index=samples),
            signature=pd.DataFrame(profile, index=bulk.var_names, columns=types),
            platform=pd.Series(platform, index=bulk.var_names),
            contents=contents,
            kind=read.kind,
            expression=layers,
        )
