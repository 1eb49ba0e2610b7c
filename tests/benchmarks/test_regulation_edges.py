from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from benchmarks import _regulation_graph as graph
from benchmarks import _regulation_pairs as pairs
from benchmarks import _regulation_supervised as supervised
from benchmarks import _regulation_unsupervised as unsupervised
from benchmarks.peers import _regulation as peers

needs_data = pytest.mark.skipif(not (unsupervised.FOLDER / "dream4_gold_standard.csv.gz").exists(), reason="data")


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


def test_the_prior_pays_on_a_small_simulation():
    task = unsupervised.simulation(3, n_cells=400, n_genes=60, n_peaks=600)
    rows = unsupervised.of_task(task, 0, slow=False)
    ratio = {row["method"]: row["auprc_ratio"] for row in rows}
    assert ratio["sctandem, prior"] > max(ratio[method] for method in ("Pearson", "Spearman", "sctandem, expression"))
    assert unsupervised.targets(rows)[0]["met"] == "not measured"
    assert unsupervised.targets(rows)[1]["met"] in {"yes", "no"}
    assert {row["method"] for row in unsupervised.table(rows)} == set(ratio)


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
def test_supervised_methods_run():
    rows = supervised.of_setting("tf", 0, n_networks=1, n_epochs=20)
    assert {row["method"] for row in rows} >= {supervised.OWN, *supervised.BASELINES}
    found = supervised.targets(rows)
    assert [row["met"] for row in found][::2] == ["not measured", "not measured"]
    assert len(supervised.table(rows)) == len(rows)


def test_targets_of_the_graph():
    rows = [{"seed": 0, "name": str(i), "kind": "shuffled, prior", "called": int(i == 0), "n": 9} for i in range(20)]
    rows += [
        {"seed": 0, "name": "c", "kind": kind, "seconds": 800.0, "gigabytes": 7.0} for kind in ("cost, a", "cost, b")
    ]
    assert [row["met"] for row in graph.targets(rows)] == ["yes", "no"]
    rows[1]["called"] = 3
    assert graph.targets(rows)[0]["met"] == "no"
    assert len(graph.table(rows)) == 3
