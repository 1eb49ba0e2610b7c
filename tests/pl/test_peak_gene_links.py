from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata


def boxes(ax) -> np.ndarray:
    """x, y, width and height of the boxes of an axes."""
    paths = [path.get_extents() for path in ax.collections[0].get_paths()]
    return np.array([[box.x0, box.y0, box.width, box.height] for box in paths])


def test_arcs_stand_on_the_peaks_and_are_as_high_as_their_weights(mdata):
    gene = "CD14"  # on the minus strand
    links = td.get.peak_gene_links(mdata, gene).set_index("peak")
    figure = td.pl.peak_gene_links(mdata, gene)
    arcs, tss = figure.axes[0].collections[0], mdata.uns["gene_windows"]["genes"].loc[gene, "tss"]
    assert len(arcs.get_segments()) == len(links)
    place = td.genome.peak_coordinates(mdata["atac"]).loc[links.index]
    middle = (place.start + place.end) // 2
    # the curve comes within a thousandth of its top
    drawn = sorted((segment[-1, 0], segment[:, 1].max()) for segment in arcs.get_segments())
    ends = sorted((segment[0, 0], segment[-1, 0]) for segment in arcs.get_segments())
    assert all(tss in np.round(pair) for pair in ends)
    ends = sorted(pair[0] if round(pair[1]) == tss else pair[1] for pair in ends)
    np.testing.assert_allclose(ends, sorted(middle), atol=1)
    np.testing.assert_allclose(sorted(height for _, height in drawn), sorted(links.weight), rtol=2e-3)


def test_colours_tell_sign_and_significance(mdata):
    table = mdata.uns["tape_links"]["table"]
    gene = "MS4A1"
    for fdr in (0.05, 0.5):
        figure = td.pl.peak_gene_links(mdata, gene, fdr=fdr)
        links = table[table["gene"] == gene]
        expected = np.where(links.fdr > fdr, "grey", np.where(links.sign > 0, "red", "blue"))
        names = {"#b2182b": "red", "#2166ac": "blue", "#b3b3b3": "grey"}
        drawn = [names[to_hex(color)] for color in figure.axes[0].collections[0].get_colors()]
        assert sorted(drawn) == sorted(expected)
        labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert f"activating ({(expected == 'red').sum()})" in labels
        assert f"FDR > {fdr:g} ({(expected == 'grey').sum()})" in labels


def test_bars_are_group_means_of_counts_per_10k(mdata):
    figure = td.pl.peak_gene_links(mdata, "MS4A1", groupby="cell_type")
    groups = mdata.obs["cell_type"]
    assert [ax.get_ylabel() for ax in figure.axes[2:]] == list(groups.cat.categories)
    peaks = td.get.gene_windows(mdata, "MS4A1").peak
    counts = mdata["atac"].X.toarray()
    scaled = 1e4 * counts / counts.sum(axis=1, keepdims=True)
    scaled = pd.DataFrame(scaled, columns=mdata["atac"].var_names)[list(peaks)]
    for ax, group in zip(figure.axes[2:], groups.cat.categories, strict=True):
        np.testing.assert_allclose(boxes(ax)[:, 3], scaled[(groups == group).to_numpy()].mean(), rtol=1e-5)
    tops = {ax.get_ylim()[1] for ax in figure.axes[2:]}
    assert len(tops) == 1


@pytest.mark.parametrize("form", [sparse.csc_matrix, np.asarray])
def test_every_form_of_counts_and_layers_give_the_same_bars(mdata, form):
    plain = td.pl.peak_gene_links(mdata, "MS4A1", groupby="cell_type")
    mdata["atac"].layers["counts"] = form(mdata["atac"].X.toarray())
    mdata["atac"].X = mdata["atac"].X * 0
    other = td.pl.peak_gene_links(mdata, "MS4A1", groupby="cell_type", layer="counts")
    for one, two in zip(plain.axes[2:], other.axes[2:], strict=True):
        np.testing.assert_allclose(boxes(one), boxes(two), rtol=1e-6)


