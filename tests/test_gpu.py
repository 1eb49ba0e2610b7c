"""The models on a GPU: the same likelihoods and results as on the CPU, and files that either reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.models import CASES
from tests.support.typed_cells import simulate

import sctandem as td
from sctandem.model import CapsuleNet, DeepDE, SequenceGAN
from sctandem.model.base import AttackConfig, CountVAEModel
from sctandem.module import SequenceGANConfig
from sctandem.nn import (
    SparseLinear,
    dense_to_csr,
    nb_linear_log_likelihood,
    nb_log_likelihood,
    row_sums,
    zinb_log_likelihood,
)
from sctandem.train import DomainConfig, TrainConfig, _checkpoint

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
    assert model.device.type == ("cpu" if name == "RSD" else "cuda")  # RSD learns in seconds, on the processor
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


class KilledError(Exception):
    """Ends a training, as far as that can tell."""


MODES = {
    "plain": TrainConfig(max_epochs=8, early_stopping=True, patience=8, train_size=0.8),
    "fgsm": TrainConfig(max_epochs=8, adversarial="fgsm"),
    "pgd": TrainConfig(max_epochs=8, adversarial="pgd"),
    "vat": TrainConfig(max_epochs=8, adversarial="vat"),
    "batch hidden": TrainConfig(max_epochs=8, domain_adversarial="batch", domain=DomainConfig(start=0.0, n_memory=256)),
}


def of_mode(cls, config, checkpoint=None):
    """Trained there, on labels and batches."""
    adata = simulate(batch_effect=0.3)
    cls.setup_anndata(
        adata, **({"sample_key": "batch"} if cls is DeepDE else {"labels_key": "type", "batch_key": "batch"})
    )
    model = cls(adata, rng=0)
    if cls is CapsuleNet and config.early_stopping:
        config = TrainConfig(max_epochs=8)
    model.train(config=config, rng=0, progress=False, accelerator="gpu", checkpoint=checkpoint)
    return model


@pytest.mark.parametrize("cls", [CapsuleNet, DeepDE])
@pytest.mark.parametrize("mode", MODES)
def test_modes_train_there_and_go_on_from_a_checkpoint(cls, mode, tmp_path, monkeypatch):
    whole, write, left = of_mode(cls, MODES[mode]), _checkpoint.Checkpoint._write, [6]
    assert whole.device.type == "cuda"
    losses = whole.history["train_loss"].to_numpy().ravel()
    counts = whole.history["reconstruction_loss_train"].to_numpy().ravel()  # in all parts of a training
    assert counts[-1] < counts[0]

    def killed(self, when):
        write(self, when)
        left[0] -= 1
        if not left[0]:
            msg = "killed"
            raise KilledError(msg)

    monkeypatch.setattr(_checkpoint, "MOST_SHARE", 1.0)
    monkeypatch.setattr(_checkpoint.Checkpoint, "_write", killed)
    with pytest.raises(KilledError, match="killed"):
        of_mode(cls, MODES[mode], tmp_path / "c")
    monkeypatch.setattr(_checkpoint.Checkpoint, "_write", write)
    resumed = of_mode(cls, MODES[mode], tmp_path / "c")
    assert resumed.device.type == "cuda"
    # sums on a GPU are not always added in one order
    np.testing.assert_allclose(resumed.history["train_loss"].to_numpy().ravel(), losses, rtol=1e-3)
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(resumed.module.state_dict()[name].float(), value.float(), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("cls", [CapsuleNet, DeepDE])
def test_attacks_leave_there_what_they_leave_on_the_cpu(cls):
    attacks = AttackConfig(radii=(0.1, 0.5), n_steps=3, n_genes=(1, 3), dropout=(0.0, 0.5), depth=(1.0, 0.5))
    model, found = of_mode(cls, MODES["pgd"]), {}
    for device in ("cuda", "cpu"):
        model.to_device(device)
        for query in (model.adata, simulate(batch_effect=0.3, seed=0)):  # that of the model, and another
            assert model.device.type == device
            td.tl.robustness(query, model, "type", attacks=attacks, max_cells=300, rng=0)
            found.setdefault(device, []).append(query.uns["robustness"])
    for there, here in zip(found["cuda"], found["cpu"], strict=True):
        assert abs(there["clean_accuracy"] - here["clean_accuracy"]) < 0.01
        # other random numbers: places to start from, genes and molecules that are lost
        np.testing.assert_allclose(there["table"]["accuracy"], here["table"]["accuracy"], atol=0.06)
        np.testing.assert_allclose(there["max_change"]["largest_share"], here["max_change"]["largest_share"], atol=0.06)


@pytest.mark.parametrize("replay", ["cells", "generated"])
@pytest.mark.parametrize("begun", ["cpu", "gpu"])
def test_learns_on_and_maps_there(replay, begun):
    adata = simulate(batch_effect=0.3)
    first, second = adata[::2].copy(), adata[1::2].copy()
    second.obs["batch"] = "new"
    CapsuleNet.setup_anndata(first, labels_key="type", batch_key="batch")
    model = CapsuleNet(first, rng=0)
    model.train(20, rng=0, progress=False, accelerator=begun)
    query = CapsuleNet.load_query_data(second[:, 5:].copy(), model)
    query.train(3, rng=0, progress=False, accelerator="gpu")
    assert query.device.type == "cuda"
    assert (query.predict().to_numpy() == second.obs["type"].to_numpy()).mean() > 0.8
    work = second.copy()
    td.tl.map_query(work, model)
    assert np.isfinite(work.obs["mapped_score"]).all()
    model.partial_fit(second, replay=replay, max_epochs=5, rng=0, progress=False, accelerator="gpu")
    assert model.device.type == "cuda"
    assert (model.predict(second).to_numpy() == second.obs["type"].to_numpy()).mean() > 0.8


def test_cells_and_sequences_are_made_where_there_is_a_gpu():
    adata = simulate()
    new = td.tl.simulate(adata, {"0": 50, "1": 50}, "type", rng=0, progress=False)
    assert new.n_obs == 100
    letters = np.random.default_rng(0).choice(list("ACGT"), (200, 50))
    letters[::2, 20:28] = list("TGACGTCA")
    config = SequenceGANConfig(max_motifs=1, critic_epochs=2, n_sweeps=2)
    model = SequenceGAN(["".join(row) for row in letters], config=config, rng=0)
    model.train(progress=False)
    assert [len(text) for text in model.generate(20, rng=0)] == [50] * 20
