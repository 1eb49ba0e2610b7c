from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata, read_h5mu

ROLES = ["activator", "repressor", "silent", "undecided"]


@pytest.fixture(scope="module")
def simulated():
    noise = td.datasets.SimulationNoise(counts_per_gene=3.0, counts_per_peak=0.8)
    mdata = td.datasets.simulate_multiome(1200, 240, 2400, noise=noise, rng=1)
    td.pp.gene_windows(mdata)
    return mdata


@pytest.fixture(scope="module")
def told(simulated):
    return td.tl.gene_function(simulated, batch_key="batch", copy=True)


def truth(mdata, table):
    links = mdata.uns["truth"]["links"].set_index(["gene", "peak"])["sign"]
    return links.reindex(pd.MultiIndex.from_frame(table[["gene", "peak"]].astype(str))).fillna(0).to_numpy()


def test_roles_are_those_of_the_simulation(told):
    table = td.get.gene_function(told)
    sign = truth(told, table)
    called = table["role"].isin(["activator", "repressor"]).to_numpy()
    assert called.sum() > 20
    right = np.where(table["role"] == "activator", 1, -1) == sign
    assert right[called].mean() > 0.85
    linked = sign != 0
    assert (np.sign(table["score"])[linked] == sign[linked]).mean() > 0.75
    silent = (table["role"] == "silent").to_numpy()
    assert silent.sum() > 100
    assert linked[silent].mean() < linked.mean()


def test_peaks_without_counts_are_named_as_such(simulated, caplog):
    mdata = simulated.copy()
    mdata["atac"].X = mdata["atac"].X @ sparse.diags(np.r_[0, np.ones(mdata["atac"].n_vars - 1)])
    with caplog.at_level("WARNING", "sctandem"):
        td.tl.gene_function(mdata)
    assert "features have no counts and are left out" in caplog.text
    first = td.get.gene_function(mdata)["peak"].astype(str) == mdata["atac"].var_names[0]
    assert (td.get.gene_function(mdata)["role"][first] == "undecided").all()


def test_every_pair_of_every_window_has_a_role(told):
    table, pairs = td.get.gene_function(told), td.get.gene_windows(told)
    assert table["role"].cat.categories.tolist() == ROLES
    assert len(table) == len(pairs)
    for column in ("gene", "peak", "distance"):
        assert table[column].astype(str).tolist() == pairs[column].astype(str).tolist()
    openness = np.asarray((told["atac"].X > 0).mean(0)).ravel()
    at = told["atac"].var_names.get_indexer(table["peak"])
    np.testing.assert_allclose(table["openness"], openness[at])
    params = told.uns["gene_function"]["params"]
    called = table["fdr"] <= params["fdr"]
    np.testing.assert_array_equal(table["role"].isin(["activator", "repressor"]), called)
    silent = table[table["role"] == "silent"]
    assert (silent["silent_fdr"] <= params["fdr"]).all()
    assert (silent["openness"] >= 0.02).all()
    assert (
        silent["effect"].abs() + 1.28 * silent["se"] < params["min_effect"]
    ).all()  # each alone at 10 %, at the least
    assert 0.8 < params["spread"] < 1.2


def test_places_are_those_of_the_annotation(told):
    table = td.get.gene_function(told)
    genes, peaks = told["rna"].var, told["atac"].var
    for row in table.iloc[::37].itertuples():
        gene, peak = genes.loc[row.gene], peaks.loc[row.peak]
        tss, forward = gene["tss"], gene["strand"] == "+"
        low, high = (tss - 1000, tss + 500) if forward else (tss - 500, tss + 1000)
        # distances are whole bp to the middle: a peak that only touches is not judged
        if peak["end"] > low + 1 and peak["start"] < high - 1:
            assert row.place == "promoter"
        elif peak["end"] > gene["start"] + 1 and peak["start"] < gene["end"] - 1:
            assert row.place == "gene body"
        elif peak["end"] < min(low, gene["start"]) - 1 or peak["start"] > max(high, gene["end"]) + 1:
            assert row.place == "distal"
    assert set(table["place"]) == {"promoter", "gene body", "distal"}


def test_genes_that_are_exchanged_are_driven_by_nothing(simulated):
    mdata = simulated.copy()
    mdata["rna"].X = mdata["rna"].X[:, np.random.default_rng(0).permutation(mdata["rna"].n_vars)]
    td.tl.gene_function(mdata, batch_key="batch")
    table = td.get.gene_function(mdata)
    assert table["role"].isin(["activator", "repressor"]).sum() <= 5
    tested = table["pvalue"].notna()
    assert (table.loc[tested, "pvalue"] <= 0.05).mean() < 0.08


def test_depth_and_units_do_not_matter(simulated, told):
    """Twice the library size in other units is the same size; the result is the same on every run."""
    mdata = simulated.copy()
    mdata["rna"].obs["size"] = np.asarray(mdata["rna"].X.sum(1)).ravel() * 2.0
    td.tl.gene_function(mdata, batch_key="batch", size_factor_key="size")
    mine, theirs = td.get.gene_function(mdata), td.get.gene_function(told)
    np.testing.assert_allclose(mine["effect"], theirs["effect"], rtol=1e-4, atol=1e-6)
    again = td.tl.gene_function(simulated, batch_key="batch", copy=True)
    pd.testing.assert_frame_equal(td.get.gene_function(again), theirs)