def test_backed_files_give_the_same_bars(mdata, tmp_path):
    import anndata

    plain = td.pl.peak_gene_links(mdata, "MS4A1", groupby="cell_type")
    for form in (sparse.csr_matrix, sparse.csc_matrix):
        path = tmp_path / f"{form.__name__}.h5ad"
        atac = mdata["atac"].copy()
        atac.X = form(atac.X)
        atac.write_h5ad(path)
        backed = new_mudata({"rna": mdata["rna"], "atac": anndata.read_h5ad(path, backed="r")})
        backed.obs["cell_type"] = mdata.obs["cell_type"]
        backed.uns.update(mdata.uns)
        other = td.pl.peak_gene_links(backed, "MS4A1", groupby="cell_type")
        for one, two in zip(plain.axes[2:], other.axes[2:], strict=True):
            np.testing.assert_allclose(boxes(one), boxes(two), rtol=1e-6)
        backed["atac"].file.close()


def test_colours_of_scanpy_are_used(mdata):
    colors = ["#111111", "#222222", "#333333", "#444444"]
    mdata.uns["cell_type_colors"] = np.array(colors)
    figure = td.pl.peak_gene_links(mdata, "MS4A1", groupby="cell_type")
    assert [to_hex(ax.collections[0].get_facecolor()[0]) for ax in figure.axes[2:]] == colors


@pytest.mark.parametrize("gene", ["MS4A1", "CD14", "GENE3"])
def test_nothing_leaves_the_figure_or_lies_on_other_text(mdata, gene):
    figure = td.pl.peak_gene_links(mdata, gene, groupby="cell_type")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [
        text for ax in figure.axes for text in (ax.title, ax._left_title, ax.yaxis.label, ax.xaxis.label, *ax.texts)
    ]
    texts += figure.axes[0].get_legend().get_texts()
    boxed = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    for i, one in enumerate(boxed):
        assert one.x0 >= 0
        assert one.y0 >= 0
        assert one.x1 <= figure.bbox.x1
        assert one.y1 <= figure.bbox.y1
        assert not any(one.overlaps(other) for other in boxed[i + 1 :])


def test_cells_without_a_group_and_a_group_of_one_modality(mdata):
    mdata["atac"].obs["leiden"] = [None, *["a"] * 200, *["b"] * 199]
    figure = td.pl.peak_gene_links(mdata, "MS4A1", groupby="leiden")
    assert [ax.get_ylabel() for ax in figure.axes[2:]] == ["a", "b"]


def test_no_significant_link_and_no_link_at_all(mdata):
    figure = td.pl.peak_gene_links(mdata, "MS4A1", fdr=0)
    assert {to_hex(color) for color in figure.axes[0].collections[0].get_colors()} == {"#b3b3b3"}
    mdata.uns["tape_links"]["table"]["weight"] = 0.0
    figure = td.pl.peak_gene_links(mdata, "MS4A1")
    assert figure.axes[0].get_legend() is None
    assert len(figure.axes) == 3


@pytest.mark.parametrize(("strand", "arrows"), [("+", 1), ("-", 1), (".", 0)])
def test_a_direction_is_drawn_where_it_is_known(mdata, strand, arrows):
    genes = mdata.uns["gene_windows"]["genes"]
    genes.loc["MS4A1", "strand"] = strand
    figure = td.pl.peak_gene_links(mdata, "MS4A1")
    drawn = [text.arrow_patch for text in figure.axes[1].texts if getattr(text, "arrow_patch", None)]
    assert len(drawn) == arrows
    (name,) = [text.get_text() for text in figure.axes[1].texts if text.get_text()]
    assert name == ("MS4A1 (strand not known)" if strand == "." else "MS4A1")


