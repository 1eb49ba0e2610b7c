"""What the first molecule of a gene adds to its logarithm, which no plausible change of a count takes away."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sctandem.nn._sparse import SparseLinear, map_by_row

#: Molecules at which half of what one molecule adds is there; smooth, so that an attack by gradient sees it.
_HALF = 0.05


def first_molecule(counts: Tensor, factor: Tensor) -> Tensor:
    r"""Give what the first molecule of each count adds to the logarithm of the scaled counts.

    Parameters
    ----------
    counts
        Counts, any shape; they need not be whole.
    factor
        What counts are multiplied with before the logarithm, of a shape that goes with it.

    Returns
    -------
    :math:`\log(1 + f)\, x (1 + h) / (x + h)` with :math:`h = 0.05`: nothing without a count, all of the logarithm of a count of 1, and within 5 % of that
    for all larger ones. The rest of the logarithm is what molecules beyond the first add.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn._first_molecule import first_molecule
    >>> first_molecule(torch.tensor([0.0, 0.8, 1.0, 20.0]), torch.tensor(1.0))
    tensor([0.0000, 0.6849, 0.6931, 0.7260])
    """
    return torch.log1p(factor) * counts * (1 + _HALF) / (counts + _HALF)


class FirstMolecule(nn.Module):
    """A linear layer on what first molecules add, set and not trained.

    Parameters
    ----------
    n_genes
        Number of genes.
    n_out
        Number of outputs.

    Attributes
    ----------
    layer
        Its weights, genes x outputs; they start at 0.
    share
        What first molecules make up of the mean logarithm of each gene, (genes,), by which means of logarithms are read.
    """

    share: Tensor

    def __init__(self, n_genes: int, n_out: int) -> None:
        super().__init__()
        self.layer = SparseLinear(n_genes, n_out, bias=False).requires_grad_(requires_grad=False)
        nn.init.zeros_(self.layer.weight)
        self.register_buffer("share", torch.ones(n_genes))

    def forward(self, counts: Tensor, factor: Tensor) -> Tensor:
        """Read counts.

        Parameters
        ----------
        counts
            Cells x genes, CSR or dense.
        factor
            What the counts of each cell are multiplied with before the logarithm, (cells,).

        Returns
        -------
        Cells x outputs.
        """
        return self.layer(map_by_row(counts, factor, first_molecule))

    def of_means(self, logs: Tensor) -> Tensor:
        """Read means of logarithms, or differences of such.

        Parameters
        ----------
        logs
            (..., genes).

        Returns
        -------
        (..., outputs).
        """
        return (logs * self.share) @ self.layer.weight
