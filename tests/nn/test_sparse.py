"""The sparse layer and its helpers against dense torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from sctandem.nn import SparseLinear, dense_to_csr, map_values, matmul, row_sums, scipy_to_csr
from sctandem.nn._sparse import map_by_row


@pytest.fixture
def x(rng):
    values = rng.poisson(0.3, (37, 53)).astype(np.float32)
    values[4], values[:, 7] = 0, 0
    return torch.from_numpy(values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("n_out", [1, 5, 128])
def test_value_and_gradient_equal_those_of_linear(x, dtype, n_out):
    layer = SparseLinear(53, n_out).to(dtype)
    dense = torch.nn.Linear(53, n_out).to(dtype)
    with torch.no_grad():
        dense.weight.copy_(layer.weight.t())
        dense.bias.copy_(layer.bias)
    out, expected = layer(dense_to_csr(x.to(dtype))), dense(x.to(dtype))
    upstream = torch.randn(37, n_out, dtype=dtype)
    out.backward(upstream)
    expected.backward(upstream)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(out, expected, **tolerance)
    torch.testing.assert_close(layer.weight.grad, dense.weight.grad.t(), **tolerance)
    torch.testing.assert_close(layer.bias.grad, dense.bias.grad, **tolerance)


def test_gradcheck(x):
    matrix = dense_to_csr(x[:6, :9].double())
    layer = SparseLinear(9, 4).double()

    def function(weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (matrix,))

    assert torch.autograd.gradcheck(function, (layer.weight, layer.bias))


def test_torch_path_equals_the_kernel(x, monkeypatch):
    from sctandem.nn import _sparse

    layer = SparseLinear(53, 6).double()
    matrix = dense_to_csr(x.double())
    upstream = torch.randn(37, 6, dtype=torch.float64)
    by_kernel = layer(matrix)
    grads = torch.autograd.grad(by_kernel, [layer.weight, layer.bias], upstream)
    monkeypatch.setattr(_sparse, "_compilable", lambda _: False)
    by_torch = layer(matrix)
    torch.testing.assert_close(by_torch, by_kernel, rtol=1e-12, atol=1e-12)
    for grad, other in zip(torch.autograd.grad(by_torch, [layer.weight, layer.bias], upstream), grads, strict=True):
        torch.testing.assert_close(grad, other, rtol=1e-12, atol=1e-12)


def test_dense_input_gets_a_gradient(x):
    layer = SparseLinear(53, 4)
    dense = x.clone().requires_grad_()
    layer(dense).sum().backward()
    torch.testing.assert_close(dense.grad, layer.weight.sum(1).expand_as(dense))


def test_without_bias(x):
    layer = SparseLinear(53, 4, bias=False)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    torch.testing.assert_close(layer(dense_to_csr(x)), x @ layer.weight, rtol=1e-5, atol=1e-5)


def test_starts_as_linear_does():
    torch.manual_seed(1)
    weight = SparseLinear(400, 300).weight
    torch.manual_seed(1)
    expected = torch.nn.Linear(400, 300).weight
    torch.testing.assert_close(weight.std(), expected.std(), rtol=0.01, atol=0)
    assert float(weight.detach().abs().max()) <= float(expected.detach().abs().max()) * 1.01


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("kind", [np.int64, np.float64, np.float32, np.uint16])
def test_scipy_to_csr(rng, index, kind):
    matrix = sparse.random(20, 30, 0.2, format="csr", rng=rng)
    matrix.data = np.ceil(10 * matrix.data).astype(kind)
    matrix.indptr, matrix.indices = matrix.indptr.astype(index), matrix.indices.astype(index)
    tensor = scipy_to_csr(matrix)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.to_dense().numpy(), matrix.toarray())


@pytest.mark.parametrize("sparse_input", [True, False])
def test_helpers(x, sparse_input):
    matrix = dense_to_csr(x) if sparse_input else x
    torch.testing.assert_close(row_sums(matrix), x.sum(1))
    logs = map_values(matrix, torch.log1p)
    assert logs.layout == matrix.layout
    torch.testing.assert_close(logs.to_dense(), x.log1p())


def test_values_beside_a_number_of_their_row(x):
    by = torch.arange(1.0, 1.0 + len(x))
    expected = torch.log1p(x * by[:, None])
    for matrix in (x, dense_to_csr(x)):
        found = map_by_row(matrix, by, lambda values, of_row: torch.log1p(values * of_row))
        assert found.layout == matrix.layout
        torch.testing.assert_close(found.to_dense(), expected)


@pytest.mark.parametrize("shape", [(3, 4, 5), (40, 8, 2), (2, 8, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_matmul(shape, dtype):
    n, k, m = shape
    a, b = torch.randn(n, k, dtype=dtype, requires_grad=True), torch.randn(k, m, dtype=dtype, requires_grad=True)
    upstream = torch.randn(n, m, dtype=dtype)
    torch.testing.assert_close(matmul(a, b), a @ b)
    for grad, other in zip(
        torch.autograd.grad(matmul(a, b), [a, b], upstream), torch.autograd.grad(a @ b, [a, b], upstream), strict=True
    ):
        torch.testing.assert_close(grad, other)


def test_bad_sizes():
    with pytest.raises(ValueError, match="n_in must be at least 1, got 0"):
        SparseLinear(0, 3)
    with pytest.raises(ValueError, match="5 features, but the layer was made for 4"):
        SparseLinear(4, 3)(torch.zeros(2, 5))
