"""Peers of differential expression: their tests in closed form, calibrated, and given what ours is given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from benchmarks import _de_data, _de_interferon, _de_runs
from benchmarks.peers import _pseudobulk as peers
from scipy import optimize, sparse, special, stats

DESIGN = np.column_stack([np.ones(8), np.repeat([0.0, 1.0], 4)])


def counts(seed: int, n_genes: int = 1500) -> np.ndarray:
    """Eight samples of uneven depth without an effect; genes vary by 6 degrees of freedom around one variance."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(size=(8, n_genes)) * 0.2 * np.sqrt(6 / rng.chisquare(6, n_genes))
    depth = np.array([1, 2, 0.7, 1.4, 0.6, 1.8, 1, 1.2])[:, None]
    return rng.poisson(depth * np.exp(rng.uniform(4, 7, n_genes) + shift)).astype(float)


def test_moderated_t_is_that_of_the_paper():
    """Smyth (2004), section 6.2, the prior by its moments, the normal equations by a group mean each."""
    found = peers.moderated_t(counts(0), DESIGN)
    table = counts(0)
    depth = peers.size_factors(table)
    prior = 3 * depth / depth.mean()
    logs = np.log2((table + prior[:, None]) / (depth + 2 * prior)[:, None] * 1e6)
    low, high = logs[:4], logs[4:]
    effect, variance = high.mean(0) - low.mean(0), (3 * low.var(0, ddof=1) + 3 * high.var(0, ddof=1)) / 6
    e = np.log(variance) - special.digamma(3) + np.log(3)
    left = e.var(ddof=1) - special.polygamma(1, 3)
    half = optimize.brentq(lambda x: float(special.polygamma(1, x)) - left, 1e-3, 1e6)
    scale = np.exp(e.mean() + special.digamma(half) - np.log(half))
    t = effect / np.sqrt((2 * half * scale + 6 * variance) / (2 * half + 6) / 2)
    np.testing.assert_allclose(found.log2fc, effect, atol=1e-9)
    np.testing.assert_allclose(found.p, 2 * stats.t.sf(np.abs(t), 2 * half + 6), rtol=1e-5)


@pytest.mark.parametrize("method", [peers.moderated_t, peers.trended_t, peers.voom, peers.quasi_likelihood])
def test_peers_hold_their_level(method):
    p = np.concatenate([method(counts(seed), DESIGN).p for seed in range(4)])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.01)
    assert (p < 0.001).mean() < 0.003


@pytest.mark.parametrize("method", [peers.moderated_t, peers.trended_t, peers.voom, peers.quasi_likelihood])
def test_a_few_genes_that_rise_make_no_others_fall(method):
    table = counts(0)
    table[4:, :40] *= 40
    assert np.median(method(table, DESIGN).log2fc[40:]) == pytest.approx(0, abs=0.06)  # -1 and less by totals


def test_a_trend_follows_the_level():
    """Deep genes vary less: with a trend those of any level are as often below 0.05, without one the shallow ones more."""
    rng = np.random.default_rng(0)
    level = rng.uniform(2, 8, 4000)
    table = rng.poisson(np.exp(level + rng.normal(size=(8, 4000)) * 0.05)).astype(float)
    deep = level > 6
    shares = [
        [(m(table, DESIGN).p[part] < 0.05).mean() for part in (deep, ~deep)]
        for m in (peers.trended_t, peers.moderated_t)
    ]
    np.testing.assert_allclose(shares[0], 0.05, atol=0.015)
    assert shares[1][0] < 0.03


def test_voom_weighs_shallow_samples_less():
    rng = np.random.default_rng(0)
    depth = np.array([1, 1, 1, 0.02, 1, 1, 1, 0.02])[:, None]
    table = rng.poisson(depth * np.exp(rng.uniform(4, 6, 1000) + rng.normal(size=(8, 1000)) * 0.1)).astype(float)
    errors = [np.std(method(table, DESIGN).log2fc) for method in (peers.voom, peers.trended_t)]
    whole = np.delete(np.arange(8), [3, 7])
    best = np.std(peers.voom(table[whole], DESIGN[whole]).log2fc)
    assert errors[0] < 1.1 * best
    assert errors[0] < 0.9 * errors[1]


