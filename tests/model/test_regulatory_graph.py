from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from mudata import MuData
from regulation import TFS, multiome, true_edges
from scipy.stats import false_discovery_control

from sctandem.kernels._regulatory_paths import rewired
from sctandem.kernels._regulatory_states import REWIRINGS, PairStatistics
from sctandem.model import RegulatoryGraph
from sctandem.model._regulatory_data import Evidence, gather_evidence
from sctandem.model._regulatory_fit import fit_graph, read_graph
from sctandem.model._regulatory_pairs import _permuted, _rewired, _statistics, graph_inputs, read_pairs
from sctandem.module import RegulatoryGraphConfig, RegulatoryGraphModule


def made(data, tfs, **settings) -> RegulatoryGraph:
    """Set an object up, and make a model of it."""
    (RegulatoryGraph.setup_mudata if isinstance(data, MuData) else RegulatoryGraph.setup_anndata)(data)
    return RegulatoryGraph(data, tfs, **{"rng": 0, **settings})


@pytest.fixture(scope="module")
def trained() -> RegulatoryGraph:
    model = made(multiome(), TFS)
    model.train(100)
    return model


def test_planted_edges_are_found_with_site_and_sign(trained):
    edges = trained.get_edges()
    truth = true_edges()
    top = edges.head(20)
    found = list(zip(top["tf"].astype(str), top["target"].astype(str), strict=True))
    assert len(set(found) & set(truth)) >= 18
    right = [truth[pair] == sign for pair, sign in zip(found, top["sign"], strict=True) if pair in truth]
    assert np.mean(right) >= 0.95
    sites = {pair: site for pair, site in zip(found, top["site"].astype(str), strict=True) if pair in truth}
    assert np.mean([site == f"p{pair[1][1:]}" for pair, site in sites.items()]) >= 0.9
    assert (top["fdr"] < 0.05).all()
    assert set(edges["evidence"]) == {"motif"}
    assert edges["weight"].is_monotonic_decreasing


def test_expression_of_held_out_states_is_predicted(trained):
    skill = trained.get_skill()
    assert skill.loc[[f"G{i}" for i in range(20)], "r2"].mean() > 0.15
    told = trained.get_expression()
    held = told["held_out"]
    assert 0.1 < held.mean() < 0.3
    measured, predicted = told["measured"][held], told["predicted"][held]
    mean = told["measured"][~held].mean(axis=0)
    naive = 1 - ((measured - predicted) ** 2).sum(0) / ((measured - mean) ** 2).sum(0)
    assert skill["r2"].to_numpy() == pytest.approx(naive)
    pearson = [np.corrcoef(measured[:, i], predicted[:, i])[0, 1] for i in range(5, 24)]
    assert skill["pearson"].to_numpy()[5:] == pytest.approx(pearson, abs=1e-4)


@pytest.mark.parametrize("prior", ["auto", None])
def test_held_out_states_do_not_reach_the_network(prior):
    """What is held out may change, in expression and accessibility, without changing a weight."""
    model = made(multiome(n=300), TFS, prior=prior, n_states=40)
    data, training = model._data, model._training
    evidence = Evidence() if prior is None else gather_evidence(
        model.adata, model.adata["atac"], genes=model.genes, regulators=model.regulators, prior=prior
    )  # fmt: skip
    rng, orders = np.random.default_rng(0), np.tile(np.arange(len(training)), (3, 1))
    for order in orders:  # each by itself, so that nothing goes together any more; means and spreads stay
        order[~training] = rng.permutation(order[~training])
    changed = replace(
        data, expression=data.expression[orders[0]], state_activity=data.state_activity[orders[1]],
        accessibility=data.accessibility[orders[2]],
    )  # fmt: skip

    def fit(given):
        inputs = graph_inputs(given, read_pairs(given, evidence), training)
        torch.manual_seed(0)
        module = RegulatoryGraphModule(
            {kind: x.shape[1] for kind, x in inputs.nodes.items()}, inputs.edges,
            n_evidence=inputs.evidence.shape[1], n_channels=inputs.n_channels,
        )  # fmt: skip
        losses = fit_graph(module, inputs, n_epochs=5)
        return read_graph(module, inputs).weights, losses

    first, losses = fit(data)
    assert fit(changed)[0] == pytest.approx(first, abs=1e-5)
    assert losses[-1] < losses[0]
    shown = data.expression.copy()
    shown[np.flatnonzero(training)[:5]] = 3
    assert np.abs(fit(replace(data, expression=shown))[0] - first).max() > 1e-3


