from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from benchmarks import _regulation_graph as graph
from benchmarks import _regulation_pairs as pairs
from benchmarks import _regulation_supervised as supervised
from benchmarks import _regulation_unsupervised as unsupervised
from benchmarks.peers import _regulation as peers
from sklearn.metrics import roc_auc_score

from sctandem._compat import copy_mudata

needs_data = pytest.mark.skipif(not (unsupervised.FOLDER / "dream4_gold_standard.csv.gz").exists(), reason="data")


@pytest.fixture(name="simulated", scope="module")
def fixture_simulated():
    return unsupervised.simulation(3, n_cells=400, n_genes=60, n_peaks=600)


@pytest.fixture(name="task")
def fixture_task(simulated):
    """A copy to write to."""
    mdata = copy_mudata(simulated.mdata)
    return replace(simulated, mdata=mdata, adata=mdata["rna"])


def chain(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gene 0 drives 2 and 3, gene 1 drives 4."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8))
    x[:, 2] += 2 * x[:, 0]
    x[:, 3] -= 2 * x[:, 0]
    x[:, 4] += 2 * x[:, 1]
    truth = np.zeros((2, 8), dtype=bool)
    truth[[0, 0, 1], [2, 3, 4]] = True
    return x, truth


@pytest.mark.parametrize(
    "score",
    [
        peers.pearson,
        peers.spearman,
        peers.partial,
        peers.clr,
        pytest.param(lambda x, t: peers.genie3(x, t, n_trees=20, seed=0), id="genie3"),
        pytest.param(lambda x, t: peers.grnboost2(x, t, seed=0), id="grnboost2"),
    ],
)
def test_every_peer_finds_plain_edges(score):
    x, truth = chain()
    found = score(x, np.array([0, 1]))
    targets = truth.any(axis=0)
    assert (found[:, targets].argmax(axis=0) == truth[:, targets].argmax(axis=0)).all()
    assert (found[truth] > 2 * found[~truth & targets]).all()


def test_a_task_leaves_out_genes_with_themselves_and_ranks_what_is_missing_last():
    x, truth = chain()
    names = [f"g{i}" for i in range(8)]
    task = unsupervised.Task("small", AnnData(x.astype("float32"), var=pd.DataFrame(index=names)), ["g0", "g1"], truth)
    perfect = truth.astype(float)
    perfect[0, 0] = perfect[1, 1] = 9
    assert task.scores(perfect)["auroc"] == 1
    assert task.scores(perfect)["auprc_ratio"] == pytest.approx(14 / 3)
    edges = pd.DataFrame({"tf": ["g0", "g1"], "target": ["g2", "g4"], "weight": [-1.0, 2.0]})
    strength = task.of_edges(edges)
    assert strength[0, 2] == -1
    assert strength[1, 4] == 2
    assert (np.delete(strength.ravel(), [2, 12]) == -2).all()


def test_calls_are_counted_by_hand():
    x, truth = chain()
    names = [f"g{i}" for i in range(8)]
    signs = np.zeros(truth.shape)
    signs[0, [2, 3]] = [2, -1]  # the sites of the third true pair act in both directions
    adata = AnnData(x.astype("float32"), var=pd.DataFrame(index=names))
    task = unsupervised.Task("small", adata, ["g0", "g1"], truth, signs=signs)
    edges = pd.DataFrame(
        [
            ("g0", "g0", 1, 0.01, 0.01),  # with itself: left out
            ("g0", "g2", 1, 0.01, 0.5),
            ("g0", "g3", 1, 0.05, 0.5),
            ("g1", "g4", -1, 0.5, 0.5),
            ("g1", "g5", 1, 0.02, 0.5),
        ],
        columns=["tf", "target", "sign", "fdr", "fdr_rewired"],
    )
    found = task.calls(edges)
    assert (found["n_pairs"], found["true_all"]) == (4, 0.75)
    assert (found["called"], found["true_called"]) == (0.75, 2 / 3)
    assert found["called_rewired"] == 0
    assert np.isnan(found["true_called_rewired"])
    assert found["sign_right"] == 0.5
    assert "called_rewired" not in task.calls(edges.assign(fdr_rewired=np.nan))


def test_signs_of_the_simulation_are_those_of_its_edges(task):
    assert not task.signs[~task.truth].any()
    edges, known = task.mdata.uns["truth"]["edges"], task.mdata.uns["truth"]["tfs"]["gene"]
    for (motif, gene), group in edges.groupby(["tf", "gene"]):
        at = task.tfs.index(known[motif]), task.adata.var_names.get_loc(gene)
        assert task.truth[at]
        assert task.signs[at] == group["sign"].sum()
    assert {-1, 1} <= set(np.sign(task.signs[task.truth]))


def test_boosting_stops_as_in_arboreto():
    """At the 25th round at the earliest, from the mean of the last 25."""
    assert not peers.stops(np.full(24, -1.0))
    assert peers.stops(np.full(25, -1.0))
    late = np.r_[np.full(30, 1.0), np.full(24, -0.03)]
    assert peers.stops(np.r_[late, -0.03])
    assert not peers.stops(late)  # one good round is still among the last 25, and weighs more than the rest


def test_the_prior_pays_on_a_small_simulation(task):
    rows = unsupervised.of_task(task, 0, slow=False)
    ratio = {row["method"]: row["auprc_ratio"] for row in rows}
    assert ratio[unsupervised.OWN] > max(ratio[method] for method in ("Pearson", "Spearman", unsupervised.PLAIN))
    assert [row["met"] for row in unsupervised.targets(rows)[:2]] == ["not measured"] * 2
    assert unsupervised.targets(rows)[2]["met"] in {"yes", "no"}
    table = unsupervised.table(rows)
    assert {row["method"] for row in table} == set(ratio)
    called = {row["method"] for row in table if list(row.values())[-1]}
    assert called == {row["method"] for row in rows if "called" in row}


def test_what_the_score_was_chosen_on_is_told():
    """Above all peers where it was chosen, below them on the simulation."""
    rows = [
        {"seed": 0, "task": task, "method": method, "prior": method == unsupervised.OWN, "auprc_ratio": value, "auroc": 0.5}
        for task, own in (("dream4", 3.0), ("simulation", 1.0), ("mDC", 3.0))
        for method, value in (
            *((name, 2.0) for name in unsupervised.NAMED), (unsupervised.PLAIN, own), (unsupervised.OWN, 3.2),
        )
    ]  # fmt: skip
    found = unsupervised.targets(rows)
    assert [row["met"] for row in found] == ["yes", "no", "yes"]
    assert "chosen on dream4 and mDC, which give 2 of the 2" in found[0]["measured"]
    assert found[2]["measured"].startswith("1.60 times")


@needs_data
@pytest.mark.parametrize("setting", pairs.SETTINGS)
def test_splits_share_nothing(setting):
    parts = pairs.split(setting, 0)
    seen = [tuple(pair) for part in parts for pair in part.pairs]
    assert len(seen) == len(set(seen))
    truth = pairs.cells().truth
    for part in parts:
        assert (truth[tuple(part.pairs.T)] == (part.label > 0)).all()
        assert part.label.mean() == pytest.approx(0.5, abs=0.02)
    if setting in ("tf", "unseen"):
        positive, negative = (np.bincount(parts[0].pairs[parts[0].label == i, 0], minlength=323) for i in (1, 0))
        assert np.abs(positive - negative).max() <= 3
    if setting == "unseen":
        genes = [set(part.pairs[:, 1]) for part in parts]
        assert not genes[0] & genes[2]


@needs_data
def test_an_edge_does_not_count_itself():
    train, _, test = pairs.split("tf", 0)
    own, raw = (np.expm1(pairs.degrees(train, train, own=flag)) for flag in (True, False))
    assert (raw - own)[:, 0] == pytest.approx(train.label)
    known = train.pairs[train.label > 0]
    naive = [(known[:, 1] == gene).sum() for gene in test.pairs[:, 1]]
    assert np.expm1(pairs.degrees(train, test, own=False))[:, 1] == pytest.approx(naive)


@needs_data
def test_a_prior_that_is_left_out_is_not_seen(monkeypatch):
    train, validation, test = parts = pairs.split("tf", 0)
    every, fewer = (pairs.prior(test, name) for name in ("", pairs.DECISIVE))
    assert every.shape[1] == fewer.shape[1] + 2 == 2 * len(pairs.PRIORS)
    assert tuple(pairs.cells().priors) == pairs.PRIORS
    run = lambda: supervised._network(  # noqa: E731
        parts, 0, prior=True, n_layers=2, n_networks=1, n_epochs=10, without=pairs.DECISIVE
    )
    before = run()
    monkeypatch.setitem(pairs.cells().priors, pairs.DECISIVE, pairs.cells().truth.astype(np.float32))
    np.testing.assert_array_equal(pairs.prior(test, pairs.DECISIVE), fewer)
    np.testing.assert_array_equal(run(), before)


@pytest.mark.parametrize("kind", supervised.PLAIN)
def test_every_setting_learns(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 200, 3))
    label = x[..., 0] > 0
    models = supervised._models(kind)
    assert len(models) > 1
    for model in (models[0], models[-1]):
        assert roc_auc_score(label[1], model.fit(x[0], label[0]).predict_proba(x[1])[:, 1]) > 0.95


