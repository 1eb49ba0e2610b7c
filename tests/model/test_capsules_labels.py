from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import roc_auc_score
from typed_cells import simulate

from sctandem.kernels._label_experts import fit_expert_weights
from sctandem.model import CapsuleNet, _capsules_labels
from sctandem.module import CapsuleConfig
from sctandem.train import TrainConfig


@pytest.fixture(scope="module", name="labelled")
def fixture_labelled() -> CapsuleNet:
    """Two types labelled in most of their cells, the last type in none."""
    adata = simulate()
    rng = np.random.default_rng(0)
    hidden = (adata.obs["type"] == "3") | (rng.random(adata.n_obs) < 0.3)
    adata.obs["label"] = np.where(hidden, "unknown", "type " + adata.obs["type"])
    CapsuleNet.setup_anndata(adata, labels_key="label")
    model = CapsuleNet(adata, rng=0)
    model.train(rng=0, progress=False)
    return model


def test_cells_without_a_label_get_it(labelled):
    obs = labelled.adata.obs
    asked = (obs["label"] == "unknown") & (obs["type"] != "3")
    found = labelled.predict()[asked]
    assert labelled.label_names == ["type 0", "type 1", "type 2"]
    assert (found.astype(str) == "type " + obs["type"][asked]).mean() > 0.97


def test_no_more_labelled_cells_are_held_together_than_a_number_and_all_are_counted(labelled, monkeypatch):
    held = []
    read = CapsuleNet._logs
    monkeypatch.setattr(CapsuleNet, "_logs", lambda self, cells: held.append(len(cells)) or read(self, cells))
    monkeypatch.setattr(_capsules_labels, "_MOST_LABELLED", 330)
    monkeypatch.setattr(_capsules_labels, "_BLOCK", 200)
    model = CapsuleNet(labelled.adata, rng=0)
    model.train(rng=0, progress=False)
    n_labelled = (labelled.adata.obs["label"] != "unknown").sum()
    assert n_labelled > 400 > max(held) >= 300
    np.testing.assert_array_equal(model.calibration_["seen"], labelled.calibration_["seen"])
    assert model.calibration_["seen"].sum() == n_labelled
    obs = labelled.adata.obs
    asked = (obs["label"] == "unknown") & (obs["type"] != "3")
    assert (model.predict()[asked].astype(str) == "type " + obs["type"][asked]).mean() > 0.97


def test_labels_that_are_drawn_oftener_than_they_are_keep_their_probability(monkeypatch):
    adata = overlapping(4000, apart=0.25, depth=40)
    rng = np.random.default_rng(1)
    adata = adata[(adata.obs["type"] != "type 2").to_numpy() | (rng.random(adata.n_obs) < 0.06)].copy()
    adata.obs["label"] = np.where(rng.random(adata.n_obs) < 0.8, adata.obs["type"], "unknown")
    rare, asked = (adata.obs["type"] == "type 2").to_numpy(), (adata.obs["label"] == "unknown").to_numpy()
    monkeypatch.setattr(_capsules_labels, "_MOST_LABELLED", 300)
    CapsuleNet.setup_anndata(adata, labels_key="label")
    model = CapsuleNet(adata, rng=0)
    model.train(12, rng=0, progress=False)
    shift = model.calibration_["label_shift"]
    assert shift[2] < shift[0] - 0.8  # some 60 of 60 are drawn, and 150 of 1,000
    told = model.predict(soft=True)["type 2"].to_numpy()[asked].mean()
    assert told < 2.5 * rare[asked].mean()


def test_probabilities_are_calibrated(labelled):
    obs = labelled.adata.obs
    asked = (obs["label"] == "unknown") & (obs["type"] != "3")
    soft = labelled.predict(soft=True)
    np.testing.assert_allclose(soft.sum(axis=1), 1)
    right = ("type " + obs["type"][asked]).to_numpy() == soft[asked].idxmax(axis=1).to_numpy()
    assert abs(right.mean() - soft[asked].max(axis=1).mean()) < 0.05


def overlapping(n: int = 2400, n_genes: int = 60, *, apart: float = 0.3, depth: float = 80, draw: int = 0) -> AnnData:
    """Three types that counts do not tell apart for sure; two thirds of the cells have a label."""
    rng = np.random.default_rng(7)
    logs = rng.normal(0, 0.7, n_genes) + rng.normal(0, apart, (3, n_genes))
    rng = np.random.default_rng(draw)
    kind = rng.integers(3, size=n)
    shares = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    adata = AnnData(sparse.csr_matrix(rng.poisson(depth * shares[kind]).astype(np.float32)))
    adata.obs["type"] = [f"type {k}" for k in kind]
    adata.obs["label"] = np.where(rng.random(n) < 2 / 3, adata.obs["type"], "unknown")
    return adata


