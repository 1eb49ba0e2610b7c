"""TAPE on a small multiome: what it gives, what it may depend on, and what it must not."""

from __future__ import annotations

import logging

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS
from tape import SMALL, small_multiome, trained

from sctandem._compat import new_mudata
from sctandem.kernels import expected_log1p
from sctandem.model import TAPE
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig
from sctandem.train import CountTrainingPlan
from sctandem.train._checkpoint import TrainingPart


def cells_in_another_order(mdata, seed=0):
    return mdata[np.random.default_rng(seed).permutation(mdata.n_obs)].copy()


# --- what it gives ----------------------------------------------------------------------------------------------------


def test_prediction_is_a_table_of_rates(tape, expected):
    assert expected.shape == (200, 60)
    assert (expected.dtypes == np.float32).all()
    assert expected.index.equals(tape.adata.obs_names)
    assert expected.columns.equals(tape.adata["rna"].var_names)
    assert expected.to_numpy().min() > 0
    assert expected.to_numpy().max() <= 1e4


def test_prediction_is_the_formula(tape, expected):
    """State, context and weights put together by hand, in double precision."""
    state = tape.get_latent_representation().astype(float)
    _, _, log_library, context = next(tape._read_blocks(tape._read_chromatin(None, None)[1], None))
    values = {key: value.double().numpy() for key, value in tape.module.state_dict().items() if "fitted" not in key}
    rate = values["log_mean"] + state @ values["loadings"].T + values["gate"] * (context @ values["profile"].T)
    counts = np.exp(rate)  # the library is their sum
    np.testing.assert_allclose(expected, 1e4 * counts / counts.sum(1, keepdims=True), rtol=1e-3)
    spread = float(tape.module.get_fitted()["library_sd"][0])
    logs = expected_log1p(rate, np.exp(values["log_theta"]), np.exp(log_library), library_sd=spread)
    np.testing.assert_allclose(tape.predict_expression(scale="log1p"), logs, rtol=1e-3, atol=1e-5)


def test_log_scale_is_below_the_log_of_the_expectation(mdata):
    model = trained(mdata, size_factor_key="size")  # its expectations are not normalised
    logs, expected = model.predict_expression(scale="log1p"), model.predict_expression()
    below = logs.to_numpy() <= np.log1p(expected.to_numpy()) + 1e-4
    assert below[(expected < 1e4).to_numpy()].all()
    assert (logs.dtypes == np.float32).all()


def test_state_and_components(tape):
    state = tape.get_latent_representation()
    assert state.shape == (200, 5)
    assert state.dtype == np.float32
    components = tape.get_components(n_components=7)
    assert components.shape == (200, 7)
    np.testing.assert_allclose(components[np.sort(tape.train_indices)].mean(0), 0, atol=1e-3)


def test_links_table(tape):
    links = tape.get_peak_gene_links(rng=0)
    assert list(links) == ["peak", "gene", "distance", "weight", "sign", "pvalue", "fdr"]
    pairs = tape.adata.uns["gene_windows"]["pairs"]
    key = ["peak", "gene"]
    assert set(map(tuple, links[key].astype(str).to_numpy())) == set(map(tuple, pairs[key].astype(str).to_numpy()))
    merged = links.astype({"peak": str, "gene": str}).merge(pairs.astype({"peak": str, "gene": str}), on=key)
    np.testing.assert_array_equal(merged["distance_x"], merged["distance_y"])
    assert (links["weight"] >= 0).all()
    assert set(links["sign"]) <= {-1, 1}
    assert links["sign"].dtype == np.int8
    assert links["pvalue"].dropna().between(0, 1, inclusive="right").all()
    assert links["fdr"].dropna().is_monotonic_increasing
    pd.testing.assert_frame_equal(tape.get_peak_gene_links(rng=0), links)


def test_history_falls(tape):
    losses = tape.history["train_loss"]["train_loss"].to_numpy()
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


