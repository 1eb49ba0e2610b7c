from __future__ import annotations

import numpy as np
import pytest
import torch

from sctandem.module import CapsuleConfig, CapsuleModule
from sctandem.nn import dense_to_csr, squash

SMALL = CapsuleConfig(n_hidden=12, n_programmes=3, d_programme=4, d_pose=5)


@pytest.fixture(name="module")
def fixture_module() -> CapsuleModule:
    torch.manual_seed(0)
    module = CapsuleModule(20, n_batch=2, config=SMALL, depth=30.0)
    module.split(3, np.eye(3, 5))
    return module.eval()


@pytest.fixture(name="tensors")
def fixture_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full((8, 20), 1.5), generator=generator)
    return {"X": dense_to_csr(counts), "batch": torch.tensor([[0], [1]] * 4), "capsule": torch.tensor([[0], [-1]] * 4)}


def test_sparse_and_dense_counts_give_the_same(module, tensors):
    sparse = module.inference(tensors["X"], tensors["batch"])
    dense = module.inference(tensors["X"].to_dense(), tensors["batch"])
    for key, value in sparse.items():
        torch.testing.assert_close(value, dense[key])


def test_depth_does_not_matter(module, tensors):
    counts = tensors["X"].to_dense()
    expected, found = module.inference(counts, tensors["batch"]), module.inference(7 * counts, tensors["batch"])
    torch.testing.assert_close(found["pose"], expected["pose"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["library"], expected["library"] + np.log(7))


def test_order_of_genes_does_not_matter(module, tensors):
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    expected = module.inference(tensors["X"], tensors["batch"])["pose"]
    module.first.weight.data = module.first.weight.data[order]
    found = module.inference(tensors["X"].to_dense()[:, order], tensors["batch"])["pose"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_pose_is_the_sum_of_all_votes_for_the_cell(module, tensors):
    found = module.inference(tensors["X"], tensors["batch"])
    hidden = torch.relu(module.norm(module.first(module.scaled_logs(tensors["X"])), tensors["batch"].ravel()))
    lower = squash(module.primary(hidden).reshape(8, 3, 4))
    torch.testing.assert_close(found["pose"], module.cell.votes(lower)[:, :, 0].sum(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["programmes"], lower.norm(dim=-1))
    torch.testing.assert_close(found["coupling"].sum(-1), torch.ones(8, 3))


def test_making_types_keeps_the_pose_and_starts_them_towards_their_centres(module, tensors):
    expected = module.inference(tensors["X"], tensors["batch"])["pose"]
    centres = torch.eye(2, 5) * 100
    module.split(2, centres)
    torch.testing.assert_close(module.inference(tensors["X"], tensors["batch"])["pose"], expected)
    torch.testing.assert_close(module.types.bias.sum(0), 0.5 * centres, atol=0.2, rtol=0)


def test_loss_is_likelihood_prior_and_margin(module, tensors):
    outputs, generative = module(tensors, compute_loss=False)
    found = module.loss(tensors, outputs, generative)
    logits = generative["hidden"] @ torch.cat([module.loadings, module.batch_effect], 1).t() + module.log_share
    mean = torch.softmax(logits, 1) * tensors["X"].to_dense().sum(1, keepdim=True)
    theta = module.log_theta.exp()
    distribution = torch.distributions.NegativeBinomial(theta, logits=mean.log() - theta.log())
    likelihood = distribution.log_prob(tensors["X"].to_dense()).sum(1)
    prior = 0.5 * outputs["pose"].square().sum(1)
    length = outputs["presence"]
    known = tensors["capsule"].ravel() == 0
    margin = (0.9 - length[:, 0]).clamp_min(0) ** 2 + 0.5 * ((length[:, 1:] - 0.1).clamp_min(0) ** 2).sum(1)
    weight = -SMALL.margin_weight * likelihood.mean()
    expected = (prior - likelihood).mean() + weight * (margin * known).mean()
    torch.testing.assert_close(found.loss, expected, rtol=1e-5, atol=1e-4)


def test_labels_and_poses_to_follow_add_their_terms_to_the_loss(tensors):
    torch.manual_seed(0)
    module = CapsuleModule(20, n_batch=2, n_labels=2, config=SMALL, depth=30.0).eval()
    label = torch.tensor([[0], [1], [2], [2]] * 2)  # the last code is that of cells without a label
    taught = tensors | {"labels": label, "aligned_pose": torch.ones(8, SMALL.d_pose)}
    outputs, generative = module(taught, compute_loss=False)
    untaught = {name: tensors[name] for name in ("X", "batch")}
    difference = module.loss(taught, outputs, generative).loss - module.loss(untaught, outputs, generative).loss
    margins = []
    for cell, lengths in enumerate(outputs["labels"].tolist()):
        own = label[cell].item()
        terms = [max(0.9 - x, 0) ** 2 if k == own else 0.5 * max(x - 0.1, 0) ** 2 for k, x in enumerate(lengths)]
        margins.append(sum(terms) if own < 2 else 0.0)
    far = (outputs["pose"] - 1).square().mean()
    likelihood = module.loss(untaught, outputs, generative).reconstruction_loss["reconstruction_loss"].mean()
    expected = likelihood * (SMALL.margin_weight * np.mean(margins) + SMALL.aligned_weight * far)
    torch.testing.assert_close(difference, expected, rtol=1e-3, atol=1e-3)


def test_noise_on_the_pose_only_in_training(module):
    pose = torch.zeros(2000, 5)
    assert (module.generative(pose)["hidden"][:, :5] == 0).all()
    noisy = module.train().generative(pose)["hidden"]
    assert noisy[:, :5].std().item() == pytest.approx(SMALL.pose_noise, rel=0.05)
    assert (noisy[:, 5:] == 0.5).all()


def test_batches_are_normalised_for_themselves(module):
    module.train()
    hidden = torch.randn(50, 12, generator=torch.Generator().manual_seed(0))
    shifted = torch.cat([hidden, 3 * hidden + 10])
    found = module.norm(shifted, torch.arange(2).repeat_interleave(50))
    torch.testing.assert_close(found[:50], found[50:], rtol=1e-2, atol=1e-2)
    assert torch.isfinite(module.norm(shifted[:51], torch.arange(2).repeat_interleave(50)[:51])).all()


def test_batches_of_other_types_are_normalised_together_once_their_shift_is_known(module, tensors):
    shift = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    logs = module.scaled_logs(tensors["X"]).to_dense()
    batch = tensors["batch"].ravel()
    module.part_batches(shift, [0, 1])
    units = module._shift_of_units()
    torch.testing.assert_close(units, shift.T @ module.first.weight)
    module.train()
    moved = module.norm(module.first(logs + shift.T[batch]), batch, units)
    other = torch.zeros_like(batch)  # the same cells, all of one batch without a shift
    torch.testing.assert_close(
        moved, module.norm(module.first(logs), other, torch.zeros_like(units)), rtol=1e-4, atol=1e-4
    )
    assert abs(moved[batch == 0].mean(0) - moved[batch == 1].mean(0)).max() > 0.1  # what differs beside the shift stays


def test_what_is_known_of_a_batch_without_cells_stays(module, tensors):
    module.train()
    hidden = module.first(module.scaled_logs(tensors["X"]))
    before = module.norm.norms[1].running_mean.clone()
    module.part_batches(torch.ones(20, 2), [0])
    module.norm(hidden, torch.zeros(8, dtype=torch.long), module._shift_of_units(), module._known_batches)
    torch.testing.assert_close(module.norm.norms[1].running_mean, before)
    assert abs(module.norm.norms[0].running_mean).max() > 0


def test_running_means_of_the_batches_differ_by_their_shift(module, tensors):
    shift = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    module.part_batches(shift, [0, 1])
    module.train()
    hidden, batch = module.first(module.scaled_logs(tensors["X"])), tensors["batch"].ravel()
    for _ in range(300):
        trained = module.norm(hidden, batch, module._shift_of_units(), [0, 1])
    first, second = module.norm.norms
    torch.testing.assert_close(
        second.running_mean - first.running_mean, (shift[:, 1] - shift[:, 0]) @ module.first.weight
    )
    torch.testing.assert_close(first.running_var, second.running_var)
    read = module.eval().norm(hidden, batch)
    torch.testing.assert_close(
        read, trained * (7 / 8) ** 0.5, rtol=1e-2, atol=1e-2
    )  # the variance that is kept is unbiased


def test_state_of_a_split_module_is_loaded_into_a_new_one(module, tensors):
    other = CapsuleModule(20, n_batch=2, config=SMALL)
    other.load_state_dict(module.state_dict())
    assert other.n_types == 3
    expected = module.inference(tensors["X"], tensors["batch"])["presence"]
    torch.testing.assert_close(other.eval().inference(tensors["X"], tensors["batch"])["presence"], expected)


def test_start_reads_the_components_with_both_signs():
    module = CapsuleModule(20, config=SMALL)
    loadings = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 4)))[0]
    module.start_from(loadings)
    torch.testing.assert_close(module.first.weight[:, 0:8:2], torch.tensor(loadings, dtype=torch.float32))
    torch.testing.assert_close(module.first.weight[:, 1:8:2], -module.first.weight[:, 0:8:2])


@pytest.mark.parametrize(
    "options",
    [{"d_pose": 0}, {"n_programmes": 1.5}, {"dropout": 2.0}, {"pose_noise": 0}, {"n_types": 0}, {"kernel_size": 1}],
)
def test_bad_architectures(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CapsuleConfig(**options)
