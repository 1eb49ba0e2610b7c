from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt

import sctandem as td


@pytest.fixture(scope="module")
def adata():
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], [400, 60, 15])
    adata = AnnData(obsm={"X_pca": 9 * np.eye(3, 6)[kind] + rng.normal(size=(475, 6))})
    adata.obs["type"] = np.array(["a", "b", "c"])[kind]
    adata.obs["donor"] = np.where(kind == 2, 0, rng.integers(5, size=475)).astype(str)
    td.pp.hierarchical_weights(adata, labels="type", rng=0)
    td.pp.long_tail_split(adata, rng=0)
    return adata


def test_shares_are_those_of_the_table(adata):
    figure = td.pl.long_tail(adata)
    (ax,) = figure.axes
    table = adata.uns["hcm"]["clusters"]
    dots = {drawn.get_label(): drawn.get_offsets()[:, 1] for drawn in ax.collections[1:]}
    np.testing.assert_allclose(dots["of the cells"], 100 * table["n_cells"] / adata.n_obs)
    np.testing.assert_allclose(dots["of the weight"], 100 * table["mass"])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]
    plt.close(figure)


def test_parts_are_those_of_the_split(adata):
    figure = td.pl.long_tail(adata, split_key="split")
    table = adata.uns["split"]["clusters"]
    for part, drawn in zip(("train", "validation", "test"), figure.axes[1].collections, strict=True):
        assert drawn.get_label() == part
        assert drawn.get_offsets()[:, 1].tolist() == table[part].tolist()
    plt.close(figure)


def test_what_a_part_lacks_is_marked(adata):
    with pytest.warns(UserWarning, match="not in each part"):
        td.pp.long_tail_split(adata, donor_key="donor", key_added="by_donor", rng=0)
    figure = td.pl.long_tail(adata, split_key="by_donor")
    crosses = [drawn for drawn in figure.axes[1].collections if drawn.get_label() == "lacks in a part"]
    assert crosses[0].get_offsets()[:, 0].tolist() == [2]
    plt.close(figure)


def test_given_axes(adata):
    _, axes = plt.subplots(1, 2)
    assert td.pl.long_tail(adata, split_key="split", axes=axes) is axes[0].figure
    with pytest.raises(ValueError, match="axes has 2 axes; 1 is needed"):
        td.pl.long_tail(adata, axes=axes)
    _, ax = plt.subplots()
    assert td.pl.long_tail(adata, axes=ax) is ax.figure
    assert ax.collections
    plt.close("all")


def test_missing_results(adata):
    with pytest.raises(KeyError, match=r"run `td.pp.hierarchical_weights\(adata, key_added='no'\)` first"):
        td.pl.long_tail(adata, key="no")
    with pytest.raises(KeyError, match=r"run `td.pp.long_tail_split\(adata, key_added='no'\)` first"):
        td.pl.long_tail(adata, split_key="no")
