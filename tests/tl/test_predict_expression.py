from __future__ import annotations

import mudata
import numpy as np
import pytest
import torch
from scipy import sparse

import sctandem as td
from sctandem._compat import copy_mudata, new_mudata
from sctandem._keys import VERDICTS, PredictionKeys
from sctandem.kernels import gain, pearson
from sctandem.kernels._knn import knn_weights
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig
from sctandem.tl._scoring import log_normalise, score_prediction

CONFIG = TAPEConfig(windows=WindowConfig(n_members=1, n_steps=20))


@pytest.fixture(scope="module")
def trained():
    mdata = td.datasets.simulate_multiome(250, 50, 500, rng=0)
    td.pp.gene_windows(mdata)
    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata, heldout_genes=mdata["rna"].var_names[:4], config=CONFIG)
    model.train(2, train_size=0.8, rng=0)
    return mdata, model


def slots(mdata):
    return {
        "obs": list(mdata.obs),
        "uns": sorted(mdata.uns),
        "mod": {
            name: (list(mod.obs), list(mod.var), sorted(filter(None, mod.layers))) for name, mod in mdata.mod.items()
        },
    }


def test_scores_are_those_of_the_cells_the_model_never_saw(trained):
    mdata, model = trained
    result = td.tl.predict_expression(mdata, model, copy=True)
    heldout = result.obs["tape_heldout"].to_numpy()
    assert heldout.sum() == 50
    assert set(np.flatnonzero(~heldout)) == set(model.train_indices)
    counts = mdata["rna"].X.toarray().astype(float)
    library = counts[:, 4:].sum(1)
    truth = np.log1p(1e4 * counts / library[:, None])
    depth = float(np.median(library[heldout]))
    ours = model.predict_expression(scale="log1p", library_size=depth).to_numpy()
    var = result["rna"].var
    np.testing.assert_allclose(var["tape_pearson"], pearson(truth[heldout], ours[heldout]), atol=1e-5)
    mean = np.broadcast_to(truth[~heldout].mean(0), truth[heldout].shape)
    over_mean = gain(truth[heldout], ours[heldout], mean)
    np.testing.assert_allclose(var["tape_gain_mean"].iloc[4:], over_mean[4:], atol=1e-4)
    assert var["tape_gain"].iloc[:4].isna().all()
    assert (var["tape_verdict"].iloc[:4] == "not scored").all()
    assert list(var["tape_verdict"].cat.categories) == list(VERDICTS)
    np.testing.assert_allclose(var["tape_gain"], np.minimum(var["tape_gain_mean"], var["tape_gain_knn"]))
    assert result["rna"].layers["tape"].dtype == np.float32


def test_knowing_the_depth_of_a_cell_is_no_skill():
    """Constant shares, and depths of RNA and chromatin that go together: log-normalised counts follow the depth."""
    rng = np.random.default_rng(0)
    n_cells, n_genes, n_peaks = 400, 60, 300
    depth = np.exp(0.7 * rng.normal(size=(n_cells, 1)))
    mdata = td.datasets.simulate_multiome(n_cells, n_genes, n_peaks, rng=0)
    for name, level in (("rna", 0.6), ("atac", 0.3)):
        rates = level * depth * rng.gamma(2, 0.5, (1, mdata[name].n_vars))
        mdata[name].X = sparse.csr_matrix(rng.poisson(rates).astype(np.float32))
    td.pp.gene_windows(mdata)
    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata, config=CONFIG)
    model.train(2, train_size=0.7, rng=0)
    td.tl.predict_expression(mdata, model, rng=0)
    heldout = mdata.obs["tape_heldout"].to_numpy()
    counts = mdata["rna"].X.toarray()[heldout]
    truth = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))
    by_depth = model.predict_expression(scale="log1p").to_numpy()[heldout]
    assert np.nanmean(pearson(truth, by_depth)) > 0.08  # what is not to be counted as skill
    var = mdata["rna"].var
    assert abs(var["tape_pearson"].mean()) < 0.04
    assert var["tape_verdict"].isin(["better than kNN", "better than the mean"]).sum() <= 3


def test_a_gene_no_better_than_its_mean_is_called_so(trained):
    mdata, model = trained
    shuffled = copy_mudata(mdata)
    order = np.random.default_rng(0).permutation(mdata.n_obs)
    shuffled.mod["rna"].X = mdata["rna"].X[order]
    td.tl.predict_expression(shuffled, model)
    verdict = shuffled["rna"].var["tape_verdict"].iloc[4:]
    judged = verdict[verdict != "not scored"]
    assert len(judged) > 15
    assert (judged == "no better than the mean").all()


