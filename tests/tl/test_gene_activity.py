from __future__ import annotations

import mudata
import numpy as np
import pandas as pd
import pytest
from activity import CELLS, COUNTS, GENES, PEAKS, dense, multiome, peaks, random_genes, random_peaks
from anndata import AnnData, read_h5ad

import sctandem as td
from sctandem._compat import installed, new_mudata, read_h5mu

# --- what comes out ---------------------------------------------------------------------------------------------------


def test_worked_out_by_hand():
    mdata = multiome()
    assert td.tl.gene_activity(mdata) is None
    activity = mdata["activity"]
    expected = np.column_stack([COUNTS[:, 0] + COUNTS[:, 1], COUNTS[:, 2] + COUNTS[:, 3], COUNTS[:, 4]])
    np.testing.assert_array_equal(dense(activity.X), expected)
    np.testing.assert_array_equal(dense(activity.layers["score"]), expected)
    assert activity.X.dtype == np.int32
    assert activity.layers["score"].dtype == np.float32
    assert activity.obs_names.tolist() == CELLS
    assert activity.obs["unassigned"].tolist() == COUNTS[:, 5].tolist()
    var = activity.var
    assert var.index.tolist() == ["A", "B", "C"]
    assert var["tss"].tolist() == [10_000, 39_999, 5_000]
    assert var["strand"].tolist() == ["+", "-", "+"]
    assert var["n_sources"].tolist() == [2, 2, 1]
    np.testing.assert_allclose(var["coverage"], (expected > 0).mean(0))
    share = COUNTS[:, :2].sum(0) / COUNTS[:, :2].sum()
    np.testing.assert_allclose(var["diversity"].iloc[0], np.exp(-(share * np.log(share)).sum()))
    assert var["diversity"].iloc[2] == 1
    held = activity.uns["gene_activity"]
    table = held["table"]
    assert table.index.tolist() == ["gene body", "upstream", "distal", "unassigned"]
    assert table["n_sources"].tolist() == [4, 1, 0, 1]
    assert table["counts"].tolist() == [COUNTS[:, [0, 1, 2, 4]].sum(), COUNTS[:, 3].sum(), 0, COUNTS[:, 5].sum()]
    np.testing.assert_allclose(table["share"], table["counts"] / COUNTS.sum())
    assert held["params"]["n_sources"] == 5
    assert held["params"]["n_sources_shared"] == held["params"]["n_genes_sharing"] == 0
    weights = held["weights"]
    assert list(zip(weights["peak"], weights["gene"], weights["weight"], weights["owned"], strict=True)) == [
        (PEAKS[0], "A", 1, True),
        (PEAKS[1], "A", 1, True),
        (PEAKS[2], "B", 1, True),
        (PEAKS[3], "B", 1, True),
        (PEAKS[4], "C", 1, True),
    ]


def test_shared_signal_counts_once_and_scores_twice():
    genes = pd.concat([GENES, GENES.iloc[[0]].set_axis(["A-AS"]).assign(strand="-", end=12_400)])
    adata = peaks()
    td.tl.gene_activity(adata, genes)
    found = td.get.gene_activity(adata)
    both = COUNTS[:, 0] + COUNTS[:, 1]
    np.testing.assert_array_equal(dense(found.layers["score"])[:, [0, 3]], np.column_stack([both, both]))
    # the first peak is nearer to the start of A, the second (middle 11,100) to that of A (10,000) rather than of A-AS (12,399)
    np.testing.assert_array_equal(dense(found.X)[:, [0, 3]], np.column_stack([both, 0 * both]))
    params = found.uns["gene_activity"]["params"]
    assert (params["n_sources_shared"], params["n_genes_sharing"]) == (2, 2)
    weights = found.uns["gene_activity"]["weights"]
    assert weights.loc[weights["gene"] == "A-AS", "owned"].tolist() == [False, False]


