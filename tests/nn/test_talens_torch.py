"""The search in torch operations finds, bit by bit, what the compiled kernel finds."""

import numpy as np
import pandas as pd
import pytest
import torch
from tests.genome.test_talens import PAIR, random_sequence, write

import sctandem.genome._talens as talens_module
import sctandem.nn._talens_torch as torch_module
from sctandem.genome import scan_talens
from sctandem.kernels._talens import pair_tables, scan_pairs

MIXED = ("NI HD NG NN NI HD NG NN NI HD NN", "HD HD NG NG NI NI NN NN HD HD NG NG NI NH N* NN NN")


def in_order(places, scores):
    order = np.lexsort(places.T[::-1])
    return places[order], scores[order]


@pytest.fixture
def on_torch(monkeypatch):
    """Let the whole search run in torch, on the processor."""
    monkeypatch.setattr(torch_module, "find_device", lambda accelerator: torch.device("cpu"))


@pytest.mark.parametrize(("pair", "high"), [(PAIR, 3.4), (MIXED, 4.2)])
@pytest.mark.parametrize("upstream", ["T", "C", "either", "mixed"])
def test_places_and_scores_are_those_of_the_kernel(pair, high, upstream):
    rng = np.random.default_rng(4)
    codes = rng.choice(5, size=60_000, p=[0.294, 0.205, 0.205, 0.294, 0.002]).astype(np.uint8)
    for cutoff, spacer in ((high, (0, 12)), (2.8, (10, 30))):
        tables = pair_tables(*(rvds.split() for rvds in pair), cutoff)
        for begin, stop in ((1, len(codes)), (700, 40_000)):
            options = {"spacer": spacer, "upstream": upstream}
            places, scores, n_found = scan_pairs(codes, begin, stop, tables, **options)
            other = torch_module.scan_pairs_torch(codes, begin, stop, tables, **options)
            assert other[2] == n_found == len(places)
            assert cutoff < high or n_found > 20
            for one, same in zip(in_order(places, scores), in_order(*other[:2]), strict=True):
                assert one.dtype == same.dtype
                np.testing.assert_array_equal(one, same)  # to the last bit


def test_dimers_and_worst(monkeypatch):
    """Pairs beyond the worst are counted only; blocks of pairs end anywhere."""
    rng = np.random.default_rng(5)
    codes = rng.choice(4, size=30_000).astype(np.uint8)
    tables = pair_tables(*(rvds.split() for rvds in PAIR), 3.4)
    monkeypatch.setattr(torch_module, "_BLOCK", 7)
    for dimers in ((False, True, True, False), (True, False, False, True), (False, False, True, False)):
        options = {"spacer": (5, 30), "dimers": dimers, "worst": 2.6}
        places, scores, n_found = scan_pairs(codes, 1, len(codes), tables, **options)
        other = torch_module.scan_pairs_torch(codes, 1, len(codes), tables, **options)
        assert n_found == other[2] > len(places) > 0
        for one, same in zip(in_order(places, scores), in_order(*other[:2]), strict=True):
            np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("size", [37, 1000])
def test_borders_unknown_bases_and_lower_case(tmp_path, monkeypatch, on_torch, size):
    rng = np.random.default_rng(size)
    bases = {"b": random_sequence(rng, 6001, 0.003), "a": random_sequence(rng, 1997).lower(), "c": "ACGTACGT", "d": "T"}
    path = write(tmp_path, bases)
    options = {"spacer": (0, 30), "cutoff": 3.3}
    expected = scan_talens(path, PAIR, **options)
    monkeypatch.setattr(talens_module, "_SIZE", size)
    monkeypatch.setattr("sctandem.genome._sequence_stream._BLOCK", size // 2 + 1)
    found = scan_talens(path, PAIR, accelerator="gpu", **options)
    assert len(expected) > 100
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert found.attrs == expected.attrs


def test_the_best_of_many(tmp_path, monkeypatch, on_torch):
    rng = np.random.default_rng(11)
    path = write(tmp_path, {"b": random_sequence(rng, 9000), "a": random_sequence(rng, 9000)})
    monkeypatch.setattr(talens_module, "_SIZE", 500)
    monkeypatch.setattr(talens_module, "_SLACK", 20)
    expected, found = (scan_talens(path, PAIR, cutoff=3.4, n_best=100, accelerator=a) for a in ("cpu", "gpu"))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert found.attrs == expected.attrs


def test_nothing_found(tmp_path, on_torch):
    for content in ("A" * 500, "NNNN", "", "T" * 10):
        found = scan_talens(write(tmp_path, {"a": content}), PAIR, accelerator="gpu")
        assert found.shape == (0, 12)


def test_where_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = write(tmp_path, {"a": random_sequence(np.random.default_rng(1), 3000)})
    with pytest.raises(RuntimeError, match="torch sees no GPU"):
        scan_talens(path, PAIR, accelerator="gpu")
    expected, found = (scan_talens(path, PAIR, cutoff=3.3, accelerator=a) for a in ("cpu", "auto"))
    assert len(expected) > 10
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(ValueError, match="choose one of 'cpu', 'gpu', 'auto'"):
        scan_talens(path, PAIR, accelerator="cuda:0")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU (CUDA) on this machine")
def test_on_a_gpu(tmp_path):
    rng = np.random.default_rng(12)
    path = write(tmp_path, {"a": random_sequence(rng, 6_000_000, 0.001), "b": random_sequence(rng, 50_000).lower()})
    expected, found = (scan_talens(path, MIXED, cutoff=3.2, accelerator=a) for a in ("cpu", "gpu"))
    assert len(expected) > 10
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert found.attrs == expected.attrs