def test_settings_are_chosen_on_validation_pairs(monkeypatch):
    """Of settings that are the right one and its opposite, the right one; labels of the test are not looked at."""

    class Fixed:
        def __init__(self, sign: int) -> None:
            self.sign = sign

        def fit(self, x: np.ndarray, label: np.ndarray) -> None: ...

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return np.stack([-x[:, 0], self.sign * x[:, 0]], axis=1)

    monkeypatch.setattr(supervised, "_models", lambda _: [Fixed(-1), Fixed(1), Fixed(-1)])
    label = np.array([0.0, 1.0])
    monkeypatch.setattr(supervised, "_features", lambda _, part, **__: part.pairs[:, [0]].astype(float))
    part = pairs.Part(np.array([[0, 0], [1, 0]]), label)
    parts = [part, part, pairs.Part(part.pairs, 1 - label)]
    assert supervised._plain(parts, "", degree=False, prior=False).tolist() == [0, 1]


@needs_data
def test_supervised_methods_run(monkeypatch):
    models = supervised._models
    monkeypatch.setattr(
        supervised, "_models", lambda _: models("logistic regression")[:1]
    )  # the others take their time
    rows = supervised.of_setting("tf", 0, n_networks=1, n_epochs=20)
    assert {row["method"] for row in rows} >= {supervised.OWN, *supervised.BASELINES}
    assert sum(" but " in row["method"] for row in rows) == len(pairs.PRIORS) + 1
    found = supervised.targets(rows)
    assert [row["met"] == "not measured" for row in found] == [True, False, False, True, True]
    assert len(supervised.table(rows)) == len(rows)