def test_prediction_is_the_sum_of_weighted_signals(trained):
    result, inputs = trained._trained(), trained._inputs
    naive = np.zeros_like(result.predicted)
    for pair, gene in enumerate(inputs.pairs[1]):
        tf = inputs.pairs[0, pair]
        for weight, signal in zip(result.weights[pair], [*inputs.shared[:, tf], inputs.paths[pair]], strict=True):
            naive[:, gene] += weight * signal
        told = inputs.passed(result.weights, slice(pair, pair + 1))[0]
        assert told == pytest.approx(
            sum(w * s for w, s in zip(result.weights[pair], [*inputs.shared[:, tf], inputs.paths[pair]], strict=True)),
            abs=1e-5,
        )
    assert result.predicted == pytest.approx(naive, abs=1e-4)


def test_activity_follows_the_factor(trained):
    found = trained.get_tf_activity()
    rna = multiome()["rna"]
    for tf in TFS:
        assert np.corrcoef(found[tf], rna[:, tf].X.toarray().ravel())[0, 1] > 0.5
    assert found.to_numpy().std(axis=0) == pytest.approx(np.ones(4), abs=1e-3)
    assert found.dtypes.eq(np.float32).all()


def test_same_seed_same_result(trained):
    again = made(multiome(), TFS)
    again.train(100)
    pd.testing.assert_frame_equal(again.get_edges(), trained.get_edges())
    pd.testing.assert_frame_equal(trained.get_edges(), trained.get_edges())


def test_without_prior_all_pairs_are_scored_and_this_is_said(caplog):
    rna = multiome()["rna"]
    with caplog.at_level(logging.WARNING):
        model = made(rna, TFS)
    assert "expression alone" in caplog.text
    model.train(20)
    edges = model.get_edges()
    assert len(edges) == 4 * 23
    assert not (edges["tf"].astype(str) == edges["target"].astype(str)).any()
    assert set(edges["evidence"]) == {"expression"}
    assert edges["fdr_rewired"].isna().all()
    found = set(zip(edges["tf"].astype(str).head(20), edges["target"].astype(str).head(20), strict=True))
    assert len(found & set(true_edges())) >= 15


def shuffled(mdata: MuData, seed: int) -> MuData:
    """Permute the cells of every gene by themselves; the peaks stay."""
    rng, values = np.random.default_rng(seed), mdata["rna"].X.toarray()
    mdata["rna"].X = rng.permuted(values, axis=0)
    return mdata


@pytest.mark.parametrize("prior", ["motifs", "motifs and table", None])
def test_shuffled_expression_has_no_edges(prior):
    """A data set that has any edge at 5 % has a false one; here it may be 1 in 20, and 6 of 40 have a chance of 1.4 %."""
    table = pd.DataFrame({"tf": np.repeat(TFS, 4), "target": [f"G{i}" for i in range(16)]})
    called = 0
    for seed in range(40):
        mdata = shuffled(multiome(n=80), seed)
        data, evidence = (mdata["rna"], None) if prior is None else (mdata, "auto" if prior == "motifs" else table)
        model = made(data, TFS, prior=evidence, n_states=10, rng=seed)
        orders = np.random.default_rng(seed)
        found = PairStatistics(
            model._data.ranks, model._data.values, model._data.regulators, model._data.activity if model._data.has_sites else None
        )  # fmt: skip
        called += (_permuted(found, model._data, model._pairs, orders) <= 0.05).any()
    assert called <= 5


def test_rewired_priors_against_a_naive_null(trained):
    """P-values are recounted from the rewired graphs pair by pair, without a gene and itself, and without pairs that exist."""
    data, pairs = trained._data, trained._pairs
    found = PairStatistics(data.ranks, data.values, data.regulators, data.activity)
    got = _rewired(found, data, pairs, np.random.default_rng(7))
    rng, n, null = np.random.default_rng(7), len(data.values), []
    existing = set(zip(pairs.tf, pairs.gene, strict=True))
    for _ in range(REWIRINGS):
        other = rewired(data.binding, rng).toarray()
        opened = data.cells_open.toarray()
        for tf, gene in itertools.product(range(4), range(24)):
            weights = other[:, tf] * data.near.toarray()[:, gene]
            if not weights.any() or (tf, gene) in existing or data.regulators[tf] == gene:
                continue
            parts = [
                (data.ranks[:, data.regulators[tf]], data.ranks[:, gene]),
                (opened @ other[:, tf], data.values[:, gene]),
                (opened @ weights, data.values[:, gene]),
            ]
            null.append(sum(np.corrcoef(a, b)[0, 1] ** 2 * (n - 1) for a, b in parts))
    order = np.arange(n)[None]
    observed = _statistics(found, data, pairs, order)[0]
    naive = [(1 + sum(np.array(null) >= each - 1e-6)) / (1 + len(null)) for each in observed]
    assert got == pytest.approx(false_discovery_control(naive), rel=1e-6)


