from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mixtures import TYPES, bulk, compositions, names, profiles, reference
from rsd import EVEN, relative, trained
from scipy import stats

from sctandem.model import RSD
from sctandem.train import _mixtures

CONTENTS = {"A1": 2.0, "B1": 1.0, "C1": 0.5}


@pytest.fixture(scope="module")
def shares():
    return profiles()


@pytest.fixture(scope="module")
def model(shares):
    """Trained on many molecules, so that the signature is next to exact; tests only read it."""
    return trained(reference(shares, depth=200_000), donor_key="donor")


@pytest.fixture(scope="module")
def samples(shares):
    return bulk(shares, compositions(10), platform=0.8, noise=0.03)


@pytest.fixture(scope="module")
def found(model, samples):
    return model.deconvolve(samples, contents=EVEN, expression=True, rng=0)


# --- fractions --------------------------------------------------------------------------------------------------------


def test_fractions_are_found_in_spite_of_the_platform(found, samples):
    rna = samples.obsm["true"]
    assert np.sqrt(((relative(found) - rna) ** 2).mean()) < 0.03
    assert found.unknown.max() < 0.08
    inside = (found.low.to_numpy() <= rna) & (rna <= found.high.to_numpy())
    assert inside.mean() >= 0.85
    assert found.fit.min() > 0.95
    usual = found.platform.to_numpy() - samples.var["true"].to_numpy()
    assert np.median(np.abs(usual - np.median(usual))) < 0.05


def test_tables_hold_together(found, samples):
    for table in (found.fractions, found.low, found.high, found.rna):
        assert list(table.index) == list(samples.obs_names)
        assert list(table.columns) == list(TYPES)
        assert ((table >= 0) & (table <= 1)).to_numpy().all()
    assert (found.low <= found.fractions).to_numpy().all()
    assert (found.fractions <= found.high).to_numpy().all()
    np.testing.assert_allclose(found.fractions.sum(axis=1) + found.unknown, 1)
    assert found.kind == "tpm"
    assert found.contents == EVEN


def test_signature_and_rna_add_up_to_the_samples(found, samples, shares):
    """The signature is on the platform of the bulk: shares of RNA times it are the expected counts per million."""
    rna = found.rna.div(found.rna.sum(axis=1), axis=0).to_numpy()
    expected = rna @ found.signature.to_numpy().T
    np.testing.assert_allclose(expected.sum(1).mean(), 1e6, rtol=1e-9)
    ratio = np.log(samples.X + 1) - np.log(expected + 1)
    assert np.median(np.abs(ratio - np.median(ratio, axis=1, keepdims=True))) < 0.05


def test_contents_turn_rna_into_cells(model, samples, found):
    other = model.deconvolve(samples, contents=CONTENTS, rng=0)
    np.testing.assert_allclose(other.rna, found.rna)
    content = np.array([CONTENTS[name] for name in TYPES])
    by_hand = found.rna.to_numpy() / content
    np.testing.assert_allclose(relative(other), by_hand / by_hand.sum(1, keepdims=True))
    # what is unknown has the geometric mean of the contents
    unknown = 1 - found.rna.sum(axis=1)
    np.testing.assert_allclose(other.unknown, unknown / (unknown + by_hand.sum(1)), rtol=1e-6, atol=1e-12)
    scaled = model.deconvolve(samples, contents={name: 7 * value for name, value in CONTENTS.items()}, rng=0)
    np.testing.assert_allclose(scaled.fractions, other.fractions)


def test_types_of_other_names_are_average(model, samples, found):
    """A1, B1 and C1 are in no table."""
    plain = model.deconvolve(samples, rng=0)
    assert plain.contents == EVEN
    np.testing.assert_array_equal(plain.fractions, found.fractions)


def test_blood_gets_published_contents_and_wider_intervals(shares, samples):
    adata = reference(shares, types=("Monocytes", "T cells", "odd"), depth=20_000)
    model = trained(adata, epochs=1)
    assumed = model.deconvolve(samples, rng=0)
    assert assumed.contents == {"Monocytes": 1.42, "T cells": 0.40, "odd": pytest.approx(np.sqrt(1.42 * 0.40))}
    given = model.deconvolve(samples, contents=assumed.contents, rng=0)
    np.testing.assert_allclose(given.fractions, assumed.fractions)
    width = (assumed.high - assumed.low).to_numpy().mean()
    assert width > 1.2 * (given.high - given.low).to_numpy().mean()


