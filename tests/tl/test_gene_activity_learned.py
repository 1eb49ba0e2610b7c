"""Gene activity with weights that are learned: what they gain, and that they go to other cells, genes and peaks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata, read_h5mu
from sctandem.kernels import pearson
from sctandem.tl._activity_learned import Learned


@pytest.fixture(scope="module")
def simulated():
    return td.datasets.simulate_multiome(500, 200, 2000, rng=1)


def halves(mdata):
    return (
        new_mudata({name: mod[rows].copy() for name, mod in mdata.mod.items()})
        for rows in (slice(0, 350), slice(350, None))
    )


def skill(rna, scores) -> float:
    values = rna.X.toarray().astype(float)
    values = np.log1p(values / values.sum(1, keepdims=True) * 1e4)
    scores = scores.toarray() if sparse.issparse(scores) else scores
    return float(np.nanmean(pearson(values, scores)))


def test_learned_weights_explain_more_than_fixed_ones_in_other_cells(simulated):
    train, test = halves(simulated)
    td.tl.gene_activity(test, weights="learned", reference=train)
    learned = skill(test["rna"], test["activity"].layers["score"])
    for weights in ("gene_body", "archr"):
        td.tl.gene_activity(test, weights=weights, key_added=weights)
        assert learned > skill(test["rna"], test[weights].layers["score"]) + 0.02
    assert test["activity"].uns["gene_activity"]["params"]["learned_from"] == "reference"


def test_result(simulated):
    mdata = simulated.copy()
    td.tl.gene_activity(mdata, weights="learned")
    found = mdata["activity"]
    scores = found.layers["score"]
    assert isinstance(scores, np.ndarray)
    assert (scores.dtype, scores.shape) == (np.float32, (500, 200))
    assert np.isfinite(scores).all()
    total = np.asarray(mdata["atac"].X.sum(1)).ravel()
    np.testing.assert_array_equal(np.asarray(found.X.sum(1)).ravel() + found.obs["unassigned"], total)
    weights = found.uns["gene_activity"]["weights"]
    assert (weights.loc[weights["owned"], "weight"] > 0).all()
    assert (weights["weight"] < 0).any()
    open_peaks = mdata["atac"].X.tocsc()
    for gene in found.var_names[:20]:
        near = mdata["atac"].var_names.get_indexer(weights.loc[weights["gene"] == gene, "peak"])
        assert found.var.loc[gene, "coverage"] == (open_peaks[:, near].sum(1) > 0).mean()
    largest = weights.groupby("peak", observed=True)["weight"].max()
    owned = weights[weights["owned"]].set_index("peak")["weight"]
    np.testing.assert_array_equal(owned, largest[owned.index])
    assert set(owned.index) == set(largest.index[largest > 0])


def test_genes_are_scored_by_what_was_learned_from_others(simulated):
    """Learned from expression that is exchanged between cells, scores say nothing of it, unless they have seen it."""
    mdata = simulated.copy()
    order = np.random.default_rng(0).permutation(mdata.n_obs)
    mdata["rna"].X = mdata["rna"].X[order]
    same = mdata.copy()
    td.tl.gene_activity(mdata, weights="learned")
    params = mdata["activity"].uns["gene_activity"]["params"]
    assert (params["learned_from"], params["cross_fitted"]) == ("data", True)
    crossed = skill(mdata["rna"], mdata["activity"].layers["score"])
    td.tl.gene_activity(mdata, weights="learned", reference=same)
    seen = skill(mdata["rna"], mdata["activity"].layers["score"])
    assert seen > 0.04
    assert abs(crossed) < seen / 3


def test_the_expression_of_a_chromosome_does_not_touch_its_scores(simulated):
    one, two = simulated.copy(), simulated.copy()
    chrom = two["rna"].var["chrom"].astype(str).to_numpy()
    counts = two["rna"].X.toarray()
    depth = counts.sum(1)
    moved = np.flatnonzero(chrom == "chr1")
    counts[:, moved] = counts[::-1][:, moved]
    two["rna"].X = sparse.csr_matrix(counts)
    for mdata in (one, two):  # library sizes hold all genes
        mdata["rna"].obs["depth"] = depth
        td.tl.gene_activity(mdata, weights="learned", size_factor_key="depth")
    same = (one["activity"].var["chrom"].astype(str) == "chr1").to_numpy()
    first, second = (mdata["activity"].layers["score"] for mdata in (one, two))
    np.testing.assert_array_equal(first[:, same], second[:, same])
    assert np.abs(first[:, ~same] - second[:, ~same]).max() > 1e-3


def test_two_chromosomes_are_too_few_to_leave_one_out(simulated, caplog):
    kept = simulated["rna"].var["chrom"].isin(["chr1", "chr2"]).to_numpy()
    near = simulated["atac"].var["chrom"].isin(["chr1", "chr2"]).to_numpy()
    mdata = new_mudata({"rna": simulated["rna"][:, kept].copy(), "atac": simulated["atac"][:, near].copy()})
    td.tl.gene_activity(mdata, weights="learned")
    assert "hold some of the noise of their own expression" in caplog.text
    assert not mdata["activity"].uns["gene_activity"]["params"]["cross_fitted"]


def test_the_same_weights_come_back_from_a_file_and_a_reference(simulated, tmp_path):
    mdata = simulated.copy()
    td.tl.gene_activity(mdata, weights="learned", reference=simulated)
    first = mdata["activity"].layers["score"]
    assert not mdata["activity"].uns["gene_activity"]["params"]["cross_fitted"]
    adata = simulated["atac"].copy()
    td.tl.gene_activity(adata, simulated["rna"].var, weights="learned", reference=simulated)
    np.testing.assert_array_equal(td.get.gene_activity(adata).layers["score"], first)
    del mdata.uns["truth"]
    mdata.write_h5mu(tmp_path / "a.h5mu")
    with pytest.warns(UserWarning, match="var_names are not unique"):
        back = read_h5mu(tmp_path / "a.h5mu")
    td.tl.gene_activity(
        adata, simulated["rna"].var, weights="learned", reference=back["activity"].uns["gene_activity"]["learned"]
    )
    np.testing.assert_allclose(adata.obsm["gene_activity_scores"], first, atol=1e-5)


def test_other_peaks_stand_for_those_they_overlap(simulated, rng):
    mdata = simulated.copy()
    td.tl.gene_activity(mdata, weights="learned", reference=simulated)
    learned = mdata["activity"].uns["gene_activity"]["learned"]
    # the same peaks in another order, their borders moved a little, and one that was never seen
    order = rng.permutation(mdata["atac"].n_vars)
    moved = mdata["atac"][:, order].copy()
    moved.var["start"] += 10
    moved.var["end"] += 10
    moved.var_names = [f"peak{i}" for i in range(moved.n_vars)]
    td.tl.gene_activity(moved, mdata["rna"].var, weights="learned", reference=learned)
    found = td.get.gene_activity(moved)
    assert np.corrcoef(found.layers["score"].ravel(), mdata["activity"].layers["score"].ravel())[0, 1] > 0.99
    new = moved[:, :1].copy()
    new.var[["start", "end"]] = [[100_000_000, 100_000_500]]
    with pytest.raises(ValueError, match="No peak overlaps one that the weights were learned with"):
        td.tl.gene_activity(new, mdata["rna"].var, weights="learned", reference=learned)


def test_a_peak_stands_for_the_one_it_shares_most_bases_with(simulated):
    mdata = simulated.copy()
    td.tl.gene_activity(mdata, weights="learned")
    learned = Learned.read(mdata["activity"].uns["gene_activity"]["learned"])
    first, second = (learned.peaks.iloc[i] for i in (0, 1))
    assert first["chrom"] == second["chrom"]
    both = pd.DataFrame(
        {
            "chrom": first["chrom"],
            "start": [first["end"] - 5, first["start"]],
            "end": [second["end"], second["start"] + 5],
        }
    )
    found, known = learned.at(both).state, learned.weights.state
    np.testing.assert_array_equal(found.loadings, known.loadings[[1, 0]])
    np.testing.assert_array_equal(found.openness, known.openness[[1, 0]])


def test_library_sizes(simulated):
    mdata = simulated.copy()
    sums = np.asarray(mdata["rna"].X.sum(1)).ravel()
    mdata["rna"].obs["size"] = sums
    td.tl.gene_activity(mdata, weights="learned", size_factor_key="size")
    by_key = mdata["activity"].layers["score"].copy()
    td.tl.gene_activity(mdata, weights="learned")
    np.testing.assert_array_equal(by_key, mdata["activity"].layers["score"])
    mdata["rna"].obs["size"] = sums * np.linspace(0.2, 5, 500)
    td.tl.gene_activity(mdata, weights="learned", size_factor_key="size")
    assert not np.allclose(by_key, mdata["activity"].layers["score"])
    with pytest.raises(KeyError, match="has a column 'depth'"):
        td.tl.gene_activity(mdata, weights="learned", size_factor_key="depth")
    mdata["rna"].obs["size"] = -1.0
    with pytest.raises(ValueError, match="size_factor_key='size' holds -1.0: library sizes are counts of at least 0"):
        td.tl.gene_activity(mdata, weights="learned", size_factor_key="size")
    mdata["rna"].obs["size"] = "many"
    with pytest.raises(ValueError, match="size_factor_key='size' holds no numbers: its dtype is"):
        td.tl.gene_activity(mdata, weights="learned", size_factor_key="size")
    del mdata["rna"].obs["size"]
    mdata.obs["size"] = sums  # of the whole object
    td.tl.gene_activity(mdata, weights="learned", size_factor_key="size")
    np.testing.assert_array_equal(by_key, mdata["activity"].layers["score"])


def test_what_cannot_be_learned_from(simulated):
    adata, genes = simulated["atac"].copy(), simulated["rna"].var
    with pytest.raises(ValueError, match="needs expression and peaks of the same cells to learn from"):
        td.tl.gene_activity(adata, genes, weights="learned")
    with pytest.raises(ValueError, match="reference is no entry"):
        td.tl.gene_activity(adata, genes, weights="learned", reference={"params": 1})
    with pytest.raises(TypeError, match="reference must be a MuData, got AnnData"):
        td.tl.gene_activity(adata, genes, weights="learned", reference=adata)
    logged = simulated.copy()
    logged["rna"].X = logged["rna"].X.astype(float).log1p()
    with pytest.raises(ValueError, match=r"mdata\['rna'\].X does not hold counts"):
        td.tl.gene_activity(logged, weights="learned")
    few = new_mudata({"rna": simulated["rna"][:, :4].copy(), "atac": adata})
    with pytest.raises(ValueError, match="weights can be learned from at least 10"):
        td.tl.gene_activity(few, weights="learned")
    other = new_mudata({"rna": simulated["rna"][:300].copy(), "atac": adata})
    with pytest.raises(ValueError, match="different cells"):
        td.tl.gene_activity(other, weights="learned")
    assert not adata.obsm
    assert list(few.mod) == ["rna", "atac"]


def test_genes_that_were_not_measured_are_scored(simulated):
    mdata = new_mudata({"rna": simulated["rna"][:, :150].copy(), "atac": simulated["atac"].copy()})
    td.tl.gene_activity(mdata, pd.DataFrame(simulated["rna"].var), weights="learned")
    found = mdata["activity"]
    assert found.var_names.tolist() == simulated["rna"].var_names.tolist()
    assert skill(simulated["rna"][:, 150:], found.layers["score"][:, 150:]) > 0.02
