"""Two models of one object: what the one reads does not depend on the other having been set up since."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scattered import IDS

import sctandem as td
from sctandem.model import RSD, CapsuleNet, DeepDE
from sctandem.module import CapsuleConfig

N_CELLS, N_GENES = 240, 60


def cells() -> AnnData:
    """Of three types, two batches that are not the four donors."""
    rng = np.random.default_rng(0)
    types, donors, batches = (rng.integers(n, size=N_CELLS) for n in (3, 4, 2))
    level = rng.gamma(0.5, 12, (3, N_GENES))[types]  # donors of a type have the molecules that their spread takes
    adata = AnnData(rng.poisson(level).astype(np.float32), var=pd.DataFrame(index=IDS[:N_GENES]))
    adata.obs_names = [f"cell{i}" for i in range(N_CELLS)]
    adata.obs["cell_type"] = np.array(["a", "b", "c"])[types]
    adata.obs["donor"] = np.array(list("pqrs"))[donors]
    adata.obs["batch"] = np.array(["x", "y"])[batches]
    return adata


@pytest.fixture(params=["adata", "collection"])
def data(request, tmp_path):
    adata = cells()
    if request.param == "adata":
        return adata
    adata.write_h5ad(tmp_path / "x.h5ad")
    columns = {name: name for name in adata.obs}
    return td.data.build_collection(tmp_path / "x.h5ad", tmp_path / "out", organism="human", obs=columns, rng=0)


def set_up(cls, data, *args, **kwargs):
    (cls.setup_anndata if isinstance(data, AnnData) else cls.setup_collection)(data, *args, **kwargs)


def capsules(data, batch_key) -> CapsuleNet:
    set_up(CapsuleNet, data, labels_key="cell_type", batch_key=batch_key)
    return CapsuleNet(data, config=CapsuleConfig(n_hidden=16, n_programmes=4, d_pose=4), rng=0)


def reference(data) -> RSD:
    set_up(RSD, data, "cell_type", donor_key="donor")
    return RSD(data, rng=0)


def read(model) -> list[np.ndarray]:
    return [model.predict(soft=True).to_numpy(), model.get_typicality().to_numpy(), model.get_latent_representation()]


@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_capsules_are_those_without_the_other_model(data, batch_key):
    """RSD writes four donors where the net has one batch, or two."""
    alone = capsules(data, batch_key)
    alone.train(2, rng=0)
    expected = read(alone)
    reference(data)
    for found, wanted in zip(read(alone), expected, strict=True):  # set up before, read after
        np.testing.assert_array_equal(found, wanted)
    again = capsules(data, batch_key)
    reference(data)
    again.train(2, rng=0)  # set up before, trained after
    for found, wanted in zip(read(again), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_reference_is_that_without_the_other_model(data):
    frame = (data if isinstance(data, AnnData) else data.adata).obs
    frame["weight"] = np.random.default_rng(1).gamma(2.0, 1.0, N_CELLS)
    alone = reference(data)
    alone.train(1, rng=0, sample_weight="weight")
    expected = alone.module.state_dict()
    assert alone.module.spread.std() > 0.01  # donors are read
    set_up(RSD, data, "cell_type", donor_key="donor")
    capsules(data, None)
    made_after = RSD(data, rng=0)  # set up before, made after
    capsules(data, None).train(1, rng=0)
    made_after.train(1, rng=0, sample_weight="weight")  # and trained after once more
    for name, values in made_after.module.state_dict().items():
        np.testing.assert_array_equal(values.numpy(), expected[name].numpy(), err_msg=name)


def test_models_of_one_class_keep_their_own_batches(data):
    first = capsules(data, "batch")
    first.train(2, rng=0)
    expected = read(first)
    capsules(data, None).train(1, rng=0)
    set_up(DeepDE, data, "donor")
    for found, wanted in zip(read(first), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