def test_chromatin_alone_gets_a_new_rna(trained):
    mdata, model = trained
    alone = new_mudata({"atac": mdata["atac"][:40].copy()})
    td.tl.predict_expression(alone, model)
    expected = model.predict_expression().to_numpy()[:40]
    np.testing.assert_allclose(alone["rna"].layers["tape"], expected, rtol=1e-5)
    assert "tape_pearson" not in alone["rna"].var
    assert alone["rna"].obs_names.equals(mdata.obs_names[:40])


@pytest.mark.parametrize("case", ["order", "missing"])
def test_cells_that_differ_between_modalities_are_refused(trained, case):
    mdata, model = trained
    cells = np.random.default_rng(1).permutation(mdata.n_obs) if case == "order" else np.arange(100)
    other = new_mudata({"rna": mdata["rna"][cells].copy(), "atac": mdata["atac"].copy()})
    before = slots(other)
    with pytest.raises(ValueError, match="cells"):
        td.tl.predict_expression(other, model)
    assert slots(other) == before


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"modalities": {"rna": "gex"}}, KeyError, "'gex'"),
        ({"modalities": {"dna": "rna"}}, ValueError, "'dna'"),
        ({"modalities": "rna"}, TypeError, "modalities must be a dictionary from roles to names"),
        ({"modalities": "rna", "model": None}, TypeError, "modalities must be a dictionary from roles to names"),
        ({"model": "model"}, TypeError, "model must be a TAPE"),
        ({"key_added": "a/b"}, ValueError, "without a slash"),
        ({"key_added": 3}, TypeError, "key_added must be a str"),
        ({"train_size": 1.5}, ValueError, "train_size"),
    ],
)
def test_wrong_arguments_leave_the_object_as_it_was(trained, arguments, error, match):
    mdata, model = trained
    before = slots(mdata)
    with pytest.raises(error, match=match):
        td.tl.predict_expression(mdata, **{"model": model, **arguments})
    assert slots(mdata) == before


def test_a_loaded_model_knows_its_training_cells_by_name(trained, tmp_path):
    mdata, model = trained
    model.save(tmp_path / "model")
    order = np.random.default_rng(2).permutation(mdata.n_obs)
    other = new_mudata({name: mdata[name][order].copy() for name in ("rna", "atac")})
    other.uns["gene_windows"] = mdata.uns["gene_windows"]
    other.obs = other["rna"].obs[[]].copy()
    loaded = td.model.TAPE.load(tmp_path / "model", other)
    expected = td.tl.predict_expression(mdata, model, copy=True)
    found = td.tl.predict_expression(other, loaded, copy=True)
    names = mdata.obs_names
    np.testing.assert_array_equal(found.obs.loc[names, "tape_heldout"], expected.obs["tape_heldout"])
    np.testing.assert_allclose(found["rna"].var["tape_pearson"], expected["rna"].var["tape_pearson"], atol=1e-4)


def test_a_model_that_was_loaded_with_chromatin_alone_predicts_but_does_not_score(trained, tmp_path, caplog):
    mdata, model = trained
    model.save(tmp_path / "model")
    loaded = td.model.TAPE.load(tmp_path / "model", new_mudata({"atac": mdata["atac"].copy()}))
    result = td.tl.predict_expression(mdata, loaded, rng=0, copy=True)
    expected = td.tl.predict_expression(mdata, model, rng=0, copy=True)
    np.testing.assert_array_equal(result["rna"].layers["tape"], expected["rna"].layers["tape"])
    assert "tape_pearson" not in result["rna"].var
    assert "loaded without the counts of its training cells" in caplog.text


def test_training_on_the_fly_leaves_only_results(monkeypatch):
    monkeypatch.setattr("sctandem.model._tape.TAPEConfig", lambda: CONFIG)  # the default
    mdata = td.datasets.simulate_multiome(120, 40, 400, rng=0)
    with pytest.raises(KeyError, match="gene_windows"):
        td.tl.predict_expression(mdata)
    assert list(mdata.uns) == ["truth"]
    td.pp.gene_windows(mdata)
    before = slots(mdata)
    td.tl.predict_expression(mdata, key_added="new", rng=0)
    assert sorted(mdata.uns) == ["gene_windows", "new", "truth"]
    assert list(mdata.obs) == [*before["obs"], "new_heldout"]
    assert list(mdata["atac"].obs) == before["mod"]["atac"][0]
    assert mdata.obs["new_heldout"].sum() == 24


