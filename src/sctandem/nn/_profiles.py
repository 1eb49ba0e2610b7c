"""How much rows are like each of some centres, whatever the scale at which they are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sctandem.nn._sparse import map_values, product

if TYPE_CHECKING:
    from torch import Tensor

#: Least squared length, so that of a row at the middle no rounding becomes a direction.
_LEAST = 1e-6


def profile_cosines(x: Tensor, centres: Tensor, variance: Tensor, shift: Tensor, group: Tensor) -> Tensor:
    r"""Return the cosine of what a row has beyond the middle of the centres with what each centre has.

    Parameters
    ----------
    x
        Rows x columns, CSR or dense.
    centres
        Columns x centres.
    variance
        Of each column around its centre, in whose standard deviations it is measured, (columns,).
    shift
        What each group of rows adds to the columns, columns x groups; it is taken out.
    group
        Group of each row, (rows,).

    Returns
    -------
    Rows x centres, in [-1, 1]: with :math:`m` the mean of the centres :math:`\mu_k`, :math:`s` the shift and the product
    :math:`\langle a, b \rangle = \sum_g a_g b_g / v_g`, the cosine of :math:`x - s - m` and :math:`\mu_k - m`.

    Notes
    -----
    A factor on all that a row has beyond the middle, as from missing columns or a shallower row, changes nothing. A sparse row is not filled.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn._profiles import profile_cosines
    >>> centres = torch.tensor([[4.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    >>> rows = torch.tensor([[3.0, 1.0, 1.0], [2.5, 1.5, 1.0]])
    >>> profile_cosines(rows, centres, torch.ones(3), torch.zeros(3, 1), torch.tensor([0, 0])).round()
    tensor([[ 1., -1.],
            [ 1., -1.]])
    """
    middle = centres.mean(1, keepdim=True)
    beyond, taken = centres - middle, shift + middle
    scaled, scale = beyond / variance[:, None], 1 / variance
    both = torch.cat([scaled, taken * scale[:, None]], dim=1)
    products = product(x, both, both.new_zeros(both.shape[1]))
    along, across = products[:, : centres.shape[1]], products[:, centres.shape[1] :].gather(1, group[:, None])[:, 0]
    square = product(map_values(x, torch.square), scale[:, None], scale.new_zeros(1))[:, 0]
    length = square - 2 * across + (taken.square() * scale[:, None]).sum(0)[group]
    lengths = length.clamp_min(_LEAST).sqrt()[:, None] * (beyond * scaled).sum(0).clamp_min(_LEAST).sqrt()
    return (along - (taken.T @ scaled)[group]) / lengths
