from __future__ import annotations

import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import linregress
from scipy.stats import t as student

import sctandem as td
from sctandem.kernels._knockout import MEANS, SPREADS, Closing, GroupCounts, _mix, predict_changes

FAST = {"n_members": 0}


@pytest.fixture(scope="module")
def simulated():
    noise = td.datasets.SimulationNoise(counts_per_gene=3.0, counts_per_peak=0.8)
    mdata = td.datasets.simulate_multiome(600, 120, 1200, noise=noise, rng=1)
    td.pp.gene_windows(mdata)
    return mdata


@pytest.fixture(scope="module")
def told(simulated):
    reachable = sorted(set(td.get.gene_windows(simulated)["peak"].astype(str)))
    return td.tl.knockout(simulated, reachable, settings={"batch_key": "batch", "n_members": 2}, rng=0, copy=True)


def signs(mdata, table):
    links = mdata.uns["truth"]["links"].set_index(["peak", "gene"])["sign"]
    return links.reindex(pd.MultiIndex.from_frame(table[["element", "gene"]].astype(str))).fillna(0).to_numpy()


def test_what_drives_a_gene_takes_its_expression_away(told):
    table = td.get.knockout(told)
    table = table[table["log2fc"].notna()]
    most = table.groupby(["element", "gene"], observed=True)["log2fc"].agg(
        lambda values: values.iloc[values.abs().argmax()]
    )
    most = most.reset_index()
    sign = signs(told, most)
    linked = sign != 0
    assert (np.sign(most["log2fc"])[linked] == -sign[linked]).mean() > 0.8
    first = most["log2fc"].abs().sort_values(ascending=False).index[:40]
    assert linked[first].mean() > 3 * linked.mean()


def test_rows_are_complete_and_ordered(told):
    table, pairs = td.get.knockout(told), td.get.gene_windows(told)
    n_groups = told.obs["cell_type"].nunique()
    assert len(table) == len(pairs) * n_groups
    assert not table.duplicated(["element", "gene", "group"]).any()
    given = pairs.set_index(["peak", "gene"])["distance"]
    index = pd.MultiIndex.from_frame(table[["element", "gene"]].astype(str))
    given.index = pd.MultiIndex.from_arrays([given.index.get_level_values(i).astype(str) for i in (0, 1)])
    np.testing.assert_array_equal(table["distance"], given.reindex(index))
    some = table[table["log2fc"].notna()]
    assert ((some["low"] <= some["log2fc"]) & (some["log2fc"] <= some["high"])).all()
    np.testing.assert_array_equal(some["verdict"] == "down", some["high"] < 0)
    np.testing.assert_array_equal(some["verdict"] == "up", some["low"] > 0)
    none = table[table["log2fc"].isna()]
    assert (none["verdict"] == "not predicted").all()
    assert (none["reason"] != "").all()
    assert (some["reason"] == "").all()
    for _, rows in list(table.groupby("element", observed=True))[:20]:
        most = (
            rows.groupby("gene", observed=True, sort=False)["log2fc"].apply(lambda values: values.abs().max()).dropna()
        )
        assert (most.diff().dropna() <= 0).all()


def test_one_peak_is_what_it_is_among_all(simulated, told):
    name = td.get.knockout(told)["element"].iloc[0]
    alone = td.tl.knockout(simulated, str(name), settings={"batch_key": "batch", "n_members": 2}, rng=0, copy=True)
    one, among = td.get.knockout(alone), td.get.knockout(told, str(name))
    np.testing.assert_allclose(one["log2fc"], among["log2fc"])  # the draws of the intervals differ, the guess does not
    again = td.tl.knockout(simulated, str(name), settings={"batch_key": "batch", "n_members": 2}, rng=0, copy=True)
    pd.testing.assert_frame_equal(td.get.knockout(again), one)
    assert again.uns["knockout"]["params"]["seed"] == 0


