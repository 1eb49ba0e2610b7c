"""A bidirectional LSTM over the ordered peaks around a gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class WindowLSTM(nn.Module):
    """Read the window of a gene from both sides and weigh each of its peaks in the light of the others.

    Parameters
    ----------
    n_features
        Features of a peak.
    n_out
        Weights a peak.
    n_hidden
        Units of the embedding of a peak and of each direction of the LSTM.
    dropout
        Part of the units that is dropped in training, after the embedding and after the LSTM.

    Notes
    -----
    What a peak does depends on what lies between it and the gene (a boundary, a partner), on its side and on its
    distance: hence a recurrent network, which passes every peak in order, and not a weight by distance.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import WindowLSTM
    >>> network = WindowLSTM(n_features=5, n_out=2)
    >>> network(torch.zeros(3, 7, 5), torch.ones(3, 7)).shape
    torch.Size([3, 7, 2])
    """

    def __init__(self, n_features: int, n_out: int, *, n_hidden: int = 32, dropout: float = 0.3) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Tanh())
        self.downstream = nn.LSTM(n_hidden, n_hidden, batch_first=True)
        self.upstream = nn.LSTM(n_hidden, n_hidden, batch_first=True)
        self.weigh = nn.Sequential(nn.Linear(3 * n_hidden, n_hidden // 2), nn.Tanh(), nn.Linear(n_hidden // 2, n_out))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Weigh the peaks.

        Parameters
        ----------
        features
            Genes x peaks (5' to 3', padded at the end) x features.
        mask
            1 where there is a peak, genes x peaks.

        Returns
        -------
        Genes x peaks x weights, 0 where there is no peak.
        """
        embedded = self.dropout(self.embed(features))  # (genes, peaks, hidden)
        # each direction starts at the first peak it meets, so that a gene's weights do not depend on the padding
        back = _reversed(mask)[..., None].expand(-1, -1, embedded.shape[-1])
        forth, _ = self.downstream(embedded)
        against, _ = self.upstream(embedded.gather(1, back))
        read = self.dropout(torch.cat([forth, against.gather(1, back)], dim=-1))
        return self.weigh(torch.cat([read, embedded], dim=-1)) * mask[..., None]


def _reversed(mask: Tensor) -> Tensor:
    """Return the positions that turn each window round in its place and leave the padding where it is."""
    position = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    length = mask.sum(1, keepdim=True).long()
    return torch.where(position < length, length - 1 - position, position)