def test_failed_training_leaves_an_untrained_model(monkeypatch):
    mdata = td.datasets.simulate_multiome(120, 40, 400, rng=0)
    td.pp.gene_windows(mdata)
    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata, config=CONFIG)
    model.train(1, rng=0)
    assert model.is_trained
    monkeypatch.setattr(model.module, "prior", lambda: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(FloatingPointError, match="learning rate"):
        model.train(2, rng=0)
    assert not model.is_trained
    with pytest.raises(RuntimeError, match="not trained"):
        model.predict_expression()


@pytest.mark.parametrize("rate", [0.03, 0.1, 0.5])
def test_verdicts_do_not_come_from_a_constant_or_from_noise(rng, rate):
    from scipy import sparse

    keys = PredictionKeys()
    truth = np.where(rng.random((400, 500)) < rate, rng.gamma(4, 0.5, (400, 500)), 0.0)
    mean = truth.mean(0)
    train = sparse.csr_matrix(np.tile(mean, (10, 1)))
    neighbours = sparse.csr_matrix(np.full((400, 10), 0.1))
    for prediction in (np.tile(0.9 * mean, (400, 1)), mean + 0.01 * rng.normal(size=truth.shape)):
        table = score_prediction(
            sparse.csr_matrix(truth),
            prediction,
            train=train,
            neighbours=neighbours,
            scorable=np.ones(500, bool),
            keys=keys,
        )
        judged = table[keys.verdict] != "not scored"
        assert table[keys.verdict].isin(["better than kNN", "better than the mean"]).sum() <= 3
        assert (judged == ((truth > 0).sum(0) >= 20)).all()
    knows = mean + 0.5 * (truth - mean)
    table = score_prediction(
        sparse.csr_matrix(truth), knows, train=train, neighbours=neighbours, scorable=np.ones(500, bool), keys=keys
    )
    judged = table[keys.verdict] != "not scored"
    if judged.any():
        assert (table[keys.verdict][judged] == "better than kNN").mean() > 0.95


def test_knn_weights_average_the_nearest_and_choose_their_number(rng):
    train, query = rng.normal(size=(400, 2)), rng.normal(size=(30, 2))
    from scipy import sparse

    values = sparse.csr_matrix(train + 0.05 * rng.normal(size=train.shape))
    weights, k = knn_weights(train, query, values, rng=rng)
    assert k == 10
    nearest = np.argsort(((query[:, None] - train) ** 2).sum(2), axis=1)[:, :k]
    np.testing.assert_allclose((weights @ values).toarray(), values.toarray()[nearest].mean(1))
    noise = sparse.csr_matrix(rng.normal(size=(400, 50)))
    assert knn_weights(train, query, noise, rng=rng)[1] == 200


def test_log_normalise_is_log1p_of_counts_per_ten_thousand(rng):
    from scipy import sparse

    counts = rng.poisson(1.0, (20, 30))
    counts[3] = 0
    library = counts.sum(1).astype(float)
    found = log_normalise(sparse.csr_matrix(counts), library).toarray()
    np.testing.assert_allclose(found, np.log1p(1e4 * counts / np.maximum(library, 1)[:, None]), rtol=1e-6)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("sctandem.model._tape.TAPEConfig", lambda: CONFIG)  # the default


def no_training(*_args, **_kwargs):
    pytest.fail("trained before the arguments were checked")


def test_too_few_heldout_cells_of_a_model_trained_here_are_for_train_size(quick, caplog):
    mdata = td.datasets.simulate_multiome(60, 40, 400, rng=0)
    td.pp.gene_windows(mdata)
    td.tl.predict_expression(mdata, train_size=0.9, rng=0)
    (told,) = [record.getMessage() for record in caplog.records if "too few" in record.getMessage()]
    assert told.endswith("(10 are needed); lower train_size=0.9.")
    assert mdata.uns["tape"]["params"]["scored"] is False


@pytest.mark.parametrize("function", [td.tl.predict_expression, td.tl.peak_gene_links])
def test_what_is_wrong_with_the_users_object_is_said_before_the_training(function, monkeypatch, tmp_path):
    monkeypatch.setattr(td.model.TAPE, "train", no_training)
    mdata = td.datasets.simulate_multiome(60, 40, 400, rng=0)
    mdata.uns["mine"] = {}
    with pytest.raises(
        KeyError, match=r"mdata.uns has no 'w'; run `td.pp.gene_windows\(mdata, .*key_added='w'\)`.*'mine'"
    ):
        function(mdata, windows_key="w")
    td.pp.gene_windows(mdata)
    mdata.write_h5mu(tmp_path / "m.h5mu")
    backed = mudata.read_h5mu(tmp_path / "m.h5mu", backed="r")
    try:
        with pytest.raises(ValueError, match="copy=True needs the data in memory"):
            function(backed, copy=True)
    finally:
        backed.file.close()
    with pytest.raises(TypeError, match="is a list, not a MuData"):
        function([1], copy=True)
