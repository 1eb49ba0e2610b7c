"""How CapsuleNet reads a query, and how it learns on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from scvi import REGISTRY_KEYS

from sctandem._random import torch_seeded
from sctandem.kernels._annealing_fit import anneal
from sctandem.kernels._groups import group_means
from sctandem.kernels._label_regions import LabelRegions
from sctandem.kernels._placing import batch_shift
from sctandem.model.base._partial_fit import PartialFitMixin
from sctandem.model.base._train import TrainMixin
from sctandem.model.base._train_method import Run
from sctandem.model.base._transfer import TransferMixin
from sctandem.module._capsules import CAPSULE_KEY

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from sctandem.train import TrainConfig

#: Share of old cells in a group of cells from which on it is the type that they were of.
_OLD_SHARE = 0.05


class CapsulesTransferMixin(PartialFitMixin, TransferMixin, TrainMixin):
    """Place new batches, and learn on from more cells."""

    _learned: ClassVar[tuple[str, ...]] = ("calibration_",)

    _targets: dict[str, torch.Tensor]

    @classmethod
    def _set_up(cls, bare: AnnData, setup_args: dict[str, Any]) -> None:
        """Register without asking for labels: the model has learned its own."""
        cls._register(bare, {"cls": cls, "adata": bare, **setup_args})

    def _train_query(self, config: TrainConfig, run: Run) -> None:
        """Train what a query may train, in one part; labels and types are those of the reference."""
        self._targets = {}
        TrainMixin._train(self, replace(config, train_size=1.0), run)
        # of none of these cells the label was learned: they are read as cells that were not trained on
        self.train_indices = self.validation_indices = np.empty(0, dtype=np.int64)

    def _place_new_batches(self) -> None:
        """Find what each new batch adds to the logarithms of the features, beside the mixture of types that its cells are."""
        batch = self._codes(REGISTRY_KEYS.BATCH_KEY)
        for number in range(self.module.n_reference_batches, self.module.n_batch):
            cells = np.flatnonzero(batch == number)
            if len(cells):
                self._place_batch(number, cells)

    def _place_batch(self, number: int, cells: np.ndarray) -> None:
        """Place one batch by the means of its features."""
        self.module.place_batch(number, self._shift_of(cells))

    def _shift_of(self, cells: np.ndarray) -> torch.Tensor:
        """Find what a batch adds to the logarithms of the features, by those of its cells and the means of the labels."""
        sums, squares = np.zeros((2, self._counts.shape[1]))
        for _, logs in self._blocks_of_logs(cells):
            sums += np.asarray(logs.sum(0, dtype=np.float64)).ravel()
            squares += np.asarray(logs.multiply(logs).sum(0, dtype=np.float64)).ravel()
        mean = sums / len(cells)
        variance = np.maximum(squares / len(cells) - mean**2, 0)
        centres = self.module.centre_logs.cpu().numpy().astype(np.float64)
        shift, _ = batch_shift(mean, variance, len(cells), centres)
        return torch.from_numpy(shift.astype(np.float32)).to(self.module.device)

    def _place_batches_without_labels(self) -> None:
        """Find the batches of the training of which no cell had a label: what of labels holds elsewhere holds in them."""
        batch, code = self._codes(REGISTRY_KEYS.BATCH_KEY), self._label_codes()
        for number in np.setdiff1d(batch, batch[code >= 0]):
            self.module.place_without_labels(int(number), self._shift_of(np.flatnonzero(batch == number)))

    def _read_mapped(
        self, query: Any, latent: np.ndarray, labels: str | None, rng: np.random.Generator
    ) -> tuple[pd.DataFrame | None, LabelRegions]:
        """Return probabilities of the labels, and their regions, as the model has learned them; no cells of its own are needed."""
        if not self.label_names:
            return super()._read_mapped(query, latent, labels, rng)
        if labels is not None:
            msg = f"labels={labels!r} does not go with a CapsuleNet that has learned labels, which are handed on: leave it out."
            raise ValueError(msg)
        return query.predict(soft=True), LabelRegions(**self.calibration_["regions"])

    def _memory_labels(self) -> np.ndarray | None:
        """Return the label of each cell, -1 for none; `None` for a model without labels."""
        return self._label_codes() if self.label_names else None

    def _learn_on(
        self,
        old: np.ndarray,
        max_epochs: int,
        *,
        rng: np.random.Generator,
        accelerator: str,
        progress: bool | None,
    ) -> None:
        """Train on old and new cells: one epoch on the counts alone, then with types and labels."""
        run = Run(accelerator, devices=1, rng=int(rng.integers(2**31)), progress=progress, checkpoint=None)
        seen = self._seen_labels(old)
        before = self._read("presence", None, None, None).argmax(1)
        self._targets = {}
        TrainMixin._train(self, replace(self._train_config, max_epochs=1), run)
        with torch_seeded(rng):
            self._held_back = self._hold_back(rng)
            poses, aligned = self._align(rng)
            self._start_unseen_labels(poses)
            self._extend_types(poses, aligned, old, before, rng)
        TrainMixin._train(self, replace(self._train_config, max_epochs=max_epochs), run)
        self.module.learned_all()
        with torch_seeded(rng):
            self._calibrate(rng, as_composed(self._label_codes(), seen) if self.label_names else None)
        if self.label_names:
            self.calibration_["seen"] = seen

    def _seen_labels(self, old: np.ndarray) -> np.ndarray:
        """Count the cells of each label that were learned from since the model was made, these among them."""
        code, n_labels = self._label_codes() if self.label_names else np.full(len(old), -1), len(self.label_names)
        held, new = (np.bincount(code[part & (code >= 0)], minlength=n_labels) for part in (old, ~old))
        before = np.asarray(self.calibration_.get("seen", held))  # files of before have none
        return np.pad(before, (0, n_labels - len(before))) + new

    def _start_unseen_labels(self, poses: np.ndarray) -> None:
        """Let the capsules of labels that are new start at the poses of their cells."""
        n_known = int(self.module.n_known_labels)
        if n_known == len(self.label_names):
            return
        label = self._shown_codes()[np.asarray(self.train_indices)]
        new = label >= n_known
        self.module.start_new_labels(
            n_known, group_means(poses[new], label[new] - n_known, len(self.label_names) - n_known)
        )

    def _extend_types(
        self, poses: np.ndarray, aligned: np.ndarray, old: np.ndarray, before: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Group old and new cells: a group with old cells is the type that most of these were of, one without is new, and so is a new label."""
        cells = np.asarray(self.train_indices)
        found = anneal(aligned, rng=rng).memberships.argmax(1)
        if self.label_names:  # where batches and types are new together, alignment can lay new types over old ones
            label = self._shown_codes()[cells]
            unseen = label >= int(self.module.n_known_labels)
            found = np.where(unseen, found.max() + 1 + label, found)
        found = np.unique(found, return_inverse=True)[1]
        number = known_types(found, before[cells], old[cells] if old.any() else np.ones(len(cells), dtype=bool))
        new, n_types = number < 0, self.module.n_types
        if new.any():
            fresh = np.unique(found[new], return_inverse=True)[1]
            self.module.grow_types(group_means(poses[new], fresh))
            number[new] = n_types + fresh
        self._targets[CAPSULE_KEY] = self._for_all_cells(number[:, None], fill=-1)


def as_composed(code: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Weigh cells so that labels have the shares that they have elsewhere.

    Parameters
    ----------
    code
        Label of each cell, -1 for none.
    size
        How many cells have each label elsewhere.

    Returns
    -------
    Weight of each cell; 1 without a label.
    """
    at_hand = np.bincount(code[code >= 0], minlength=len(size))
    return np.where(code >= 0, (size / np.maximum(at_hand, 1))[code], 1.0)


def known_types(group: np.ndarray, type_before: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Give the cells of each group the type that most of its old cells had; -1 where fewer than a twentieth of them are old.

    Parameters
    ----------
    group
        Group of each cell, integers from 0.
    type_before
        Type that each cell would have had.
    old
        Which cells are old.

    Returns
    -------
    Type of each cell, or -1.
    """
    number = np.full(len(group), -1, dtype=np.int64)
    for name in np.unique(group):
        inside = group == name
        of_old = inside & old
        if of_old.sum() >= max(1, _OLD_SHARE * inside.sum()):
            number[inside] = np.bincount(type_before[of_old]).argmax()
    return number
