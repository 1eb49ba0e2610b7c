"""What is tested or trained on must not have seen itself: where the parts of TAPE are wired together."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from tape import small_multiome, trained

from sctandem.kernels import fit_cell_state
from sctandem.model import _tape_fit


@pytest.fixture(name="calls")
def fixture_calls(monkeypatch):
    """Train a small model, and keep what its parts were given and gave."""
    calls = {}
    read, state, fit = _tape_fit._read_windows, _tape_fit.fit_cell_state, _tape_fit.fit_tape

    def reading(*arguments, **options):
        # both readers draw from the generator and spawn from it: a copy, to draw the same again
        calls["windows"] = (arguments, {**options, "rng": copy.deepcopy(options["rng"])})
        calls["read"] = read(*arguments, **options)
        return calls["read"]

    def reading_state(counts, targets, **options):
        calls["targets"] = targets
        calls["state"], calls["honest"] = state(counts, targets, **options)
        return calls["state"], calls["honest"]

    def fitting(data, cells, config, **options):
        calls["cells"] = cells
        calls["fit"] = fit(data, cells, config, **options)
        return calls["fit"]

    monkeypatch.setattr(_tape_fit, "_read_windows", reading)
    monkeypatch.setattr(_tape_fit, "fit_cell_state", reading_state)
    monkeypatch.setattr("sctandem.model._tape.fit_tape", fitting)
    calls["model"] = trained(small_multiome())
    monkeypatch.undo()
    return calls


def test_weights_to_test_a_gene_by_do_not_know_its_profile(calls):
    arguments, options = calls["windows"]
    data = arguments[0]
    gene = int(data.windows.gene[0])
    changed = options["target"].copy()
    changed[gene] = 3 * np.abs(changed).max()
    after = _tape_fit._read_windows(*arguments, **{**options, "target": changed})
    mine = data.windows.gene == gene
    before = calls["read"]
    np.testing.assert_array_equal(after.unseen[mine], before.unseen[mine])
    assert not np.allclose(after.unseen[~mine], before.unseen[~mine])
    assert not np.allclose(after.weight[mine], before.weight[mine])


def test_training_cells_are_trained_on_with_states_that_did_not_see_them(calls):
    fit, cells, honest = calls["fit"], calls["cells"], calls["honest"]
    n_factors = honest.shape[1] - 1
    np.testing.assert_array_equal(fit.state[cells, :n_factors], honest[:, :n_factors])
    seen = calls["state"].predict(calls["windows"][0][0].atac[cells])
    assert not np.allclose(seen, honest, atol=0.05)


def test_spread_of_the_library_is_that_of_honest_predictions(calls):
    expected = np.std(calls["targets"][:, -1] - calls["honest"][:, -1])
    assert calls["model"].module.get_fitted()["library_sd"][0] == pytest.approx(expected, rel=1e-5)


def test_tests_of_links_do_not_know_the_weights_of_readers_that_saw_the_gene(calls):
    model = calls["model"]
    before = model.get_peak_gene_links(rng=0).set_index(["gene", "peak"])
    kept = model.module.get_fitted()
    tampered = kept["pair_weight"] * np.random.default_rng(0).normal(size=kept["pair_weight"].shape)
    model.module.set_fitted({"pair_weight": tampered})
    after = model.get_peak_gene_links(rng=0).set_index(["gene", "peak"]).loc[before.index]
    tested = before["fdr"].notna()
    assert tested.any()
    for column in ("pvalue", "fdr", "sign"):
        np.testing.assert_array_equal(after.loc[tested, column], before.loc[tested, column])
    assert not np.allclose(after["weight"], before["weight"])


def test_honest_states_of_other_cells_do_not_know_the_targets_of_a_cell():
    """The targets of one cell move its own honest state by what the others' fits share, not by what it holds."""
    rng = np.random.default_rng(0)
    data = small_multiome()["atac"].X
    targets = rng.normal(size=(data.shape[0], 1))
    honest = fit_cell_state(data, targets, n_components=5)[1]
    moved = targets.copy()
    moved[7] += 5
    changed = fit_cell_state(data, moved, n_components=5)[1]
    assert abs(changed[7, 0] - honest[7, 0]) < 0.5
