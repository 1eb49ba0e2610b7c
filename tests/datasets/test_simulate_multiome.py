"""The simulator keeps its word: every truth that it returns is found again in what it draws."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

import sctandem as td
from sctandem.datasets import SimulationDesign, SimulationNoise

if TYPE_CHECKING:
    from mudata import MuData

SILENT = SimulationNoise(doublets=0, ambient=0, batch_sd=0)


@pytest.fixture(name="mdata", scope="module")
def fixture_mdata() -> MuData:
    return td.datasets.simulate_multiome(700, 60, 700, rng=1)


@pytest.fixture(name="truth", scope="module")
def fixture_truth(mdata) -> SimpleNamespace:
    return SimpleNamespace(**mdata.uns["truth"])


@pytest.fixture(name="usual", scope="module")
def fixture_usual() -> MuData:
    """The defaults, as users get them."""
    return td.datasets.simulate_multiome()


def log_rate(mdata: MuData) -> np.ndarray:
    return np.log(mdata["rna"].layers["true_rate"].astype(float))


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)


# --- what is there ----------------------------------------------------------------------------------------------------


def test_slots(mdata):
    rna, atac = mdata["rna"], mdata["atac"]
    assert rna.shape == (700, 60)
    assert atac.shape == (700, 700)
    for modality in (rna, atac):
        assert modality.X.format == "csr"
        assert modality.X.dtype == np.int32
        assert modality.X.has_sorted_indices
        assert modality.X.data.min() > 0
        pd.testing.assert_frame_equal(modality.obs, mdata.obs)
    assert rna.layers["true_rate"].dtype == np.float32
    np.testing.assert_allclose(rna.layers["true_rate"].sum(1), 1e4, rtol=1e-4)
    for column in ("cell_type", "donor", "batch", "condition"):
        assert isinstance(mdata.obs[column].dtype, pd.CategoricalDtype)
    assert mdata.obs["doublet"].dtype == bool
    assert mdata.obs["pseudotime"].between(0, 1).all()


def test_genome(mdata, truth):
    genes, peaks, size = mdata["rna"].var, mdata["atac"].var, truth.chromosomes["size"]
    for table in (genes, peaks):
        assert (table["start"] >= 0).all()
        assert (table["start"] < table["end"]).all()
        assert (table["end"].to_numpy() <= size[table["chrom"]].to_numpy()).all()
    first = np.where(genes["strand"] == "+", genes["start"], genes["end"] - 1)
    np.testing.assert_array_equal(genes["tss"], first)
    assert set(genes["strand"]) == {"+", "-"}
    for _, here in peaks.groupby("chrom"):
        assert (here["start"].to_numpy()[1:] >= here["end"].to_numpy()[:-1]).all()
    names = [f"{chrom}:{start}-{end}" for chrom, start, end in peaks[["chrom", "start", "end"]].itertuples(index=False)]
    assert peaks.index.tolist() == names
    assert mdata["rna"].var["chrom"].nunique() == 6


def test_links_have_the_distances_of_gene_windows(mdata, truth):
    td.pp.gene_windows(mdata)
    pairs = mdata.uns.pop("gene_windows")["pairs"].astype({"gene": str, "peak": str})
    both = truth.links.merge(pairs, on=["gene", "peak"], suffixes=("", "_window"))
    assert len(both) == len(truth.links) > 100
    np.testing.assert_array_equal(both["distance"], both["distance_window"])
    assert 0.1 < len(both) / len(pairs) < 0.3


def test_edges_are_links_of_peaks_with_a_site(mdata, truth):
    del mdata
    sites = set(zip(truth.sites["tf"], truth.sites["peak"], strict=True))
    signs = truth.links.set_index(["peak", "gene"])["sign"]
    edges = truth.edges
    assert set(zip(edges["tf"], edges["peak"], strict=True)) <= sites
    np.testing.assert_array_equal(signs[pd.MultiIndex.from_frame(edges[["peak", "gene"]])], edges["sign"])
    assert set(zip(edges["peak"], edges["gene"], strict=True)) == set(signs.index)
    roles = truth.tfs["role"]
    assert set(edges.loc[edges["tf"].map(roles) == "repressor", "sign"]) == {-1}
    assert "boundary" not in set(edges["tf"].map(roles))


def test_lineage_and_pseudotime(usual):
    truth, obs = usual.uns["truth"], usual.obs
    types = obs["cell_type"].cat.categories
    assert set(truth["lineage"]["child"]) == set(types) - {"stem"}
    assert set(truth["lineage"]["parent"]) <= set(types)
    middle = obs.groupby("cell_type", observed=True)["pseudotime"].median()
    for parent, child in truth["lineage"].itertuples(index=False):
        assert middle[parent] < middle[child]
    # along an edge a cell moves from its parent's activities to its own
    activity = truth["tf_activity"].to_numpy()
    for parent, child in truth["lineage"].itertuples(index=False):
        here = (obs["cell_type"] == child).to_numpy()
        late = obs["pseudotime"].to_numpy() > obs["pseudotime"][here].median()
        origin = activity[(obs["cell_type"] == parent).to_numpy()].mean(0)
        gone = np.linalg.norm(activity[here & late].mean(0) - origin)
        assert gone > np.linalg.norm(activity[here & ~late].mean(0) - origin)


def test_fractions_are_the_shares_of_the_cells(mdata, truth):
    np.testing.assert_allclose(truth.fractions.sum(axis=1), 1)
    for donor, shares in truth.fractions.iterrows():
        counted = mdata.obs.loc[mdata.obs["donor"] == donor, "cell_type"].value_counts(normalize=True)
        np.testing.assert_allclose(shares, counted[shares.index])


def test_donors_batches_and_conditions_are_crossed_as_said(usual):
    table = usual.obs.groupby(["donor", "condition"], observed=True).size().unstack()
    assert (np.abs(table["control"] - table["treated"]) <= 80).all()  # doublets' second cells are not listed
    assert (usual.obs.groupby("donor", observed=True)["batch"].nunique() == 1).all()
    assert usual.obs["batch"].nunique() == 2


# --- regulation seen through the data ---------------------------------------------------------------------------------


def test_signs_are_seen_in_expression(usual):
    """Links of activators and repressors against the same factors' peaks behind a boundary: those explain nothing."""
    truth, rna, atac = usual.uns["truth"], usual["rna"], usual["atac"]
    role = truth["peaks"]["role"]
    known = truth["links"].set_index(["gene", "peak"])["sign"]
    td.pp.gene_windows(usual)
    pairs = usual.uns.pop("gene_windows")["pairs"].astype({"gene": str, "peak": str})
    sign = known.reindex(pd.MultiIndex.from_frame(pairs[["gene", "peak"]])).fillna(0).to_numpy()
    depth = np.asarray(atac.X.sum(1)).ravel()
    openness = standardised(np.log1p(atac.X.toarray() / depth[:, None] * 1e4))
    correlation = standardised(log_rate(usual)).T @ openness / usual.n_obs
    seen = correlation[rna.var_names.get_indexer(pairs["gene"]), atac.var_names.get_indexer(pairs["peak"])]
    kind = role[pairs["peak"]].to_numpy()
    for name, expected in (("activator", 1), ("repressor", -1)):
        linked, unlinked = (kind == name) & (sign == expected), (kind == name) & (sign == 0)
        test = stats.ttest_ind(expected * seen[linked], expected * seen[unlinked], alternative="greater")
        assert linked.sum() > 50
        assert test.pvalue < 1e-4


