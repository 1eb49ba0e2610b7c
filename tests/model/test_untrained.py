"""What reads a trained model says so of one that is not, as its documentation does."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

import sctandem as td

READ = {
    "CapsuleNet": (
        "get_capsules", "get_confidence", "get_coupling", "get_elbo", "get_gene_weights", "get_latent_representation",
        "get_typicality", "predict",
    ),
    "DeepDE": ("get_elbo", "get_latent_representation", "get_sample_effects", "get_state_weights"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "method"), [(name, method) for name, methods in READ.items() for method in methods])
def test_untrained_models_are_not_read(name, method):
    rng = np.random.default_rng(0)
    adata = AnnData(rng.poisson(1.0, (60, 30)).astype(np.float32))
    adata.obs["sample"] = rng.choice(["a", "b", "c"], 60)
    adata.obs["type"] = rng.choice(["x", "y", "unknown"], 60)
    model_class = getattr(td.model, name)
    model_class.setup_anndata(adata, **({"labels_key": "type"} if name == "CapsuleNet" else {"sample_key": "sample"}))
    model = model_class(adata, rng=0)
    with pytest.raises(RuntimeError, match="train"):
        getattr(model, method)()
    assert "RuntimeError" in getattr(model, method).__doc__