def test_confidence_is_that_of_cells_that_were_trained_on_and_of_others():
    adata = overlapping()
    CapsuleNet.setup_anndata(adata, labels_key="label")
    model = CapsuleNet(adata, rng=0)
    model.train(20, rng=0, progress=False)
    fresh = overlapping(draw=1)
    asked = (adata.obs["label"] == "unknown").to_numpy() & np.isin(np.arange(adata.n_obs), model.train_indices)
    for soft, truth in (
        (model.predict(soft=True)[asked], adata.obs["type"][asked]),
        (model.predict(fresh, soft=True), fresh.obs["type"]),
    ):
        right = soft.idxmax(axis=1).to_numpy() == truth.to_numpy()
        assert 0.6 < right.mean() < 0.95
        assert abs(right.mean() - soft.max(axis=1).mean()) < 0.05


def test_experts_are_weighed_by_a_regression_that_has_not_seen_the_cells(monkeypatch):
    """Of 1,500 genes it knows all cells that it has seen by heart."""
    given = []

    def spy(lengths, logits, target):
        given.append((logits.argmax(1) == target).mean())
        return fit_expert_weights(lengths, logits, target)

    monkeypatch.setattr(_capsules_labels, "fit_expert_weights", spy)
    adata = overlapping(700, 1500, apart=0.06, depth=1500)
    CapsuleNet.setup_anndata(adata, labels_key="label")
    model = CapsuleNet(adata, rng=0)
    model.train(4, rng=0, progress=False)
    right = model._read("direct", None, None, None).argmax(1) == adata.obs["type"].astype("category").cat.codes
    asked = adata.obs["label"] == "unknown"
    assert right[~asked].mean() == 1
    assert len(given) == 2
    assert given == pytest.approx([right[asked].mean()] * 2, abs=0.2)
    assert max(given) < 0.95


def test_labels_that_are_kept_aside_do_not_reach_the_capsules():
    adata = simulate()
    adata.obs["label"] = "type " + adata.obs["type"]
    found = {}
    for change in ("none", "kept aside", "shown"):
        data = adata.copy()
        label = data.obs["label"].to_numpy(dtype=object)
        if change != "none":
            model = found["none"]
            aside = np.union1d(model._held_back, model.validation_indices)
            assert len(model._held_back) == len(model.train_indices) // 10
            where = aside if change == "kept aside" else np.setdiff1d(np.arange(data.n_obs), aside)[::2]
            label[where] = np.roll(label[where], 37)
        data.obs["label"] = label
        CapsuleNet.setup_anndata(data, labels_key="label")
        found[change] = CapsuleNet(data, rng=0)
        found[change].train(4, rng=0, progress=False)
    for what in ("labels", "pose", "presence"):
        expected = found["none"]._read(what, None, None, None)
        np.testing.assert_array_equal(found["kept aside"]._read(what, None, None, None), expected)
    changed = found["shown"]._read("labels", None, None, None)
    assert not np.array_equal(changed, found["none"]._read("labels", None, None, None))


def test_few_labels_are_all_shown():
    adata = simulate()
    adata.obs["label"] = np.where(np.arange(adata.n_obs) % 6 == 0, "type " + adata.obs["type"], "unknown")
    CapsuleNet.setup_anndata(adata, labels_key="label")
    model = CapsuleNet(adata, rng=0)
    model.train(3, rng=0, progress=False)
    assert len(model._held_back) == 0
    assert np.isfinite(model.predict(soft=True)).all(axis=None)


def test_a_type_without_labels_is_told(labelled):
    new = (labelled.adata.obs["type"] == "3").to_numpy()
    typical = labelled.get_typicality()
    assert roc_auc_score(new, -typical) > 0.99
    found = labelled.predict(min_typicality=0.01)
    assert (found[new] == "unknown").mean() > 0.9
    assert (found[~new] == "unknown").mean() < 0.1


def test_new_cells_of_that_type_are_told_as_well(labelled):
    other = labelled.adata.copy()
    new = (other.obs["type"] == "3").to_numpy()
    assert roc_auc_score(new, -labelled.get_typicality(other)) > 0.9


def test_label_numbers_come_back(labelled, tmp_path):
    labelled.save(tmp_path / "model")
    loaded = CapsuleNet.load(tmp_path / "model", labelled.adata.copy(), accelerator="cpu")
    np.testing.assert_array_equal(loaded.predict(soft=True), labelled.predict(soft=True))
    np.testing.assert_allclose(loaded.get_typicality(), labelled.get_typicality())
    np.testing.assert_array_equal(loaded.get_confidence(), labelled.get_confidence())