def test_groups_follow_the_openness_of_the_peak():
    """A mixture of one part, by hand: the change is minus the loss times the openness over its mean, in bits."""
    closing = Closing(np.ones((1, 1)), np.array([[0.5]]), np.array([[1e-9]]), np.array([0.5]), np.array([True]))
    counts = GroupCounts(np.array([[3000.0, 0.0, 1000.0]]), np.array([[1000.0, 1000.0, 1000.0]]))
    guess, low, high = predict_changes(closing, counts, np.array([0]), np.array([0]), rng=np.random.default_rng(0))
    np.testing.assert_allclose(guess[0], -0.5 / np.log(2) * np.array([3005, 5, 1005]) / 1005)
    assert ((low < guess) & (guess < high))[0].all()
    half = np.full((10, 3), 0.5)
    np.testing.assert_allclose(
        predict_changes(closing, counts, np.array([0]), np.array([0]), lost=half, rng=np.random.default_rng(0))[0],
        guess / 2,
    )


@pytest.mark.parametrize(("level", "deviations"), [(0.9, 1.645), (0.5, 0.674)])
def test_intervals_have_the_level_they_say(level, deviations):
    """Where all but the response to openness is known, the change is log-normal with a deviation of a half: the ends are its quantiles."""
    n = 300
    closing = Closing(*(np.full((n, 1), value) for value in (1.0, 0.5, 1e-9)), np.full(n, 0.5), np.ones(n, bool))
    counts = GroupCounts(np.full((n, 1), 1e9), np.full((n, 1), 1e9))
    every = np.arange(n)
    _, low, high = predict_changes(closing, counts, every, every, level=level, rng=np.random.default_rng(0))
    middle = 0.5 / np.log(2)
    assert low.mean() == pytest.approx(-middle * np.exp(0.5 * deviations), rel=0.03)
    assert high.mean() == pytest.approx(-middle * np.exp(-0.5 * deviations), rel=0.03)


def test_the_mixture_learns_its_shares_and_is_right_about_them():
    """Effects drawn from the mixture, half of them nothing: posteriors beat what was measured, and hold the truth as often as they say."""
    rng = np.random.default_rng(0)
    n = 6000
    expected = rng.choice([-1.0, 1.0], n) * rng.random(n)
    part = rng.choice([0, 4], n)  # nothing, or 0.4 in the expected direction
    true = np.sign(expected) * MEANS[part] + SPREADS[part] * rng.normal(size=n)
    se = rng.uniform(0.05, 0.4, n)
    measured = true + se * rng.normal(size=n)
    share, mean, sd = _mix(measured, se, expected, np.ones(n, dtype=bool))
    np.testing.assert_allclose(share.sum(axis=1), 1)
    assert share[:, :2].sum(axis=1).mean() == pytest.approx(0.5, abs=0.06)
    assert share[:, 4:8].sum(axis=1).mean() == pytest.approx(0.5, abs=0.1)
    assert np.mean(((share * mean).sum(axis=1) - true) ** 2) < 0.5 * np.mean((measured - true) ** 2)
    closing = Closing(share, mean, sd, np.zeros(n), np.ones(n, dtype=bool))
    low, high = np.quantile(closing.draw(np.arange(n), 400, rng=rng), [0.05, 0.95], axis=0)
    assert ((low <= true) & (true <= high)).mean() == pytest.approx(0.9, abs=0.03)


def test_draws_are_those_of_the_mixture():
    closing = Closing(
        np.array([[0.25, 0.75]]), np.array([[-2.0, 3.0]]), np.array([[0.1, 0.2]]), np.zeros(1), np.ones(1, bool)
    )
    drawn = closing.draw(np.array([0]), 20_000, rng=np.random.default_rng(0))[:, 0]
    assert (drawn < 0).mean() == pytest.approx(0.25, abs=0.01)
    assert drawn[drawn > 0].mean() == pytest.approx(3.0, abs=0.01)
    assert drawn[drawn < 0].std() == pytest.approx(0.1, abs=0.01)


def test_expected_counts_follow_depth():
    atac = sparse.csr_matrix(np.array([[2, 0], [2, 2], [0, 6]]))
    counts = GroupCounts.of(atac, sparse.csr_matrix(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])))
    np.testing.assert_array_equal(counts.counts, [[4, 0], [2, 6]])
    np.testing.assert_allclose(counts.expected, [[2, 2], [4, 4]])