def test_neither_distance_nor_correlation_tells_the_links(usual):
    truth, rna, atac = usual.uns["truth"], usual["rna"], usual["atac"]
    td.pp.gene_windows(usual)
    pairs = usual.uns.pop("gene_windows")["pairs"].astype({"gene": str, "peak": str})
    linked = pd.MultiIndex.from_frame(pairs[["gene", "peak"]]).isin(
        pd.MultiIndex.from_frame(truth["links"][["gene", "peak"]])
    )
    scaled = [
        standardised(np.log1p(m.X.toarray() / np.maximum(np.asarray(m.X.sum(1)), 1).reshape(-1, 1) * 1e4))
        for m in (rna, atac)
    ]
    correlation = scaled[0].T @ scaled[1] / usual.n_obs
    seen = correlation[rna.var_names.get_indexer(pairs["gene"]), atac.var_names.get_indexer(pairs["peak"])]
    by_distance = average_precision_score(linked, -pairs["distance"].abs())
    by_correlation = average_precision_score(linked, np.abs(seen))
    assert linked.mean() == pytest.approx(0.19, abs=0.03)
    assert linked.mean() < by_distance < 0.3
    assert linked.mean() < by_correlation < 0.4
    # what one can know without the factors' grammar is far from all: the role of the peak and its side are shared
    role = truth["peaks"]["role"][pairs["peak"]].to_numpy()
    group = role + np.where(role == "upstream", pairs["distance"] < 0, pairs["distance"] > 0).astype(str)
    by_role = average_precision_score(linked, pd.Series(linked).groupby(group).transform("mean"))
    assert by_role > 1.5 * by_distance


