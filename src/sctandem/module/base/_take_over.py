"""Parts of a module that another one takes over: features in another order, missing or new, and categories that are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from sctandem.nn import SparseLinear


class Piece(NamedTuple):
    """A parameter, or the entries of it that a mask of its shape names."""

    parameter: nn.Parameter
    entries: Tensor | None = None


@dataclass(frozen=True)
class FeatureMap:
    """Where the features of a new module stand in an old one.

    Parameters
    ----------
    places
        For each feature of the new module its place in the old one, -1 for one that this did not know.
    n_old
        Features of the old module.
    """

    places: NDArray[np.int64]
    n_old: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which features of the new module the old one knew."""
        return self.places >= 0

    @property
    def absent(self) -> NDArray[np.int64]:
        """Features of the old module that the new one lacks, by place."""
        return np.setdiff1d(np.arange(self.n_old), self.places)

    @property
    def same(self) -> bool:
        """Whether both have the same features in the same order."""
        return np.array_equal(self.places, np.arange(self.n_old))

    def move(self, new: Tensor, old: Tensor) -> None:
        """Copy rows of features into their new places; of features that were not known nothing changes.

        Parameters
        ----------
        new
            Features x anything; with more columns than `old` has, the first are written.
        old
            Features x anything.
        """
        values = old[torch.as_tensor(self.places[self.known], device=old.device)].to(new.device)
        rows = torch.as_tensor(np.flatnonzero(self.known), device=new.device)
        if new.ndim == 1:
            new[rows] = values
        else:
            new[rows, : old.shape[1]] = values

    def move_first(self, new: SparseLinear, old: SparseLinear, means: Tensor) -> None:
        """Take over a first layer whose weights are features x units; features that are absent count with their mean.

        Parameters
        ----------
        new, old
            The layers.
        means
            Mean input of each feature of the old layer.
        """
        new.weight.data.zero_()
        self.move(new.weight, old.weight)
        absent = torch.as_tensor(self.absent, device=old.weight.device)
        new.bias.copy_(old.bias + means[absent].to(old.weight.dtype) @ old.weight[absent])


def copy_module(new: nn.Module, old: nn.Module) -> None:
    """Copy the state of a part of the same shape."""
    new.load_state_dict(old.state_dict())


def whole(*owners: nn.Module | nn.Parameter) -> list[Piece]:
    """Name all parameters of some modules."""
    found: list[Piece] = []
    for owner in owners:
        found += [Piece(owner)] if isinstance(owner, torch.nn.Parameter) else [Piece(p) for p in owner.parameters()]
    return found


def columns_from(parameter: nn.Parameter, first: int, *, rows: bool = False) -> Piece:
    """Name the columns (or rows) of a matrix from one of them on."""
    mask = torch.zeros_like(parameter, dtype=torch.bool)
    if rows:
        mask[first:] = True
    else:
        mask[:, first:] = True
    return Piece(parameter, mask)


def chosen_pieces(parts: Mapping[str, Sequence[Piece]], names: Sequence[str]) -> dict[int, Piece]:
    """Unite the pieces of some parts, by the identity of their parameter."""
    found: dict[int, Piece] = {}
    for name in names:
        for piece in parts[name]:
            before = found.get(id(piece.parameter))
            if before is None:
                found[id(piece.parameter)] = piece
            elif before.entries is None or piece.entries is None:
                found[id(piece.parameter)] = Piece(piece.parameter)
            else:
                found[id(piece.parameter)] = Piece(piece.parameter, before.entries | piece.entries)
    return found
