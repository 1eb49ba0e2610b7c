"""A first layer for features in order: one small pattern of weights is looked for along all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_CHANNELS = 8


class OrderedLinear(nn.Module):
    """Convolution over features in order, and a linear map of what it finds where.

    Parameters
    ----------
    n_in
        Number of features, in order.
    n_out
        Units.
    kernel_size
        Features in a window; windows overlap by half.

    Raises
    ------
    ValueError
        For a window below 2 features or above their number.

    Notes
    -----
    Takes CSR or dense matrices, and makes them dense: cells x windows x 8 numbers. It has `8 * n_out` weights a window, so that a window of 32 features
    takes half the weights of a layer with weights for each feature.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import OrderedLinear
    >>> OrderedLinear(40, 5, kernel_size=8)(torch.zeros(2, 40)).shape
    torch.Size([2, 5])
    """

    def __init__(self, n_in: int, n_out: int, *, kernel_size: int) -> None:
        super().__init__()
        if not 2 <= kernel_size <= n_in:
            msg = f"kernel_size must lie between 2 and the number of features, {n_in}; got {kernel_size}"
            raise ValueError(msg)
        stride = kernel_size // 2
        n_windows = -(-(n_in - kernel_size) // stride) + 1
        # the last window is filled up with zeros, so that no feature is left out
        self.n_missing = (n_windows - 1) * stride + kernel_size - n_in
        self.windows = nn.Conv1d(1, _CHANNELS, kernel_size, stride=stride)
        self.units = nn.Linear(_CHANNELS * n_windows, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Look along the features.

        Parameters
        ----------
        x
            Cells x features.

        Returns
        -------
        Cells x units.
        """
        dense = nn.functional.pad(x.to_dense(), (0, self.n_missing))
        return self.units(self.windows(dense[:, None]).relu().flatten(1))