def test_few_counts_are_told(simulated):
    mdata = simulated.copy()
    pairs = td.get.gene_windows(mdata)
    peak = str(pairs["peak"].value_counts().index[0])
    gene = str(pairs["gene"][pairs["peak"] == peak].iloc[0])
    x = mdata["rna"].X.tolil()
    x[:, mdata["rna"].var_names.get_loc(gene)] = 0
    mdata["rna"].X = x.tocsr()
    kind = mdata.obs["cell_type"].astype(str).to_numpy().copy()
    kind[:3] = "rare"
    mdata.obs["cell_type"] = pd.Categorical(kind)
    mdata["rna"].var["tape_verdict"] = "better than kNN"
    other = next(str(name) for name in pairs[pairs["peak"] == peak]["gene"] if name != gene)
    mdata["rna"].var.loc[other, "tape_verdict"] = "no better than the mean"
    td.tl.knockout(mdata, peak, settings=FAST, rng=0)
    table = td.get.knockout(mdata)
    assert set(table[table["gene"] == gene]["reason"]) == {"too few counts of the gene"}
    assert set(table[table["gene"] == other]["reason"]) == {"no held-out skill for the gene"}
    rest = table[~table["gene"].isin([gene, other])]
    assert set(rest[rest["group"] == "rare"]["reason"]) <= {"too few cells in the group"}
    assert table[table["group"] == "rare"]["log2fc"].isna().all()


def test_motif_takes_its_part(simulated, tmp_path):
    peaks = simulated.uns["truth"]["peaks"]
    factors = sorted(set(peaks["tf"]) - {""})
    hits = sparse.csr_matrix(np.array([(peaks["tf"] == name).to_numpy() for name in factors], dtype=float).T)
    mdata = simulated.copy()
    mdata["atac"].varm["motifs"] = hits
    mdata["atac"].uns["motifs"] = {"names": np.array(factors, dtype=object)}
    windows = set(td.get.gene_windows(mdata)["peak"].astype(str))
    bound = peaks[(peaks["role"] == "activator") & peaks.index.isin(windows)]
    peak, factor = bound.index[0], bound["tf"].iloc[0]
    td.tl.knockout(mdata, motif=(peak, factor), settings=FAST, rng=0)
    td.tl.knockout(mdata, peak, settings=FAST, rng=0, key_added="whole")
    part, whole = (td.get.knockout(mdata, key=key).sort_values(["gene", "group"]) for key in ("knockout", "whole"))
    assert set(part["element"]) == {f"{peak} without {factor}"}
    ratio = (part["log2fc"].to_numpy() / whole["log2fc"].to_numpy())[whole["log2fc"].notna().to_numpy()]
    assert ((ratio >= -1e-9) & (ratio <= 1)).all()
    assert ratio.max() > 0.3
    with pytest.raises(ValueError, match="has no hit of"):
        td.tl.knockout(mdata, motif=(peak, next(name for name in factors if name != factor)), settings=FAST)
    with pytest.raises(KeyError, match="not searched"):
        td.tl.knockout(mdata, motif=(peak, "NONE"), settings=FAST)
    with pytest.raises(ValueError, match="must be a pair"):
        td.tl.knockout(mdata, motif=peak, settings=FAST)
    with pytest.raises(KeyError, match="nucleotide_spectrum"):
        td.tl.knockout(simulated, motif=(peak, factor), settings=FAST)


