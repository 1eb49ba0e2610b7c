"""The likelihoods against those of scvi-tools, in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial

from sctandem._compat import csr_tensor
from sctandem.nn import (
    _likelihood_numba,
    dense_to_csr,
    nb_linear_log_likelihood,
    nb_log_likelihood,
    zinb_log_likelihood,
)

N_CELLS, N_GENES = 40, 60


def problem(rng, dtype, *, top=30):
    """Counts with an empty cell, an empty gene and one large count a cell; theta from 1e-4 to 1e4."""
    counts = rng.poisson(0.3, (N_CELLS, N_GENES)) * rng.choice([1, 2, 9, top], (N_CELLS, N_GENES))
    counts[3], counts[:, 5] = 0, 0
    draw = {
        "counts": counts,
        "eta": rng.normal(0, 1.5, (N_CELLS, N_GENES)),
        "log_theta": np.log(10) * rng.permutation(np.linspace(-4, 4, N_GENES)),
        "dropout": rng.normal(0, 2, (N_CELLS, N_GENES)),
        "log_library": np.log(counts.sum(1) + 20),
        "weights": rng.uniform(0.5, 2, N_CELLS),
    }
    return {key: torch.tensor(value, dtype=dtype) for key, value in draw.items()}


def reference(p, *, softmax, zero_inflated):
    """scvi-tools in double precision: log-likelihood and gradients by eta, log theta and dropout."""
    p = {key: value.double() for key, value in p.items()}
    leaves = [p[key].clone().requires_grad_() for key in ("eta", "log_theta", "dropout")]
    eta, log_theta, dropout = leaves
    mean = torch.softmax(eta, -1) * p["log_library"].exp()[:, None] if softmax else eta.exp()
    if zero_inflated:
        distribution = ZeroInflatedNegativeBinomial(mu=mean, theta=log_theta.exp(), zi_logits=dropout)
    else:
        distribution = NegativeBinomial(mu=mean, theta=log_theta.exp())
    value = distribution.log_prob(p["counts"]).sum(-1)
    grads = torch.autograd.grad((value * p["weights"]).sum(), leaves, allow_unused=True)
    return value.detach(), [grad for grad in grads if grad is not None]


def ours(p, *, softmax, zero_inflated, backend):
    eta, log_theta, dropout = (p[key].clone().requires_grad_() for key in ("eta", "log_theta", "dropout"))
    options = {"log_library": p["log_library"] if softmax else None, "backend": backend}
    counts = dense_to_csr(p["counts"])
    if zero_inflated:
        value = zinb_log_likelihood(counts, eta, log_theta, dropout_logits=dropout, **options)
    else:
        value = nb_log_likelihood(counts, eta, log_theta, **options)
    leaves = [eta, log_theta, dropout] if zero_inflated else [eta, log_theta]
    return value.detach(), torch.autograd.grad((value * p["weights"]).sum(), leaves)


def close(a, b, tolerance=1e-5):
    """Largest difference, relative where the numbers are large."""
    torch.testing.assert_close(a.double(), b.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("softmax", [True, False], ids=["softmax", "log_rate"])
@pytest.mark.parametrize("zero_inflated", [False, True], ids=["nb", "zinb"])
def test_value_and_gradient_equal_those_of_scvi_tools(rng, backend, dtype, softmax, zero_inflated):
    p = problem(rng, dtype)
    value, grads = ours(p, softmax=softmax, zero_inflated=zero_inflated, backend=backend)
    expected, expected_grads = reference(p, softmax=softmax, zero_inflated=zero_inflated)
    assert value.dtype == dtype
    close(value, expected)
    assert len(grads) == len(expected_grads)
    for grad, other in zip(grads, expected_grads, strict=True):
        # a gradient sums hundreds of terms of the size of the counts, whose rounding in single precision stays
        close(grad, other, 1e-5 if dtype is torch.float64 else 5e-5)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("zero_inflated", [False, True], ids=["nb", "zinb"])
@pytest.mark.parametrize("theta", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_counts_of_a_million(rng, backend, zero_inflated, theta, dtype):
    p = problem(rng, dtype, top=1_000_000)
    p["counts"][0, :4] = torch.tensor([1_000_000.0, 999_999.0, 8.0, 9.0])
    p["eta"] = (p["counts"] + 1).log() + 0.1 * p["eta"]
    p["log_theta"] = torch.full_like(p["log_theta"], np.log(theta))
    value, grads = ours(p, softmax=False, zero_inflated=zero_inflated, backend=backend)
    expected, expected_grads = reference(p, softmax=False, zero_inflated=zero_inflated)
    close(value, expected)
    for grad, other in zip(grads, expected_grads, strict=True):
        assert torch.isfinite(grad).all()
        scale = max(theta, 1)
        close(grad / scale, other / scale, 1e-5 if dtype is torch.float64 else 5e-5)


@pytest.mark.parametrize("softmax", [True, False], ids=["softmax", "log_rate"])
@pytest.mark.parametrize("zero_inflated", [False, True], ids=["nb", "zinb"])
def test_numba_equals_torch(rng, softmax, zero_inflated):
    p = problem(rng, torch.float64, top=2000)
    by_numba = ours(p, softmax=softmax, zero_inflated=zero_inflated, backend="numba")
    by_torch = ours(p, softmax=softmax, zero_inflated=zero_inflated, backend="torch")
    close(by_numba[0], by_torch[0], 1e-10)
    for a, b in zip(by_numba[1], by_torch[1], strict=True):
        close(a, b, 1e-9)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("zero_inflated", [False, True], ids=["nb", "zinb"])
def test_gradcheck(rng, backend, zero_inflated):
    counts = torch.tensor([[0.0, 1, 3, 12, 0], [0, 0, 0, 0, 0], [2, 0, 0, 300, 9]], dtype=torch.float64)
    eta, dropout = (torch.tensor(rng.normal(size=(3, 5)), requires_grad=True) for _ in range(2))
    log_theta = torch.tensor(rng.normal(size=5), requires_grad=True)
    log_library = torch.tensor(rng.normal(3, 1, 3), requires_grad=True)

    def function(*leaves):
        options = {"log_library": leaves[2], "backend": backend}
        if zero_inflated:
            return zinb_log_likelihood(counts, *leaves[:2], dropout_logits=leaves[3], **options)
        return nb_log_likelihood(counts, *leaves[:2], **options)

    leaves = (eta, log_theta, log_library, dropout) if zero_inflated else (eta, log_theta, log_library)
    assert torch.autograd.gradcheck(function, leaves)


def test_theta_of_each_cell_and_gene(rng):
    p = problem(rng, torch.float64)
    shared = ours(p, softmax=True, zero_inflated=False, backend="torch")
    p["log_theta"] = p["log_theta"].expand(N_CELLS, N_GENES).clone()
    own = ours(p, softmax=True, zero_inflated=False, backend=None)
    close(own[0], shared[0], 1e-12)
    close(own[1][1].sum(0), shared[1][1], 1e-10)


def test_rates_beyond_what_exp_can_hold():
    counts = torch.zeros(1, 4)
    counts[0, 1] = 5
    eta = torch.tensor([[-500.0, -90.0, 0.0, 500.0]], requires_grad=True)
    value = nb_log_likelihood(counts, eta, torch.zeros(4))
    value.backward()
    # theta = 1: log p(0) = -softplus(eta) and log p(5) = 5 eta - 6 softplus(eta)
    close(value.detach(), torch.tensor([5 * -90.0 - np.log(2) - 500.0]))
    close(eta.grad, torch.tensor([[0.0, 5.0, -0.5, -1.0]]))


def test_logits_that_all_move_together_change_nothing(rng):
    p = problem(rng, torch.float32)
    options = {"log_library": p["log_library"]}
    value = nb_log_likelihood(p["counts"], p["eta"], p["log_theta"], **options)
    close(nb_log_likelihood(p["counts"], p["eta"] + 50, p["log_theta"], **options), value, 1e-4)


def test_cells_and_genes_may_be_permuted(rng):
    p = problem(rng, torch.float64)
    cells, genes = torch.tensor(rng.permutation(N_CELLS)), torch.tensor(rng.permutation(N_GENES))
    value = nb_log_likelihood(p["counts"], p["eta"], p["log_theta"])
    moved = nb_log_likelihood(p["counts"][cells][:, genes], p["eta"][cells][:, genes], p["log_theta"][genes])
    close(moved, value[cells], 1e-12)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("zero_inflated", [False, True], ids=["nb", "zinb"])
def test_cells_without_counts_have_no_library(rng, backend, zero_inflated):
    p = problem(rng, torch.float32)
    p["log_library"] = p["counts"].sum(1).log()
    assert p["log_library"][3] == -np.inf
    value, grads = ours(p, softmax=True, zero_inflated=zero_inflated, backend=backend)
    assert float(value[3]) == pytest.approx(0, abs=1e-5)
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert float(grads[0][3].abs().max()) < 1e-6


def test_counts_that_are_not_whole_and_zeros_that_are_stored(rng):
    eta, log_theta = torch.zeros(1, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    counts = csr_tensor(torch.tensor([0, 3]), torch.arange(3), torch.tensor([0.0, 2.5, 0.3]).double(), (1, 3))
    expected = NegativeBinomial(mu=eta.exp(), theta=log_theta.exp()).log_prob(counts.to_dense()).sum(-1)
    for backend in ("numba", "torch"):
        close(nb_log_likelihood(counts, eta, log_theta, backend=backend), expected, 1e-6)


def test_backward_twice_gives_the_same(rng):
    p = problem(rng, torch.float32)
    eta = p["eta"].requires_grad_()
    value = nb_log_likelihood(p["counts"], eta, p["log_theta"]).sum()
    first = torch.autograd.grad(value, eta, retain_graph=True)[0].clone()
    assert torch.equal(torch.autograd.grad(value, eta)[0], first)


@pytest.mark.parametrize("softmax", [True, False], ids=["softmax", "log_rate"])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_fused_last_layer_equals_layer_and_likelihood(rng, monkeypatch, softmax, weighted, dtype):
    monkeypatch.setattr(_likelihood_numba, "_LEAST", N_CELLS // 3)
    monkeypatch.setattr(_likelihood_numba, "_CHUNK", 5)  # several groups of cells, of several pieces
    p = problem(rng, dtype)
    leaves = [
        torch.tensor(rng.normal(size=shape), dtype=dtype, requires_grad=True)
        for shape in [(N_CELLS, 8), (N_GENES, 8), (N_GENES,), (N_GENES,), (N_CELLS,)]
    ]
    hidden, weight, bias, log_theta, log_library = leaves
    library = log_library if softmax else None
    weights = p["weights"] if weighted else torch.full((N_CELLS,), 1 / N_CELLS, dtype=dtype)
    fused = nb_linear_log_likelihood(p["counts"], hidden, log_theta, weight=weight, bias=bias, log_library=library)
    eta = torch.nn.functional.linear(hidden, weight, bias)
    apart = nb_log_likelihood(p["counts"], eta, log_theta, log_library=library, backend="torch")
    tolerance = 1e-4 if dtype is torch.float32 else 1e-10
    close(fused.detach(), apart.detach(), tolerance)
    used = leaves if softmax else leaves[:4]
    grads = torch.autograd.grad((fused * weights).sum(), used)
    for grad, other in zip(grads, torch.autograd.grad((apart * weights).sum(), used), strict=True):
        close(grad, other, tolerance)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_number_of_threads_does_not_change_the_result(rng, n_threads):
    p = problem(rng, torch.float32)
    before = torch.get_num_threads()
    expected = ours(p, softmax=True, zero_inflated=False, backend="numba")
    try:
        torch.set_num_threads(n_threads)
        value, grads = ours(p, softmax=True, zero_inflated=False, backend="numba")
    finally:
        torch.set_num_threads(before)
    assert torch.equal(value, expected[0])
    assert all(torch.equal(a, b) for a, b in zip(grads, expected[1], strict=True))


def test_number_of_threads_does_not_change_the_fused_result(rng, monkeypatch):
    monkeypatch.setattr(_likelihood_numba, "_LEAST", 5)
    monkeypatch.setattr(_likelihood_numba, "_CHUNK", 7)
    counts = dense_to_csr(problem(rng, torch.float32)["counts"])
    leaves = [
        torch.tensor(rng.normal(size=shape), dtype=torch.float32, requires_grad=True)
        for shape in [(N_CELLS, 8), (N_GENES,), (N_GENES, 8), (N_GENES,)]
    ]
    before, results = torch.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            hidden, log_theta, weight, bias = leaves
            value = nb_linear_log_likelihood(counts, hidden, log_theta, weight=weight, bias=bias)
            results.append([value.detach(), *torch.autograd.grad(value.sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(*results, strict=True))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_without_gradients_the_value_is_the_same_and_nothing_is_kept(rng, monkeypatch, mode, n_threads):
    monkeypatch.setattr(_likelihood_numba, "_LEAST", 5)
    monkeypatch.setattr(_likelihood_numba, "_CHUNK", 7)
    asked = []
    fill = _likelihood_numba.kernels.nb_block
    monkeypatch.setattr(
        _likelihood_numba.kernels, "nb_block", lambda *given: asked.append(len(given[-1][2])) or fill(*given)
    )
    p = problem(rng, torch.float32)
    weight = torch.tensor(rng.normal(size=(N_GENES, 8)), dtype=torch.float32, requires_grad=True)
    hidden = torch.tensor(rng.normal(size=(N_CELLS, 8)), dtype=torch.float32)
    given = {"weight": weight, "bias": torch.zeros(N_GENES), "log_library": p["log_library"]}
    expected = nb_linear_log_likelihood(p["counts"], hidden, p["log_theta"], **given).detach()
    assert min(asked) > 0
    asked.clear()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        with mode():
            value = nb_linear_log_likelihood(p["counts"], hidden, p["log_theta"], **given)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(value, expected)
    assert asked
    assert max(asked) == 0  # no room for gradients: none were made


def test_autocast_does_not_reach_the_kernels(rng):
    p = problem(rng, torch.float32)
    weight = torch.tensor(rng.normal(size=(N_GENES, 8)), dtype=torch.float32)
    hidden = torch.tensor(rng.normal(size=(N_CELLS, 8)), dtype=torch.float32)
    given = {"weight": weight, "bias": torch.ones(N_GENES), "log_library": p["log_library"]}
    expected = nb_linear_log_likelihood(p["counts"], hidden, p["log_theta"], **given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nb_linear_log_likelihood(p["counts"], hidden, p["log_theta"], **given), expected)


def test_no_cells():
    assert nb_log_likelihood(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(3)).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eta": torch.zeros(2, 4)}, "cells x genes"),
        ({"log_theta": torch.zeros(2)}, "log_theta must have shape"),
        ({"log_library": torch.zeros(3)}, "one number for each of 2 cells"),
        ({"backend": "cuda"}, "backend='cuda' is unknown"),
        ({"backend": "numba", "log_theta": torch.zeros(2, 3)}, "one theta a gene"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"counts": torch.zeros(2, 3), "eta": torch.zeros(2, 3), "log_theta": torch.zeros(3), **change}
    counts, eta, log_theta = (arguments.pop(key) for key in ("counts", "eta", "log_theta"))
    with pytest.raises(ValueError, match=message):
        nb_log_likelihood(counts, eta, log_theta, **arguments)


def test_bad_dropout():
    with pytest.raises(ValueError, match="dropout_logits must have shape"):
        zinb_log_likelihood(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3), dropout_logits=torch.zeros(3))
