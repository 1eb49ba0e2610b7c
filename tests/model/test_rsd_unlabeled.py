"""Cells without a type or a donor: what an RSD makes of a word that says so."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scattered import IDS

import sctandem as td
from sctandem.model import RSD

N_CELLS, N_GENES = 400, 60


def cells() -> AnnData:
    """Of two types and four donors; a quarter has no type, and of these and others a sixth no donor."""
    rng = np.random.default_rng(0)
    types, donors = rng.integers(4, size=N_CELLS), rng.integers(6, size=N_CELLS)
    level = rng.gamma(0.5, 20, (4, N_GENES))[types] * np.exp(0.4 * rng.standard_normal((6, N_GENES)))[donors]
    adata = AnnData(rng.poisson(level).astype(np.float32), var=pd.DataFrame(index=IDS[:N_GENES]))
    adata.obs_names = [f"cell{i}" for i in range(N_CELLS)]
    adata.obs["cell_type"] = np.array(["a", "b", "c", "unknown"])[types]
    adata.obs["donor"] = np.array(["p", "q", "r", "s", "t", "unknown"])[donors]
    adata.obs["weight"] = rng.gamma(2.0, 1.0, N_CELLS)
    return adata


@pytest.fixture
def collection(tmp_path):
    """With gaps where the word stands in memory."""
    gaps = cells()
    for name in ("cell_type", "donor"):
        gaps.obs[name] = gaps.obs[name].replace("unknown", np.nan).astype("category")
    gaps.write_h5ad(tmp_path / "x.h5ad")
    columns = {"cell_type": "cell_type", "donor": "donor"}
    return td.data.build_collection(tmp_path / "x.h5ad", tmp_path / "out", organism="human", obs=columns, rng=0)


def reference(adata: AnnData, **settings) -> RSD:
    RSD.setup_anndata(adata, "cell_type", **settings)
    return RSD(adata, rng=0)


def assert_same(ours: RSD, theirs: RSD) -> None:
    assert ours.cell_types == theirs.cell_types
    for name, values in theirs.module.state_dict().items():
        np.testing.assert_allclose(ours.module.state_dict()[name].numpy(), values.numpy(), rtol=1e-9, err_msg=name)


def test_cells_without_a_type_are_as_if_they_were_not_there(caplog):
    adata = cells()
    with_type = adata[adata.obs["cell_type"] != "unknown"].copy()
    with caplog.at_level(logging.INFO, logger="sctandem"):
        ours = reference(adata)
    assert ours.cell_types == ["a", "b", "c"]
    assert f"{N_CELLS - with_type.n_obs} of {N_CELLS} cells are 'unknown' in adata.obs['cell_type']" in caplog.text
    theirs = reference(with_type)
    assert_same(ours, theirs)
    for model in (ours, theirs):
        model.train(1, rng=0, sample_weight="weight")
    assert_same(ours, theirs)


def test_those_of_a_collection_as_well(collection, caplog, tmp_path):
    RSD.setup_collection(collection, "cell_type", donor_key="donor")
    with caplog.at_level(logging.INFO, logger="sctandem"):
        ours = RSD(collection, rng=0)
    assert "have no type, and are left out of the reference" in caplog.text
    assert "are of no known donor" in caplog.text
    assert_same(ours, reference(cells(), donor_key="donor"))
    ours.train(1, rng=0)
    ours.save(tmp_path / "model")
    again = RSD.load(tmp_path / "model", collection)
    assert_same(again, ours)


def test_cells_without_a_donor_have_no_part_in_the_spread():
    """It is that of the known donors, and the profile is that of all cells."""
    adata = cells()
    ours = reference(adata, donor_key="donor")
    as_one = reference(adata.copy(), donor_key="donor", unlabeled_category="nothing is called so")
    assert "unknown" in as_one.cell_types
    np.testing.assert_array_equal(ours.module.molecules, as_one.module.molecules[:3])
    known = reference(adata[adata.obs["donor"] != "unknown"].copy(), donor_key="donor")

    def apart(other: RSD) -> float:  # profiles, of all cells, take part in the spread: it is not quite the same
        return float(np.abs(np.log((ours.module.spread / other.module.spread[:3]).numpy())).mean())

    assert apart(known) < 0.02
    assert apart(as_one) > 4 * apart(known)


def test_the_word_may_be_another():
    adata = cells()
    expected = reference(adata.copy())
    adata.obs["cell_type"] = adata.obs["cell_type"].replace("unknown", "Unassigned")
    assert_same(reference(adata, unlabeled_category="Unassigned"), expected)


def test_what_to_do_with_a_scarce_type_can_be_done(collection):
    obs = collection.adata.obs
    obs["cell_type"] = obs["cell_type"].astype(str)
    obs.loc[obs.index[:7], "cell_type"] = "Megakaryocytes"
    RSD.setup_collection(collection, "cell_type")
    with pytest.raises(
        ValueError, match=r"'Megakaryocytes \(7\)'; it has 4 types\. To leave them out, name them 'unknown'"
    ):
        RSD(collection, rng=0)
    obs["cell_type"] = obs["cell_type"].astype(str).replace(["Megakaryocytes"], "unknown")
    RSD.setup_collection(collection, "cell_type")
    assert RSD(collection, rng=0).cell_types == ["a", "b", "c"]


def test_cells_that_all_lack_a_type_are_refused():
    adata = cells()
    adata.obs["cell_type"] = "unknown"
    RSD.setup_anndata(adata, "cell_type")
    with pytest.raises(ValueError, match=r"has no type \(all cells are 'unknown'\)"):
        RSD(adata, rng=0)