def test_genes_go_through_the_graph(tmp_path):
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(6), 50)
    level = 2.0 ** np.array([0, 1, 2, 3, 4, 5])[kinds]
    flat = np.full(300, 20.0)
    means = np.stack([level, 5 * level**0.5, 640 / level, flat, *[np.full(300, 500.0)] * 6], axis=1)
    mdata = td.datasets.simulate_multiome(300, 40, 400, rng=0)
    from anndata import AnnData

    from sctandem._compat import new_mudata

    rna = AnnData(sparse.csr_matrix(rng.poisson(means)), obs=mdata["rna"].obs[[]])
    rna.var_names = ["F", "UP", "DOWN", "WRONG", *[f"H{i}" for i in range(6)]]
    both = new_mudata({"rna": rna, "atac": mdata["atac"].copy()})
    both.obs["kind"] = pd.Categorical.from_codes(kinds, list("abcdef"))
    edges = pd.DataFrame({"tf": "F", "target": ["UP", "DOWN", "WRONG", "AWAY"], "sign": [1, -1, 1, 1]})
    with pytest.raises(KeyError, match="regulatory_graph"):
        td.tl.knockout(both, genes="F", groupby="kind")
    both.uns["regulatory_graph"] = {"table": edges}
    td.tl.knockout(both, genes="F", groupby="kind", rng=0)
    both.write(tmp_path / "a.h5mu")
    backed = mudata.read(tmp_path / "a.h5mu", backed="r")
    td.tl.knockout(backed, genes="F", groupby="kind", key_added="again", rng=0)
    pd.testing.assert_frame_equal(backed.uns["again"]["table"], both.uns["knockout"]["table"])
    table = td.get.knockout(both, group="f").set_index("gene")
    # from 32 to 1, on a slope of a half and of minus one
    assert table.loc["UP", "log2fc"] == pytest.approx(-2.5, abs=0.3)
    assert table.loc["DOWN", "log2fc"] == pytest.approx(5, abs=0.6)
    # the interval is that of a least-squares line through the groups
    totals = np.stack([rna.X.toarray()[kinds == kind].sum(axis=0) for kind in range(6)])
    depth = totals.sum(axis=1)
    rate = np.log2((totals + 2) / (depth / depth.mean())[:, None])
    line = linregress(rate[:, 0], rate[:, 1])
    fall = rate[:, 0].min() - rate[5, 0]
    ends = [(line.slope + side * student.ppf(0.95, 4) * line.stderr) * fall for side in (1, -1)]
    assert table.loc["UP", ["low", "high"]].tolist() == pytest.approx(ends)
    assert table.loc["UP", "verdict"] == "down"
    assert table.loc["DOWN", "verdict"] == "up"
    assert "AWAY" not in table.index
    assert td.get.knockout(both, gene="UP", group="a")["log2fc"].iloc[0] == pytest.approx(0, abs=0.01)
    both.uns["regulatory_graph"]["table"] = edges.assign(sign=[-1, -1, 1, 1])
    td.tl.knockout(both, genes="F", groupby="kind", rng=0)
    assert set(td.get.knockout(both, gene="UP")["reason"]) == {"the groups contradict the graph"}
    td.tl.knockout(both, genes=["F"], groupby=None, rng=0)
    assert set(td.get.knockout(both)["reason"]) == {"too few groups"}
    with pytest.raises(KeyError, match="regulates nothing"):
        td.tl.knockout(both, genes="UP", groupby="kind")


@pytest.mark.slow
def test_members_and_a_model_change_what_is_predicted(simulated, told, monkeypatch):
    """Intervals are those of all members; of pairs that a model knows to be true, larger losses are predicted with it than without."""
    from sctandem.model import TAPE

    peaks = sorted(set(td.get.gene_windows(simulated)["peak"].astype(str)))
    settings = {"batch_key": "batch", "n_members": 0}
    td.tl.knockout(simulated, peaks, settings=settings, rng=0, key_added="alone")
    links = pd.MultiIndex.from_frame(simulated.uns["truth"]["links"].query("sign > 0")[["gene", "peak"]].astype(str))
    rna, atac = simulated["rna"].var_names, simulated["atac"].var_names

    def know(model, mdata, named, inputs):
        known = pd.MultiIndex.from_arrays([rna[inputs.windows.gene], atac[inputs.windows.peak]])
        return known.isin(links).astype(float)

    monkeypatch.setattr("sctandem.tl._knockout._told", know)
    td.tl.knockout(simulated, peaks, model=TAPE.__new__(TAPE), settings=settings, rng=0, key_added="with_model")
    alone, heard = (td.get.knockout(simulated, key=key) for key in ("alone", "with_model"))
    for key in ("alone", "with_model"):
        del simulated.uns[key]
    row = ["element", "gene", "group"]
    alone, heard, members = (table.set_index(row)["log2fc"].dropna() for table in (alone, heard, td.get.knockout(told)))
    true = pd.MultiIndex.from_arrays([alone.index.get_level_values(1), alone.index.get_level_values(0)]).isin(links)
    assert heard[alone.index][true].mean() < 1.1 * alone[true].mean() < 0
    assert not np.allclose(members[alone.index], alone)


