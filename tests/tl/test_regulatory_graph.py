from __future__ import annotations

import anndata
import matplotlib.pyplot as plt
import mudata
import numpy as np
import pandas as pd
import pytest
from regulation import TFS, multiome, true_edges

import sctandem as td


@pytest.fixture(scope="module")
def done() -> mudata.MuData:
    mdata = multiome(n=400)
    td.tl.regulatory_graph(mdata, TFS, groupby="group", rng=0)
    return mdata


def test_slots(done):
    result = done.uns["regulatory_graph"]
    table = result["table"]
    assert not any(key.startswith("_scvi") for key in [*done.uns, *done["rna"].uns, *done["atac"].uns])
    columns = ["tf", "target", "site", "weight", "sign", "evidence", "fdr", "fdr_rewired", "state"]
    assert table.columns.tolist() == columns
    assert table["weight"].dtype == np.float32
    assert table["sign"].dtype == np.int8
    assert set(table["state"]) <= {"high", "low"}
    assert result["params"]["prior"] == ["motif"]
    assert result["params"]["r2"] == pytest.approx(result["skill"]["r2"].mean())
    activity = done["rna"].obsm["tf_activity"]
    assert activity.columns.tolist() == TFS
    assert (activity.index == done["rna"].obs_names).all()
    assert result["expression"]["measured"].shape == result["expression"]["predicted"].shape