def test_peers_are_given_the_lane(monkeypatch):
    rng = np.random.default_rng(0)
    donor = np.repeat([f"d{i}" for i in range(8)], 20)
    adata = AnnData(sparse.csr_matrix(rng.poisson(3.0, (160, 60)).astype(np.float32)))
    adata.obs[_de_data.DONOR], adata.obs[_de_data.TYPE] = donor, "T"
    found, _ = _de_data.thinned(adata, 4, 0.5, 0, batch=True)
    given = []
    monkeypatch.setattr(_de_runs, "BULK", {"peer": lambda c, x: (given.append(x), peers.moderated_t(c, x))[1]})
    _de_runs.assessed(found, covariates=(_de_data.BATCH,))
    of_donor = found.obs.drop_duplicates(_de_data.DONOR)
    table = pd.crosstab(of_donor[_de_data.BATCH], of_donor[_de_data.GROUP])
    assert table.to_numpy().tolist() == [[1, 3], [3, 1]]  # confounded in part
    (design,) = given
    assert design.shape == (8, 3)
    inside = {(row[1], row[2]) for row in design.round().astype(int).tolist()}
    assert len(inside) == 4
    assert sorted(np.unique(design[:, 1:], axis=0, return_counts=True)[1]) == [1, 1, 3, 3]


@pytest.mark.parametrize("agrees", [True, False])
def test_agreement_is_with_the_genes_of_smallest_p(monkeypatch, agrees):
    genes = [f"g{i}" for i in range(900)]
    strength = np.linspace(3, 0.1, 900)
    truth = pd.DataFrame({"log2fc": strength, "order": strength}, index=genes)
    order = strength if agrees else strength[::-1]
    columns = {
        "method": "m",
        "type": "monocytes",
        "gene": genes,
        "p": 10.0**-order,
        "log2fc": order,
        "shrunken": np.nan,
    }
    monkeypatch.setattr(_de_interferon, "assessed", lambda *a, **k: pd.DataFrame({**columns, "seconds": 0.0}))
    monkeypatch.setattr(_de_interferon, "bulk", lambda: {"monocytes": truth})
    monkeypatch.setattr(_de_interferon, "two_donors", lambda: None)
    (row,) = _de_interferon.agreement("two donors")
    assert row["aucc"] == pytest.approx(
        1 if agrees else 51 * 50 / (500 * 501 / 2)
    )  # the last 100 of the first 500 are common
    assert row["log2fc"] == pytest.approx(1 if agrees else -1)
    assert row["shrunken"] is None


def test_bulk_is_up_where_interferon_raises(shared_data):
    """The response to interferon is known: these genes rise in any cell."""
    if not _de_interferon.BULK_DC.exists():
        pytest.skip("needs the bulk tables")
    for table in _de_interferon.bulk().values():
        known = table.index.intersection(["ISG15", "IFIT1", "IFIT3", "MX1", "OAS1", "IRF7"])
        assert len(known) >= 3
        assert (table.loc[known, "log2fc"] > 0).all()


def test_power_and_false_discoveries_are_of_the_genes_that_were_thinned(monkeypatch):
    """A method that reports eight of ten thinned genes, and as many others: power 0.8, and half of what it reports is false."""
    genes = [f"g{i}" for i in range(100)]
    truth = pd.DataFrame({"T": np.arange(100) < 10}, index=genes)
    p = np.where((np.arange(100) < 8) | (np.arange(100) >= 92), 1e-6, 0.9)
    table = pd.DataFrame({"method": "m", "type": "T", "gene": genes, "p": p})
    monkeypatch.setattr(_de_runs, "control_cells", lambda: None)
    monkeypatch.setattr(_de_runs, "thinned", lambda *a, **k: (None, truth))
    monkeypatch.setattr(_de_runs, "assessed", lambda *a, **k: table.sample(frac=1, random_state=0))
    (row,) = _de_runs.power(4, 0.5, 0, batch=False, deseq=False)
    assert row == {"method": "m", "type": "T", "power": 0.8, "fdr": 0.5, "reported": 16}