def test_a_file_gives_it_back_and_formats_do_not_matter(simulated, told, tmp_path):
    told.write_h5mu(tmp_path / "told.h5mu")
    back = read_h5mu(tmp_path / "told.h5mu")
    pd.testing.assert_frame_equal(td.get.gene_function(back), td.get.gene_function(told))
    assert "gene_function" not in simulated.uns
    other = simulated.copy()
    other["rna"].X, other["atac"].X = other["rna"].X.toarray(), sparse.csc_matrix(other["atac"].X)
    td.tl.gene_function(other, batch_key="batch")
    pd.testing.assert_frame_equal(td.get.gene_function(other), td.get.gene_function(told))


def test_cells_without_counts_and_genes_without_a_body(simulated, caplog):
    mdata = simulated[:300].copy()
    rna, atac = mdata["rna"], mdata["atac"]
    genes, peaks = rna.X.toarray(), atac.X.toarray()
    genes[3], peaks[5], genes[:, 0] = 0, 0, 0
    rna.X, atac.X = genes, peaks
    rna.var = rna.var[[]]
    with caplog.at_level("WARNING"):
        td.tl.gene_function(mdata)
    assert "peaks in the bodies of genes are called distal" in caplog.text
    table = td.get.gene_function(mdata)
    assert set(table["place"]) == {"promoter", "distal"}
    assert mdata.uns["gene_function"]["params"]["n_cells"] == 298
    silent_gene = table[table["gene"] == rna.var_names[0]]
    assert silent_gene["effect"].isna().all()
    assert (silent_gene["role"] == "undecided").all()
    with_bodies = td.tl.gene_function(mdata, simulated["rna"].var, copy=True)
    assert "gene body" in set(td.get.gene_function(with_bodies)["place"])


def renamed(mdata):
    mdata["atac"].var_names = [f"peak{i}" for i in range(mdata["atac"].n_vars)]
    return mdata


def column(mdata, **values):
    mdata["rna"].obs = mdata["rna"].obs.assign(**values)
    return mdata


def fractions(mdata):
    mdata["rna"].X = mdata["rna"].X * 0.5
    return mdata


@pytest.mark.parametrize(
    ("make", "arguments", "error", "match"),
    [
        (lambda m: m, {"windows_key": "none"}, KeyError, "run `td.pp.gene_windows"),
        (lambda m: m, {"batch_key": "none"}, KeyError, "has a column 'none'"),
        (lambda m: m, {"min_effect": 0}, ValueError, "min_effect=0"),
        (lambda m: m, {"fdr": 2}, ValueError, "fdr=2"),
        (lambda m: m, {"key_added": "a/b"}, ValueError, "slash"),
        (lambda m: column(m, size=0.0), {"size_factor_key": "size"}, ValueError, "library sizes are counts above 0"),
        (lambda m: column(m, lot=np.nan), {"batch_key": "lot"}, ValueError, "missing for 80 cells"),
        (renamed, {}, ValueError, "made of other data"),
        (fractions, {}, ValueError, "does not hold counts"),
        (lambda m: m[:20].copy(), {}, ValueError, "at least 50 cells"),
        (lambda m: m["rna"], {}, TypeError, "not a MuData"),
    ],
)
def test_errors_name_what_is_wrong_and_leave_nothing_behind(simulated, make, arguments, error, match):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = make(simulated[:80].copy())
    with pytest.raises(error, match=match):
        td.tl.gene_function(data, **arguments)
    assert "gene_function" not in data.uns


def test_get_selects_genes_and_roles(told):
    table = td.get.gene_function(told)
    gene = str(table["gene"].iloc[0])
    assert set(td.get.gene_function(told, gene)["gene"]) == {gene}
    assert set(td.get.gene_function(told, role="silent")["role"]) == {"silent"}
    with pytest.raises(KeyError, match="nothing for 'none'"):
        td.get.gene_function(told, "none")
    with pytest.raises(ValueError, match="'activator'"):
        td.get.gene_function(told, role="enhancer")
    with pytest.raises(KeyError, match="gene_function"):
        td.get.gene_function(new_mudata({"rna": AnnData(np.ones((2, 2)))}))


def test_plot_places_marks_where_peaks_lie(told):
    table = td.get.gene_function(told)
    gene = str(table.loc[table["role"] == "activator", "gene"].iloc[0])
    ax = td.pl.gene_function(told, gene)
    rows = table[table["gene"] == gene]
    row = told["rna"].var.loc[gene]
    middle = row["tss"] + (1 if row["strand"] == "+" else -1) * rows["distance"]
    drawn = np.concatenate(
        [c.get_offsets() for c in ax.collections if len(c.get_offsets()) and hasattr(c, "get_sizes")]
    )
    expected = np.column_stack([middle, rows["effect"]])[rows["effect"].notna().to_numpy()]
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0])], expected[np.argsort(expected[:, 0])])
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(word.startswith("activator (") for word in words)
    assert ax.get_title(loc="left") == gene
    with pytest.raises(TypeError, match="one gene"):
        td.pl.gene_function(told, [gene])