@pytest.mark.parametrize("weights", ["gene_body", "archr"])
@pytest.mark.parametrize("seed", range(4))
def test_every_count_is_assigned_or_left(weights, seed):
    rng = np.random.default_rng(seed)
    adata, genes = random_peaks(rng), random_genes(rng)
    td.tl.gene_activity(adata, genes, weights=weights)
    found = td.get.gene_activity(adata)
    total = np.asarray(adata.X.sum(1)).ravel()
    np.testing.assert_array_equal(np.asarray(found.X.sum(1)).ravel() + found.obs["unassigned"], total)
    assert found.uns["gene_activity"]["table"]["counts"].sum() == total.sum()
    # every peak goes to one gene: the counts are the peaks times a matrix of one 1 in a row, or none
    table = found.uns["gene_activity"]["weights"]
    owned = table[table["owned"]]
    assert owned["peak"].is_unique
    one = np.zeros((adata.n_vars, found.n_vars), dtype=int)
    one[adata.var_names.get_indexer(owned["peak"]), found.var_names.get_indexer(owned["gene"])] = 1
    np.testing.assert_array_equal(dense(found.X), adata.X.toarray() @ one)
    largest = table.groupby("peak", observed=True)["weight"].max()
    np.testing.assert_array_equal(owned["weight"], largest.loc[owned["peak"]])


def test_archr_scores_are_capped_and_scaled(rng):
    adata, genes = random_peaks(rng), random_genes(rng)
    adata.X.data[:] = rng.integers(1, 9, adata.X.nnz)
    adata.X.data[adata.X.indptr[3] : adata.X.indptr[4]] = 0
    td.tl.gene_activity(adata, genes, weights="archr")
    found = td.get.gene_activity(adata)
    table = found.uns["gene_activity"]["weights"]
    matrix = np.zeros((adata.n_vars, found.n_vars))
    matrix[adata.var_names.get_indexer(table["peak"]), found.var_names.get_indexer(table["gene"])] = table["weight"]
    raw = np.minimum(adata.X.toarray(), 4) @ matrix
    expected = raw / np.maximum(raw.sum(1, keepdims=True), 1e-9) * 1e4
    np.testing.assert_allclose(dense(found.layers["score"]), expected, rtol=1e-4)
    assert not dense(found.layers["score"])[3].any()
    params = found.uns["gene_activity"]["params"]
    assert (params["ceiling"], params["total"], params["upstream"]) == (4, 10_000, 5_000)


def test_archr_leaves_out_y_and_the_mitochondrion():
    genes = pd.concat([GENES, GENES.iloc[[0, 0]].set_axis(["ON_Y", "MT-A"]).assign(chrom=["chrY", "chrM"])])
    adata = peaks()
    td.tl.gene_activity(adata, genes, weights="archr")
    assert td.get.gene_activity(adata).var_names.tolist() == ["A", "B", "C"]
    assert adata.uns["gene_activity"]["params"]["n_excluded"] == 2
    td.tl.gene_activity(adata, genes)
    assert td.get.gene_activity(adata).n_vars == 5


@pytest.mark.parametrize("weights", ["gene_body", "archr"])
def test_the_order_of_cells_peaks_and_genes_changes_nothing(weights, rng):
    adata, genes = random_peaks(rng), random_genes(rng)
    turned = adata[rng.permutation(adata.n_obs), rng.permutation(adata.n_vars)].copy()
    other = genes.iloc[rng.permutation(len(genes))]
    td.tl.gene_activity(adata, genes, weights=weights)
    td.tl.gene_activity(turned, other, weights=weights)
    first, second = td.get.gene_activity(adata), td.get.gene_activity(turned)
    assert second.var_names.tolist() == other.index.tolist()
    second = second[first.obs_names, first.var_names].copy()
    np.testing.assert_array_equal(dense(first.X), dense(second.X))
    np.testing.assert_allclose(dense(first.layers["score"]), dense(second.layers["score"]), rtol=1e-6)
    pd.testing.assert_frame_equal(first.var, second.var)


def test_genes_of_an_annotation_are_named_as_in_the_expression():
    mdata = multiome(pd.DataFrame({"gene_ids": ["ENSG03", "ENSG01"]}, index=["gamma", "alpha"]))
    table = GENES.reset_index(drop=True).assign(gene_id=["ENSG01.4", "ENSG02.1", "ENSG03.2"])
    td.tl.gene_activity(mdata, table)
    assert mdata["activity"].var_names.tolist() == ["gamma", "alpha", "ENSG02"]
    assert mdata["activity"].var["start"].tolist() == [5_000, 10_000, 30_000]
    params = mdata["activity"].uns["gene_activity"]["params"]
    assert (params["matched_by"], params["n_annotated"]) == ("var['gene_ids'] = gene_id", 2)