def test_rewired_priors_part_true_pairs_from_those_that_permuted_cells_pass(trained):
    edges, truth = trained.get_edges(), true_edges()
    true = np.array([pair in truth for pair in zip(edges["tf"].astype(str), edges["target"].astype(str), strict=True)])
    assert 15 <= (~true).sum() <= 30
    assert (edges["fdr"] <= 0.05).all()
    assert edges["fdr_rewired"][true].max() < 0.4 < 0.8 < edges["fdr_rewired"][~true].min()


def test_table_chipexo_and_links_count_as_evidence():
    mdata = multiome()
    table = pd.DataFrame({"source": ["T0", "T1", "T9"], "target": ["G19", "G0", "G1"], "weight": [1.0, 0.5, 1.0]})
    chipexo = np.zeros((60, 1), dtype="float32")
    chipexo[0] = 3
    mdata["atac"].varm["chipexo"] = pd.DataFrame(chipexo, index=mdata["atac"].var_names, columns=["t0"])
    mdata.uns["tape_links"] = {"table": pd.DataFrame({"peak": ["p1"], "gene": ["G1"], "fdr": [0.01]})}
    model = made(mdata, TFS, prior=table)
    assert model.prior == ["motif", "chipexo", "table"]
    model.train(5)
    edges = model.get_edges().set_index(["tf", "target"])
    assert edges.loc[("T0", "G0"), "evidence"] == "motif+chipexo"
    assert edges.loc[("T0", "G19"), "evidence"] == "table"
    assert edges.loc[("T0", "G19"), "site"] == ""
    data, place = model._data, {site: i for i, site in enumerate(model._data.sites)}
    assert data.binding[place[0], 0] == 3 * data.binding[place[1], 0]  # motif and ChIP-exo, against a motif
    assert data.near[place[1], 5] == pytest.approx(2 * data.near[place[0], 4])  # linked
    assert set(model.recovery()) == {"auroc", "auprc_ratio"}


def test_state_is_the_group_in_which_the_edge_is_active(trained):
    mdata = multiome()
    edges = trained.get_edges(mdata["rna"].obs["group"]).set_index(["tf", "target"])
    assert edges.loc[("T0", "G0"), "state"] == "high"
    assert set(trained.get_edges()["state"]) == {"all"}


def test_groups_go_by_the_names_of_the_cells(trained):
    groups = multiome()["rna"].obs["group"]
    first = trained.get_edges(groups)
    pd.testing.assert_frame_equal(trained.get_edges(groups.sample(frac=1, random_state=0)), first)
    some = groups.astype(str).where(np.arange(len(groups)) >= 10)
    assert set(trained.get_edges(some)["state"].cat.categories) == {"high", "low"}
    for bad, error, message in (
        (groups.iloc[5:], ValueError, "groups lacks 5 of"),
        (groups.astype(object).where(groups == "none"), ValueError, "groups names no group"),
        (list(groups), TypeError, "groups must be a Series"),
    ):
        with pytest.raises(error, match=message):
            trained.get_edges(bad)


def test_absent_and_constant_names(caplog):
    rna = multiome()["rna"]
    rna.X = rna.X.toarray()
    rna.X[:, 1] = 0
    with caplog.at_level(logging.WARNING):
        model = made(rna, ["T0", "T1", "t2", "NOPE"], prior=None)
    assert model.regulators.names == ["T0"]
    assert "t2 as T2" in caplog.text
    assert "constant" in caplog.text
    with pytest.raises(ValueError, match="no regulator is left.*In another case 1 are there"):
        made(rna, ["t0"])
    with pytest.raises(ValueError, match="synonyms and identifiers are not resolved"):
        made(rna, ["PU.1"])
    ids = rna.copy()
    ids.var_names = [f"ENSG{i:011d}" for i in range(rna.n_vars)]
    with pytest.raises(ValueError, match=r"these look like symbols: give identifiers, or .* adata\.var\['symbol'\]"):
        made(ids, ["T0", "T2"])
    with pytest.raises(ValueError, match="the same in all cells"):
        made(rna, ["T1"])
    with pytest.raises(ValueError, match="more than once"):
        made(rna, ["T0", "T0"])
    with pytest.raises(TypeError, match="must be a list of gene names"):
        made(rna, "T0")


