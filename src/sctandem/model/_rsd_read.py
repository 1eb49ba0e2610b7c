"""What a trained RSD holds and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from sctandem.kernels._signature import Signature

if TYPE_CHECKING:
    from sctandem.module import RSDModule


class RSDReadMixin:
    """The signature of the types, and shares that the network reads off samples."""

    module: RSDModule

    def _stored(self) -> Signature:
        """Give the signature that the model holds."""
        return Signature(*(getattr(self.module, name).cpu().numpy() for name in Signature._fields))

    @torch.inference_mode()
    def _read_shares(self, logs: np.ndarray, genes: np.ndarray, covered: np.ndarray) -> np.ndarray:
        """Read shares of RNA of the known types with the network.

        `genes` are positions in the reference, and `covered` is what part of the RNA of each type the genes in use make.
        """
        wanted = self.module.genes.cpu().numpy()
        place = pd.Index(genes).get_indexer(wanted)
        measured = place >= 0
        values = np.zeros((len(logs), len(wanted)), dtype=np.float32)
        values[:, measured] = logs[:, place[measured]]
        device = self.module.genes.device
        self.module.eval()
        found = self.module.read(
            torch.from_numpy(values).to(device), torch.from_numpy(measured.astype(np.float32)).to(device)
        )
        shares = found.exp().cpu().numpy().astype(np.float64)[:, :-1] * covered
        return shares / shares.sum(1, keepdims=True)