def test_transcripts_of_a_gene_are_one_gene():
    transcripts = pd.concat([GENES, GENES.iloc[[1]].assign(start=31_000, end=41_050)])
    adata = peaks()
    td.tl.gene_activity(adata, transcripts)
    var = adata.uns["gene_activity"]["genes"]
    assert var.loc["B", ["start", "end", "tss"]].tolist() == [30_000, 41_050, 41_049]


def test_chromosomes_named_otherwise_are_matched(caplog):
    adata = peaks()
    td.tl.gene_activity(adata, GENES.assign(chrom=["1", "1", "2"]))
    assert adata.uns["gene_activity"]["genes"]["chrom"].tolist() == ["chr1", "chr1", "chr2"]
    assert "renamed" in caplog.text


# --- where it goes ----------------------------------------------------------------------------------------------------


def test_nothing_else_changes():
    mdata = multiome()
    mdata.obs["donor"] = pd.Categorical(["a", "b", "a", "b", "a", "b", "a"])
    mdata.var["kind"] = ["gene"] * 3 + ["peak"] * 6
    mdata["atac"].obs["depth"] = np.arange(7)
    mdata.obsm["X_both"] = np.ones((7, 2))
    before = {name: mod.copy() for name, mod in mdata.mod.items()}
    obs, var = mdata.obs.copy(), mdata.var.copy()
    for _ in range(2):  # the second call writes over the first
        td.tl.gene_activity(mdata)
        assert list(mdata.mod) == ["rna", "atac", "activity"]
        pd.testing.assert_frame_equal(mdata.obs, obs)
        assert mdata.var["kind"].tolist()[:9] == var["kind"].tolist()
        assert set(mdata.obsm) == {"rna", "atac", "activity", "X_both"}
        for name, old in before.items():
            new = mdata[name]
            np.testing.assert_array_equal(dense(new.X), dense(old.X))
            pd.testing.assert_frame_equal(new.obs, old.obs)
            pd.testing.assert_frame_equal(new.var, old.var)
            assert dict(new.uns) == {}


def test_copy_and_key_and_modalities():
    plain = multiome()
    mdata = new_mudata({"gex": plain["rna"], "peaks": plain["atac"]})
    copied = td.tl.gene_activity(mdata, modalities={"rna": "gex", "atac": "peaks"}, key_added="score", copy=True)
    assert list(mdata.mod) == ["gex", "peaks"]
    assert list(copied.mod) == ["gex", "peaks", "score"]
    assert td.get.gene_activity(copied, key="score").shape == (7, 3)
    assert td.tl.gene_activity(peaks(), GENES, key_added="act", copy=True).obsm["act_scores"].shape == (7, 3)


def test_peaks_alone_in_a_mudata():
    mdata = new_mudata({"atac": peaks()})
    td.tl.gene_activity(mdata, GENES)
    assert mdata["activity"].var_names.tolist() == ["A", "B", "C"]
    with pytest.raises(KeyError, match="no modality 'rna'"):
        td.tl.gene_activity(mdata)


@pytest.mark.parametrize("form", ["h5mu", "h5ad"])
def test_round_trip(form, tmp_path):
    if form == "h5mu":
        data = multiome()
        td.tl.gene_activity(data, weights="archr")
        data.write_h5mu(tmp_path / "a.h5mu")
        with pytest.warns(UserWarning, match="var_names are not unique"):
            back = read_h5mu(tmp_path / "a.h5mu")
    else:
        data = peaks()
        td.tl.gene_activity(data, GENES, weights="archr")
        data.write_h5ad(tmp_path / "a.h5ad")
        back = read_h5ad(tmp_path / "a.h5ad")
    first, second = td.get.gene_activity(data), td.get.gene_activity(back)
    np.testing.assert_array_equal(dense(first.X), dense(second.X))
    np.testing.assert_array_equal(dense(first.layers["score"]), dense(second.layers["score"]))
    pd.testing.assert_frame_equal(first.var, second.var)
    pd.testing.assert_frame_equal(first.obs, second.obs)
    held, again = first.uns["gene_activity"], second.uns["gene_activity"]
    for table in ("table", "weights"):
        pd.testing.assert_frame_equal(held[table], again[table])
    assert held["params"] == {name: type(held["params"][name])(value) for name, value in again["params"].items()}
    td.tl.gene_activity(back, *(() if form == "h5mu" else (GENES,)))  # its own result is known after reading too


