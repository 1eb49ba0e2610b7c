"""What is known of the variance of a gene, beside its mean, reaches its p-value: covariates of the prior, other states, cells."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
from anndata import AnnData

import sctandem as td
from sctandem.kernels._cell_sums import CellSums
from sctandem.kernels._moderation import moderate
from sctandem.kernels._sample_de import assess_column, fit_state

N_GENES = 300
LOUD = np.arange(N_GENES) % 3 == 0


def test_p_values_are_uniform_at_every_value_of_a_covariate():
    rng = np.random.default_rng(0)
    known = rng.normal(size=40_000)
    true = np.exp(known) * 20 / rng.chisquare(20, 40_000)
    observed = true * rng.chisquare(4, 40_000) / 4
    p = moderate(observed, 4, np.column_stack([np.ones(40_000), known])).tail(rng.normal(size=40_000) * np.sqrt(true))
    for part in (known < -0.7, np.abs(known) < 0.3, known > 0.7):
        for level in (0.05, 0.01):
            assert (p[part] < level).mean() == pytest.approx(level, rel=0.25)  # 0.7 and 1.4 times without the covariate


def samples(seed: int) -> np.ndarray:
    """Counts of 3 against 3 samples without an effect; every third gene varies far more between them."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(size=(6, N_GENES)) * np.where(LOUD, 0.5, 0.1)
    return rng.poisson(np.exp(rng.uniform(4, 7, N_GENES) + shift)).astype(float)


def test_a_covariate_of_variances_makes_loud_genes_less_and_quiet_ones_more_significant():
    design = np.column_stack([np.ones(6), np.repeat([0.0, 1], 3)])
    shares = np.zeros((2, 2))
    for seed in range(4):
        state = fit_state(samples(seed), design)
        for i, covariates in enumerate((None, LOUD[:, None].astype(float))):
            p = assess_column(state, 1, covariates=covariates, hidden_factors=False).p_value
            shares[i] += np.array([(p[LOUD] < 0.05).mean(), (p[~LOUD] < 0.05).mean()]) / 4
    np.testing.assert_allclose(shares[1], 0.05, atol=0.025)
    assert shares[0, 0] > 0.08
    assert shares[0, 1] < 0.035


def test_cells_tell_which_genes_differ_within_samples():
    """The excess of the variance within groups in closed form: that of the rates, whatever the means of the groups."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 500)
    spread = np.array([0.0, 0.3, 1.0])
    rate = 5 * np.exp(rng.normal(0, 0.8, (4, 3)))[group]
    rate = rate * np.where(spread > 0, rng.gamma(1 / np.maximum(spread, 1e-9), np.maximum(spread, 1e-9), rate.shape), 1)
    rest = np.full((2000, 1), 1e5)  # the depth, alike in all cells
    sums = CellSums(4, 4)
    counts = np.hstack([rng.poisson(rate), rest])
    for rows in np.array_split(rng.permutation(2000), 7):
        sums.add(counts[rows], (group[rows, None] == np.arange(4)).astype(float))
    np.testing.assert_allclose(sums.overdispersion(range(4))[:3], spread, atol=0.1)


def types(seed: int) -> AnnData:
    """Types whose samples vary on their own, the same genes more in each, without an effect."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in "abcdef":
        shift = rng.normal(size=(6, N_GENES)) * np.where(LOUD, 0.5, 0.1)
        rate = np.repeat(np.exp(rng.uniform(1, 3, N_GENES) + shift), 12, axis=0)
        part = AnnData(rng.poisson(rate).astype(np.float32))
        part.obs["donor"] = np.char.add("d", np.repeat(np.arange(6), 12).astype(str))
        part.obs["condition"], part.obs["type"] = np.repeat(["x", "y"], 36), name
        parts.append(part)
    return anndata.concat(parts, index_unique="-")


def test_types_lend_each_other_what_they_know_of_variances():
    """Genes that vary in other types are believed less; alone, a type does not know them."""
    shares = np.zeros((2, 2))
    for seed in range(3):
        adata = types(seed)
        for i, part in enumerate((adata[adata.obs["type"] == "a"].copy(), adata)):
            td.tl.differential_expression(part, "condition", "donor", cell_types="type")
            p = td.get.de(part, state="a").set_index("gene")["p_value"][adata.var_names].to_numpy()
            shares[i] += np.array([(p[LOUD] < 0.05).mean(), (p[~LOUD] < 0.05).mean()]) / 3
    assert shares[1, 0] < 0.85 * shares[0, 0]
    assert shares[1, 1] > 1.5 * shares[0, 1]