def test_priors_that_match_nothing():
    mdata = multiome()
    with pytest.raises(ValueError, match="no prior edge is left: of 1 rows"):
        made(mdata["rna"], TFS, prior=pd.DataFrame({"tf": ["t0"], "target": ["g1"]}))
    with pytest.raises(ValueError, match="In another case 1 are there: 't0 as T0'; name them so"):
        made(mdata["rna"], TFS, prior=pd.DataFrame({"tf": ["t0"], "target": ["G1"]}))
    for weight, message in (("much", "such as 'much'"), (np.nan, "1 values that are no finite number")):
        with pytest.raises(ValueError, match=message):
            made(mdata["rna"], TFS, prior=pd.DataFrame({"tf": ["T0"], "target": ["G1"], "weight": [weight]}))
    with pytest.raises(KeyError, match="prior has no column 'target'"):
        made(mdata["rna"], TFS, prior=pd.DataFrame({"tf": ["T0"]}))
    with pytest.raises(ValueError, match="prior='all' is not known"):
        made(mdata["rna"], TFS, prior="all")
    mdata["atac"].uns["motifs"]["names"] = list("ABCD")
    with pytest.raises(ValueError, match="no site of the 4 regulators"):
        made(mdata, TFS)


def test_bad_values_and_untrained(caplog):
    rna = multiome()["rna"]
    model = made(rna, TFS)
    with pytest.raises(RuntimeError, match="has not been trained"):
        model.get_edges()
    rna.X = rna.X.toarray()
    rna.X[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 values that are not finite"):
        made(rna, TFS)
    mdata = multiome()
    del mdata.uns["gene_windows"]
    with caplog.at_level(logging.WARNING):
        assert made(mdata, TFS).prior == []
    assert "run pp.gene_windows first" in caplog.text


def test_a_loaded_model_gives_the_same_edges_and_says_when_evidence_is_missing(tmp_path):
    table = pd.DataFrame({"tf": ["T0"], "target": ["G19"]})
    mdata = multiome(n=200)
    model = made(
        mdata, {name: name for name in TFS}, prior=table, n_states=20, config=RegulatoryGraphConfig(n_layers=1)
    )
    model.train(5)
    model.save(tmp_path / "m")
    found = RegulatoryGraph.load(tmp_path / "m", multiome(n=200))
    pd.testing.assert_frame_equal(found.get_edges(), model.get_edges())
    pd.testing.assert_frame_equal(found.get_tf_activity(), model.get_tf_activity())
    assert found.module.config.n_layers == 1
    bare = multiome(n=200)
    del bare["atac"].varm["motifs"]
    with pytest.raises(
        ValueError, match=r"trained with the prior edges \['motif', 'table'\], and these data hold \['table'\]"
    ):
        RegulatoryGraph.load(tmp_path / "m", bare)
    content = torch.load(tmp_path / "m" / "model.pt", weights_only=True)
    del content["model_state_dict"]["decoder.0.weight"]
    torch.save(content, tmp_path / "m" / "model.pt")
    data = multiome(n=200)
    with pytest.raises(ValueError, match="is damaged, or of another version"):
        RegulatoryGraph.load(tmp_path / "m", data)
    assert not any(key.startswith("_scvi") for key in data.uns)


def test_regulators_that_are_joined_to_themselves_only():
    mdata = multiome(n=200)
    pairs = mdata.uns["gene_windows"]["pairs"]
    mdata.uns["gene_windows"]["pairs"] = pairs[pairs["gene"].astype(str) == "G0"].assign(gene=TFS[0])
    with pytest.raises(ValueError, match="no pair of a regulator and another gene is left"):
        made(mdata, TFS[:1])


def test_interrupted_training_leaves_what_was_learned(monkeypatch, caplog):
    model = made(multiome(n=200), TFS, n_states=20)
    whole = made(multiome(n=200), TFS, n_states=20)
    whole.train(3)
    loss, calls = RegulatoryGraphModule.loss, []

    def stopped(self, *args):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return loss(self, *args)

    monkeypatch.setattr(RegulatoryGraphModule, "loss", stopped)
    with caplog.at_level(logging.WARNING):
        model.train(50)
    assert "interrupted after 3 of 50" in caplog.text
    pd.testing.assert_frame_equal(model.get_edges(), whole.get_edges())


def test_a_prior_with_one_regulator_a_gene_is_scored():
    """The graph then falls into one component a gene: nothing is passed between them, and nothing fails."""
    table = pd.DataFrame({"tf": ["T0", "T1", "T2", "T3"], "target": ["G0", "G5", "G10", "G15"]})
    model = made(multiome()["rna"], TFS, prior=table)
    model.train(20)
    edges = model.get_edges()
    assert set(zip(edges["tf"].astype(str), edges["target"].astype(str), strict=True)) == set(
        table.itertuples(index=False, name=None)
    )
    assert (edges["fdr"] < 0.05).all()
    skill = model.get_skill()
    assert skill.loc[table["target"], "r2"].min() > 0
    others = [gene for gene in model.genes if gene not in set(table["target"])]
    assert (model.get_expression()["predicted"][:, model.genes.get_indexer(others)] == 0).all()