def test_a_failure_at_the_very_end_leaves_the_object_as_it_was(monkeypatch):
    mdata, second = multiome(), multiome()
    td.tl.gene_activity(second)
    before = second["activity"]

    def fail(_):
        msg = "no update"
        raise RuntimeError(msg)

    monkeypatch.setattr("mudata.MuData.update", fail)
    for data in (mdata, second):
        with pytest.raises(RuntimeError, match="no update"):
            td.tl.gene_activity(data, weights="archr")
    assert list(mdata.mod) == ["rna", "atac"]
    assert second["activity"] is before


def test_what_others_have_written_is_kept():
    mdata = multiome()
    with pytest.raises(ValueError, match="a modality 'rna' that this function has not written"):
        td.tl.gene_activity(mdata, key_added="rna")
    mdata = new_mudata(
        {
            **mdata.mod,
            "activity": AnnData(COUNTS, obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=list("uvwxyz"))),
        }
    )
    with pytest.raises(ValueError, match="a modality 'activity' that this function has not written"):
        td.tl.gene_activity(mdata)
    adata = peaks()
    for slot, value in (("obsm", np.ones((7, 2))), ("uns", 3), ("uns", {"table": 1}), ("obs", 1)):
        taken = adata.copy()
        key = "gene_activity_unassigned" if slot == "obs" else "gene_activity"
        getattr(taken, slot)[key] = value
        with pytest.raises(ValueError, match="which this function has not written"):
            td.tl.gene_activity(taken, GENES)
    adata.obsm["gene_activity_scores"] = np.ones((7, 2))
    with pytest.raises(ValueError, match=r"obsm\['gene_activity_scores'\], which this function has not written"):
        td.tl.gene_activity(adata, GENES)


# --- reading it -------------------------------------------------------------------------------------------------------


def test_get_takes_the_columns_of_the_cells():
    mdata = multiome()
    mdata.obs["donor"] = list("abcabca")
    mdata["atac"].obs["depth"] = np.arange(7)
    td.tl.gene_activity(mdata)
    found = td.get.gene_activity(mdata)
    assert found.obs.columns.tolist() == ["depth", "donor", "unassigned"]
    found.X.data[:] = 0
    assert mdata["activity"].X.sum() > 0
    adata = mdata["atac"].copy()
    td.tl.gene_activity(adata, GENES)
    found = td.get.gene_activity(adata)
    assert found.obs.columns.tolist() == ["depth", "unassigned"]
    assert set(found.uns["gene_activity"]) == {"params", "table", "weights"}
    np.testing.assert_array_equal(found.obs["unassigned"], COUNTS[:, 5])


def test_get_where_there_is_nothing():
    with pytest.raises(KeyError, match="run `td.tl.gene_activity"):
        td.get.gene_activity(multiome())
    with pytest.raises(KeyError, match="is no result of"):
        td.get.gene_activity(multiome(), key="rna")
    adata = peaks()
    with pytest.raises(KeyError, match="run `td.tl.gene_activity"):
        td.get.gene_activity(adata)
    adata.uns["gene_activity"] = {}
    with pytest.raises(KeyError, match="is no result of"):
        td.get.gene_activity(adata)
    with pytest.raises(TypeError, match="data must be an AnnData"):
        td.get.gene_activity(3)
    td.tl.gene_activity(adata, GENES, key_added="kept")
    del adata.obs["kept_unassigned"]
    with pytest.raises(KeyError, match=r"obs\['kept_unassigned'\] of td.tl.gene_activity is gone; run it again"):
        td.get.gene_activity(adata, key="kept")


def test_the_result_is_ready_for_scanpy(rng):
    import scanpy as sc

    adata = random_peaks(rng)
    td.tl.gene_activity(adata, random_genes(rng))
    found = td.get.gene_activity(adata)
    sc.pp.normalize_total(found)
    sc.pp.log1p(found)
    sc.pp.pca(found, n_comps=3)
    assert found.obsm["X_pca"].shape == (30, 3)


def test_backed_mudata(tmp_path):
    multiome().write_h5mu(tmp_path / "a.h5mu")
    if installed("mudata", "0.4"):
        mdata = mudata.read_h5mu(tmp_path / "a.h5mu", backed="r")
    else:
        with mudata.set_options(pull_on_update=False):
            mdata = mudata.read_h5mu(tmp_path / "a.h5mu", backed="r")
    td.tl.gene_activity(mdata)
    assert mdata["activity"].X.sum() == COUNTS[:, :5].sum()
    mdata.file.close()
