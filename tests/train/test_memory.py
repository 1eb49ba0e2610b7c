"""What training holds in memory beside the counts themselves."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAEConfig
from sctandem.train import CountTrainingPlan


def new_model(n_cells: int, n_genes: int, layout: str = "csr") -> CountVAEModel:
    counts = np.random.default_rng(0).poisson(1.0, (n_cells, n_genes)).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts).asformat(layout))
    CountVAEModel.setup_anndata(adata)
    return CountVAEModel(adata, config=CountVAEConfig(n_hidden=8, n_latent=2), rng=0)


def traced_peak(model: CountVAEModel) -> int:
    """Bytes of arrays at the height of training and of reading the latent space; tensors made by torch do not count."""
    model.train(1, batch_size=256, rng=0, progress=False)  # what is imported and compiled once
    tracemalloc.start()
    try:
        model.train(1, batch_size=256, rng=0, progress=False)
        model.get_latent_representation(batch_size=256)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Training will be faster:UserWarning")
@pytest.mark.parametrize(("layout", "copied"), [("csr", False), ("csc", True)])
def test_counts_are_copied_only_where_they_are_not_csr(layout, copied):
    model = new_model(12_000, 60, layout)
    counts = model.adata.X
    held = counts.data.nbytes + counts.indices.nbytes
    assert (traced_peak(model) > held / 2) == copied


def test_old_gradients_are_gone_when_the_new_loss_is_computed():
    found = []

    class Plan(CountTrainingPlan):
        def compute_loss(self, batch):
            found.append([p.grad is None for p in self.module.parameters()])
            return super().compute_loss(batch)

    class Model(CountVAEModel):
        _training_plan_cls = Plan

    adata = new_model(60, 20).adata
    Model.setup_anndata(adata)
    Model(adata, rng=0).train(2, batch_size=16, rng=0, progress=False)
    assert len(found) > 4
    assert all(map(all, found))
