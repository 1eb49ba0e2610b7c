from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import sctandem as td

N_GENES, FACTOR = 150, 2.0


@pytest.fixture(name="adata")
def fixture_adata() -> AnnData:
    """Bulk that is exactly as fitted, but for one gene of one sample; every second gene was used, and half of each sample is of no type."""
    rng = np.random.default_rng(0)
    signature, rna = rng.gamma(1, 1e4, (N_GENES, 2)) + 500, rng.dirichlet([3, 3], 5)
    values = rna @ signature.T
    values[2, 10] *= 30
    obs = pd.DataFrame({"rsd_fit": [0.99, 0.985, 0.7, 0.991, 0.99]}, index=[f"s{i}" for i in range(5)])
    adata = AnnData(values / 7, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(N_GENES)]))
    platform = np.where(np.arange(N_GENES) % 2 == 0, np.log(FACTOR), np.nan)
    platform[4] = np.log(1 / 32)
    adata.var["rsd_platform"] = platform
    adata.varm["rsd_signature"] = pd.DataFrame(signature, index=adata.var_names, columns=["B", "T"])
    adata.obsm["rsd_rna"] = pd.DataFrame(0.5 * rna, index=adata.obs_names, columns=["B", "T"])
    adata.uns["rsd"] = {"params": {}}
    return adata


@pytest.fixture(autouse=True)
def fixture_close():
    yield
    plt.close("all")


def test_genes_lie_on_the_line_where_the_fit_is_exact(adata):
    ax = td.pl.deconvolution_fit(adata, "s1").axes[1]
    points = np.asarray(ax.collections[0].get_offsets())
    assert len(points) == N_GENES / 2
    np.testing.assert_allclose(points[:, 0], points[:, 1], atol=1e-3)
    assert ax.get_title(loc="left") == "s1"


def test_the_gene_that_is_off_is_named_first_and_is_off_by_its_factor(adata):
    ax = td.pl.deconvolution_fit(adata, "s2").axes[1]
    off = np.diff(np.asarray(ax.collections[0].get_offsets()), axis=1).ravel()
    assert off.argmax() == 5  # gene 10 of those with even numbers
    assert off.max() == pytest.approx(np.log10(30), abs=0.01)
    assert ax.texts[0].get_text() == "g10"


def test_density_counts_all_genes_of_all_samples(adata):
    image = td.pl.deconvolution_fit(adata).axes[1].collections[0]
    # what `bins="log"` counts, in colours
    assert np.asarray(image.get_array()).sum() == N_GENES / 2 * 5


def test_samples_in_order_with_the_one_far_below_in_red(adata):
    ax = td.pl.deconvolution_fit(adata).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["s2", "s1", "s0", "s4", "s3"]
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], [0.7, 0.985, 0.99, 0.99, 0.991])
    assert [to_hex(color).upper() == "#B2182B" for color in ax.collections[0].get_facecolor()] == [True, *[False] * 4]
    adata.obs["rsd_fit"] = [0.99, 0.985, 0.975, 0.991, 0.99]  # beyond chance, but next to nothing
    colors = td.pl.deconvolution_fit(adata).axes[0].collections[0].get_facecolor()
    assert "#b2182b" not in {to_hex(color) for color in colors}


def test_many_samples_are_listed_by_the_lowest(adata):
    many = AnnData(np.tile(adata.X, (10, 1)), var=adata.var, varm=adata.varm, uns=adata.uns)
    many.obs_names = [f"n{i}" for i in range(50)]
    many.obs["rsd_fit"] = np.linspace(0.9, 0.99, 50)[::-1]
    many.obsm["rsd_rna"] = pd.DataFrame(
        np.tile(adata.obsm["rsd_rna"], (10, 1)), index=many.obs_names, columns=["B", "T"]
    )
    ax = td.pl.deconvolution_fit(many).axes[0]
    assert ax.texts[0].get_text().splitlines() == ["lowest:", "n49  0.900", "n48  0.902", "n47  0.904"]
    assert len(ax.get_yticklabels()) == 0


def test_factors_are_doublings_over_the_level_without_them(adata):
    ax = td.pl.deconvolution_fit(adata).axes[2]
    level, factor = np.asarray(ax.collections[0].get_offsets()).T
    assert factor[[0, 2]] == pytest.approx([1, -5])
    expected = np.asarray(adata.varm["rsd_signature"]).mean(1)[[0, 4]] * [1 / FACTOR, 32]
    assert level[[0, 2]] == pytest.approx(expected)
    assert ax.texts[0].get_text() == "g4"
    assert ax.get_title(loc="left") == "75 genes, half within 2-fold"


def test_the_layer_that_was_deconvolved_is_read(adata):
    adata.layers["tpm"], adata.X = adata.X.copy(), np.ones(adata.shape)
    adata.uns["rsd"] = {"params": {"layer": "tpm"}}
    points = np.asarray(td.pl.deconvolution_fit(adata, "s1").axes[1].collections[0].get_offsets())
    np.testing.assert_allclose(points[:, 0], points[:, 1], atol=1e-3)


def test_values_that_became_logs_since_are_refused(adata):
    adata.X = np.log1p(adata.X)
    with pytest.raises(ValueError, match=r"adata\.X looks log-transformed"):
        td.pl.deconvolution_fit(adata)


def test_what_cannot_be_drawn(adata):
    adata.layers["minus"] = adata.X.copy()
    adata.layers["minus"][0, 0] = -1
    with pytest.raises(ValueError, match=r"adata.layers\['minus'\] contains negative values \(for example -1"):
        td.pl.deconvolution_fit(adata, layer="minus")
    with pytest.raises(ValueError, match=r"sample='s9' is not in adata.obs_names, which has 's0', 's1'"):
        td.pl.deconvolution_fit(adata, "s9")
    with pytest.raises(KeyError, match=r"adata.layers has no 'raw'"):
        td.pl.deconvolution_fit(adata, layer="raw")
    del adata.obsm["rsd_rna"]
    with pytest.raises(
        KeyError, match=r"adata.obsm has no 'rsd_rna'; run `td.tl.deconvolve\(adata, reference, cell_type\)` first"
    ):
        td.pl.deconvolution_fit(adata)