# --- what it must not depend on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda matrix: matrix.tocsc(),
        lambda matrix: matrix.toarray(),
        lambda matrix: matrix.astype(np.float32),
        lambda matrix: matrix.astype(np.uint16),
        sparse.csr_array,
    ],
    ids=["csc", "dense", "float", "uint16", "csr_array"],
)
def test_format_of_the_counts(mdata, expected, convert):
    for adata in (mdata["rna"], mdata["atac"]):
        adata.X = convert(adata.X)
    np.testing.assert_array_equal(trained(mdata).predict_expression(), expected)


def test_backed_counts(mdata, tape, expected, tmp_path):
    mdata.write(tmp_path / "small.h5mu")
    backed = mudata.read_h5mu(tmp_path / "small.h5mu", backed="r")
    try:
        np.testing.assert_array_equal(tape.predict_expression(backed), expected)
        np.testing.assert_array_equal(trained(backed).predict_expression(), expected)
    finally:
        backed.file.close()


def test_layers(mdata, expected):
    for adata in (mdata["rna"], mdata["atac"]):
        adata.X = np.full(adata.shape, 0.5, dtype=np.float32)
    model = trained(mdata, rna_layer="counts", atac_layer="counts")
    np.testing.assert_array_equal(model.predict_expression(), expected)


def test_names_of_modalities(mdata, expected):
    renamed = new_mudata({"Gene Expression": mdata["rna"], "Peaks": mdata["atac"]})
    renamed.uns["gene_windows"] = mdata.uns["gene_windows"]
    model = trained(renamed, modalities={"rna": "Gene Expression", "atac": "Peaks"})
    np.testing.assert_array_equal(model.predict_expression(), expected)


def test_other_cells_that_are_predicted_with_a_cell(tape, mdata, expected):
    moved = cells_in_another_order(mdata)
    np.testing.assert_allclose(tape.predict_expression(moved).loc[expected.index], expected, rtol=1e-4)
    some = tape.predict_expression(mdata[5:8].copy())
    np.testing.assert_allclose(some, expected.iloc[5:8], rtol=1e-4)
    np.testing.assert_allclose(tape.predict_expression(mdata[5:6].copy()), expected.iloc[5:6], rtol=1e-4)
    np.testing.assert_allclose(tape.predict_expression(mdata[5:8]), expected.iloc[5:8], rtol=1e-4)  # a view


def test_order_of_the_peaks_of_the_query(tape, mdata, expected):
    order = np.random.default_rng(0).permutation(600)
    query = new_mudata({"rna": mdata["rna"], "atac": mdata["atac"][:, order].copy()})
    np.testing.assert_allclose(tape.predict_expression(query), expected, rtol=1e-4)


def test_more_peaks_in_the_query(tape, mdata, expected):
    extra = mdata["atac"][:, :3].copy()
    extra.var_names = ["chr1:1-2", "chr1:3-4", "chr1:5-6"]
    atac = anndata.concat([extra, mdata["atac"]], axis=1)
    np.testing.assert_array_equal(tape.predict_expression(new_mudata({"atac": atac})), expected)


def test_cells_without_rna(tape, mdata, expected):
    query = new_mudata({"atac": mdata["atac"].copy()})
    np.testing.assert_array_equal(tape.predict_expression(query), expected)
    np.testing.assert_array_equal(tape.get_latent_representation(query), tape.get_latent_representation())


def test_rna_of_the_query(tape, mdata, expected):
    mdata["rna"].X = mdata["rna"].X[::-1] * 3
    np.testing.assert_array_equal(tape.predict_expression(mdata), expected)


