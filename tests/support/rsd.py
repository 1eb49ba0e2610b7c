"""RSD models that train in a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixtures import TYPES

from sctandem.model import RSD
from sctandem.module import RSDConfig

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

EVEN = dict.fromkeys(TYPES, 1.0)


def trained(adata: AnnData, *, epochs: int = 8, donor_key: str | None = None) -> RSD:
    RSD.setup_anndata(adata, "cell_type", donor_key=donor_key)
    model = RSD(adata, config=RSDConfig(n_hidden=64), rng=0)
    model.train(epochs, rng=0, progress=False)
    return model


def relative(found) -> np.ndarray:
    """Shares among the known types."""
    return (found.fractions.div(found.fractions.sum(axis=1), axis=0)).to_numpy()
