"""Read classes of cells off a trained model by gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sctandem.train._adversarial import inferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData
    from torch import Tensor


class ClassReader:
    """Logits of classes from counts: labels that the model learned, or else the nearest mean of groups in its state.

    Parameters
    ----------
    model
        Trained, with a module of :class:`~sctandem.train.AdversarialTrainingPlan`'s kind.
    where
        The cells whose groups are meant: an object with the same features, or `None` for that of the model, and the positions
        in it, or `None` for all.
    groups
        Group of each of them, as text.

    Attributes
    ----------
    names
        Of the classes.
    """

    def __init__(self, model: Any, where: tuple[AnnData | None, np.ndarray | None], groups: np.ndarray) -> None:
        self.model, self.module, self._where = model, model.module.eval(), where
        self._centres: Tensor | None = None
        if getattr(model, "label_names", None):
            self.names = list(model.label_names)
            return
        states = model.get_latent_representation(where[0], indices=where[1]).astype(np.float64)
        self.names = sorted(set(groups))
        centres = np.stack([states[groups == name].mean(0) for name in self.names])
        spread = np.mean([states[groups == name].var(0) for name in self.names], axis=0)
        device = self.module.device
        self._scale = torch.as_tensor(1 / np.maximum(spread, 1e-6), dtype=torch.float32, device=device)
        self._centres = torch.as_tensor(centres, dtype=torch.float32, device=device)

    def batches(self, batch_size: int) -> Iterator[dict[str, Tensor]]:
        """Give the minibatches of the cells, in order.

        Parameters
        ----------
        batch_size
            Most cells in one.

        Yields
        ------
        From registry key to tensor.
        """
        yield from self.model._batches(*self._where, batch_size)

    def scores(self, counts: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Give the logits of the classes.

        Parameters
        ----------
        counts
            Cells x genes, dense, with or without gradient.
        batch
            What else the model registered of these cells.

        Returns
        -------
        Cells x classes.
        """
        found = inferred(self.module, batch, counts)
        if self._centres is None:
            return self.model.class_scores(found)
        apart = self.module.state_of(found)[:, None, :] - self._centres
        return -0.5 * (apart.square() * self._scale).sum(-1)

    def losses(self, codes: Tensor, batch: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
        """Give what an attack raises: how far the class is from being the largest, (cells,).

        Parameters
        ----------
        codes
            Class that cells are to be taken from, (cells,); negative for one that the model does not know.
        batch
            What else the model registered of these cells.

        Returns
        -------
        From counts to the largest logit of another class above that of the class.
        """
        known = codes.clamp_min(0)[:, None]

        def margin(counts: Tensor) -> Tensor:
            scores = self.scores(counts, batch)
            others = scores.scatter(1, known, -torch.inf)
            return others.max(1).values - scores.gather(1, known)[:, 0]

        return margin