def test_the_width_of_intervals_is_that_of_contents_and_not_of_the_seed(shares):
    """The log odds of two types move with the log ratio of their contents: the width has a closed form where contents are all there is."""
    model = trained(reference(shares[:2], depth=200_000, types=("Monocytes", "T cells")), epochs=2)
    mixed = bulk(shares[:2], compositions(10, 2))
    widths = []
    for seed in range(4):
        found = model.deconvolve(mixed, rng=seed)
        share = found.fractions.to_numpy()
        inside = ((found.low > 0) & (found.high < 1)).to_numpy()  # ends that were cut say nothing of the width
        assert inside.all(axis=1).sum() >= 8
        angle = [np.arcsin(np.sqrt(table.to_numpy()[inside])) for table in (found.low + 0.01, found.high - 0.01)]
        # d arcsin(sqrt p) = sqrt(p (1 - p)) / 2 d logit p
        spread = np.sqrt(2) * 0.35 * np.sqrt(share * (1 - share))[inside] / 2
        widths.extend((angle[1] - angle[0]) / (2 * 1.645 * np.hypot(spread, 0.05)))
    np.testing.assert_allclose(widths, 1, atol=0.1)  # with one draw of contents for each of genes up to 0.2


@pytest.mark.parametrize("change", ["genes", "samples", "units", "library"])
def test_order_and_scale_do_not_matter(model, samples, found, change):
    rng = np.random.default_rng(1)
    given, expected = samples.copy(), found.fractions
    if change == "genes":
        given = given[:, rng.permutation(given.n_vars)].copy()
    elif change == "samples":
        given = given[rng.permutation(given.n_obs)].copy()
        expected = expected.loc[given.obs_names]
    elif change == "units":
        given.X = given.X / 1000
    else:
        given.X = given.X * rng.lognormal(0, 1, (given.n_obs, 1))
    again = model.deconvolve(given, kind="tpm", contents=EVEN, rng=0)
    np.testing.assert_allclose(again.fractions, expected, atol=0.01)


def test_a_panel_of_genes_gives_the_same_fractions(model, shares):
    """Genes that are measured make another part of the RNA in each type."""
    rna = compositions(6)
    kept = np.flatnonzero((np.argmax(shares, axis=0) == 0) | (np.arange(300) % 3 == 0))
    part = shares[:, kept].sum(1)
    assert part.max() > 1.5 * part.min()
    panel = bulk(shares, rna)[:, kept].copy()
    found = model.deconvolve(panel, contents=EVEN, rng=0)
    # against the likelihood in all genes: the network, which is half of the estimate, is less exact
    np.testing.assert_allclose(relative(found), rna, atol=0.04)
    wrong = rna * part / (rna @ part)[:, None]
    assert np.abs(wrong - rna).max() > 0.08


@pytest.mark.parametrize("n_samples", [1, 2])
def test_few_samples(model, shares, n_samples):
    rna = compositions(n_samples)
    found = model.deconvolve(bulk(shares, rna), contents=EVEN, rng=0)
    np.testing.assert_allclose(relative(found), rna, atol=0.04)
    assert np.isfinite(found.high).to_numpy().all()
    assert np.isfinite(found.platform).all()


def test_counts_and_tpm(model, shares):
    rna = compositions(6)
    adata = bulk(shares, rna)
    adata.X = np.random.default_rng(0).poisson(adata.X / 5).astype(np.float32)
    counts = model.deconvolve(adata, contents=EVEN, rng=0)
    assert counts.kind == "counts"
    np.testing.assert_allclose(relative(counts), rna, atol=0.04)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_removed_type_is_found_as_unknown(seed):
    types = ("A1", "B1", "C1", "D1", "E1")
    every = profiles(seed, n_types=5, n_genes=600, change=2.5)
    last = np.repeat([0, 0.1, 0.2, 0.3, 0.5], 4)
    rna = np.hstack([compositions(20, 4) * (1 - last)[:, None], last[:, None]])
    adata = bulk(every, rna, platform=0.3, noise=0.03)
    found = {}
    for n_known in (4, 5):
        model = trained(reference(every[:n_known], depth=50_000, types=types[:n_known]), epochs=4)
        found[n_known] = model.deconvolve(adata, contents=dict.fromkeys(types[:n_known], 1.0), rng=0)
    assert found[5].unknown.max() == 0
    mean = found[4].unknown.to_numpy().reshape(5, 4).mean(1)
    assert mean[0] < 0.05
    assert np.corrcoef(found[4].unknown, last)[0, 1] > 0.9
    # its scale rests on genes that the unknown type may have as well
    assert 0.3 < mean[4] < 0.7
    assert np.abs(found[4].fractions.to_numpy() - rna[:, :4]).mean() < 0.04


# --- expression -------------------------------------------------------------------------------------------------------


def test_expression_of_types(found, samples):
    for name in TYPES:
        values = found.expression[name]
        assert values.dtype == np.float32
        assert values.shape == samples.shape
        # around the signature, as far as samples differ from it
        log = np.log(values / found.signature[name].to_numpy())
        assert np.abs(np.median(log)) < 0.02
        assert 0 < np.std(log) < 0.3
    rna = found.rna.div(found.rna.sum(axis=1), axis=0)
    total = sum(rna[[name]].to_numpy() * found.expression[name] for name in TYPES)
    assert stats.spearmanr(total.ravel(), samples.X.ravel())[0] > 0.99


