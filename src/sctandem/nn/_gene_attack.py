"""Few genes of each cell set to their extremes, so that an objective rises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

#: Genes that are tried at each step, those with the largest gain at first order.
_TRIED = 4


def change_genes(
    counts: Tensor, highest: Tensor, objective: Callable[[Tensor], Tensor], n_genes: int
) -> Iterator[Tensor]:
    """Set one gene after the other to nothing or to much, the one that raises the objective of the cell most.

    Parameters
    ----------
    counts
        Cells x genes, dense.
    highest
        What is much for each gene, as a share of the counts of a cell, (genes,).
    objective
        From counts, cells x genes, to one number a cell, (cells,).
    n_genes
        How many genes are changed.

    Yields
    ------
    After each gene the counts, cells x genes, without gradient. A cell of which no gene that is tried raises the objective
    stays as it is.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import change_genes
    >>> cells = torch.tensor([[1.0, 9.0]])
    >>> list(change_genes(cells, torch.tensor([0.5, 0.9]), lambda counts: counts[:, 0] - counts[:, 1], 2))
    [tensor([[1., 0.]]), tensor([[5., 0.]])]
    """
    total = counts.sum(1, keepdim=True)
    much = highest * total
    rows = torch.arange(len(counts), device=counts.device)
    current = counts.detach()
    changed = torch.zeros_like(current, dtype=torch.bool)
    for _ in range(n_genes):
        cells = current.clone().requires_grad_()
        with torch.enable_grad():
            best = objective(cells)
            slope = torch.autograd.grad(best.sum(), cells)[0]
        to_much = slope > 0
        target = torch.where(to_much, torch.maximum(much, current), torch.zeros_like(current))
        gain = (slope * (target - current)).masked_fill(changed, -torch.inf)
        best, tried = best.detach(), gain.topk(min(_TRIED, gain.shape[1]), dim=1).indices
        after, chosen = current, torch.full((len(current),), -1, device=counts.device)
        for gene in tried.T:
            other = current.clone()
            other[rows, gene] = target[rows, gene]
            with torch.no_grad():
                value = objective(other)
            better = value > best
            best = torch.where(better, value, best)
            after = torch.where(better[:, None], other, after)
            chosen = torch.where(better, gene, chosen)
        found = chosen >= 0
        changed[rows[found], chosen[found]] = True
        current = after
        yield current