# --- measurement ------------------------------------------------------------------------------------------------------


def test_depth_and_sparsity_are_those_of_a_multiome(usual):
    rna, atac = usual["rna"].X, usual["atac"].X
    single = ~usual.obs["doublet"].to_numpy()
    depth = [np.asarray(x.sum(1)).ravel()[single] for x in (rna, atac)]
    assert np.median(depth[0]) == pytest.approx(0.8 * 400, rel=0.1)
    assert np.median(depth[1]) == pytest.approx(0.2 * 4000, rel=0.1)
    assert np.log(depth[0]).std() == pytest.approx(0.5, abs=0.1)
    assert stats.spearmanr(*depth).statistic == pytest.approx(0.5, abs=0.15)
    assert 0.25 < rna.nnz / np.prod(rna.shape) < 0.42
    assert 0.06 < atac.nnz / np.prod(atac.shape) < 0.13
    assert (atac.data % 2 == 0).mean() > 0.8
    window = np.array([10, 36])
    td.pp.gene_windows(usual)
    peaks = usual.uns.pop("gene_windows")["genes"]["n_peaks"]
    np.testing.assert_allclose(np.percentile(peaks, [5, 95]), window, atol=6)


def test_counts_follow_the_true_rate():
    """Without batches, ambient counts and doublets: sums over cells against their expectation, and their variance."""
    mdata = td.datasets.simulate_multiome(4000, 30, 100, noise=SILENT, rng=2)
    counts, rate = mdata["rna"].X.toarray().astype(float), mdata["rna"].layers["true_rate"].astype(float) / 1e4
    mean = counts.sum(1, keepdims=True) * rate
    off = (counts - mean).sum(0) / np.sqrt(((counts - mean) ** 2).sum(0))
    assert np.abs(off).max() < 4  # standard errors
    seen = mean.mean(0) > 0.3
    dispersion = (((counts - mean) ** 2 - mean).sum(0) / (mean**2).sum(0))[seen]
    assert seen.sum() > 10
    assert (dispersion > 0).all()
    assert 0.12 < np.median(dispersion) < 0.4  # 1/4 for the median gene


def test_doublets(usual):
    obs, doublets = usual.obs, usual.uns["truth"]["doublets"]
    assert obs["doublet"].sum() == len(doublets) == 80
    assert doublets["cell"].tolist() == obs.index[obs["doublet"]].tolist()
    depth = np.asarray(usual["atac"].X.sum(1)).ravel()
    ratio = depth[obs["doublet"]].mean() / depth[~obs["doublet"]].mean()
    assert ratio == pytest.approx(2, abs=0.35)


def test_ambient_counts_blur_the_types():
    clean, soup = (
        td.datasets.simulate_multiome(600, 60, 200, noise=SimulationNoise(ambient=share, doublets=0), rng=3)
        for share in (0.0, 1.0)
    )

    def spread(mdata: MuData) -> float:
        """Mean squared log ratio between two types' expression, for genes that are seen."""
        total = [
            np.asarray(mdata["rna"].X[(mdata.obs["cell_type"] == t).to_numpy()].sum(0)).ravel() for t in ("A", "B")
        ]
        seen = np.minimum(*total) > 50
        shares = [t[seen] / t.sum() for t in total]
        return float(np.mean(np.log(shares[0] / shares[1]) ** 2))

    assert spread(soup) < 0.15 * spread(clean)


def test_dropout_loses_low_counts():
    full, thinned = (
        td.datasets.simulate_multiome(300, 40, 100, noise=SimulationNoise(dropout=share), rng=4)["rna"].X
        for share in (0.0, 0.8)
    )
    assert thinned.nnz < 0.8 * full.nnz
    assert thinned.max() > 0.5 * full.max()


# --- conditions -------------------------------------------------------------------------------------------------------


def test_differential_genes_are_those_whose_rate_differs():
    design = SimulationDesign(cell_sd=0.05, donor_sd=0)
    mdata = td.datasets.simulate_multiome(3000, 80, 800, design=design, noise=SILENT, rng=5)
    table, obs, rate = mdata.uns["truth"]["de_genes"], mdata.obs, mdata["rna"].layers["true_rate"]
    assert set(table["cell_type"]) == {"A", "A1", "A2"}
    for kind in ("A", "A1", "A2", "B1"):
        here = [((obs["cell_type"] == kind) & (obs["condition"] == c)).to_numpy() for c in ("treated", "control")]
        seen = pd.Series(np.log2(rate[here[0]].mean(0) / rate[here[1]].mean(0)), index=mdata["rna"].var_names)
        truth = table[table["cell_type"] == kind].set_index("gene")["log_fold_change"].reindex(seen.index).fillna(0)
        shifted = seen - seen[truth == 0].median()  # the scale to 10,000 moves all genes alike
        assert np.abs(shifted - truth).mean() < 0.1
        assert np.abs(shifted[truth == 0]).max() < 0.3
        if kind == "B1":
            assert (truth == 0).all()
        else:
            assert 10 < (truth != 0).sum() < 70
            assert np.corrcoef(shifted, truth)[0, 1] > 0.97


