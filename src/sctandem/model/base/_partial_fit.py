"""Learn on from the next batch of data, without the old."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem._checks import check_number, check_option, check_positive
from sctandem._compat import become, forget_data
from sctandem._random import spawn, torch_seeded
from sctandem.data._streamed import held_counts
from sctandem.kernels._latent_memory import LatentMemory, latent_groups, recall, remember
from sctandem.model.base._increment import Increment, completed, drawn_counts, group_totals, joined, memory_columns
from sctandem.model.base._query import read_columns, read_counts, shared_features
from sctandem.train._replay import FISHER_BATCH, ElasticTrainingPlan, balanced_reservoir, fisher_information

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.train import TrainConfig

#: Most old cells from which the weight of each spring is found.
_SPRING_CELLS = 512
#: Old cells that are drawn or kept lie in memory.
_MOST_REPLAYED = 1_000_000
#: Share of the epochs of a whole training that an increment takes.
_EPOCHS = 1 / 3
_LEAST_EPOCHS = 5


class PartialFitMixin:
    """Learn from a stream, one batch of data after the other, in memory that does not grow with it."""

    #: What is kept of the cells in place of them; see `LatentMemory`. Empty until the model is saved or has learned on.
    memory_: dict[str, Any] = {}  # replaced, never changed
    #: Whether the object that the model holds was put together here.
    _made_its_cells = False
    #: Springs on the weights while learning on.
    _springs: tuple[Any, float] | None = None

    def partial_fit(
        self,
        adata: AnnData,
        *,
        replay: Literal["cells", "generated", "none"] = "cells",
        n_replay: int = 2000,
        elastic: float = 1.0,
        new_features: Literal["ignore", "add"] = "ignore",
        max_epochs: int | None = None,
        accelerator: str = "auto",
        rng: RNG = None,
        progress: bool | None = None,
    ) -> None:
        """Learn from the next batch of data; what was learned before is kept by replay and by springs on the weights.

        Parameters
        ----------
        adata
            New cells, with counts; the object need not be set up, and nothing is written to it. Batches and labels may be new.
        replay
            - `"cells"`: up to `n_replay` of the cells that the model holds are seen again, from each label and batch as many as from any
              other. The model keeps these as raw counts
            - `"generated"`: no old cell is kept; as many are drawn from the model itself, from means and covariances of the latent
              states of each label in each batch
            - `"none"`: nothing is seen again; without `elastic` either, what was learned is forgotten
        n_replay
            Most old cells that are seen again, up to 1,000,000. The memory that the model takes is that of so many cells and of the new ones.
        elastic
            How firmly weights that mattered for the old cells are held; 0 for not at all.
        new_features
            What to do with features that the model does not know: `"ignore"` them, or `"add"` them. Old cells, in which they were not
            measured, are lent them by the new cell whose latent state is nearest.
        max_epochs
            Passes through old and new cells; `None` for a third of those of `train`, at least 5.
        accelerator
            `"auto"`, `"cpu"`, `"gpu"`, ... as in scvi-tools.
        rng
            Seed of all that is random; the same gives the same model. `None` draws one from torch's global state.
        progress
            Whether to show a progress bar; `None` for in a terminal or notebook.

        Returns
        -------
        None. The model has learned; its `adata` now holds the new cells and the old ones that were seen again, and `history` the losses of this increment.

        Raises
        ------
        ValueError
            When the model is not trained, holds no cells to see again, or the new cells have values that are not counts, missing batches or
            less than a twentieth of the features.
        TypeError
            When `adata` is not an AnnData.

        Notes
        -----
        Features of the model that the new cells lack are drawn from the model, given the latent state that the others tell, so that they teach
        nothing; they are not set to 0. After an error the model is as it was.

        References
        ----------
        Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 114 (2017);
        Shin et al., Continual learning with deep generative replay, NIPS (2017).
        """
        self._check_if_trained(warn=False, message="this model is not trained; call `train` first.")
        check_option(replay, ("cells", "generated", "none"), "replay")
        check_option(new_features, ("ignore", "add"), "new_features")
        check_number(n_replay, "n_replay", low=1, high=_MOST_REPLAYED, whole=True)
        check_number(elastic, "elastic")
        if max_epochs is not None:
            check_positive(max_epochs, "max_epochs", whole=True)
        streams = spawn(int(torch.randint(2**31, ()).item()) if rng is None else rng, 4)
        new = self._read_increment(adata, new_features, streams[0])
        old = None if replay == "none" else self._replayed(replay, n_replay, new, streams[1])
        merged, n_old = joined(old, new, rng=streams[0])
        updated = self._again(self._bare(merged.counts, merged.columns, merged.features))
        updated.memory_ = {}
        if n_old and elastic > 0:
            updated._attach_springs(n_old, elastic, streams[2])
        updated._learn_on(
            np.arange(updated.adata.n_obs) < n_old,
            self._increment_epochs(updated.adata.n_obs) if max_epochs is None else max_epochs,
            rng=streams[3],
            accelerator=accelerator,
            progress=progress,
        )
        updated._springs = None
        updated.module.learned_all()
        if replay == "generated":  # of what comes from drawn cells no raw cell is needed later either
            updated.memory_ = updated._remember()
        updated._made_its_cells = True
        if self._made_its_cells:  # on those that the user set up there may be other models
            forget_data(self, self.adata)
        become(self, updated)

    def _increment_epochs(self, n_cells: int) -> int:
        """Return the passes that an increment takes by default."""
        return max(_LEAST_EPOCHS, round(_EPOCHS * self._train_config.resolve_max_epochs(n_cells)))

    def _read_increment(self, adata: AnnData, new_features: str, rng: np.random.Generator) -> Increment:
        """Read new cells, with all features of the model, and those that are new where asked for."""
        counts = read_counts(adata, self._setup_args().get("layer"))
        columns = read_columns(adata, self, learn_labels=True)
        known = self.adata.var_names
        shared = shared_features(adata, known)
        found = counts[:, adata.var_names.get_indexer(shared)]
        unknown = adata.var_names[~adata.var_names.isin(known)]
        added = unknown if new_features == "add" else unknown[:0]
        latent: Any = None
        extra: Any = None
        if len(shared) < len(known) or len(added):
            latent = type(self).load_query_data(adata, self).get_latent_representation()
        if len(shared) < len(known):
            found = completed(self.module, latent, found, known.get_indexer(shared), rng)
        if len(added):
            extra = counts[:, adata.var_names.get_indexer(added)]
        return Increment(found, columns, [*known, *added], extra, latent)

    def _replayed(self, replay: str, n_replay: int, new: Increment, rng: np.random.Generator) -> Increment:
        """Return old cells, chosen or drawn."""
        if replay == "generated":
            memory = LatentMemory(**(self.memory_ or self._remember()))
            latent, depth, group = recall(memory, n_replay, rng)
            counts = drawn_counts(self.module, memory, latent, depth=depth, group=group, rng=rng)
            names = [f"generated{i}" for i in range(len(latent))]
            return Increment(
                counts,
                memory_columns(self, memory.codes[group], depth, names),
                list(self.adata.var_names),
                None,
                latent,
            )
        self._check_cells_held()
        latent = self.get_latent_representation()
        group, _ = latent_groups(latent, self._memory_labels(), self._memory_batches(), rng)
        kept = balanced_reservoir(group, n_replay, rng)
        counts = sparse.csr_matrix(self._held_counts()[kept])
        columns = read_columns(self.adata[kept], self, learn_labels=True)
        return Increment(counts, columns, list(self.adata.var_names), None, latent[kept])

    def _held_counts(self) -> Any:
        """Return the counts that the model holds: those of a collection where they lie, others as CSR in memory."""
        return held_counts(self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY))

    def _check_cells_held(self) -> None:
        """Check that the model holds cells; one that was loaded without its data does not."""
        if self._held_counts().sum() == 0:
            msg = (
                "the model holds no cells that could be seen again: load it with its data, or draw cells from it with "
                "replay='generated'."
            )
            raise ValueError(msg)

    def _memory_labels(self) -> np.ndarray | None:
        """Return the label of each cell, -1 for none; `None` for a model without labels."""
        return None

    def _memory_batches(self) -> np.ndarray:
        """Return the batch of each cell."""
        return np.asarray(self.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY)).astype(np.int64).ravel()

    def _remember(self) -> dict[str, Any]:
        """Describe the cells that the model holds, so that cells like them can be drawn without them."""
        self._check_cells_held()
        latent = self.get_latent_representation()
        counts = self._held_counts()
        batch = self._memory_batches()
        group, codes = latent_groups(latent, self._memory_labels(), batch, np.random.default_rng(0))
        totals = group_totals(self.module, counts, latent, batch, group)
        return remember(latent, group, codes, np.asarray(counts.sum(1)).ravel(), totals)._asdict()

    def _before_saving(self) -> None:
        """Keep what is needed to learn on without the cells."""
        if self.is_trained_ and not self.query_ and not self.memory_:
            self.memory_ = self._remember()

    def _attach_springs(self, n_old: int, elastic: float, rng: np.random.Generator) -> None:
        """Find what mattered for the old cells, which are the first."""
        cells = np.sort(rng.choice(n_old, min(n_old, _SPRING_CELLS), replace=False))
        loader = self._data_loader_cls(self.adata_manager, indices=cells, batch_size=FISHER_BATCH)
        plan = self._plan_of(self._train_config)(self.module, config=self._train_config)
        device = self.module.device
        batches = ({key: value.to(device) for key, value in batch.items()} for batch in loader)
        with torch_seeded(rng):
            found = fisher_information(plan, batches)
        self._springs = (list(found.values()), elastic)

    def _plan_of(self, config: TrainConfig) -> Any:
        """Train with the springs where there are any."""
        if self._springs is None:
            return super()._plan_of(config)  # type: ignore[misc] # of TransferMixin beside it
        springs, strength = self._springs
        return partial(ElasticTrainingPlan, springs=springs, strength=strength)

    def _learn_on(
        self,
        old: np.ndarray,
        max_epochs: int,
        *,
        rng: np.random.Generator,
        accelerator: str,
        progress: bool | None,
    ) -> None:
        """Train on old and new cells; `old` says which are old."""
        del old
        self.train(max_epochs, rng=int(rng.integers(2**31)), accelerator=accelerator, progress=progress)
