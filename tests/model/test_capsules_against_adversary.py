"""Labels of a CapsuleNet that was trained against an adversary: what its regression reads, and where it is taken along."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

from sctandem.model import CapsuleNet
from sctandem.model._capsules_moved import parted_boxes
from sctandem.train import AdversarialConfig


def cells(seed: int, n: int = 300) -> AnnData:
    rng = np.random.default_rng(seed)
    types = rng.integers(3, size=n)
    shares = np.exp(np.random.default_rng(0).normal(0, 1, (3, 40)))
    counts = rng.poisson(80 * shares[types] / shares.sum(1)[types, None])
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs["type"] = types.astype(str)
    adata.obs["batch"] = "a"
    return adata


@pytest.fixture(scope="module")
def model() -> CapsuleNet:
    adata = cells(0)
    CapsuleNet.setup_anndata(adata, labels_key="type", batch_key="batch")
    model = CapsuleNet(adata, rng=0)
    model.train(4, rng=0, progress=False, adversarial="pgd")
    return model


def test_first_molecules_and_the_rest_are_weighed_each(model: CapsuleNet) -> None:
    module, counts = model.module, model._counts.toarray().astype(np.float64)
    factor = float(module.depth) / counts.sum(1, keepdims=True)
    first = np.log1p(factor) * counts * 1.05 / (counts + 0.05)
    rest = np.log1p(counts * factor) - first
    weight = module.direct.weight.numpy()
    by_hand = first @ (weight + module.direct_first.layer.weight.numpy()) + rest @ weight + module.direct.bias.numpy()
    assert np.allclose(model._read("direct", None, None, None), by_hand, atol=1e-3)
    assert float(module.direct_first.layer.weight.abs().max()) > 0.01


def test_bounds_hold_for_any_place_of_the_counts() -> None:
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(1.5, (30, 20)).astype(np.float64))
    depths, radius = np.asarray(counts.sum(1)).ravel(), 0.3
    boxes = parted_boxes(counts, depths, 50.0, AdversarialConfig(radius=radius))
    per_cell = 1e4 / depths[:, None]
    logs, there = np.log1p(counts.toarray() * per_cell), counts.toarray() > 0
    for part in np.linspace(-1, 1, 9):
        moved = np.expm1(logs + part * radius * there) / per_cell
        moved = np.clip(
            moved, *(counts.toarray() + sign * 2 * np.sqrt(np.maximum(counts.toarray(), 1)) for sign in (-1, 1))
        )
        factor = 50 / depths[:, None]
        first = np.log1p(factor) * moved * 1.05 / (moved + 0.05)
        both = np.hstack([first, np.log1p(moved * factor) - first])
        assert (both >= boxes.low.toarray() - 1e-6).all()
        assert (both <= boxes.high.toarray() + 1e-6).all()
    assert np.allclose(
        boxes.points.toarray()[:, :20] + boxes.points.toarray()[:, 20:], np.log1p(counts.toarray() * factor)
    )


def test_files_and_queries_take_the_regression_along(model: CapsuleNet, tmp_path) -> None:
    model.save(tmp_path / "model")
    again = CapsuleNet.load(tmp_path / "model", adata=model.adata)
    assert np.array_equal(model.predict(soft=True), again.predict(soft=True))
    new = cells(1, 120)
    query = CapsuleNet.load_query_data(new[:, ::-1].copy(), model)
    assert np.allclose(query.predict(soft=True), model.predict(new, soft=True), atol=1e-5)
    assert np.mean(query.predict().astype(str) == new.obs["type"]) > 0.9


def test_absent_features_count_with_their_mean(model: CapsuleNet) -> None:
    new = cells(1, 120)
    query = CapsuleNet.load_query_data(new[:, 5:].copy(), model)
    old, module = model.module, query.module
    assert torch.equal(module.direct_first.layer.weight, old.direct_first.layer.weight[5:])
    means = old.centre_logs.mean(1)[:5]
    by_hand = means @ old.direct.weight[:5] + (means * old.direct_first.share[:5]) @ old.direct_first.layer.weight[:5]
    assert torch.allclose(module.direct.bias - old.direct.bias, by_hand, atol=1e-5)


def test_learning_on_without_an_adversary_leaves_one_regression() -> None:
    adata = cells(0)
    CapsuleNet.setup_anndata(adata, labels_key="type", batch_key="batch")
    model = CapsuleNet(adata, rng=0)
    model.train(4, rng=0, progress=False, adversarial="fgsm")
    assert model.module.direct_first is not None
    new = cells(1, 120)
    model.partial_fit(new, max_epochs=2, rng=0, progress=False)
    assert model.module.direct_first is None
    assert np.mean(model.predict(cells(2, 120)).astype(str) == cells(2, 120).obs["type"]) > 0.9