def test_expression_finds_the_type_that_changed(model, shares):
    rna = compositions(20)
    factor = np.ones((20, 3, 300))
    gene = int(np.argmax(shares[0] / shares[1:].max(0)))
    factor[:10, 0, gene] = 3
    values = np.einsum("st,tg,stg->sg", rna, shares, factor)
    adata = AnnData(1e6 * values / values.sum(1, keepdims=True), var=pd.DataFrame(index=names(300)))
    adata.obs_names = [f"s{i}" for i in range(20)]
    layers = model.deconvolve(adata, contents=EVEN, expression=True, rng=0).expression
    change = {name: np.log(layers[name][:10, gene].mean() / layers[name][10:, gene].mean()) for name in TYPES}
    assert change["A1"] > 0.6 * np.log(3)
    assert max(abs(change["B1"]), abs(change["C1"])) < 0.2


def test_genes_that_the_reference_lacks_are_nan(model, samples):
    more = samples.copy()
    more.var_names = [*names(300)[:280], *[f"other{i}" for i in range(20)]]
    found = model.deconvolve(more, contents=EVEN, expression=True, rng=0)
    assert found.signature.iloc[280:].isna().all(axis=None)
    assert found.signature.iloc[:280].notna().all(axis=None)
    np.testing.assert_array_equal(found.platform.isna(), np.arange(300) >= 280)
    assert np.isnan(found.expression["A1"][:, 280:]).all()
    assert np.isfinite(found.expression["A1"][:, :280]).all()


# --- runs -------------------------------------------------------------------------------------------------------------


def test_same_seed_same_result(shares, samples, model, found):
    again = trained(reference(shares, depth=200_000), donor_key="donor").deconvolve(samples, contents=EVEN, rng=0)
    np.testing.assert_array_equal(again.fractions, found.fractions)
    np.testing.assert_array_equal(again.low, found.low)
    other = model.deconvolve(samples, contents=EVEN, rng=1)
    np.testing.assert_array_equal(other.fractions, found.fractions)  # the seed is that of the intervals
    assert not np.array_equal(other.low, found.low)


def test_bulk_is_left_as_it_was(model, samples):
    given = samples.copy()
    model.deconvolve(given, rng=0)
    np.testing.assert_array_equal(given.X, samples.X)
    assert list(given.obsm) == list(samples.obsm)
    assert list(given.obs) == list(samples.obs)


def test_saved_and_loaded_without_the_reference(model, samples, found, shares, tmp_path):
    """Some other cells with the same genes and types are enough: what was learned is in the file."""
    model.save(tmp_path / "model")
    few = reference(shares, n_cells=3, depth=5, seed=4)
    again = RSD.load(tmp_path / "model", few).deconvolve(samples, contents=EVEN, expression=True, rng=0)
    for name in ("fractions", "low", "high", "rna", "unknown", "fit", "signature", "platform"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    np.testing.assert_array_equal(again.expression["A1"], found.expression["A1"])


def test_interrupted_training_leaves_a_model(shares, samples, monkeypatch):
    def interrupted(epochs, **_options):
        class Bar:
            def __enter__(self):
                return self

            def __exit__(self, *_error):
                return False

            def __iter__(self):
                yield from list(epochs)[:1]
                raise KeyboardInterrupt

            def set_postfix(self, **_values):
                pass

        return Bar()

    monkeypatch.setattr(_mixtures, "tqdm", interrupted)
    model = trained(reference(shares), epochs=5)
    assert model.is_trained
    assert len(model.history["train_loss"]) == 1
    assert np.abs(relative(model.deconvolve(samples, contents=EVEN, rng=0)) - samples.obsm["true"]).max() < 0.4


def test_training_is_recorded(model):
    table = model.history["train_loss"]
    assert list(table.columns) == ["train_loss"]
    assert table.index.name == "epoch"
    assert len(table) == 8
    assert table["train_loss"].iloc[-1] < table["train_loss"].iloc[0]


def test_bad_arguments(model, samples):
    with pytest.raises(ValueError, match="max_epochs=0 is not an integer above 0"):
        model.train(0)
    with pytest.raises(ValueError, match=r"contents\['B1'\]=-1 is not a number above 0"):
        model.deconvolve(samples, contents={**CONTENTS, "B1": -1})
    with pytest.raises(KeyError, match="contents lacks 'C1'; it has 'A1', 'B1'"):
        model.deconvolve(samples, contents={"A1": 1, "B1": 1})
    with pytest.raises(TypeError, match="contents must be a Mapping, got list"):
        model.deconvolve(samples, contents=[1, 2, 3])
    with pytest.raises(TypeError, match="config must be a RSDConfig, got dict"):
        RSD(model.adata, config={})
