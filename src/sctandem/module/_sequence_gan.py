"""The critic of a generator of sequences, and the settings of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from sctandem._check_arguments import check_number, check_positive

if TYPE_CHECKING:
    from torch import Tensor

_N_BASES = 4
#: Distances between filters that the critic reads: steps, and bases of a step.
_TAPS, _STEP = 13, 4


@dataclass(frozen=True, kw_only=True)
class SequenceGANConfig:
    """Settings of :class:`sctandem.model.SequenceGAN`.

    Parameters
    ----------
    max_order
        Longest context of the Markov chain between motifs, in bases; the order is chosen on held-out sequences.
    max_motifs
        Most motifs that the generator learns.
    both_strands
        Whether a sequence and its reverse complement are the same thing, as those of peaks are. `False` for sequences that have a
        direction.
    n_filters, filter_width
        Filters of the critic, and the bases that they read.
    critic_epochs
        Passes of the critic over the sequences in each round.
    learning_rate, batch_size
        Of the critic.
    n_sweeps
        Times that all sites are drawn anew at the end.
    oversample
        Sequences that are written for each that the critic lets through.

    Raises
    ------
    ValueError
        For a value out of bounds.

    Examples
    --------
    >>> from sctandem.module import SequenceGANConfig
    >>> SequenceGANConfig(max_motifs=2).oversample
    4
    """

    max_order: int = 5
    max_motifs: int = 8
    both_strands: bool = True
    n_filters: int = 24
    filter_width: int = 11
    critic_epochs: int = 6
    learning_rate: float = 3e-3
    batch_size: int = 128
    n_sweeps: int = 12
    oversample: int = 4

    def __post_init__(self) -> None:
        for name in ("n_filters", "critic_epochs", "batch_size", "n_sweeps", "oversample"):
            check_positive(getattr(self, name), name, whole=True)
        check_number(self.filter_width, "filter_width", low=6, high=20, whole=True)
        check_number(self.max_order, "max_order", high=6, whole=True)
        check_number(self.max_motifs, "max_motifs", high=30, whole=True)
        check_positive(self.learning_rate, "learning_rate")
        if not isinstance(self.both_strands, bool):
            msg = f"both_strands={self.both_strands!r} is neither True nor False."
            raise ValueError(msg)


class SequenceCritic(nn.Module):
    """Tells sequences of the data from made ones, by what its filters find on either strand and how it is arranged.

    Parameters
    ----------
    config
        Settings.
    arranged
        Whether it reads how far apart and on which strands its filters find something.
    """

    def __init__(self, config: SequenceGANConfig, *, arranged: bool = True) -> None:
        super().__init__()
        n, self.both, self.arranged = config.n_filters, config.both_strands, arranged
        self.filters = nn.Conv1d(_N_BASES, n, config.filter_width)
        n_maps = 2 * n if self.both else n
        self.pairs = nn.Conv1d(n_maps, n, _TAPS) if arranged else None
        n_read = 2 * n_maps + (2 * n if arranged else 0)
        self.rest = nn.Sequential(nn.Linear(n_read, n), nn.ReLU(), nn.Dropout(0.2), nn.Linear(n, 1))

    def found(self, codes: Tensor) -> Tensor:
        """Give what the filters find at each place, sequences x filters (of the forward, then the reverse strand) x places."""
        bases = functional.one_hot(codes, _N_BASES).transpose(1, 2).float()
        forward = functional.relu(self.filters(bases))
        if not self.both:
            return forward
        reverse = functional.relu(self.filters(bases.flip(1, 2))).flip(2)
        return torch.cat([forward, reverse], dim=1)

    def forward(self, codes: Tensor) -> Tensor:
        """Score sequences.

        Parameters
        ----------
        codes
            Sequences x bases, 0 to 3, int64.

        Returns
        -------
        (sequences,): by how much a sequence is likelier in the data than among made ones, log odds.
        """
        found = self.found(codes)
        pooled = [found.amax(2), found.mean(2)]
        if self.pairs is not None:
            coarse = functional.max_pool1d(found, _STEP, ceil_mode=True)
            paired = functional.relu(self.pairs(functional.pad(coarse, (_TAPS // 2, _TAPS // 2))))
            pooled += [paired.amax(2), paired.mean(2)]
        return self.rest(torch.cat(pooled, dim=1))[:, 0]
