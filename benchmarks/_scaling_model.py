"""How the models are trained: two epochs each, whatever the number of cells, so that steps grow with the cells."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks import _scaling_data as data
from sctandem.model import RSD, TAPE, CapsuleNet, DeepDE, RegulatoryGraph
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig

if TYPE_CHECKING:
    from pathlib import Path

EPOCHS, N_STATES = 2, 100


def _capsule_net(folder: Path, n: int) -> CapsuleNet:
    adata = data.cells(folder, n)
    CapsuleNet.setup_anndata(adata, labels_key="cell_type", batch_key="batch")
    return CapsuleNet(adata, rng=0)


def _deep_de(folder: Path, n: int) -> DeepDE:
    adata = data.cells(folder, n)
    DeepDE.setup_anndata(adata, "donor")
    return DeepDE(adata, rng=0)


def _rsd(folder: Path, n: int) -> RSD:
    adata = data.cells(folder, n)
    RSD.setup_anndata(adata, "cell_type", donor_key="donor")
    return RSD(adata, rng=0)


def _regulatory_graph(folder: Path, n: int) -> RegulatoryGraph:
    mdata = data.multiome(folder, n)
    RegulatoryGraph.setup_mudata(mdata)
    return RegulatoryGraph(mdata, data.FACTORS, prior=None, n_states=N_STATES, rng=0)


def _tape(folder: Path, n: int) -> TAPE:
    mdata = data.multiome(folder, n)
    TAPE.setup_mudata(mdata)
    windows = WindowConfig(n_members=1, n_hidden=16, n_steps=50)
    return TAPE(mdata, config=TAPEConfig(n_factors=8, n_components=16, windows=windows))


def train(model: Any) -> None:
    """Train for the fixed number of epochs."""
    model.train(EPOCHS, rng=0, progress=False)


MAKERS = {
    "CapsuleNet": _capsule_net,
    "DeepDE": _deep_de,
    "RSD": _rsd,
    "RegulatoryGraph": _regulatory_graph,
    "TAPE": _tape,
}


@cache
def trained(name: str, folder: Path, n: int) -> Any:
    """Make a model and train it, once in a process."""
    model = MAKERS[name](folder, n)
    train(model)
    return model


CALLS = {f"model.{name}": (maker, train) for name, maker in MAKERS.items()}

NOT_MEASURED = {"model.SequenceGAN": "learns the sequence of peaks, not cells"}
