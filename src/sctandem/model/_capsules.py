"""CapsuleNet: a capsule network on counts."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from scvi import REGISTRY_KEYS
from scvi.data.fields import BaseAnnDataField, LayerField, NumericalObsField
from scvi.model.base import BaseModelClass

from sctandem._checks import (
    check_adata,
    check_counts,
    check_key,
    check_layer,
    check_slot_names,
    check_type,
    layer_slot,
)
from sctandem._random import spawn, torch_seeded
from sctandem.data._streamed import held_counts, obs_slot
from sctandem.kernels import align_batches
from sctandem.kernels._annealing_fit import anneal
from sctandem.kernels._batch_shifts import groups_of_points, shifts_within_groups
from sctandem.kernels._groups import group_means
from sctandem.kernels._label_experts import FEWEST
from sctandem.model._capsules_check import check_labels
from sctandem.model._capsules_labels import CapsulesLabelsMixin
from sctandem.model._capsules_transfer import CapsulesTransferMixin
from sctandem.model.base import FilesMixin, LatentMixin
from sctandem.model.base._checkpoint import part_of
from sctandem.model.base._collection import CollectionMixin, collection_setup
from sctandem.model.base._count_vae_model import gene_shares
from sctandem.model.base._depths import read_depths
from sctandem.model.base._manager import register
from sctandem.model.base._text_fields import TextLabelsField, TextObsField, text_of
from sctandem.model.base._warm_start import principal_loadings
from sctandem.module import CapsuleConfig, CapsuleModule
from sctandem.module._capsules import ALIGNED_KEY, CAPSULE_KEY
from sctandem.train import DomainConfig, TrainConfig

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.model.base._train_method import Run

#: Where the three parts of the training end, as parts of its epochs.
PARTS = (1 / 2, 3 / 4, 1.0)
#: Share of the labelled training cells whose labels are held back: what labels are worth is learned from them.
_HELD_BACK = 0.1


class CapsuleNet(CapsulesLabelsMixin, CapsulesTransferMixin, CollectionMixin, FilesMixin, LatentMixin, BaseModelClass):
    """Capsule network on counts: an embedding of the cells, their types, whose number is found, and labels where some are given.

    Parameters
    ----------
    adata
        Set up with `setup_anndata`.
    config
        Architecture; `None` for the defaults.
    rng
        Seed of the initial weights; `None` for torch's global state.

    Raises
    ------
    TypeError
        When `config` is of another type.

    Notes
    -----
    Training has three parts. In the first, half of the epochs, the pose of the cell learns to give back the counts. After it and
    after the second, what parts batches within groups of like cells is taken out of the poses
    (:func:`~sctandem.kernels.align_batches`), which from then on follow these. The first layer, which until then normalises each batch by
    itself, takes out what a batch adds to the logarithms within these groups. Labels are learned by capsules of their own. Where at least 200
    training cells have a label, those of a tenth are held back from the capsules, to learn how sure labels are. Of more than 50,000 labelled cells
    that many are drawn for it, and for the regression beside the capsules.
    Before the third part, the last quarter, the poses are annealed: cut finely, and united as long as no valley of the
    density lies between (:func:`sctandem.tl.anneal`). As many type capsules are made as remain, and routing by agreement learns
    to tell these apart by a margin loss. The counts are given back in all parts. Groups that pass into one another without a
    valley, as along a differentiation, are one type. A type that is never the longest has died.

    `train` takes the settings of :class:`~sctandem.train.TrainConfig` but early stopping, by default `max_epochs=45`, `batch_size=128`,
    `learning_rate=0.003`, `adam_eps=1e-08`, `gradient_clip=50` and `domain=DomainConfig(strength=0.3)`, and trains anew each time, on at least 10 training cells.
    `max_epochs` counts all parts together; with 1 or 2 the types are made but not learned. Weights of cells act on capsules and decoder, not on the
    number of types, and probabilities of labels are then those of cells that are composed as the weights say, unless `weight_use` is `"unbiased"`.
    With `adversarial` cells are moved against labels and types, once these are learned; with `domain_adversarial` states hide it from the second part
    on. What is between the parts is done by one process.

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
    (60, 30)
    """

    _module_cls = CapsuleModule
    _config_classes = (CapsuleConfig,)
    _train_config: ClassVar[TrainConfig] = TrainConfig(
        max_epochs=45,
        batch_size=128,
        learning_rate=3e-3,
        adam_eps=1e-8,
        gradient_clip=50.0,
        domain=DomainConfig(strength=0.3),
    )
    _refused: ClassVar[dict[str, str]] = {"early_stopping": "the parts of its training have a fixed length"}
    _min_training_cells: ClassVar[int] = 10

    def __init__(self, adata: AnnData, *, config: CapsuleConfig | None = None, rng: RNG = None) -> None:
        if config is not None:
            check_type(config, CapsuleConfig, "config", hint="Settings of the training go to `train(config=...)`.")
        super().__init__(adata)
        self._config = config
        self._targets: dict[str, torch.Tensor] = {}
        self._held_back = np.empty(0, dtype=np.int64)
        self._counts = held_counts(self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY))
        with nullcontext() if rng is None else torch_seeded(rng):
            self.module = self._new_module()
        self._model_summary_string = f"CapsuleNet with {self.module.config}"
        self.init_params_ = self._get_init_params(locals())

    def _new_module(self) -> CapsuleModule:
        """Make a module with one type capsule, whose decoder starts at the shares of the genes."""
        return self._module_cls(
            self.summary_stats.n_vars,
            n_batch=self.summary_stats.get("n_batch", 1),
            n_labels=len(self.label_names),
            config=self._config,
            shares=gene_shares(self._counts),
            depth=float(max(1.0, np.median(self._depths()))),
        )

    def _depths(self) -> np.ndarray:
        """Return the depth of each cell."""
        if REGISTRY_KEYS.SIZE_FACTOR_KEY in self.adata_manager.data_registry:
            return np.asarray(self.adata_manager.get_from_registry(REGISTRY_KEYS.SIZE_FACTOR_KEY), dtype=float).ravel()
        return np.asarray(self._counts.sum(axis=1), dtype=np.float64).ravel()

    def _codes(self, key: str) -> np.ndarray:
        """Return the codes of a registered category, (cells,)."""
        return np.asarray(self.adata_manager.get_from_registry(key)).astype(np.int64).ravel()

    def _label_codes(self) -> np.ndarray:
        """Return the place of the label of each cell in `label_names`, (cells,); -1 for none."""
        code = self._codes(REGISTRY_KEYS.LABELS_KEY)
        return np.where(code < len(self.label_names), code, -1)

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        labels_key: str | None = None,
        unlabeled_category: str | int = "unknown",
        batch_key: str | None = None,
        size_factor_key: str | None = None,
        source_registry: dict[str, Any] | None = None,
    ) -> None:
        """Register the data.

        Parameters
        ----------
        adata
            Holds counts of any features: genes, transcripts, peaks.
        layer
            Layer of the counts; `None` for `X`.
        labels_key
            Column of `obs` with the labels to learn, which are read as text, numbers too; `None` for none.
        unlabeled_category
            The label of cells that have none.
        batch_key
            Column of `obs` with the batch, which the first layer, the alignment of the poses and the decoder take out.
        size_factor_key
            Column of `obs` with the depth of the cells, where the features are a selection; `None` for the sum of the counts.
        source_registry
            Registry of a saved model, whose categories are taken over; `load` passes it.

        Returns
        -------
        None. `adata.uns` gets the identifiers of scvi-tools, and `obs` their `_scvi_batch` and `_scvi_labels` (integers from 0).

        Raises
        ------
        KeyError
            When the layer or a column is not there.
        ValueError
            When the counts are none: not whole, negative or missing; when cells lack a label or a batch, there are fewer than two labels, or
            labels and batches are one column.
        TypeError
            When `adata` is not an AnnData, or a name not text.
        """
        given = dict(locals())
        given.pop("source_registry")
        check_adata(adata)
        check_slot_names(given)
        if labels_key is not None:
            check_labels(adata, labels_key, unlabeled_category, trained=source_registry is not None)
        check_counts(check_layer(adata, layer, "adata"), layer_slot("adata", layer))
        if batch_key is not None:
            check_key(adata.obs, batch_key, obs_slot(adata))
            if batch_key == labels_key:
                msg = (
                    f"labels_key={labels_key!r} and batch_key={batch_key!r} are one column: what a batch adds is taken out, and the labels with "
                    "it. Leave one of them out."
                )
                raise ValueError(msg)
        if size_factor_key is not None:
            read_depths(adata, size_factor_key)
        cls._register(adata, given, source_registry)

    @classmethod
    def _register(cls, adata: AnnData, given: dict[str, Any], source_registry: dict[str, Any] | None = None) -> None:
        """Register data that were checked, by the arguments of `setup_anndata`."""
        setup_method_args = cls._get_setup_method_args(**given)
        fields: list[BaseAnnDataField] = [
            LayerField(REGISTRY_KEYS.X_KEY, given["layer"], is_count_data=False, correct_data_format=False),
            TextObsField(REGISTRY_KEYS.BATCH_KEY, given["batch_key"]),
        ]
        if (labels_key := given["labels_key"]) is not None:
            fields.append(TextLabelsField(REGISTRY_KEYS.LABELS_KEY, labels_key, text_of(given["unlabeled_category"])))
        if given["size_factor_key"] is not None:
            fields.append(NumericalObsField(REGISTRY_KEYS.SIZE_FACTOR_KEY, given["size_factor_key"]))
        register(cls, adata, fields, setup_method_args, source_registry)

    setup_collection = collection_setup(setup_anndata)

    def _before_training(self, train_indices: np.ndarray, *, once: Any, progress: bool) -> dict[str, Any]:
        """Hand the types that were found, and poses without batches, to the minibatches."""
        return {"entries": self._targets} if self._targets else {}

    def _train(self, config: TrainConfig, run: Run) -> None:
        """Train the model anew, in three parts; a query in one."""
        if self.query_:
            self._train_query(config, run)
            return
        weights, n_cells, _ = self._training_cells(config)
        n_epochs = config.resolve_max_epochs(n_cells)
        kept = self._open_checkpoint(
            run.checkpoint, config, accelerator=run.accelerator, devices=run.devices, rng=run.rng
        )
        rng = run.rng if kept is None else kept.seed
        streams = spawn(int(torch.randint(2**31, ()).item()) if rng is None else rng, 3)
        with torch_seeded(streams[0]):
            self.module, self._targets, self.history_ = self._new_module(), {}, None
        n_components = min(self.module.config.d_pose, min(self._counts.shape) - 2)
        if n_components > 0:
            self.module.start_from(principal_loadings(self._counts, n_components, rng=streams[0])[0])
        run = run._replace(rng=int(streams[1].integers(2**31)))  # the same cells are trained on in all parts
        ends = [max(1, round(part * n_epochs)) for part in PARTS]
        going = self._train_part(replace(config, max_epochs=ends[0]), run, part=part_of(kept, 0))
        self._held_back = self._hold_back(streams[2])
        # what is between the parts takes little time: a training that goes on does it again, with the weights that it was done with
        for part, (start, stop) in enumerate(pairwise(ends)):
            with torch_seeded(streams[2]):
                self._between_parts(part, streams[2])
            if stop > start and going:
                going = self._train_part(replace(config, max_epochs=stop - start), run, part=part_of(kept, part + 1))
        self._targets = {}
        with torch_seeded(streams[2]):
            self._calibrate(
                streams[2],
                None if config.weight_use == "unbiased" else weights,
                None if config.adversarial is None else config.adversary,
            )
        self._close_checkpoint(kept, finished=going)

    def _between_parts(self, part: int, rng: np.random.Generator) -> None:
        """Say what is to be learned next. Poses of all cells are not held while it is."""
        poses, aligned = self._align(rng)
        if part == 0:
            self._start_labels(poses)
        else:
            self._find_types(poses, aligned, rng)

    def _align(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the poses of the training cells, with and without what parts the batches; the latter are to be followed."""
        cells = np.asarray(self.train_indices)
        self._targets = {}  # those of the part before are not held beside the new ones
        poses = self.get_latent_representation(indices=cells)
        aligned = align_batches(poses, self._codes(REGISTRY_KEYS.BATCH_KEY)[cells], rng=rng)
        self._targets = {CAPSULE_KEY: self._for_all_cells(np.full((len(cells), 1), -1), fill=-1)}
        if self.label_names:  # in the place of those that were registered; the last code is that of cells without one
            shown = self._shown_codes()
            shown[shown < 0] = len(self.label_names)
            self._targets[REGISTRY_KEYS.LABELS_KEY] = torch.from_numpy(shown[:, None])
        if (n_batch := self.summary_stats.get("n_batch", 1)) > 1:
            self._targets[ALIGNED_KEY] = self._for_all_cells(aligned, fill=0)
            if self.module.parts_batches:
                batch = self._codes(REGISTRY_KEYS.BATCH_KEY)[cells]
                groups = groups_of_points(aligned, rng)
                self.module.part_batches(
                    shifts_within_groups(self._blocks_of_logs(cells), groups, batch, n_batch), np.unique(batch).tolist()
                )
        return poses, aligned

    def _hold_back(self, rng: np.random.Generator) -> np.ndarray:
        """Choose labelled cells whose counts are trained on but whose labels are not, as those of cells without a label."""
        if not self.label_names:
            return np.empty(0, dtype=np.int64)
        cells = np.asarray(self.train_indices)
        labelled = cells[self._label_codes()[cells] >= 0]
        n = int(_HELD_BACK * len(labelled))
        return np.sort(rng.choice(labelled, n if n >= FEWEST else 0, replace=False))

    def _find_types(self, poses: np.ndarray, aligned: np.ndarray, rng: np.random.Generator) -> None:
        """Group the training cells by their poses without batches, and make a type capsule a group."""
        shares = anneal(aligned, n_clusters=self.module.config.n_types, rng=rng).memberships
        found = np.unique(shares.argmax(1), return_inverse=True)[1]
        means = group_means(poses, found)
        self.module.split(len(means), means)
        self._targets[CAPSULE_KEY] = self._for_all_cells(found[:, None], fill=-1)

    def _for_all_cells(self, values: np.ndarray, *, fill: float) -> torch.Tensor:
        """Lay values of the training cells out over all cells, as the minibatches want them."""
        whole = np.full((self.adata.n_obs, values.shape[1]), fill, dtype=values.dtype)
        whole[np.asarray(self.train_indices)] = values
        return torch.from_numpy(whole)
