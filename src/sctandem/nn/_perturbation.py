"""Counts moved within what is plausible for them, so that an objective rises."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from sctandem.nn._sparse import row_sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

#: Counts of a cell at which its expression is stated.
TARGET = 1e4
#: Sum of the steps in half widths of the ball, so that any point of it can be reached from any other.
_REACH = 2.5
#: The only step of one is longer than the half width, as the start is random [Wong20].
_ONE_STEP = 1.25


class CountBall(NamedTuple):
    """Expression that cells may have instead of their own, a box around it.

    Parameters
    ----------
    logs
        Normalised expression of the cells, log1p of counts per 10,000, cells x genes, dense.
    low, high
        Bounds of it.
    scale
        From counts to counts per 10,000, cells x 1.
    total
        Counts of each cell, which it keeps, cells x 1.
    """

    logs: Tensor
    low: Tensor
    high: Tensor
    scale: Tensor
    total: Tensor

    def counts(self, logs: Tensor) -> Tensor:
        """Turn expression into counts that add up to those of the cell, cells x genes; they need not be whole."""
        counts = torch.expm1(logs) / self.scale
        return counts * (self.total / counts.sum(1, keepdim=True).clamp_min(1e-6))

    def clamp(self, logs: Tensor) -> Tensor:
        """Bring expression back into the box."""
        return torch.minimum(torch.maximum(logs, self.low), self.high)


def log_bounds(counts: Tensor, scale: Tensor, radius: float, max_sd: float) -> tuple[Tensor, Tensor]:
    """Give the bounds of log1p of scaled counts.

    Parameters
    ----------
    counts, scale
        Counts, and what they are multiplied with, of shapes that go together.
    radius, max_sd
        As in `count_ball`.

    Returns
    -------
    Lower and upper bounds.
    """
    logs, reach = torch.log1p(counts * scale), max_sd * counts.clamp_min(1).sqrt()
    low = torch.maximum(logs - radius, torch.log1p((counts - reach).clamp_min(0) * scale))
    return low, torch.minimum(logs + radius, torch.log1p((counts + reach) * scale))


def count_ball(
    counts: Tensor, radius: float, *, max_sd: float = 2.0, unexpressed: bool = False, depth: Tensor | None = None
) -> CountBall:
    r"""Lay out what cells may be moved to.

    Parameters
    ----------
    counts
        Cells x genes, CSR or dense.
    radius
        Most that log1p of counts per 10,000 moves.
    max_sd
        Most that a count :math:`x` moves, in units of :math:`\sqrt{\max(x, 1)}`, the standard deviation of a Poisson count.
    unexpressed
        Whether genes without a count may get one.
    depth
        Counts of each cell where the genes are a selection, (cells,) or cells x 1; `None` for the sum of `counts`.

    Returns
    -------
    The box.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import count_ball
    >>> ball = count_ball(torch.tensor([[0.0, 4.0, 100.0]]), 10.0, max_sd=1.0)
    >>> (torch.expm1(ball.high) / ball.scale).round()
    tensor([[  0.,   6., 110.]])
    """
    total = row_sums(counts).reshape(-1, 1)
    depth = total if depth is None else depth.reshape(-1, 1).to(total.dtype)
    scale = TARGET / depth.clamp_min(1e-6)
    dense = counts.to_dense() if counts.layout is torch.sparse_csr else counts
    logs = torch.log1p(dense * scale)
    low, high = log_bounds(dense, scale, radius, max_sd)
    if not unexpressed:
        high = torch.where(dense > 0, high, logs)
    return CountBall(logs, low, high, scale, total)


def perturb(
    ball: CountBall, objective: Callable[[Tensor], Tensor], *, n_steps: int = 1, restart: bool = True
) -> Tensor:
    """Move cells within their box so that an objective rises: by signed gradients, projected.

    Parameters
    ----------
    ball
        Where they may go.
    objective
        From counts, cells x genes, to one number that is a sum or mean over cells.
    n_steps
        How many; 1 is the fast gradient sign method.
    restart
        Whether to start at a random place of the box; else at the cells.

    Returns
    -------
    The moved counts, cells x genes, dense, without gradient. Random places come from torch's global generator.

    References
    ----------
    Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples, ICLR (2015);
    Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR (2018);
    Wong, Rice & Kolter, Fast is better than free: revisiting adversarial training, ICLR (2020).

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import count_ball, perturb
    >>> cells = torch.tensor([[0.0, 4.0, 4.0]])
    >>> moved = perturb(count_ball(cells, 0.5), lambda counts: counts[:, 1].sum(), restart=False)
    >>> bool(moved[0, 1] > moved[0, 2]), float(moved[0, 0])
    (True, 0.0)
    """
    half = (ball.high - ball.low) / 2
    step = (_ONE_STEP if restart else 2.0) if n_steps == 1 else _REACH / n_steps
    logs = ball.low + 2 * half * torch.rand_like(half) if restart else ball.logs
    for _ in range(n_steps):
        logs = logs.detach().requires_grad_()
        with torch.enable_grad():
            gradient = torch.autograd.grad(objective(ball.counts(logs)), logs)[0]
        logs = ball.clamp(logs.detach() + step * half * gradient.sign())
    return ball.counts(logs.detach())
