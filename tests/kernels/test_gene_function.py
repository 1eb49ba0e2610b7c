from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import kstest, norm

from sctandem.kernels import Windows
from sctandem.kernels import _gene_function as kernel
from sctandem.kernels._cell_functions import CellFunctions, cell_functions, peak_responses
from sctandem.kernels._gene_function import _Windows, equivalence, peak_effects

N_GENES, PER_GENE, WIDTH = 150, 6, 8


def world(rng, *, tau=0.3, links=0.3, noise=0.02):
    """Genes on six chromosomes, each with peaks of its own, whose responses fall into kinds, and other causes."""
    n_peaks = N_GENES * PER_GENE
    kinds = np.linalg.qr(rng.normal(size=(WIDTH, 5)))[0].T
    kind = rng.integers(0, 5, n_peaks)
    response = kinds[kind] * rng.uniform(0.5, 1.5, n_peaks)[:, None] + 0.1 * rng.normal(size=(n_peaks, WIDTH))
    gene = np.repeat(np.arange(N_GENES), PER_GENE)
    distance = np.concatenate([np.sort(rng.integers(-90_000, 90_000, PER_GENE)) for _ in range(N_GENES)])
    weight = np.where(rng.random(n_peaks) < links, rng.normal(0, tau, n_peaks), 0.0)
    cause = np.linalg.cholesky(0.02 * (np.eye(WIDTH) + 0.5)) @ rng.normal(size=(WIDTH, N_GENES))
    profile = cause.T + np.sqrt(noise) * rng.normal(size=(N_GENES, WIDTH))
    np.add.at(profile, gene, weight[:, None] * response)
    windows = Windows.build(gene, np.arange(n_peaks), distance=distance, width=np.full(n_peaks, 500), n_genes=N_GENES)
    cells = CellFunctions(response, profile, np.full(N_GENES, 1 / noise), np.ones(N_GENES, dtype=bool))
    return windows, cells, weight, np.repeat(np.arange(6), N_GENES // 6), rng.uniform(0.1, 0.6, n_peaks)


def test_effects_are_generalised_least_squares_of_one_peak_given_the_others(rng):
    windows, cells, _, chromosome, openness = world(rng)
    found = peak_effects(windows, cells, openness, chromosome=chromosome)
    expected = kernel._expected(windows, cells, openness, fold=chromosome, rng=np.random.default_rng(0))
    noise = 1 / cells.information
    learner = _Windows(windows, cells.response, cells.profile, noise, expected)
    other, variance = learner.learn(np.arange(N_GENES))
    size = np.linalg.norm(cells.response, axis=1)
    for pair in range(0, windows.gene.size, 97):
        gene = windows.gene[pair]
        rest = np.flatnonzero((windows.gene == gene) & (np.arange(windows.gene.size) != pair))
        own = cells.response[windows.peak[pair]]
        others = cells.response[windows.peak[rest]]
        whole = other + noise[gene] * np.eye(WIDTH) + variance * others.T @ others
        left = cells.profile[gene] - expected[rest] @ others
        precision = own @ np.linalg.solve(whole, own)
        estimate = own @ np.linalg.solve(whole, left) / precision
        assert found.effect[pair] == pytest.approx(estimate * size[pair])
        assert found.se[pair] == pytest.approx(size[pair] * max(found.spread, 1) / np.sqrt(precision))


def test_variances_are_recovered_and_likelihood_rises(rng, monkeypatch):
    windows, cells, weight, _, _ = world(rng, links=1.0, tau=0.3)
    learner = _Windows(windows, cells.response, cells.profile, 1 / cells.information, np.zeros(windows.gene.size))

    def likelihood(other, variance):
        total = 0.0
        for gene in range(N_GENES):
            x = cells.response[windows.peak[windows.gene == gene]]
            whole = other + np.eye(WIDTH) / cells.information[gene] + variance * x.T @ x
            solved = np.linalg.solve(whole, cells.profile[gene])
            total -= 0.5 * (np.linalg.slogdet(whole)[1] + cells.profile[gene] @ solved)
        return total

    path = []
    for rounds in (1, 3, 10, 200):
        monkeypatch.setattr(kernel, "MAX_ROUNDS", rounds)
        path.append(learner.learn(np.arange(N_GENES)))
    assert np.all(np.diff([likelihood(*each) for each in path]) > 0)
    other, variance = path[-1]
    assert variance == pytest.approx(np.mean(weight**2), rel=0.25)
    np.testing.assert_allclose(np.diag(other), 0.03, atol=0.02)


def test_effects_without_links_are_calibrated(rng):
    pvalues, spread = [], []
    for _ in range(4):
        windows, cells, _, chromosome, openness = world(rng, links=0.0)
        found = peak_effects(windows, cells, openness, chromosome=chromosome)
        pvalues.extend(found.pvalue)
        spread.append(found.spread)
        assert (found.fdr > 0.05).mean() > 0.999
    assert np.mean(spread) == pytest.approx(1, abs=0.1)
    assert kstest(pvalues[::3], "uniform").pvalue > 1e-3
    assert np.mean(np.array(pvalues) <= 0.01) == pytest.approx(0.01, abs=0.006)


def test_kinds_of_peaks_teach_each_other(rng):
    """Peaks of one kind always activate, of another always repress: like peaks of other chromosomes set the direction."""
    windows, cells, _, chromosome, openness = world(rng, links=0.0)
    kinds = np.argmax(np.abs(cells.response @ np.linalg.svd(cells.response, full_matrices=False)[2].T), axis=1)
    weight = np.select([kinds == 0, kinds == 1], [0.35, -0.35], 0.0)
    sign = np.sign(np.einsum("ij,j->i", cells.response, np.ones(WIDTH)))  # the kind's side, whatever the SVD called it
    profile = cells.profile.copy()
    np.add.at(profile, windows.gene, weight[:, None] * cells.response[windows.peak])
    found = peak_effects(
        windows,
        CellFunctions(cells.response, profile, cells.information, cells.tested),
        openness,
        chromosome=chromosome,
    )
    assert sign.size == weight.size
    linked = weight != 0
    assert (np.sign(found.score[linked]) == np.sign(weight[linked])).mean() > 0.95
    called = found.fdr <= 0.1
    assert called[linked].mean() > 0.3
    assert called[~linked].sum() <= 0.15 * called.sum()
    assert (found.pvalue[~linked] <= 0.2).mean() == pytest.approx(0.2, abs=0.06)
    alone = peak_effects(
        windows,
        CellFunctions(cells.response, profile, cells.information, cells.tested),
        openness,
        chromosome=np.zeros(N_GENES),
    )
    assert alone.spread == 1  # no peak of another chromosome to compare with
    assert (alone.fdr <= 0.1)[linked].mean() < called[linked].mean()  # one chromosome: nothing is expected


def test_what_cannot_be_tested_is_nan(rng):
    windows, cells, _, chromosome, openness = world(rng)
    tested = np.arange(N_GENES) > 5
    response = cells.response.copy()
    response[100] = 0
    found = peak_effects(
        windows, CellFunctions(response, cells.profile, cells.information, tested), openness, chromosome=chromosome
    )
    out = (windows.gene <= 5) | (windows.peak == 100)
    for values in (found.effect, found.se, found.pvalue, found.fdr):
        np.testing.assert_array_equal(np.isnan(values), out)
    assert (found.score[out] == 0).all()
    nothing = peak_effects(
        windows,
        CellFunctions(response, cells.profile, cells.information, tested & False),
        openness,
        chromosome=chromosome,
    )
    assert np.isnan(nothing.effect).all()


def test_equivalence_is_two_one_sided_tests():
    effect, se = np.array([0.0, 0.15, -0.15, 0.3, np.nan]), np.array([0.05, 0.05, 0.05, 0.05, 0.05])
    found = equivalence(effect, se, 0.2, candidate=np.array([True, True, True, True, False]))
    raw = np.array([norm.sf(4), norm.sf(1), norm.sf(1), norm.sf(-2)])
    np.testing.assert_allclose(found[:4], [raw[0] * 4, raw[1] * 4 / 3, raw[1] * 4 / 3, raw[3]])
    assert found[4] == 1
    assert (equivalence(effect, se, 0.2, candidate=np.zeros(5, dtype=bool)) == 1).all()


def counts_of(rng, n_cells=1500, n_peaks=120):
    functions = rng.normal(size=(n_cells, 3))
    depth = rng.lognormal(6, 0.6, n_cells)
    slope = rng.normal(0, 0.3, (n_peaks, 3))
    rate = np.exp(functions @ slope.T) * rng.lognormal(0, 1, n_peaks)
    counts = rng.poisson(depth[:, None] * rate / rate.sum(1, keepdims=True))
    return sparse.csr_matrix(counts), functions, slope


def test_responses_are_slopes_of_the_log_accessibility(rng):
    counts, functions, slope = counts_of(rng)
    found = peak_responses(counts, np.asarray(counts.sum(1)).ravel().astype(float), functions)
    shared = slope - slope.mean(0)
    assert np.corrcoef(found.ravel(), slope.ravel())[0, 1] > 0.97
    assert np.polyfit((found - found.mean(0)).ravel(), shared.ravel(), 1)[0] == pytest.approx(1, abs=0.12)
    few = sparse.csr_matrix(rng.binomial(counts.toarray(), 0.004))
    shrunken = peak_responses(few, np.maximum(np.asarray(few.sum(1)).ravel(), 1.0).astype(float), functions)
    assert (shrunken**2).sum() < (slope**2).sum()
    empty = counts.tolil()
    empty[:, 7] = 0
    assert (peak_responses(empty.tocsr(), np.asarray(counts.sum(1)).ravel().astype(float), functions)[7] == 0).all()


def test_depth_and_batch_leave_nothing_behind(rng):
    """A gene that a batch doubles, where the batch changes peaks too, has a profile only if the batch is not given."""
    counts = counts_of(rng, n_cells=900, n_peaks=300)[0].toarray()
    batch = (np.arange(900) % 2).astype(float)
    counts[:, :60] *= 1 + 2 * batch[:, None].astype(int)
    library = rng.lognormal(7, 0.5, 900)
    rate = np.full((900, 40), 1 / 40)
    rate[:, 0] *= 1 + batch
    rna = sparse.csr_matrix(rng.poisson(library[:, None] * rate))
    library = np.asarray(rna.sum(1)).ravel().astype(float)
    atac = sparse.csr_matrix(counts)
    without, given = (cell_functions(rna, atac, library=library, batch=b) for b in (None, batch[:, None]))
    error = np.sqrt(20 / without.information[0])
    assert np.linalg.norm(without.profile[0]) > 3.5 * error
    assert np.linalg.norm(given.profile[0]) < 2 * error
    assert given.tested.all()


def test_two_cuts_of_a_fragment_are_no_more_evidence_than_one(rng):
    counts, functions, _ = counts_of(rng)
    few = sparse.csr_matrix(rng.binomial(counts.toarray(), 0.02))
    depth = np.maximum(np.asarray(few.sum(1)).ravel(), 1.0).astype(float)
    once, twice = (peak_responses(times * few, times * depth, functions) for times in (1, 2))
    assert np.linalg.norm(twice) == pytest.approx(np.linalg.norm(once), rel=0.03)


def test_what_follows_the_library_of_the_expression_is_no_function(rng):
    size = rng.normal(size=900)
    slope = np.repeat([0.5, -0.5, 0.0], [60, 60, 180])  # the depth of the chromatin does not tell it
    counts = rng.poisson(2 * np.exp(size[:, None] * slope))
    rna = sparse.csr_matrix(rng.poisson(np.exp(4 + 0.5 * size)[:, None] * np.ones(20)))
    library = np.asarray(rna.sum(1)).ravel().astype(float)
    other = rng.permutation(library)
    found = [cell_functions(rna, sparse.csr_matrix(counts), library=each) for each in (library, other)]
    followed = [np.linalg.norm(each.response[:120], axis=1).mean() for each in found]
    assert followed[1] > 0.4
    assert followed[0] < 0.4 * followed[1]


def test_what_another_model_expects_counts_half_as_much(rng, monkeypatch):
    windows, cells, _, chromosome, openness = world(rng)
    own, told = rng.normal(0, 0.1, windows.gene.size), rng.normal(size=windows.gene.size)
    size = np.linalg.norm(cells.response, axis=1)[windows.peak]
    monkeypatch.setattr(kernel, "_expected", lambda *args, **kwargs: own)
    plain = peak_effects(windows, cells, openness, chromosome=chromosome)
    heard = peak_effects(windows, cells, openness, chromosome=chromosome, told=told)
    mixed = own / own.std() + 0.5 * told / told.std()
    np.testing.assert_allclose(plain.expected, own * size)
    np.testing.assert_allclose(heard.expected, mixed * own.std() / mixed.std() * size)
    scaled = peak_effects(windows, cells, openness, chromosome=chromosome, told=1000 * told)
    np.testing.assert_allclose(scaled.score, heard.score)  # the unit of what is told does not matter
    monkeypatch.setattr(kernel, "_expected", lambda *args, **kwargs: np.zeros_like(own))
    silent = peak_effects(windows, cells, openness, chromosome=chromosome, told=told)
    assert (silent.expected == 0).all()  # without a scale of its own it cannot be heard
