"""The regression of the labels beside the capsules, set in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sctandem.nn import SparseLinear
from sctandem.nn._first_molecule import FirstMolecule

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

_FIRST = "direct_first"


class CapsuleDirectMixin(nn.Module):
    """Logits of the labels by a regression on logarithms, and where it was fitted against an adversary on first molecules beside them."""

    n_genes: int
    n_labels: int
    depth: Tensor
    direct_offset: Tensor
    direct: Any  # a SparseLinear, or None without labels
    direct_first: FirstMolecule | None

    def _make_direct(self) -> None:
        """Make the regression, which says nothing yet."""
        self.direct = SparseLinear(self.n_genes, self.n_labels) if self.n_labels else None
        self.direct_first = None
        for parameter in self.direct.parameters() if self.direct is not None else ():
            nn.init.zeros_(parameter)
            parameter.requires_grad = False

    @torch.no_grad()
    def set_direct(self, weights: ArrayLike, intercepts: ArrayLike) -> None:
        """Set the regression of the labels on the logarithms, which is not trained with the capsules.

        Parameters
        ----------
        weights
            Genes x labels.
        intercepts
            (labels,).

        Raises
        ------
        ValueError
            When the module has no labels.
        """
        if self.direct is None:
            msg = "the module was made without labels: n_labels=0."
            raise ValueError(msg)
        self.direct_first = None
        self.direct.weight.copy_(torch.as_tensor(np.asarray(weights)))
        self.direct.bias.copy_(torch.as_tensor(np.asarray(intercepts)))

    @torch.no_grad()
    def set_direct_parts(self, first: ArrayLike, rest: ArrayLike, intercepts: ArrayLike, share: ArrayLike) -> None:
        """Set a regression that weighs the first molecule of a gene otherwise than those beyond it.

        Parameters
        ----------
        first, rest
            Weights of what the first molecule adds to the logarithm, and of the rest of it, genes x labels.
        intercepts
            (labels,).
        share
            What first molecules make up of the mean logarithm of each gene, (genes,).
        """
        self.set_direct(rest, intercepts)
        self.direct_first = self._new_first()
        self.direct_first.layer.weight.copy_(torch.as_tensor(np.asarray(first) - np.asarray(rest)))
        self.direct_first.share.copy_(torch.as_tensor(np.asarray(share)))

    def direct_logits(self, x: Tensor, logs: Tensor, size: Tensor, batch: Tensor) -> Tensor:
        """Read labels off cells.

        Parameters
        ----------
        x
            Counts, cells x genes, CSR or dense.
        logs
            Their logarithms at the depth of the module, of the same layout.
        size
            Depth of each cell, (cells,).
        batch
            Batch of each cell, (cells,).

        Returns
        -------
        Cells x labels.
        """
        found = self.direct(logs) - self.direct_offset[batch]
        if self.direct_first is None:
            return found
        return found + self.direct_first(x, self.depth / size.clamp_min(1e-6))

    def direct_of_means(self, logs: Tensor) -> Tensor:
        """Give what the regression makes of mean logarithms, or of differences of such, without intercepts: (..., genes) to (..., labels)."""
        found = logs @ self.direct.weight
        return found if self.direct_first is None else found + self.direct_first.of_means(logs)

    def _new_first(self) -> FirstMolecule:
        """Make the layer of first molecules, on the device of the module."""
        return FirstMolecule(self.n_genes, self.n_labels).to(self.depth.device)

    def _match_first(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Have a layer of first molecules where the state has one."""
        there = any(key.startswith(f"{prefix}{_FIRST}.") for key in state_dict)
        self.direct_first = self._new_first() if there else None
