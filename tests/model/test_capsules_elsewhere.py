from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData, concat
from scipy import sparse
from scipy.special import softmax

from sctandem.kernels._label_experts import label_probabilities
from sctandem.model import CapsuleNet
from sctandem.model._capsules_elsewhere import DEPTH, GENE_SPREAD, measured_elsewhere
from sctandem.train._adversarial import inferred

N_GENES = 400


def close_types(n_cells, *, factor=1.0, depth=800, draw=0):
    """Six types that differ in a fifth of the genes, measured by a laboratory of these factors."""
    design, rng = np.random.default_rng(3), np.random.default_rng(draw)
    rates = design.normal(0, 1, N_GENES) + design.normal(0, 0.8, (6, N_GENES)) * (design.random((6, N_GENES)) < 0.2)
    types = rng.integers(6, size=n_cells)
    shares = np.exp(rates[types]) * factor
    shares /= shares.sum(1, keepdims=True)
    counts = rng.poisson(depth * rng.lognormal(0, 0.3, (n_cells, 1)) * shares * rng.gamma(4, 1 / 4, shares.shape))
    cells = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    cells.obs_names = [f"cell{draw}.{i}" for i in range(n_cells)]
    cells.obs["label"], cells.obs["batch"] = [f"type {one}" for one in types], "here"
    return cells


@pytest.fixture(name="model", scope="module")
def fixture_model():
    cells = close_types(900)
    CapsuleNet.setup_anndata(cells, labels_key="label", batch_key="batch")
    model = CapsuleNet(cells, rng=0)
    model.train(rng=0, progress=False)
    return model