def test_no_effect_no_differential_genes():
    mdata = td.datasets.simulate_multiome(50, 30, 200, design=SimulationDesign(condition_effect=0))
    assert mdata.uns["truth"]["de_genes"].empty
    assert set(mdata.obs["condition"]) == {"control", "treated"}


# --- seeds, files and bad values --------------------------------------------------------------------------------------


def test_seeds():
    first, again, other = (td.datasets.simulate_multiome(60, 30, 200, rng=seed) for seed in (7, 7, 8))
    for name in ("rna", "atac"):
        assert (first[name].X != again[name].X).nnz == 0
        assert (first[name].X != other[name].X).nnz > 0
    pd.testing.assert_frame_equal(first.obs, again.obs)
    pd.testing.assert_frame_equal(first.uns["truth"]["links"], again.uns["truth"]["links"])
    assert not first["atac"].var_names.equals(other["atac"].var_names)
    drawn = td.datasets.simulate_multiome(60, 30, 200, rng=np.random.default_rng(7))
    assert (first["rna"].X != drawn["rna"].X).nnz == 0


def test_genome_does_not_depend_on_the_number_of_cells(tmp_path):
    small, large = (td.datasets.simulate_multiome(n, 25, 150, fasta=tmp_path / f"{n}.fa", rng=9) for n in (10, 90))
    assert small["atac"].var_names.equals(large["atac"].var_names)
    pd.testing.assert_frame_equal(small.uns["truth"]["sites"], large.uns["truth"]["sites"])
    assert (tmp_path / "10.fa").read_bytes() == (tmp_path / "90.fa").read_bytes()


def test_h5mu_round_trip(mdata, tmp_path):
    mdata.write(tmp_path / "simulated.h5mu")
    again = td.io.read_multiome(tmp_path / "simulated.h5mu")
    for name, expected in mdata.uns["truth"].items():
        found = again.uns["truth"][name]
        if isinstance(expected, pd.DataFrame):
            pd.testing.assert_frame_equal(
                found, expected, check_dtype=False, check_categorical=False, check_index_type=False
            )
    np.testing.assert_array_equal(again.uns["truth"]["motifs"]["TF01"], mdata.uns["truth"]["motifs"]["TF01"])
    assert again.obs["doublet"].dtype == bool


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_cells": 0}, "n_cells=0"),
        ({"n_genes": 5}, "n_genes=5 is not an integer of at least 20"),
        ({"n_genes": 100, "n_peaks": 50}, "n_peaks=50 is not an integer of at least 100"),
        (
            {"n_genes": 20, "n_peaks": 4000, "design": SimulationDesign(gene_spacing=10)},
            "n_peaks=4000 do not fit: 20 genes have room for",
        ),
    ],
)
def test_bad_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        td.datasets.simulate_multiome(**arguments)


@pytest.mark.parametrize(
    ("config", "knobs", "message"),
    [
        (SimulationNoise, {"doublets": 1.5}, r"doublets=1\.5 is not a number between 0 and 1"),
        (SimulationNoise, {"counts_per_gene": 0}, "counts_per_gene=0 is not a number above 0"),
        (SimulationNoise, {"depth_sd": -1}, "depth_sd=-1"),
        (SimulationDesign, {"n_types": 3}, "n_types=3 is not an integer of at least 5"),
        (SimulationDesign, {"n_donors": 2.5}, r"n_donors=2\.5 is not an integer above 0"),
        (SimulationDesign, {"link_loss": -0.1}, r"link_loss=-0\.1"),
    ],
)
def test_bad_knobs(config, knobs, message):
    with pytest.raises(ValueError, match=message):
        config(**knobs)


def test_all_doublets_and_more_types():
    mdata = td.datasets.simulate_multiome(
        40, 25, 100, design=SimulationDesign(n_types=9, n_donors=3, n_batches=5), noise=SimulationNoise(doublets=1.0)
    )
    assert mdata.obs["doublet"].all()
    assert mdata.obs["cell_type"].cat.categories.tolist()[-2:] == ["A11", "A12"]
