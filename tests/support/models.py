"""Every model of the package, small and ready for the tests that all of them have to pass: one entry a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mixtures
import numpy as np
import regulation
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.model import RSD, TAPE, CapsuleNet, DeepDE, RegulatoryGraph
from sctandem.model.base import CountVAEModel
from sctandem.module import CapsuleConfig, RegulatoryGraphConfig, RSDConfig, TAPEConfig
from sctandem.module.base import CountVAEConfig
from sctandem.nn import WindowConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from mudata import MuData


@dataclass(frozen=True)
class Case:
    """How a model is made, and what it gives."""

    cls: type
    data: Callable[[], Any]
    set_up: Callable[[Any], None]
    make: Callable[[Any], Any]
    output: Callable[[Any], np.ndarray]
    """What has to be the same after saving and loading."""

    def trained(self) -> Any:
        data = self.data()
        self.set_up(data)
        model = self.make(data)
        model.train(2, rng=0, progress=False)
        return model


def counts() -> AnnData:
    rng = np.random.default_rng(0)
    adata = AnnData(sparse.csr_matrix(rng.poisson(1.0, (150, 30)).astype(np.float32)))
    adata.var_names = [f"GENE{i}" for i in range(30)]
    adata.obs_names = [f"cell{i}" for i in range(150)]
    adata.obs["batch"] = rng.choice(["a", "b"], 150)
    return adata


SMALL_TAPE = TAPEConfig(n_factors=4, n_components=6, windows=WindowConfig(n_members=1, n_hidden=8, n_steps=20))


def multiome() -> MuData:
    mdata = td.datasets.simulate_multiome(150, 40, 400, rng=0)
    td.pp.gene_windows(mdata)
    return mdata


def samples() -> AnnData:
    return mixtures.bulk(mixtures.profiles(), mixtures.compositions(3), platform=0.3)


CASES = {
    "CountVAEModel": Case(
        cls=CountVAEModel,
        data=counts,
        set_up=lambda adata: CountVAEModel.setup_anndata(adata, batch_key="batch"),
        make=lambda adata: CountVAEModel(adata, config=CountVAEConfig(n_hidden=16, n_latent=4), rng=0),
        output=lambda model: model.get_latent_representation(),
    ),
    "CapsuleNet": Case(
        cls=CapsuleNet,
        data=counts,
        set_up=lambda adata: CapsuleNet.setup_anndata(adata, batch_key="batch"),
        make=lambda adata: CapsuleNet(adata, config=CapsuleConfig(n_hidden=16, n_programmes=4, d_pose=4), rng=0),
        output=lambda model: model.predict(soft=True).to_numpy(),
    ),
    "DeepDE": Case(
        cls=DeepDE,
        data=counts,
        set_up=lambda adata: DeepDE.setup_anndata(adata, "batch"),
        make=lambda adata: DeepDE(adata, config=CountVAEConfig(n_hidden=16, n_latent=4), rng=0),
        output=lambda model: model.get_latent_representation(),
    ),
    "RSD": Case(
        cls=RSD,
        data=lambda: mixtures.reference(mixtures.profiles()),
        set_up=lambda adata: RSD.setup_anndata(adata, "cell_type", donor_key="donor"),
        make=lambda adata: RSD(adata, config=RSDConfig(n_hidden=16), rng=0),
        output=lambda model: model.deconvolve(samples(), rng=0).fractions.to_numpy(),
    ),
    "RegulatoryGraph": Case(
        cls=RegulatoryGraph,
        data=lambda: regulation.multiome(n=200),
        set_up=RegulatoryGraph.setup_mudata,
        make=lambda mdata: RegulatoryGraph(
            mdata, regulation.TFS, n_states=20, config=RegulatoryGraphConfig(n_hidden=8), rng=0
        ),
        output=lambda model: model.get_edges()["weight"].to_numpy(),
    ),
    "TAPE": Case(
        cls=TAPE,
        data=multiome,
        set_up=TAPE.setup_mudata,
        make=lambda mdata: TAPE(mdata, heldout_genes=["G0003"], config=SMALL_TAPE),
        output=lambda model: model.predict_expression().to_numpy(),
    ),
}