def test_gains_are_paired_by_seed():
    """0.03 above the best baseline in each of two seeds that differ much: met, and without error."""
    rows = [
        {"seed": seed, "setting": "tf", "method": method, "auroc": level + gain, "auprc": level + gain + 0.1}
        for seed, level in ((0, 0.5), (1, 0.8))
        for method, gain in (
            *((name, 0.0) for name in supervised.BASELINES),
            *((supervised._but(name, "") + pairs.DECISIVE, 0.01) for name in (supervised.OWN, supervised.SAME)),
            (supervised.OWN, 0.0301),
            (supervised.SAME, 0.05),
        )
    ]
    full, without = supervised.targets(rows)[1:3]
    assert full["met"] == "yes"
    assert "AUROC 0.680 (+0.030 ± 0.000 over" in full["measured"]
    assert without["met"] == "no"
    assert without["target"].startswith("[")
    rows[0] |= {"auroc": 0.52, "auprc": 0.62}  # one baseline, one seed
    assert supervised.targets(rows)[1]["met"] == "no"
    assert f"+0.020 ± 0.010 over {rows[0]['method']}" in supervised.targets(rows)[1]["measured"]


def test_targets_of_the_graph():
    rows = [{"seed": 0, "name": str(i), "kind": "shuffled, prior", "called": int(i == 0), "n": 9} for i in range(20)]
    rows += [
        {"seed": 0, "name": "c", "kind": kind, "seconds": 800.0, "gigabytes": 7.0} for kind in ("cost, a", "cost, b")
    ]
    assert [row["met"] for row in graph.targets(rows)] == ["yes", "not measured", "no"]
    rows[1]["called"] = 3
    assert graph.targets(rows)[0]["met"] == "no"
    assert len(graph.table(rows)) == 3


def test_false_calls_are_averaged_over_runs():
    """None of none is none; one of ten and one of two are more than one of twenty."""
    half = {"seed": 0, "kind": "half shuffled, prior", "n": 40, "null": 20}
    rows = [half | {"called": called, "false": false} for called, false in ((10, 1), (0, 0), (2, 1))]
    found = graph.targets(rows)[1]
    assert found["measured"].startswith("prior: 0.200 ±")
    assert found["met"] == "no"
    assert graph.targets([half | {"called": 40, "false": 1}])[1]["met"] == "yes"
    assert graph.table(rows)[0]["measured"].startswith("0.200 of the calls are false (3 runs)")


def test_shuffling_leaves_nothing_to_call_or_predict(task):
    rng = np.random.default_rng(0)
    true = rng.normal(size=task.adata.shape) + 9
    others = np.setdiff1d(np.arange(task.adata.n_vars), task.place)
    true[:, others] += 2 * true[:, rng.choice(task.place, len(others))]
    for row in graph.half_shuffled(task, true, 0, n=1):
        assert row["called"] > 10
        assert row["false"] <= 0.2 * row["called"]
        if row["kind"].endswith("expression"):
            assert row["null"] == len(task.tfs) * (len(others) // 2)
    rows = graph.skill(task, true, 0)
    assert [row["kind"].split(", ")[1:] for row in rows] == [
        [word, data] for data in ("measured", "shuffled") for word in ("prior", "expression")
    ]
    assert rows[1]["pearson"] > 0.5 > 0.2 > rows[3]["pearson"]
    moved = graph._shuffle(true, np.array([1]), rng).toarray()
    np.testing.assert_array_equal(np.sort(moved, axis=0), np.sort(true, axis=0))
    np.testing.assert_array_equal(np.delete(moved, 1, axis=1), np.delete(true, 1, axis=1))
    assert (moved[:, 1] != true[:, 1]).any()
