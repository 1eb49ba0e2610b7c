from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy import sparse

import sctandem as td


def means(ax) -> np.ndarray:
    """The large points of a panel."""
    return np.asarray(ax.collections[1].get_offsets())


def reference(mdata, gene, cells, by) -> np.ndarray:
    counts = pd.DataFrame(mdata["rna"].X.toarray(), index=mdata.obs_names, columns=mdata["rna"].var_names)
    measured = (1e4 * counts.div(counts.sum(axis=1), axis=0))[gene]
    predicted = pd.Series(mdata["rna"].layers["tape"][:, mdata["rna"].var_names.get_loc(gene)], index=mdata.obs_names)
    table = pd.DataFrame({"measured": measured, "predicted": predicted})[cells]
    return table.groupby(by[cells], observed=True).mean().to_numpy()


def test_points_are_group_means_of_held_out_cells(mdata):
    figure = td.pl.predicted_expression(mdata, ["CD14", "MS4A1"], groupby="cell_type")
    cells = mdata.obs["tape_heldout"]
    for ax, gene in zip(figure.axes, ["CD14", "MS4A1"], strict=True):
        assert ax.get_title("left") == gene
        assert ax.get_title("right") == f"r = {mdata['rna'].var['tape_pearson'][gene]:.2f}"
        np.testing.assert_allclose(means(ax), reference(mdata, gene, cells, mdata.obs["cell_type"]), rtol=1e-4)
        assert len(ax.collections[0].get_offsets()) == cells.sum()
        assert ax.get_xlim() == ax.get_ylim()
    assert "80 held-out cells\nlarge points: means of groups" in figure.get_supxlabel()
    assert figure.legends[0].get_title().get_text() == "cell_type"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(mdata.obs["cell_type"].cat.categories)


def test_all_cells_where_it_is_not_known_which_were_held_out(mdata):
    del mdata.obs["tape_heldout"]
    figure = td.pl.predicted_expression(mdata, "CD14", groupby="cell_type")
    everyone = pd.Series(data=True, index=mdata.obs_names)
    np.testing.assert_allclose(
        means(figure.axes[0]), reference(mdata, "CD14", everyone, mdata.obs["cell_type"]), rtol=1e-4
    )
    assert "400 cells" in figure.get_supxlabel()
    mdata.obs["tape_heldout"] = False
    assert "400 cells" in td.pl.predicted_expression(mdata, "CD14").get_supxlabel()


def test_bins_of_equal_size_without_groups(mdata):
    figure = td.pl.predicted_expression(mdata, "CD14")
    cells = mdata.obs["tape_heldout"]
    predicted = pd.Series(mdata["rna"].layers["tape"][:, 1], index=mdata.obs_names)[cells]
    bins = pd.qcut(predicted.rank(method="first"), 10, labels=False).reindex(mdata.obs_names)
    np.testing.assert_allclose(means(figure.axes[0]), reference(mdata, "CD14", cells, bins), rtol=1e-4)
    assert not figure.legends


def test_default_genes_are_the_best_predicted(mdata):
    figure = td.pl.predicted_expression(mdata)
    best = mdata["rna"].var["tape_pearson"].nlargest(6).index
    assert [ax.get_title("left") for ax in figure.axes] == list(best)
    mdata["rna"].var["tape_pearson"] = np.nan
    with pytest.raises(ValueError, match=r"No gene has a score in mdata\['rna'\].var\['tape_pearson'\]"):
        td.pl.predicted_expression(mdata)
    del mdata["rna"].var["tape_pearson"]
    with pytest.raises(ValueError, match="say which genes to draw"):
        td.pl.predicted_expression(mdata)
    assert td.pl.predicted_expression(mdata, "CD14").axes[0].get_title("right") == ""


def test_layers_and_sparse_predictions_and_library_sizes(mdata):
    plain = means(td.pl.predicted_expression(mdata, "CD14", groupby="cell_type").axes[0])
    rna = mdata["rna"]
    rna.layers["counts"] = rna.X.copy()
    rna.layers["tape"] = sparse.csr_matrix(rna.layers["tape"])
    rna.obs["n"] = np.asarray(rna.X.sum(axis=1)).ravel()
    rna.X = sparse.csc_matrix(rna.X.shape, dtype=np.float32)
    figure = td.pl.predicted_expression(mdata, "CD14", groupby="cell_type", layer="counts")
    np.testing.assert_allclose(means(figure.axes[0]), plain, rtol=1e-5)
    rna.obs["n"] *= 2
    figure = td.pl.predicted_expression(mdata, "CD14", groupby="cell_type", layer="counts", size_factor_key="n")
    np.testing.assert_allclose(means(figure.axes[0]), plain * [0.5, 1], rtol=1e-5)


@pytest.mark.parametrize("genes", [1, 2, 4, 5])
def test_nothing_leaves_the_figure(mdata, genes):
    figure = td.pl.predicted_expression(
        mdata, mdata["rna"].var_names[:genes], groupby=None if genes == 1 else "cell_type"
    )
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == genes
    texts = [
        figure._supxlabel,
        figure._supylabel,
        *(title for ax in shown for title in (ax._left_title, ax._right_title)),
    ]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    for text in texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_chromatin_alone(mdata):
    mdata["rna"].X = None
    with pytest.raises(
        ValueError, match=r"mdata\['rna'\] has a prediction, but no measured expression to draw it against"
    ):
        td.pl.predicted_expression(mdata, "CD14")


def test_bad_input(mdata):
    with pytest.raises(KeyError, match=r"mdata\['rna'\].var_names has not 'NOPE'; it holds 120 genes: 'MS4A1', 'CD14'"):
        td.pl.predicted_expression(mdata, ["CD14", "NOPE"])
    with pytest.raises(KeyError, match=r"var_names has not 'cd14'; it holds 120 genes. Is it 'CD14'"):
        td.pl.predicted_expression(mdata, "cd14")
    with pytest.raises(KeyError, match="has not no gene at all"):
        td.pl.predicted_expression(mdata, [])
    with pytest.raises(KeyError, match=r"Neither mdata\['rna'\].obs nor mdata.obs has a column 'n'"):
        td.pl.predicted_expression(mdata, "CD14", size_factor_key="n")
    with pytest.raises(KeyError, match=r"layers has no 'other'; run `sctandem.tl.predict_expression"):
        td.pl.predicted_expression(mdata, "CD14", key="other")


def test_measured_and_predicted_are_relative_to_the_same_genes():
    mdata = td.datasets.simulate_multiome(60, 40, 400, rng=0)
    rna = mdata["rna"]
    rna.layers["tape"] = np.ones((60, 40), dtype=np.float32)
    mdata.uns["tape"] = {"params": {"heldout_genes": np.array(rna.var_names[:10], dtype=str)}}
    gene = rna.var_names[20]
    counts = rna.X.toarray()
    expected = np.sort(counts[:, 20] / counts[:, 10:].sum(1) * 1e4)
    figure = td.pl.predicted_expression(mdata, gene)
    means = figure.axes[0].collections[1].get_offsets()[:, 0]
    assert means.mean() == pytest.approx(expected.mean(), rel=1e-5)
    assert abs((counts[:, 20] / counts.sum(1) * 1e4).mean() / expected.mean() - 1) > 0.05
    plt.close(figure)