def test_bars_are_on_the_scale_of_the_linked_peaks_and_cut_ones_are_marked(mdata):
    table = mdata.uns["tape_links"]["table"]
    peaks = list(td.get.gene_windows(mdata, "MS4A1").peak)
    counts = mdata["atac"].X.toarray()
    values = pd.DataFrame(1e4 * counts / counts.sum(axis=1, keepdims=True), columns=mdata["atac"].var_names)[peaks]
    lowest = values.mean().idxmin()
    table["fdr"] = np.where((table["peak"] == lowest) & (table["gene"] == "MS4A1"), 0.01, 0.9)
    ax = td.pl.peak_gene_links(mdata, "MS4A1").axes[2]
    top = ax.get_ylim()[1]
    assert top == pytest.approx(1.15 * values[lowest].mean(), rel=1e-4)
    assert len(ax.collections[1].get_segments()) == (values.mean() > top).sum() > 0
    assert ax.get_title("right").endswith("(counts per 10,000; broken bars are higher)")
    widths, linked = boxes(ax)[:, 2], peaks.index(lowest)
    assert widths[linked] > 1.5 * np.delete(widths, linked).min()
    alpha = ax.collections[0].get_facecolors()[:, 3]
    assert alpha[linked] == 1
    assert (np.delete(alpha, linked) < 1).all()
    table["fdr"] = 0.9
    ax = td.pl.peak_gene_links(mdata, "MS4A1").axes[2]
    assert ax.get_ylim()[1] > values.mean().max()
    assert (ax.get_yticks() <= ax.get_ylim()[1]).all()


def test_bad_input(mdata):
    with pytest.raises(KeyError, match="nothing for 'NOPE'; it holds 120 genes: 'MS4A1', 'CD14', 'GENE0', ..."):
        td.pl.peak_gene_links(mdata, "NOPE")
    with pytest.raises(KeyError, match=r"nothing for 'Ms4a1'; it holds 120 genes. Is it 'MS4A1'\?"):
        td.pl.peak_gene_links(mdata, "Ms4a1")
    with pytest.raises(TypeError, match=r"gene=\['MS4A1', 'CD14'\] is not the name of one gene; draw a figure a gene"):
        td.pl.peak_gene_links(mdata, ["MS4A1", "CD14"])
    with pytest.raises(KeyError, match="mdata.obs has no column 'donor'; it has 'cell_type', 'tape_heldout'"):
        td.pl.peak_gene_links(mdata, "MS4A1", groupby="donor")
    with pytest.raises(ValueError, match="fdr=2 is not a number between 0 and 1"):
        td.pl.peak_gene_links(mdata, "MS4A1", fdr=2)
    with pytest.raises(KeyError, match=r"layers has no 'counts'"):
        td.pl.peak_gene_links(mdata, "MS4A1", layer="counts")
    mdata["atac"].X = None
    with pytest.raises(ValueError, match=r"mdata\['atac'\].X is empty \(None\)"):
        td.pl.peak_gene_links(mdata, "MS4A1")
    del mdata.uns["tape_links"]
    with pytest.raises(KeyError, match=r"run `sctandem.tl.peak_gene_links\(mdata, model\)` first"):
        td.pl.peak_gene_links(mdata, "MS4A1")


@pytest.mark.parametrize(
    ("limits", "labels"),
    [
        ((60_400_000, 60_500_000), "60,400 60,420 60,440 60,460 60,480 60,500"),
        ((60_455_000, 60_457_500), "60,455.0 60,455.5 60,456.0 60,456.5 60,457.0 60,457.5"),
        ((60_455_840, 60_455_850), "60,455.840 60,455.842 60,455.844 60,455.846 60,455.848 60,455.850"),
    ],
)
def test_ticks_say_where_they_are(mdata, limits, labels):
    figure = td.pl.peak_gene_links(mdata, "MS4A1")
    ax = figure.axes[-1]
    ax.set_xlim(limits)
    ax.set_xticks(np.linspace(*limits, 6))
    assert " ".join(label.get_text() for label in ax.get_xticklabels()) == labels


def test_ticks_of_a_narrow_window_never_repeat(mdata):
    td.pp.gene_windows(mdata, upstream=2500, downstream=2500)
    gene = mdata.uns["gene_windows"]["pairs"]["gene"].iloc[0]
    figure = td.pl.peak_gene_links(mdata, gene)
    figure.canvas.draw()
    ax = figure.axes[-1]
    written = [float(label.get_text().replace(",", "")) for label in ax.get_xticklabels()]
    np.testing.assert_allclose(written, ax.get_xticks() / 1000, rtol=0, atol=1e-9)
    assert len(set(written)) == len(written) > 2
