"""What a capsule network takes over from another: for a query, and to learn on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sctandem.kernels._label_experts import UNSEEN
from sctandem.module.base._take_over import FeatureMap, Piece, columns_from, copy_module, whole
from sctandem.nn import SparseLinear

if TYPE_CHECKING:
    from typing import Any

    from torch import Tensor

    from sctandem.module._capsules import CapsuleModule
    from sctandem.nn import TypeCapsules

#: Part of the mean pose of a type that is added to the votes for it when its capsule is made.
TOWARDS = 0.5


class CapsuleTransferMixin:
    """Take over another capsule network, and name what can be trained by itself."""

    types: TypeCapsules
    labels: Any
    direct: Any
    direct_first: Any
    direct_of_means: Any
    without_labels: Tensor
    _new_first: Any

    @torch.no_grad()
    def take_over(self, old: CapsuleModule, features: FeatureMap, *, own_depth: bool = False) -> None:
        """Take over all weights. Categories of the old module are the first of this one.

        Parameters
        ----------
        old
            The module to take over.
        features
            Where its features are. Those that are absent here count with their mean in the first layer and are left out of the likelihood,
            which is that of the others given their sum. The first layer does not read new ones, which keep their place in the
            decoder.
        own_depth
            Whether depths are given with the cells, so that they do not depend on the features.

        Raises
        ------
        ValueError
            When the first layer is a convolution, and the features are not the same.
        """
        if isinstance(self.first, SparseLinear) and isinstance(old.first, SparseLinear):
            means = old.centre_logs.mean(1)
            features.move_first(self.first, old.first, means)
            self._take_over_labels(old, features, means)
        elif features.same:
            copy_module(self.first, old.first)
        else:
            msg = "a convolution (kernel_size) reads features in order: the cells must have exactly those of the model."
            raise ValueError(msg)
        for name in ("loadings", "batch_effect", "log_share", "log_theta", "centre_logs", "log_variance"):
            features.move(getattr(self, name), getattr(old, name))
        share = 1.0
        if not own_depth:
            shares = torch.softmax(old.log_share.detach(), 0)
            share = 1 - float(shares[torch.as_tensor(features.absent, device=shares.device)].sum())
        self.depth.copy_(old.depth * share)
        for name in ("primary", "cell"):
            copy_module(getattr(self, name), getattr(old, name))
        self.types = old.types.split(old.types.n_upper)
        self._take_over_norms(old)
        features.move(self.placed_shift, old.placed_shift)
        self.without_labels[: old.n_batch] = old.without_labels
        self.n_known_batches.copy_(old.n_known_batches)
        self.n_known_labels.copy_(old.n_known_labels)

    def _take_over_norms(self, old: CapsuleModule) -> None:
        """Take over what is known of each batch; a new one starts at the mean of the others."""
        self.norm.weight.copy_(old.norm.weight)
        self.norm.bias.copy_(old.norm.bias)
        before: list[Any] = list(old.norm.norms)
        mean = torch.stack([norm.running_mean for norm in before]).mean(0)
        variance = torch.stack([norm.running_var for norm in before]).mean(0)
        for number, norm in enumerate(self.norm.norms):
            if number < len(before):
                copy_module(norm, before[number])
            else:
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(variance)
                norm.num_batches_tracked.fill_(1)

    def _take_over_labels(self, old: CapsuleModule, features: FeatureMap, means: Tensor) -> None:
        """Take over capsules and regression of the labels; new ones start at the capsule of the cell."""
        if old.labels is None or self.labels is None:
            return
        labels = old.cell.split(self.n_labels)
        labels.weight[:, :, : old.n_labels] = old.labels.weight
        labels.bias[:, : old.n_labels] = old.labels.bias
        self.labels = labels
        self.direct.weight.zero_()
        features.move(self.direct.weight, old.direct.weight)
        if old.direct_first is not None:
            self.direct_first = self._new_first()
            features.move(self.direct_first.layer.weight, old.direct_first.layer.weight)
            features.move(self.direct_first.share, old.direct_first.share)
        absent = torch.zeros_like(means)
        where = torch.as_tensor(features.absent, device=means.device)
        absent[where] = means[where]
        self.direct.bias.fill_(UNSEEN)
        self.direct.bias[: old.n_labels] = old.direct.bias + old.direct_of_means(absent)
        self.direct_offset[: old.n_batch, : old.n_labels] = old.direct_offset

    @torch.no_grad()
    def place_batch(self, batch: int, shift: Tensor) -> None:
        """Let a new batch lie elsewhere by a shift of the logarithms, which capsules and regression then do not see.

        Parameters
        ----------
        batch
            Its number.
        shift
            What the batch adds to the logarithm of each feature, (features,).
        """
        self._place_labels(batch, shift)
        centre = torch.stack([norm.running_mean for norm in list(self.norm.norms)[: self.n_reference_batches]]).mean(0)
        self.norm.norms[batch].running_mean.copy_(centre + shift @ self.first.weight)

    @torch.no_grad()
    def place_without_labels(self, batch: int, shift: Tensor) -> None:
        """Let regression and profiles of the labels not see by what a batch of the training differs, of which no cell had a label.

        Parameters
        ----------
        batch
            Its number.
        shift
            What the batch adds to the logarithm of each feature, (features,). The capsules have learned to read the batch themselves.
        """
        self._place_labels(batch, shift)
        self.without_labels[batch] = True

    def _place_labels(self, batch: int, shift: Tensor) -> None:
        """Take a shift out of what regression and profiles read."""
        self.placed_shift[:, batch] = shift
        if self.direct is not None:
            self.direct_offset[batch] = self.direct_of_means(shift)

    @property
    def has_placed(self) -> bool:
        """Whether there are batches that `is_placed` names."""
        return self.n_batch > self.n_reference_batches or bool(self.without_labels.any())

    def is_placed(self, batch: Tensor) -> Tensor:
        """Say which cells are of batches from which no label was learned, new ones or of the training: (cells,) to (cells,)."""
        return (batch >= self.n_reference_batches) | self.without_labels[batch]

    @torch.no_grad()
    def start_new_labels(self, first: int, centres: Tensor) -> None:
        """Let the capsules of new labels start towards the mean poses of their cells.

        Parameters
        ----------
        first
            Number of the first new label.
        centres
            Mean pose of each new label, labels x dimensions.
        """
        towards = torch.as_tensor(centres, dtype=torch.float32, device=self.labels.bias.device)
        self.labels.bias[:, first:].add_(TOWARDS * towards / self.config.n_programmes)

    @torch.no_grad()
    def grow_types(self, centres: Tensor) -> None:
        """Add type capsules, which start at the capsule of the cell, after those that are there.

        Parameters
        ----------
        centres
            Mean pose of each new type, types x dimensions.
        """
        n_old = self.types.n_upper
        grown = self.cell.split(n_old + len(centres))
        towards = torch.as_tensor(centres, dtype=torch.float32, device=grown.bias.device)
        grown.weight[:, :, :n_old] = self.types.weight
        grown.bias[:, :n_old] = self.types.bias
        grown.bias[:, n_old:].add_(TOWARDS * towards / self.config.n_programmes)
        self.types = grown

    def latent_shares(self, latent: Tensor, batch_index: Tensor | None = None) -> Tensor:
        """Return the expected share of each feature at poses, cells x features; by default in the average batch."""
        hidden = self.generative(latent, batch_index)["hidden"]
        weight = torch.cat([self.loadings, self.batch_effect], dim=1)
        return torch.softmax(hidden @ weight.T + self.log_share, dim=-1)

    def misfit(self, tensors: dict[str, Tensor]) -> Tensor:
        """Return the negative log-likelihood of the counts of each cell, at its pose."""
        found = self.inference(**self._get_inference_input(tensors))
        loss = self.loss(tensors, found, self.generative(**self._get_generative_input(tensors, found)))
        return loss.reconstruction_loss["reconstruction_loss"]

    @property
    def n_reference_batches(self) -> int:
        """Batches that the weights were trained with; those after them are new."""
        return int(self.n_known_batches)

    def learned_all(self) -> None:
        """Say that what was new has been trained: all batches are known from now on."""
        self.n_known_batches.fill_(self.n_batch)
        self.n_known_labels.fill_(self.n_labels)
        self.direct_offset.zero_()
        self.placed_shift.zero_()
        self.without_labels.zero_()

    def parts(self) -> dict[str, list[Piece]]:
        """Name the parts of the module that can be trained, each as parameters or entries of them.

        Returns
        -------
        `new_batches` (columns of the decoder), `decoder`, `encoder`, `capsules` and `labels`.
        """
        parts = {
            "new_batches": [columns_from(self.batch_effect, self.n_reference_batches)],
            "decoder": whole(self.loadings, self.batch_effect, self.log_share, self.log_theta),
            "encoder": whole(self.first, self.norm, self.primary, self.cell),
            "capsules": whole(self.types),
        }
        return parts | ({"labels": whole(self.labels)} if self.labels is not None else {})