def test_rna_of_validation_cells(mdata):
    """Nothing of it may leak into the model: other RNA in these cells gives the same model bit for bit."""
    model = trained(mdata, size_factor_key="size")
    other = small_multiome()
    validation = model.validation_indices
    assert len(validation) == 20
    counts = other["rna"].X.tolil()
    counts[validation] = 5 * counts[np.roll(validation, 1)]
    other["rna"].X = counts.tocsr()
    again = trained(other, size_factor_key="size")
    np.testing.assert_array_equal(again.validation_indices, validation)
    np.testing.assert_array_equal(again.predict_expression(), model.predict_expression())
    pd.testing.assert_frame_equal(again.get_peak_gene_links(rng=0), model.get_peak_gene_links(rng=0))


@pytest.mark.parametrize("size_factor_key", ["size", None])
def test_counts_of_heldout_genes(mdata, size_factor_key):
    held = ["G0004", "G0031", "G0055"]
    model = trained(mdata, heldout_genes=held, size_factor_key=size_factor_key)
    other = small_multiome()
    counts = other["rna"].X.tolil()
    for name in held:
        counts[:, other["rna"].var_names.get_loc(name)] = 77
    other["rna"].X = counts.tocsr()
    again = trained(other, heldout_genes=held, size_factor_key=size_factor_key)
    np.testing.assert_array_equal(again.predict_expression(), model.predict_expression())
    links = model.get_peak_gene_links(rng=0)
    assert links.loc[links["gene"].isin(held), "pvalue"].isna().all()
    assert links.loc[~links["gene"].isin(held), "pvalue"].notna().any()
    rates = model.predict_expression()[held]
    assert np.isfinite(rates.to_numpy()).all()
    assert (rates.std() > 0).all()  # their windows still tell cells apart


def test_names_and_metadata(mdata, expected):
    mdata["rna"].var["extra"] = 1.0
    mdata.obs["cell_type"] = "one"
    np.testing.assert_array_equal(trained(mdata).predict_expression(), expected)


# --- what it depends on -----------------------------------------------------------------------------------------------


def test_seed(mdata, tape, expected):
    again = trained(mdata)
    np.testing.assert_array_equal(again.predict_expression(), expected)
    np.testing.assert_array_equal(again.train_indices, tape.train_indices)
    other = trained(small_multiome(), rng=1)
    assert not np.allclose(other.predict_expression(), expected)


def test_global_random_states_are_left_alone(mdata):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    trained(mdata)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_size_factors_are_the_library(mdata, expected):
    same = trained(mdata, size_factor_key="size").predict_expression()
    totals = same.sum(axis=1)  # not forced to 10,000: the genes could be a selection
    rows = (same < 1e4).all(axis=1)  # no share above 1
    assert rows.mean() > 0.9
    np.testing.assert_allclose((1e4 * same.div(totals, axis=0))[rows], expected[rows], rtol=1e-3)
    twice = small_multiome()
    twice["rna"].obs["double"] = 2 * twice.obs["size"].to_numpy()
    model = trained(twice, size_factor_key="double")
    np.testing.assert_allclose(model.predict_expression().median().median() * 2, same.median().median(), rtol=0.1)


def test_batches(mdata, expected):
    """Counts of one batch are thinned for some genes: an offset a gene and batch takes that up."""
    rng = np.random.default_rng(0)
    batch, genes = np.arange(200) % 2, np.arange(60) % 3 == 0
    counts = mdata["rna"].X.toarray()
    thinned = np.where((batch[:, None] == 1) & genes, rng.binomial(counts, 0.3), counts)
    mdata["rna"].X = sparse.csr_matrix(thinned)
    mdata.obs["lane"] = pd.Categorical(np.where(batch == 1, "second", "first"))
    TAPE.setup_mudata(mdata, batch_key="lane", size_factor_key="size")
    model = TAPE(mdata, config=SMALL)
    model.train(rng=0, progress=False)
    assert model.module.n_batch == 2
    effect = model.module.batch_effect.detach().numpy()
    difference = effect[:, 1] - effect[:, 0]
    seen = counts.sum(0) > 100
    assert np.median(difference[genes & seen]) == pytest.approx(np.log(0.3), abs=0.3)
    assert np.median(difference[~genes & seen]) == pytest.approx(0, abs=0.15)
    assert model.predict_expression().shape == expected.shape


