"""The models on a GPU: the same likelihoods and results as on the CPU, and files that either reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.models import CASES
from tests.support.typed_cells import simulate

import sctandem as td
from sctandem.model import CapsuleNet
from sctandem.model.base import CountVAEModel
from sctandem.nn import (
    SparseLinear,
    dense_to_csr,
    nb_linear_log_likelihood,
    nb_log_likelihood,
    row_sums,
    zinb_log_likelihood,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU (CUDA) on this machine")


def problem() -> dict[str, torch.Tensor]:
    """Counts with an empty cell, an empty gene and large ones; theta from 1e-4 to 1e4; the same at every call."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, (50, 70)) * rng.choice([1, 2, 9, 100_000], (50, 70))
    counts[3], counts[:, 5] = 0, 0
    draw = {
        "counts": counts,
        "eta": rng.normal(0, 1.5, counts.shape),
        "log_theta": np.log(10) * rng.permutation(np.linspace(-4, 4, 70)),
        "dropout": rng.normal(0, 2, counts.shape),
        "log_library": np.log(counts.sum(1) + 20),
        "hidden": rng.normal(0, 1, (50, 8)),
        "weight": rng.normal(0, 0.3, (70, 8)),
        "bias": rng.normal(0, 1, 70),
    }
    return {key: torch.tensor(value, dtype=torch.float64) for key, value in draw.items()}


def nb(p):
    return nb_log_likelihood(dense_to_csr(p["counts"]), p["eta"], p["log_theta"], log_library=p["log_library"])


def nb_linear(p):
    counts = dense_to_csr(p["counts"])
    return nb_linear_log_likelihood(
        counts, p["hidden"], p["log_theta"], weight=p["weight"], bias=p["bias"], log_library=p["log_library"]
    )


def zinb(p):
    counts = dense_to_csr(p["counts"])
    return zinb_log_likelihood(
        counts, p["eta"], p["log_theta"], dropout_logits=p["dropout"], log_library=p["log_library"]
    )


@pytest.mark.parametrize(
    ("likelihood", "leaves"),
    [
        (nb, ["eta", "log_theta"]),
        (zinb, ["eta", "log_theta", "dropout"]),
        (nb_linear, ["hidden", "weight", "bias", "log_theta"]),
    ],
)
def test_likelihoods_and_gradients_equal_those_of_the_cpu(likelihood, leaves):
    found = {}
    for device in ("cpu", "cuda"):
        p = {key: value.to(device) for key, value in problem().items()}
        for key in leaves:
            p[key].requires_grad_()
        value = likelihood(p)
        assert value.device.type == device
        grads = torch.autograd.grad((value * torch.arange(1.0, 51, device=device)).sum(), [p[key] for key in leaves])
        found[device] = [one.detach().cpu() for one in (value, *grads)]
    for a, b in zip(found["cuda"], found["cpu"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_sparse_layer_and_sums_equal_those_of_the_cpu(rng):
    x = torch.tensor(rng.poisson(0.3, (37, 53)), dtype=torch.float64)
    layer = SparseLinear(53, 6).double()
    found = {}
    for device in ("cpu", "cuda"):
        layer, matrix = layer.to(device), dense_to_csr(x.to(device))
        layer.zero_grad()
        out = layer(matrix)
        (out**2).sum().backward()
        found[device] = [
            one.detach().cpu().clone() for one in (out, layer.weight.grad, layer.bias.grad, row_sums(matrix))
        ]
    for a, b in zip(found["cuda"], found["cpu"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_trained_there_and_loaded_on_the_cpu_a_model_gives_the_same(name, tmp_path):
    case = CASES[name]
    model = case.trained()
    assert model.device.type == "cuda"
    output = case.output(model)
    model.save(tmp_path / "model")
    loaded = case.cls.load(tmp_path / "model", case.data(), accelerator="cpu")
    assert loaded.device.type == "cpu"
    np.testing.assert_allclose(case.output(loaded), output, rtol=1e-3, atol=1e-3)
    moved = case.cls.load(tmp_path / "model", case.data())
    assert moved.device.type == "cuda"
    np.testing.assert_allclose(case.output(moved), output, rtol=1e-5, atol=1e-5)


def test_training_reaches_what_it_reaches_on_the_cpu():
    elbos = {}
    for accelerator in ("cpu", "gpu"):
        adata = simulate()
        CountVAEModel.setup_anndata(adata, batch_key="batch")
        model = CountVAEModel(adata, rng=0)
        model.train(40, rng=0, progress=False, accelerator=accelerator)
        elbos[accelerator] = float(model.get_elbo(indices=model.validation_indices))
        start = float(model.history["elbo_train"]["elbo_train"].iloc[0])
    assert elbos["cpu"] < 0.99 * start
    assert abs(elbos["gpu"] / elbos["cpu"] - 1) < 0.005


def test_labels_are_as_right_as_on_the_cpu():
    right = {}
    for accelerator in ("cpu", "gpu"):
        adata = simulate()
        known = np.random.default_rng(0).random(adata.n_obs) < 0.3
        adata.obs["label"] = np.where(known, adata.obs["type"], "unknown")
        CapsuleNet.setup_anndata(adata, labels_key="label")
        model = CapsuleNet(adata, rng=0)
        model.train(rng=0, progress=False, accelerator=accelerator)
        right[accelerator] = (model.predict()[~known] == adata.obs["type"].to_numpy()[~known]).mean()
    assert right["cpu"] > 0.9
    assert abs(right["gpu"] - right["cpu"]) < 0.02


def test_expression_predicted_there_is_that_of_the_cpu():
    case, predicted = CASES["TAPE"], {}
    for accelerator in ("cpu", "gpu"):
        mdata = case.data()
        case.set_up(mdata)
        model = case.make(mdata)
        model.train(10, rng=0, progress=False, accelerator=accelerator)
        predicted[accelerator] = np.log1p(model.predict_expression().to_numpy())
    np.testing.assert_allclose(predicted["gpu"], predicted["cpu"], rtol=0.05, atol=0.05)


def test_functions_of_tl_leave_their_slots():
    adata = simulate()
    td.tl.capsules(adata, rng=0)
    assert adata.obs["capsules"].nunique() > 1
    assert np.isfinite(adata.obsm["X_capsules"]).all()
