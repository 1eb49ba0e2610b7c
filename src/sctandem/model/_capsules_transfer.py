"""How CapsuleNet reads a query, and how it learns on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from scvi import REGISTRY_KEYS

from sctandem.kernels._label_experts import label_probabilities
from sctandem.kernels._placing import type_shift
from sctandem.model.base._train import TrainMixin

if TYPE_CHECKING:
    from anndata import AnnData

#: Rounds in which types of the cells of a new batch and its shift are found in turn.
_ROUNDS = 3


class CapsulesTransferMixin:
    """Place new batches, and learn on from more cells."""

    _learned: ClassVar[tuple[str, ...]] = ("calibration_",)

    @classmethod
    def _set_up(cls, bare: AnnData, setup_args: dict[str, Any]) -> None:
        """Register without asking for labels: the model has learned its own."""
        cls._register(bare, {"cls": cls, "adata": bare, **setup_args})

    def _train_query(self, given: dict[str, Any], **options: Any) -> None:
        """Train what a query may train, in one part; labels and types are those of the reference."""
        del given["train_size"]
        self._targets = {}
        TrainMixin.train(self, **given, train_size=1.0, **options)
        # of none of these cells the label was learned: they are read as cells that were not trained on
        self.train_indices = self.validation_indices = np.empty(0, dtype=np.int64)

    def _place_new_batches(self) -> None:
        """Find what each new batch adds to the logarithms of the features, within the types that its cells seem to be of."""
        batch = self._codes(REGISTRY_KEYS.BATCH_KEY)
        for number in range(self.module.n_reference_batches, self.module.n_batch):
            cells = np.flatnonzero(batch == number)
            if len(cells):
                self._place_batch(number, cells)

    def _place_batch(self, number: int, cells: np.ndarray) -> None:
        """Place one batch, in turns: the types of its cells given the shift, and the shift given the types."""
        logs = self._logs(cells)
        mean, square = (np.asarray(part.mean(0), dtype=np.float64).ravel() for part in (logs, logs.multiply(logs)))
        variance = np.maximum(square - mean**2, 0)
        centres = self.module.centre_logs.cpu().numpy().astype(np.float64)
        for _ in range(_ROUNDS):
            shift = type_shift(mean, variance, len(cells), centres, self._type_shares(cells))
            self.module.place_batch(number, torch.from_numpy(shift.astype(np.float32)).to(self.module.device))

    def _type_shares(self, cells: np.ndarray) -> np.ndarray:
        """Give the share of each label among some cells; without labels there is one type."""
        if not self.label_names:
            return np.ones(1)
        lengths, logits = self._read_all(["labels", "direct"], None, cells, None)
        return label_probabilities(lengths, logits, tuple(self.calibration_["expert_weights"][0])).mean(0)