def test_batch_column_of_the_rna(mdata):
    mdata["rna"].obs["lane"] = np.arange(200) % 3
    assert trained(mdata, batch_key="lane").summary_stats.n_batch == 3


def test_batch_without_cells_to_train_on(mdata):
    model = trained(mdata)
    mdata["rna"].obs["lane"] = "first"
    mdata["rna"].obs.iloc[model.validation_indices[:3], -1] = "second"
    mdata["rna"].obs["lane"] = pd.Categorical(mdata["rna"].obs["lane"], categories=["first", "second"])
    again = trained(mdata, batch_key="lane")
    assert np.abs(again.module.batch_effect.detach().numpy()).max() < 0.05
    np.testing.assert_allclose(again.predict_expression(), model.predict_expression(), rtol=0.05)


def test_sequence_features_are_read(mdata, expected):
    rng = np.random.default_rng(0)
    mdata["atac"].varm["sequence"] = rng.normal(size=(600, 5)).astype(np.float32)
    assert not np.array_equal(trained(mdata).predict_expression(), expected)


# --- life of a model --------------------------------------------------------------------------------------------------


def test_save_and_load(mdata, tape, expected, tmp_path):
    tape.save(tmp_path / "model")
    found = TAPE.load(tmp_path / "model", mdata)
    np.testing.assert_array_equal(found.predict_expression(), expected)
    pd.testing.assert_frame_equal(found.get_peak_gene_links(rng=0), tape.get_peak_gene_links(rng=0))
    assert found.config == SMALL


def test_training_again_starts_again(mdata, expected):
    model = trained(mdata)
    model.train(3, rng=0, progress=False)
    np.testing.assert_array_equal(model.predict_expression(), expected)
    assert len(model.history["train_loss"]) == 3


def test_interruption_leaves_a_usable_model(mdata, monkeypatch, caplog):
    step, steps = CountTrainingPlan.step, []

    def interrupted(self, batch):
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append(1)
        return step(self, batch)

    monkeypatch.setattr(CountTrainingPlan, "step", interrupted)
    with caplog.at_level(logging.WARNING):
        model = trained(mdata)
    assert "interrupted" in caplog.text
    assert np.isfinite(model.predict_expression().to_numpy()).all()
    assert len(model.get_peak_gene_links(rng=0))


def test_interruption_before_the_first_epoch_keeps_the_old_model(mdata, expected, monkeypatch):
    model = trained(mdata)

    def interrupted(*_, **__):
        msg = "stop button"
        raise KeyboardInterrupt(msg)

    monkeypatch.setattr("sctandem.model._tape.fit_tape", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stop button"):
        model.train(2, rng=5, progress=False)
    np.testing.assert_array_equal(model.predict_expression(), expected)


def test_learned_genes_only_enter_the_minibatches(mdata):
    TAPE.setup_mudata(mdata)
    model = TAPE(mdata, heldout_genes=["G0004"], config=SMALL)
    entries = model._before_training(np.arange(150), once=TrainingPart().once, progress=False)["entries"]
    assert entries[REGISTRY_KEYS.X_KEY].shape == (200, 59)


@pytest.mark.parametrize("config", [{"n_context": 0}, {"n_factors": 50, "n_components": 100}, {"n_landmarks": 40}])
def test_other_architectures(mdata, config):
    TAPE.setup_mudata(mdata)
    model = TAPE(mdata, config=TAPEConfig(windows=WindowConfig(n_members=2, n_hidden=4, n_steps=4), **config))
    model.train(2, rng=0, progress=False)
    assert np.isfinite(model.predict_expression().to_numpy()).all()
    assert len(model.get_peak_gene_links(n_permutations=20))
