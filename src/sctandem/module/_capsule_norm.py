"""Normalisation of the first layer of capsules, in which batches do not differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_MOMENTUM, _EPS = 0.1, 0.001


class NormByBatch(nn.Module):
    """Batch normalisation in which batches of cells do not differ, with one scale and shift.

    As long as nothing is known of the batches, each has a mean and variance of its own. That is right where they hold the same types in the same
    shares: where one has a type that another lacks, their means differ by it, and cells of one type come to lie apart. Once it is known what a batch
    adds to cells of one kind, that is taken out, and mean and variance are those of all cells of the minibatch.

    Parameters
    ----------
    n_units
        Units to normalise.
    n_batch
        Number of batches.

    References
    ----------
    Ioffe & Szegedy, Batch normalization, ICML (2015).
    """

    def __init__(self, n_units: int, n_batch: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(n_units, momentum=_MOMENTUM, eps=_EPS, affine=False) for _ in range(n_batch)
        )
        self.weight, self.bias = nn.Parameter(torch.ones(n_units)), nn.Parameter(torch.zeros(n_units))

    def forward(
        self, hidden: Tensor, batch_index: Tensor, shift: Tensor | None = None, known: Sequence[int] = ()
    ) -> Tensor:
        """Normalise.

        Parameters
        ----------
        hidden
            Cells x units.
        batch_index
            Batch of each cell, (cells,).
        shift
            What each batch adds to the units, batches x units, in training; `None` where it is not known. A single cell is then normalised by what
            is known of its batch.
        known
            Batches that have cells in the training; what is known of others stays.

        Returns
        -------
        Cells x units. In training the running means and variances of the batches follow; out of it they are used.
        """
        if self.training and shift is not None and len(hidden) > 1:
            return self._together(hidden, batch_index, shift, known)
        out = torch.zeros_like(hidden)
        for index, norm in enumerate(self.norms.children()):
            where = batch_index == index
            count = int(where.sum())
            if count == 0:
                continue
            norm.train(self.training and count > 1)
            out[where] = norm(hidden[where])
            norm.train(self.training)
        return out * self.weight + self.bias

    def _together(self, hidden: Tensor, batch_index: Tensor, shift: Tensor, known: Sequence[int]) -> Tensor:
        """Normalise all cells by one mean and variance, without the shifts."""
        moved = hidden - shift[batch_index]
        variance, mean = torch.var_mean(moved, dim=0, correction=0)
        norms: list[Any] = list(self.norms)
        with torch.no_grad():
            unbiased = variance * len(hidden) / (len(hidden) - 1)
            for index in known:
                norms[index].running_mean.lerp_(mean + shift[index], _MOMENTUM)
                norms[index].running_var.lerp_(unbiased, _MOMENTUM)
        return (moved - mean) / (variance + _EPS).sqrt() * self.weight + self.bias
