"""A small multiome, and TAPE models that train on it in seconds."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import sctandem as td
from sctandem._compat import copy_mudata
from sctandem.model import TAPE
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig

if TYPE_CHECKING:
    from mudata import MuData

SMALL = TAPEConfig(n_factors=5, n_components=8, windows=WindowConfig(n_members=2, n_hidden=8, n_steps=30))


@cache
def _simulated() -> MuData:
    mdata = td.datasets.simulate_multiome(200, 60, 600, rng=0)
    td.pp.gene_windows(mdata)
    for adata in (mdata["rna"], mdata["atac"]):
        adata.layers["counts"] = adata.X.copy()
    mdata.obs["size"] = mdata["rna"].X.sum(axis=1).A1.astype(float)
    return mdata


def small_multiome() -> MuData:
    """A copy to write to: 200 cells, 60 genes, 600 peaks, with windows, layers of counts and library sizes."""
    return copy_mudata(_simulated())


def trained(mdata: MuData, *, heldout_genes: list[str] | None = None, rng: int = 0, **setup: Any) -> TAPE:
    """Set up, make and train."""
    TAPE.setup_mudata(mdata, **setup)
    model = TAPE(mdata, heldout_genes=heldout_genes, config=SMALL)
    model.train(3, rng=rng, progress=False)
    return model
