"""Capsules: groups of units whose length says whether something is there, and routing by agreement between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_EPS = 1e-12


def squash(x: Tensor) -> Tensor:
    r"""Shorten vectors to a length below 1, and keep their direction.

    Parameters
    ----------
    x
        Vectors along the last dimension.

    Returns
    -------
    :math:`\frac{|x|^2}{1 + |x|^2} \frac{x}{|x|}`, of the same shape; zero at zero, where the gradient is zero too.

    References
    ----------
    Sabour, Frosst & Hinton, Dynamic routing between capsules, NeurIPS (2017).

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import squash
    >>> squash(torch.tensor([3.0, 4.0])).norm().round(decimals=4)
    tensor(0.9615)
    """
    square = x.square().sum(-1, keepdim=True)
    return x * ((square + _EPS).sqrt() / (1 + square))


class Routed(NamedTuple):
    """What routing gives.

    Parameters
    ----------
    sums
        Votes summed with the coupling, cells x upper capsules x dimensions; the poses before they are squashed.
    coupling
        Part of each lower capsule that goes to each upper one, cells x lower x upper; adds up to 1 over the upper.
    """

    sums: Tensor
    coupling: Tensor

    @property
    def presence(self) -> Tensor:
        """Length of each upper capsule, in [0, 1): the probability that what it stands for is there, cells x upper."""
        square = self.sums.square().sum(-1)
        return square / (1 + square)


def route(votes: Tensor, *, n_iterations: int = 3) -> Routed:
    r"""Route lower to upper capsules by agreement.

    The coupling starts even. In every iteration an upper capsule is the squashed sum of the votes, weighted by the coupling,
    and a lower capsule is coupled more to those upper ones with which its votes agree (by their scalar product).

    Parameters
    ----------
    votes
        What every lower capsule says every upper one is, cells x lower x upper x dimensions.
    n_iterations
        How often; 1 leaves the coupling even.

    Returns
    -------
    Sums and coupling. The sums are scaled by the number of upper capsules, so that the sum of even votes does not depend on
    that number.

    Raises
    ------
    ValueError
        For votes of another shape, or `n_iterations` below 1.

    Notes
    -----
    The coupling is kept as logits and normalised in log space. Gradients flow through the votes of the last iteration; the
    coupling is treated as given, as in an expectation step. Cost: `n_iterations` passes over the votes.

    References
    ----------
    Sabour, Frosst & Hinton, Dynamic routing between capsules, NeurIPS (2017).

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import route
    >>> votes = torch.tensor([[[[2.0], [0.1]], [[2.0], [-0.1]]]])
    >>> route(votes).coupling[0, 0].numpy().round(2)
    array([0.98, 0.02], dtype=float32)
    """
    if votes.ndim != 4:
        msg = f"votes must be cells x lower x upper x dimensions, got shape {tuple(votes.shape)}"
        raise ValueError(msg)
    if n_iterations < 1:
        msg = f"n_iterations must be at least 1, got {n_iterations}"
        raise ValueError(msg)
    n_upper = votes.shape[2]
    if n_upper == 1:  # there is nothing to choose between
        return Routed(votes.sum(1), votes.new_ones(votes.shape[:3]))
    fixed = votes.detach()
    logits = fixed.new_zeros(fixed.shape[:3])
    for _ in range(n_iterations - 1):
        upper = squash(_weighted(fixed, logits))
        logits = logits + torch.einsum("bpkd,bkd->bpk", fixed, upper)
    coupling = torch.log_softmax(logits, -1).exp()
    return Routed(torch.einsum("bpk,bpkd->bkd", coupling, votes) * n_upper, coupling)


def _weighted(votes: Tensor, logits: Tensor) -> Tensor:
    """Sum the votes with the coupling that the logits give."""
    return torch.einsum("bpk,bpkd->bkd", torch.log_softmax(logits, -1).exp(), votes) * votes.shape[2]


class TypeCapsules(nn.Module):
    """Upper capsules: every lower capsule votes for each of them by a linear map, and the votes are routed.

    Parameters
    ----------
    n_lower, d_lower
        Number of lower capsules and their dimensions.
    n_upper, d_upper
        Number of upper capsules and their dimensions.
    n_iterations
        Iterations of the routing.

    Raises
    ------
    ValueError
        For a number below 1.

    Notes
    -----
    The weights have `n_lower x d_lower x n_upper x d_upper` numbers, the votes of a batch `n_lower x n_upper x d_upper` a cell.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import TypeCapsules
    >>> layer = TypeCapsules(4, 8, n_upper=3, d_upper=5)
    >>> layer(torch.zeros(2, 4, 8)).presence.shape
    torch.Size([2, 3])
    """

    def __init__(self, n_lower: int, d_lower: int, *, n_upper: int, d_upper: int, n_iterations: int = 3) -> None:
        super().__init__()
        sizes = {"n_lower": n_lower, "d_lower": d_lower, "n_upper": n_upper, "d_upper": d_upper}
        for name, value in {**sizes, "n_iterations": n_iterations}.items():
            if value < 1:
                msg = f"{name} must be at least 1, got {value}"
                raise ValueError(msg)
        self.n_upper, self.d_upper, self.n_iterations = n_upper, d_upper, n_iterations
        self.weight = nn.Parameter(torch.randn(n_lower, d_lower, n_upper, d_upper) * (2 / math.sqrt(n_lower)))
        self.bias = nn.Parameter(torch.zeros(n_lower, n_upper, d_upper))

    def votes(self, lower: Tensor) -> Tensor:
        """Let the lower capsules vote.

        Parameters
        ----------
        lower
            Cells x lower capsules x dimensions.

        Returns
        -------
        Cells x lower x upper x dimensions.
        """
        return torch.einsum("bpe,pekd->bpkd", lower, self.weight) + self.bias

    def forward(self, lower: Tensor) -> Routed:
        """Vote and route.

        Parameters
        ----------
        lower
            Cells x lower capsules x dimensions.

        Returns
        -------
        Sums and coupling.
        """
        return route(self.votes(lower), n_iterations=self.n_iterations)

    @torch.no_grad()
    def split(self, n_upper: int, *, noise: float = 0.0) -> TypeCapsules:
        """Make a layer in which every capsule has become several, which share its votes.

        Parameters
        ----------
        n_upper
            Capsules of the new layer, a multiple of those of this one.
        noise
            Standard deviation of what is added to the biases of the votes, so that the copies can part.

        Returns
        -------
        The new layer, on the same device.

        Raises
        ------
        ValueError
            When `n_upper` is not a multiple.
        """
        copies, rest = divmod(n_upper, self.n_upper)
        if rest or copies < 1:
            msg = f"n_upper must be a multiple of {self.n_upper}, got {n_upper}"
            raise ValueError(msg)
        n_lower, d_lower = self.weight.shape[:2]
        new = TypeCapsules(n_lower, d_lower, n_upper=n_upper, d_upper=self.d_upper, n_iterations=self.n_iterations)
        new = new.to(self.weight.device)
        new.weight.copy_(self.weight.repeat_interleave(copies, 2))
        bias = self.bias.repeat_interleave(copies, 1)
        new.bias.copy_(bias + noise * torch.randn_like(bias))
        return new


def margin_loss(
    presence: Tensor, target: Tensor, *, present: float = 0.9, absent: float = 0.1, down: float = 0.5
) -> Tensor:
    r"""Loss that asks the capsule of a cell's type to be long and the others to be short.

    Parameters
    ----------
    presence
        Lengths of the capsules, cells x capsules, in [0, 1).
    target
        Capsule of each cell, (cells,), int64; negative where the type is not known.
    present, absent
        Lengths above and below which nothing is asked any more.
    down
        Weight of the absent capsules.

    Returns
    -------
    :math:`\max(0, m^+ - l_k)^2 + \lambda \sum_{j \ne k} \max(0, l_j - m^-)^2`, (cells,); 0 for cells of unknown type.

    References
    ----------
    Sabour, Frosst & Hinton, Dynamic routing between capsules, NeurIPS (2017).

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import margin_loss
    >>> margin_loss(torch.tensor([[0.95, 0.05], [0.4, 0.1]]), torch.tensor([0, -1]))
    tensor([0., 0.])
    """
    known = target >= 0
    there = nn.functional.one_hot(target.clamp_min(0), presence.shape[1]).to(presence.dtype)
    terms = there * (present - presence).clamp_min(0).square()
    terms = terms + down * (1 - there) * (presence - absent).clamp_min(0).square()
    return terms.sum(-1) * known
