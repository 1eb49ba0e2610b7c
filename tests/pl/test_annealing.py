from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt

import sctandem as td


@pytest.fixture(scope="module")
def adata():
    rng = np.random.default_rng(0)
    kind = rng.choice(5, 900, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    means = np.array([[0, 0, 0], [6, 0, 0], [0, 14, 0], [0, 22, 0], [6, 0, 8.0]])
    adata = AnnData(obsm={"X_pca": np.hstack([means[kind], np.zeros((900, 5))]) + rng.normal(size=(900, 8))})
    td.tl.anneal(adata)
    return adata


def test_every_cluster_is_in_every_axes(adata):
    figure = td.pl.annealing(adata)
    tree, phases, memberships = figure.axes
    table = adata.uns["anneal"]["tree"]
    shares = table[table["cluster"] != ""].set_index("cluster")["mass"]
    assert {text.get_text() for text in tree.texts} == {f"{name}\n{100 * share:.0f}" for name, share in shares.items()}
    assert len(memberships.collections) == len(shares) == 5
    assert "kept: 5" in {text.get_text() for text in phases.texts}
    kept = phases.lines[1].get_ydata()
    assert kept.tolist() == [1, 2, 3, 4, 5, 5]
    plt.close(figure)


def test_splits_stand_at_their_temperatures(adata):
    figure = td.pl.annealing(adata)
    drawn = sorted({float(line.get_ydata()[0]) for line in figure.axes[0].lines if np.ptp(line.get_ydata()) == 0})
    assert drawn == pytest.approx(sorted(adata.uns["anneal"]["tree"]["temperature"].dropna()))
    plt.close(figure)


def test_memberships_fill_the_axes(adata):
    figure = td.pl.annealing(adata)
    top = figure.axes[2].collections[-1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(1, abs=1e-4)
    plt.close(figure)


def test_one_cluster_and_kept_colours(adata):
    one = td.tl.anneal(adata, n_clusters=1, copy=True)
    one.uns["anneal_colors"] = ["#123456"]
    figure = td.pl.annealing(one)
    assert figure.axes[2].collections[0].get_facecolor()[0, :3] == pytest.approx(np.array([0x12, 0x34, 0x56]) / 255)
    plt.close(figure)


def test_what_to_run_first(adata):
    with pytest.raises(KeyError, match="no 'other'; run `td.tl.anneal"):
        td.pl.annealing(adata, key="other")
