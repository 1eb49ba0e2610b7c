"""How the models are set up, made and trained: two epochs each, whatever the number of cells, so that steps grow with the cells."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from benchmarks import _scaling_data as data
from sctandem.model import RSD, TAPE, CapsuleNet, DeepDE, RegulatoryGraph
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData
    from mudata import MuData

EPOCHS, N_STATES = 2, 100


def _capsule_net(adata: AnnData) -> CapsuleNet:
    CapsuleNet.setup_anndata(adata, labels_key="cell_type", batch_key="batch")
    return CapsuleNet(adata, rng=0)


def _deep_de(adata: AnnData) -> DeepDE:
    DeepDE.setup_anndata(adata, "donor")
    return DeepDE(adata, rng=0)


def _rsd(adata: AnnData) -> RSD:
    RSD.setup_anndata(adata, "cell_type", donor_key="donor")
    return RSD(adata, rng=0)


def _regulatory_graph(mdata: MuData) -> RegulatoryGraph:
    RegulatoryGraph.setup_mudata(mdata)
    return RegulatoryGraph(mdata, data.FACTORS, prior=None, n_states=N_STATES, rng=0)


def _tape(mdata: MuData) -> TAPE:
    TAPE.setup_mudata(mdata)
    windows = WindowConfig(n_members=1, n_hidden=16, n_steps=50)
    return TAPE(mdata, config=TAPEConfig(n_factors=8, n_components=16, windows=windows))


#: What each model is made of, and how.
MAKERS: dict[str, tuple[Callable[[Path, int], Any], Callable[[Any], Any]]] = {
    "CapsuleNet": (data.cells, _capsule_net),
    "DeepDE": (data.cells, _deep_de),
    "RSD": (data.cells, _rsd),
    "RegulatoryGraph": (data.multiome, _regulatory_graph),
    "TAPE": (data.multiome, _tape),
}


def made_and_trained(name: str, given: Any) -> Any:
    """Set a model up, make it and train it for the fixed number of epochs: what reads cells is in any of these."""
    model = MAKERS[name][1](given)
    model.train(EPOCHS, rng=0, progress=False)
    return model


@cache
def trained(name: str, folder: Path, n: int) -> Any:
    """Make a model and train it, once in a process."""
    return made_and_trained(name, MAKERS[name][0](folder, n))


CALLS = {f"model.{name}": (read, partial(made_and_trained, name)) for name, (read, _) in MAKERS.items()}

NOT_MEASURED = {"model.SequenceGAN": "learns the sequence of peaks, not cells"}