@pytest.fixture(name="query", scope="module")
def fixture_query():
    """Another laboratory: other factors, fewer counts, half of the genes."""
    rng = np.random.default_rng(5)
    cells = close_types(600, factor=np.exp(rng.normal(0, 0.7, N_GENES)), depth=250, draw=1)
    cells.obs["batch"] = "there"
    return cells[:, np.sort(rng.permutation(N_GENES)[: N_GENES // 2])].copy()


def read(model, query):
    truth = query.obs["label"].to_numpy()
    reader = CapsuleNet.load_query_data(query, model)
    soft = reader.predict(soft=True)
    right = soft.columns.to_numpy()[soft.to_numpy().argmax(1)] == truth
    return reader, soft, right.mean(), soft.max(axis=1).mean()


def test_confidence_elsewhere_is_the_share_that_is_right_where_the_weights_of_here_miss_it(model, query):
    _, _, right, sure = read(model, query)
    kept = model.calibration_
    try:
        model.calibration_ = {name: value for name, value in kept.items() if name != "elsewhere"}  # a file of before
        _, _, right_before, sure_before = read(model, query)
    finally:
        model.calibration_ = kept
    assert right > right_before - 0.02
    assert abs(sure - right) < 0.05
    assert abs(sure_before - right_before) > 0.08


def test_labels_elsewhere_are_those_of_three_experts_by_their_weights(model, query):
    reader, soft, *_ = read(model, query)
    lengths, logits, cosines = reader._read_all(["labels", "direct", "profiles"], None, None, None)
    weights = model.calibration_["elsewhere"]
    assert weights.shape == (3,)
    assert weights[2] > 1
    np.testing.assert_allclose(soft, label_probabilities(lengths, logits, weights, cosines), atol=1e-6)


def test_known_batches_are_read_by_capsules_and_regression_alone_in_the_same_query(model, query):
    mixed = query.copy()
    mixed.obs["batch"] = np.where(np.arange(query.n_obs) % 2, "there", "here")
    reader, soft, *_ = read(model, mixed)
    here = (mixed.obs["batch"] == "here").to_numpy()
    lengths, logits = reader._read_all(["labels", "direct"], None, None, None)
    expected = label_probabilities(lengths[here], logits[here], model.calibration_["expert_weights"][0])
    np.testing.assert_allclose(soft[here], expected, atol=1e-6)
    only = mixed[here].copy()
    np.testing.assert_allclose(read(model, only)[1], soft[here], atol=1e-5)


def test_scores_with_gradient_are_those_of_predict(model, query):
    mixed = query[:40].copy()
    mixed.obs["batch"] = np.where(np.arange(40) % 2, "there", "here")
    reader, soft, *_ = read(model, mixed)
    batch = next(iter(reader._batches(None, None, 40)))
    counts = batch["X"].to_dense().requires_grad_()
    reader.module.eval()
    scores = reader.class_scores(inferred(reader.module, batch, counts))
    np.testing.assert_allclose(softmax(scores.detach().numpy(), axis=1), soft, atol=1e-4)
    assert torch.autograd.grad(scores.sum(), counts)[0].abs().sum(1).min() > 0


def test_a_saved_model_reads_a_query_as_before(model, query, tmp_path):
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(read(tmp_path / "model", query)[1], read(model, query)[1])


@pytest.fixture(name="joint", scope="module")
def fixture_joint():
    """Two laboratories that were trained on together; labels were given in the first alone."""
    rng = np.random.default_rng(5)
    here, there = close_types(600), close_types(400, factor=np.exp(rng.normal(0, 0.7, N_GENES)), depth=250, draw=1)
    there.obs["batch"] = "there"
    cells = concat([here, there])
    cells.obs["given"] = np.where(cells.obs["batch"] == "here", cells.obs["label"], "unknown")
    CapsuleNet.setup_anndata(cells, labels_key="given", batch_key="batch")
    model = CapsuleNet(cells, rng=0)
    model.train(rng=0, progress=False)
    return model


def test_a_batch_of_the_training_without_a_label_is_elsewhere(joint):
    there = (joint.adata.obs["batch"] == "there").to_numpy()
    lengths, logits, cosines, placed = joint._read_all(["labels", "direct", "profiles", "placed"], None, None, None)
    np.testing.assert_array_equal(placed, there)
    soft, truth = joint.predict(soft=True), joint.adata.obs["label"].to_numpy()
    known = joint.calibration_
    expected = label_probabilities(lengths[there], logits[there], known["elsewhere"], cosines[there])
    np.testing.assert_allclose(soft[there], expected, atol=1e-6)
    trained = np.isin(np.flatnonzero(~there), joint.train_indices)
    expected = label_probabilities(lengths[~there], logits[~there], known["expert_weights"][1])
    np.testing.assert_allclose(soft[~there][trained], expected[trained], atol=1e-6)
    # the regression does not see what the batch adds
    raw = (joint._logs(np.flatnonzero(there)) @ joint.module.direct.weight.numpy()) + joint.module.direct.bias.numpy()
    offset = joint.module.direct_of_means(joint.module.placed_shift.T).numpy()[1]
    np.testing.assert_allclose(logits[there], raw - offset, atol=1e-3)
    right = soft.columns.to_numpy()[soft.to_numpy().argmax(1)] == truth
    by_weights_of_here = label_probabilities(lengths[there], raw, known["expert_weights"][1]).argmax(1)
    assert right[there].mean() > (soft.columns.to_numpy()[by_weights_of_here] == truth[there]).mean() - 0.01
    assert abs(soft[there].max(axis=1).mean() - right[there].mean()) < 0.06


def test_it_is_so_after_save_and_load(joint, tmp_path):
    joint.save(tmp_path / "model")
    loaded = CapsuleNet.load(tmp_path / "model", joint.adata.copy(), accelerator="cpu")
    np.testing.assert_array_equal(loaded.predict(soft=True), joint.predict(soft=True))


def test_without_a_batch_key_nothing_is_elsewhere():
    cells = close_types(300)
    CapsuleNet.setup_anndata(cells, labels_key="label")
    model = CapsuleNet(cells, rng=0)
    model.train(3, rng=0, progress=False)
    np.testing.assert_array_equal(model.calibration_["elsewhere"], [*model.calibration_["expert_weights"][0], 0])
    batch = next(iter(model._batches(None, None, 9)))
    assert "profiles" not in inferred(model.module.eval(), batch, batch["X"])


def test_measured_elsewhere_genes_differ_by_the_spread_and_cells_by_the_depth():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(30, (400, 500)))
    counts[:, 7] = 0
    counts.eliminate_zeros()
    drawn = measured_elsewhere(counts, np.random.default_rng(1))
    assert drawn.sum() / counts.sum() == pytest.approx(DEPTH, rel=0.01)
    before, after = (np.asarray(part.sum(0)).ravel() for part in (counts, drawn))
    assert after[7] == 0
    ratio = np.log(np.delete(after, 7) / np.delete(before, 7))
    assert ratio.std() == pytest.approx(GENE_SPREAD, rel=0.1)