def test_result_survives_files(done, tmp_path):
    done.write(tmp_path / "a.h5mu")
    again = mudata.read(tmp_path / "a.h5mu")
    for name in ("table", "skill"):
        pd.testing.assert_frame_equal(again.uns["regulatory_graph"][name], done.uns["regulatory_graph"][name])
    pd.testing.assert_frame_equal(again["rna"].obsm["tf_activity"], done["rna"].obsm["tf_activity"])
    rna = multiome(n=200)["rna"].copy()
    td.tl.regulatory_graph(rna, TFS, prior=None, key_added="net", rng=0)
    rna.write(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(again.uns["net"]["table"], rna.uns["net"]["table"])
    assert "net_tf_activity" in again.obsm


def test_copy_and_errors_leave_the_object():
    mdata = multiome(n=200)
    found = td.tl.regulatory_graph(mdata, TFS, rng=0, copy=True)
    assert "regulatory_graph" in found.uns
    assert "regulatory_graph" not in mdata.uns
    assert "tf_activity" not in mdata["rna"].obsm
    with pytest.raises(KeyError, match="nothing"):
        td.tl.regulatory_graph(mdata, TFS, groupby="nothing", rng=0)
    with pytest.raises(ValueError, match="no regulator is left"):
        td.tl.regulatory_graph(mdata, ["t0"], rng=0)
    assert "regulatory_graph" not in mdata.uns


def test_layer_names_of_modalities_and_mapped_motifs():
    mdata = multiome(n=200)
    mdata["rna"].layers["counts"] = mdata["rna"].X.copy()
    first = td.tl.regulatory_graph(mdata, TFS, rng=0, copy=True).uns["regulatory_graph"]["table"]
    mdata["atac"].uns["motifs"]["names"] = ["M0", "M1", "M2", "M3"]
    other = mudata.MuData({"x": mdata["rna"], "y": mdata["atac"]})
    other.uns["gene_windows"] = mdata.uns["gene_windows"]
    other["x"].X = np.ones(other["x"].shape)
    names = {tf: f"M{i}" for i, tf in enumerate(TFS)}
    td.tl.regulatory_graph(other, names, layer="counts", modalities={"rna": "x", "atac": "y"}, rng=0)
    pd.testing.assert_frame_equal(other.uns["regulatory_graph"]["table"], first)


def test_expression_alone_under_another_name_of_the_modality():
    rna = multiome(n=200)["rna"]
    alone = rna.copy()
    td.tl.regulatory_graph(alone, TFS, prior=None, rng=0)
    other = mudata.MuData({"x": rna.copy()})
    td.tl.regulatory_graph(other, TFS, prior=None, modalities={"rna": "x"}, rng=0)
    pd.testing.assert_frame_equal(other.uns["regulatory_graph"]["table"], alone.uns["regulatory_graph"]["table"])
    assert list(other.uns["regulatory_graph"]["expression"]["cells"]) == list(rna.obs_names)
    other["x"].X = None
    with pytest.raises(ValueError, match=r"mdata\['x'\]\.X is empty \(None\)"):
        td.tl.regulatory_graph(other, TFS, prior=None, modalities={"rna": "x"}, rng=0)


def test_dots_are_of_groups_in_their_order_and_cells_without_one_left_out(done):
    rna = done["rna"].copy()
    rna.uns["regulatory_graph"] = done.uns["regulatory_graph"]
    groups = pd.Series(rna.obs["group"].astype(str).to_numpy(), index=rna.obs_names, dtype=object)
    groups.iloc[:10] = None
    rna.obs["other"] = pd.Categorical(groups, ["none", "low", "high"])
    ax = td.pl.regulator_dotplot(rna, "other", tfs=["T0"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["low", "high"]
    expected = [rna.obsm["tf_activity"]["T0"][(groups == name).to_numpy()].mean() for name in ("low", "high")]
    np.testing.assert_allclose(ax.collections[0].get_array(), expected, rtol=1e-5)
    both = done.copy()
    both.obs["of both"] = groups
    ax = td.pl.regulator_dotplot(both, "of both", tfs=["T0"])
    np.testing.assert_allclose(ax.collections[0].get_array(), expected[::-1], rtol=1e-5)
    plt.close("all")


def test_get_selects(done):
    table = td.get.regulatory_graph(done, "T0", fdr=0.05)
    assert set(table["tf"]) == {"T0"}
    assert (table["fdr"] <= 0.05).all()
    assert table["weight"].is_monotonic_decreasing
    assert len(td.get.regulatory_graph(done, n_top=2)) == 8
    assert set(td.get.regulatory_graph(done, target=["G0", "G1"])["target"]) == {"G0", "G1"}
    found = td.get.regulatory_graph(done, n_top=5)
    assert len(set(zip(found["tf"], found["target"], strict=True)) & set(true_edges())) >= 15
    with pytest.raises(ValueError, match="tf: 'X' have no edges"):
        td.get.regulatory_graph(done, "X")
    with pytest.raises(KeyError, match="run `sctandem.tl.regulatory_graph"):
        td.get.regulatory_graph(multiome(n=20))


def test_plots_draw_what_the_table_says(done):
    ax = td.pl.regulatory_graph(done, n_tfs=3, n_targets=2)
    words = {text.get_text() for text in ax.texts}
    assert len(words & set(TFS)) == 3
    table = td.get.regulatory_graph(done, fdr=0.05)
    tf = next(name for name in TFS if name in words)
    best = table[(table["tf"] == tf) & ~table["target"].isin(TFS)].head(2)["target"].astype(str)
    assert set(best) <= words
    with pytest.raises(ValueError, match="no edge has an FDR of at most 0"):
        td.pl.regulatory_graph(done, fdr=0)
    ax = td.pl.regulator_dotplot(done, "group")
    names = [label.get_text() for label in ax.get_yticklabels()]
    activity = done["rna"].obsm["tf_activity"]
    mean = activity.groupby(done["rna"].obs["group"].to_numpy()).mean()
    drawn = np.asarray(ax.collections[0].get_array()).reshape(len(names), 2)
    for i, name in enumerate(names):
        assert drawn[i] == pytest.approx(mean.loc[["high", "low"], name].to_numpy(), abs=1e-4)
    with pytest.raises(ValueError, match="'Q' have no activity"):
        td.pl.regulator_dotplot(done, "group", ["Q"])