def test_weights_name_the_genes_of_a_type(labelled):
    adata = labelled.adata
    weights = labelled.get_gene_weights()
    found = labelled.get_capsules().to_numpy().argmax(1)
    counts = adata.X.toarray()
    logs = np.log1p(counts / counts.sum(1, keepdims=True) * 1e3)
    for capsule in range(3):
        inside = found == capsule
        difference = logs[inside].mean(0) - np.mean([logs[found == k].mean(0) for k in np.unique(found)], axis=0)
        assert np.corrcoef(weights.iloc[:, capsule], difference)[0, 1] > 0.8


def test_confidence_is_the_share_found_again():
    adata = simulate(seed=3)
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata, rng=0)
    model.train(20, rng=0, progress=False)
    rng = np.random.default_rng(1)
    halves = []
    first = adata.copy()
    first.X.data = rng.binomial(adata.X.data.astype(int), 0.5).astype(np.float32)
    second = adata.copy()
    second.X = adata.X - first.X
    for half in (first, second):
        half.X.eliminate_zeros()
        halves.append(half)
    same = model.predict(halves[0]).to_numpy() == model.predict(halves[1]).to_numpy()
    assert abs(model.get_confidence(halves[0]).mean() - same.mean()) < 0.03


def test_the_number_of_types_can_be_told():
    adata = simulate()
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata, config=CapsuleConfig(n_types=2), rng=0)
    model.train(6, rng=0, progress=False)
    assert model.get_capsules().shape[1] == 2


def test_features_in_order():
    adata = simulate()
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata, config=CapsuleConfig(kernel_size=10), rng=0)
    model.train(rng=0, progress=False)
    assert model.predict().nunique() >= 3


def test_a_saved_model_reads_cells_without_any_label(labelled, tmp_path):
    labelled.save(tmp_path / "model")
    other = labelled.adata.copy()
    other.obs["label"] = "unknown"
    loaded = CapsuleNet.load(tmp_path / "model", other, accelerator="cpu")
    known = (other.obs["type"] != "3").to_numpy()
    found = loaded.predict()[known].astype(str)
    assert (found == "type " + other.obs["type"][known]).mean() > 0.95
    assert roc_auc_score(~known, -loaded.get_typicality()) > 0.9


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["unknown"], "has 0 labels"), (["a", "unknown"], "has 1 labels"), ([None, "b"], "missing for")],
)
def test_bad_labels(labels, message):
    adata = simulate()[::10].copy()
    adata.obs["label"] = np.resize(np.array(labels, dtype=object), adata.n_obs)
    before = list(adata.obs)
    with pytest.raises(ValueError, match=message):
        CapsuleNet.setup_anndata(adata, labels_key="label")
    assert list(adata.obs) == before
    assert not adata.uns


def test_typicality_needs_labels():
    adata = simulate()[::10].copy()
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata, rng=0)
    model.train(2, rng=0, progress=False)
    with pytest.raises(ValueError, match="labels_key"):
        model.get_typicality()
    with pytest.raises(ValueError, match="labels_key"):
        model.predict(min_typicality=0.1)


@pytest.mark.parametrize("use", ["sampler", "unbiased"])
def test_weights_shift_the_labels(use):
    """By the logarithm of the mean weight of a label, so that rare labels are told more often; not where nothing is to change."""
    adata = simulate()
    adata.obs["weight"] = np.where(adata.obs["type"] == "3", 9.0, 1.0)
    CapsuleNet.setup_anndata(adata, labels_key="type")
    model = CapsuleNet(adata, config=CapsuleConfig(n_hidden=16, n_programmes=4, d_pose=4), rng=0)
    model.train(2, sample_weight="weight", rng=0, progress=False, config=TrainConfig(weight_use=use, batch_size=128))
    shift = model.calibration_["label_shift"]
    expected = np.log([1, 1, 1, 9]) - np.log(adata.obs["weight"].mean())
    np.testing.assert_allclose(shift, expected if use == "sampler" else 0.0)
    shifted = model.predict(soft=True).to_numpy()
    model.calibration_["label_shift"] = np.zeros(4)
    plain = model.predict(soft=True).to_numpy()
    ratio = shifted[:, 3] / shifted[:, 0] / (plain[:, 3] / plain[:, 0])
    np.testing.assert_allclose(ratio, 9.0 if use == "sampler" else 1.0, rtol=1e-6)
