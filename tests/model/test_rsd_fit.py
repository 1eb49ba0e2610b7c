"""How likelihood, network, contents, the unknown share and intervals are put together, with a network made by hand."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from mixtures import bulk, compositions, profiles

from sctandem.kernels._deconvolution import bulk_logs, fit_composition
from sctandem.kernels._signature import Signature, marker_genes
from sctandem.model import _rsd_fit
from sctandem.model._rsd_fit import Parts, take_apart

EVEN = np.ones(3)
#: Normal quantile of 90 %, the systematic part and the share that is like none, as the guide names them.
REACH, FAINT = 1.645 * 0.05, 0.01


def signature_of(shares: np.ndarray) -> Signature:
    """A signature that rests on many molecules, in which every difference is clear."""
    return Signature(1e7 * shares, shares, np.full(shares.shape, 0.3), np.full(shares.shape, 10.0))


def parts_of(values: np.ndarray, shares: np.ndarray, read, *, contents: np.ndarray = EVEN, sd: float = 0.0) -> Parts:
    rng = np.random.default_rng(0)
    return take_apart(values, signature_of(shares), read, counts=False, contents=contents, content_sd=sd, rng=rng)


def half_width(found: Parts) -> np.ndarray:
    return (np.arcsin(np.sqrt(found.high - FAINT)) - np.arcsin(np.sqrt(found.low + FAINT))) / 2


def test_shares_are_the_mean_of_two_likelihoods_and_the_network_without_factors():
    shares, rna = profiles(), compositions(8)
    samples = bulk(shares, rna, platform=0.8, noise=0.02)
    said, asked = np.full((8, 3), [0.7, 0.2, 0.1]), []

    def read(logs, genes):
        asked.append((logs, genes))
        return said

    found = parts_of(samples.X, shares, read)
    logs = bulk_logs(samples.X, counts=False).at(found.genes)
    fitted = fit_composition(logs, shares[:, found.genes], n_genes=300)
    panel = marker_genes(signature_of(shares), usable=np.ones(300, dtype=bool))
    assert set(panel) != set(found.genes)
    again = fit_composition(bulk_logs(samples.X, counts=False).at(panel), shares[:, panel], n_genes=300)
    np.testing.assert_allclose(found.rna, (fitted.rna + said + again.rna) / 3)
    given, genes = asked[0]
    np.testing.assert_array_equal(genes, found.genes)
    np.testing.assert_allclose(given, logs.values - fitted.platform)
    # the factors of the bulk are gone from what the network is asked
    expected = np.log(rna @ shares[:, genes])
    left = given - expected - np.median(given - expected, axis=1, keepdims=True)
    assert np.median(np.abs(left)) < 0.1
    assert np.median(np.abs(samples.var["true"].to_numpy()[genes])) > 0.4


def test_unknown_rna_becomes_cells_of_the_mean_content(monkeypatch):
    shares, rna = profiles(), 0.1 + 0.7 * compositions(8)
    contents, share = np.array([0.4, 1.4, 0.1]), np.array([0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    monkeypatch.setattr(_rsd_fit, "unknown_share", lambda *_args, **_options: share)
    found = parts_of(bulk(shares, rna).X, shares, lambda *_: rna, contents=contents)
    np.testing.assert_allclose(found.rna, rna * (1 - share)[:, None], atol=2e-3)
    cells = np.hstack([found.rna / contents, (share / np.exp(np.log(contents).mean()))[:, None]])
    cells /= cells.sum(1, keepdims=True)
    np.testing.assert_allclose(found.cells, cells[:, :3])
    np.testing.assert_allclose(found.unknown, cells[:, 3])
    # intervals are of shares of all cells, and as wide as those of the known cells times what is known
    known = 1 - found.unknown[:, None]
    assert (found.high <= known + 1e-12).all()
    within = found._replace(low=found.low / known, high=found.high / known)
    np.testing.assert_allclose(half_width(within), REACH, rtol=0.02)


def test_intervals_of_exact_mixtures_have_the_systematic_part_alone():
    shares = profiles()
    rna = 0.1 + 0.7 * compositions(8)
    found = parts_of(bulk(shares, rna).X, shares, lambda *_: rna)
    np.testing.assert_allclose(half_width(found), REACH, rtol=0.02)


def test_the_bar_of_the_fit_is_full_at_the_end(monkeypatch):
    totals, done = [], []

    @contextmanager
    def counted(total, what, *, unit):
        totals.append((total, what, unit))
        yield done.append

    monkeypatch.setattr(_rsd_fit, "progress_bar", counted)
    monkeypatch.setattr(_rsd_fit, "N_DRAWS", 2)
    rna = compositions(3)
    parts_of(bulk(profiles(), rna).X, profiles(), lambda *_: rna)
    assert totals == [(6, "Fitting samples", "fit")]  # both panels of genes, once and with two draws
    assert done == [1] * 6


@pytest.mark.parametrize("seed", range(3))
def test_genes_that_disagree_widen_intervals(seed):
    """Few genes with factors of the platform; the network, which says the same whatever is asked, halves their part."""
    shares = profiles(seed, n_genes=60)
    rna = 0.1 + 0.7 * compositions(8, seed=seed)
    found = parts_of(bulk(shares, rna, platform=1.0, noise=0.3, seed=seed).X, shares, lambda *_: rna)
    assert half_width(found).mean() > 1.1 * REACH