def test_a_model_is_heard(simulated):
    class Fitted:
        is_trained = True
        gene_names, peak_names = simulated["rna"].var_names, simulated["atac"].var_names

    from sctandem.tl._gene_function import _read
    from sctandem.tl._knockout import _told

    inputs = _read(
        simulated, {"rna": "rna", "atac": "atac"}, batch_key=None, size_factor_key=None, windows_key="gene_windows"
    )
    values = np.random.default_rng(0).normal(size=inputs.windows.gene.size)
    order = np.random.default_rng(1).permutation(values.size)
    kept = {
        "pair_gene": inputs.windows.gene[order],
        "pair_peak": inputs.windows.peak[order],
        "pair_unseen": values[order],
    }
    model = Fitted()
    model.module = type("Module", (), {"get_fitted": staticmethod(lambda: kept)})
    names = {"rna": "rna", "atac": "atac"}
    np.testing.assert_array_equal(_told(model, simulated, names, inputs), values)
    model.is_trained = False
    with pytest.raises(RuntimeError, match="not trained"):
        _told(model, simulated, names, inputs)
    with pytest.raises(TypeError, match="model"):
        td.tl.knockout(simulated, simulated["atac"].var_names[0], model="tape")


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        ({}, ValueError, "give one of"),
        ({"peaks": "a", "genes": "b"}, ValueError, "give one of"),
        ({"peaks": "chr1:1-2"}, KeyError, "none of those of mdata"),
        ({"peaks": []}, ValueError, "is empty"),
        ({"peaks": pd.Index(["chr1:1-2", "chr1:3-4"])}, KeyError, "none of those of mdata"),
        ({"peaks": "FIRST", "settings": {"member": 3}}, ValueError, "none of"),
        ({"peaks": "FIRST", "settings": {"level": 2}}, ValueError, "level"),
        ({"peaks": "FIRST", "groupby": "no"}, KeyError, "no"),
        ({"peaks": "FIRST", "settings": {"windows_key": "no"}}, KeyError, "gene_windows"),
        ({"peaks": "FIRST", "settings": {"modalities": {"atac": "no"}}}, KeyError, "no"),
    ],
)
def test_bad_input_leaves_the_object_as_it_was(simulated, call, error, match):
    if isinstance(call.get("peaks"), str) and call["peaks"] == "FIRST":
        call = call | {"peaks": str(td.get.gene_windows(simulated)["peak"].iloc[0])}
    with pytest.raises(error, match=match):
        td.tl.knockout(simulated, **call)
    assert "knockout" not in simulated.uns


def test_a_peak_far_from_all_genes_is_refused(simulated):
    near = set(td.get.gene_windows(simulated)["peak"].astype(str))
    far = [name for name in simulated["atac"].var_names if name not in near]
    if not far:
        pytest.skip("all peaks are in reach")
    with pytest.raises(ValueError, match="window of no gene"):
        td.tl.knockout(simulated, far[0], settings=FAST)


def test_get_and_plot(told):
    table = td.get.knockout(told)
    name = str(table[table["log2fc"].notna()]["element"].iloc[0])
    assert set(td.get.knockout(told, name, group="stem")["group"]) == {"stem"}
    with pytest.raises(KeyError, match="has no element"):
        td.get.knockout(told, "no")
    with pytest.raises(KeyError, match="has no group"):
        td.get.knockout(told, name, group="no")
    figure = td.pl.knockout(told, name, n_genes=3)
    some = td.get.knockout(told, name)
    genes = list(dict.fromkeys(some[some["log2fc"].notna()]["gene"]))[:3]
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == genes
    assert [text.get_text() for text in shown[0].get_yticklabels()] == list(
        told.uns["knockout"]["table"]["group"].cat.categories
    )
    points = [line for line in shown[0].lines if line.get_marker() == "o"]
    expected = (
        some[some["gene"] == genes[0]].set_index("group")["log2fc"].reindex(table["group"].cat.categories).dropna()
    )
    np.testing.assert_allclose([line.get_xdata()[0] for line in points], expected)
    empty = told.copy()
    empty.uns["knockout"] = {
        "params": {}, "table": table.assign(log2fc=np.nan, low=np.nan, high=np.nan, reason="too few counts of the gene")
    }  # fmt: skip
    with pytest.raises(ValueError, match="nothing is predicted"):
        td.pl.knockout(empty, name)


def test_saved_and_read(told, tmp_path):
    from sctandem._compat import read_h5mu

    told.write(tmp_path / "a.h5mu")
    pd.testing.assert_frame_equal(
        td.get.knockout(read_h5mu(tmp_path / "a.h5mu")), td.get.knockout(told), check_categorical=False
    )
