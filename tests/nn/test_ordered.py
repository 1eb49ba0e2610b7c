from __future__ import annotations

import pytest
import torch

from sctandem.nn import OrderedLinear, dense_to_csr


@pytest.fixture(name="layer")
def fixture_layer() -> OrderedLinear:
    torch.manual_seed(0)
    return OrderedLinear(37, 5, kernel_size=8)


def test_equals_the_sum_over_windows_written_out(layer):
    x = torch.rand(3, 37)
    padded = torch.cat([x, torch.zeros(3, layer.n_missing)], 1)
    found = [
        (padded[:, start : start + 8] @ layer.windows.weight[:, 0].T + layer.windows.bias).relu()
        for start in range(0, padded.shape[1] - 7, 4)
    ]
    expected = layer.units(torch.stack(found, -1).flatten(1))
    torch.testing.assert_close(layer(x), expected)


def test_sparse_and_dense_give_the_same(layer):
    x = torch.rand(3, 37).round()
    torch.testing.assert_close(layer(dense_to_csr(x)), layer(x))


def test_every_feature_is_seen(layer):
    x = torch.rand(4, 37, requires_grad=True)
    layer(x).square().sum().backward()
    assert (x.grad.abs().sum(0) > 0).all()


@pytest.mark.parametrize("kernel_size", [1, 38])
def test_bad_window(kernel_size):
    with pytest.raises(ValueError, match="kernel_size must lie between 2 and the number of features, 37"):
        OrderedLinear(37, 5, kernel_size=kernel_size)
