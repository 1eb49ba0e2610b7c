"""What a count VAE takes over from another: for a query, and to learn on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scvi import REGISTRY_KEYS

from sctandem.module.base._take_over import FeatureMap, Piece, columns_from, copy_module, whole

if TYPE_CHECKING:
    from torch import Tensor

    from sctandem.module.base._count_vae import CountVAE


class CountVAETransferMixin:
    """Take over another count VAE, and name what can be trained by itself."""

    @property
    def n_reference_batches(self) -> int:
        """Batches that the weights were trained with; those after them are new."""
        return int(self.n_known_batches)

    @torch.no_grad()
    def take_over(self, old: CountVAE, features: FeatureMap, *, own_depth: bool = False) -> None:
        """Take over all weights. Batches of the old module are the first of this one; others start at their mean.

        Parameters
        ----------
        old
            The module to take over.
        features
            Where its features are. Those that are absent here count with their mean in the encoder and are left out of the
            likelihood, which is that of the others given their sum. The encoder does not read new ones.
        own_depth
            Whether depths are given with the cells; of no meaning here, since the encoder does not scale.
        """
        del own_depth
        features.move_first(self.encoder.first, old.encoder.first, old.mean_logs)
        for name in ("rest", "mean", "log_variance"):
            copy_module(getattr(self.encoder, name), getattr(old.encoder, name))
        for name in ("first", "rest"):
            copy_module(getattr(self.decoder, name), getattr(old.decoder, name))
        if self.decoder.batch is not None:
            if old.decoder.batch is None:  # one batch has no offset of its own
                self.decoder.batch.weight.zero_()
            else:
                n_old = len(old.decoder.batch.weight)
                self.decoder.batch.weight[:n_old] = old.decoder.batch.weight
                self.decoder.batch.weight[n_old:] = old.decoder.batch.weight[: old.n_reference_batches].mean(0)
        for name in ("logits", "dropout_logits"):
            new_layer, old_layer = getattr(self.decoder, name), getattr(old.decoder, name)
            if new_layer is not None:
                new_layer.weight[torch.as_tensor(~features.known)] = 0
                features.move(new_layer.weight, old_layer.weight)
                features.move(new_layer.bias, old_layer.bias)
        features.move(self.log_theta, old.log_theta)
        features.move(self.mean_logs, old.mean_logs)
        self.n_known_batches.copy_(old.n_known_batches)

    def misfit(self, tensors: dict[str, Tensor]) -> Tensor:
        """Return the negative log-likelihood of the counts of each cell, at the mean of its latent state."""
        found = self.inference(**self._get_inference_input(tensors))
        decoded = self.generative(**self._get_generative_input(tensors, {**found, "z": found["qz"].loc}))
        return -self.log_likelihood(tensors[REGISTRY_KEYS.X_KEY], decoded)

    def learned_all(self) -> None:
        """Say that what was new has been trained: all batches are known from now on."""
        self.n_known_batches.fill_(self.n_batch)

    def parts(self) -> dict[str, list[Piece]]:
        """Name the parts of the module that can be trained, each as parameters or entries of them.

        Returns
        -------
        `new_batches` (their offsets in the decoder), `decoder` and `encoder`.
        """
        decoder, known = self.decoder, self.n_reference_batches
        return {
            "new_batches": [] if decoder.batch is None else [columns_from(decoder.batch.weight, known, rows=True)],
            "decoder": [*whole(decoder), *whole(self.log_theta)],
            "encoder": whole(self.encoder),
        }
