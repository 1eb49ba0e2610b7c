"""What learning on is made of, piece by piece: springs of the old cells, genes that are lent, batches that are new."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from models import CASES
from scipy import sparse

from sctandem.model.base import _partial_fit
from sctandem.model.base._increment import Increment, joined
from sctandem.module.base import CountVAE
from sctandem.module.base._take_over import FeatureMap


def marked(data, count):
    """Let all cells have as many molecules of the first gene."""
    dense = data.X.toarray()
    dense[:, 0] = count
    data.X = sparse.csr_matrix(dense)
    return data


def test_springs_are_found_from_the_old_cells_alone(monkeypatch):
    seen, find = [], _partial_fit.fisher_information

    def watched(plan, batches):
        held = list(batches)
        seen.extend(batch["X"].to_dense()[:, 0] for batch in held)
        return find(plan, held)

    monkeypatch.setattr(_partial_fit, "fisher_information", watched)
    case = CASES["CountVAEModel"]
    old, new = marked(case.data(), 1), marked(case.data(), 9)
    new.obs_names = [f"new{i}" for i in range(new.n_obs)]
    case.set_up(old)
    model = case.make(old)
    model.train(1, rng=0, progress=False)
    model.partial_fit(new, n_replay=40, max_epochs=1, rng=0, progress=False)
    assert torch.equal(torch.cat(seen), torch.ones(40))


def test_genes_are_lent_by_the_nearest_new_cell_at_the_depth_of_the_old_one():
    features = ["a", "b", "c", "d"]
    old = Increment(
        sparse.csr_matrix(np.array([[6e5, 2e5], [1e4, 3e4], [4e6, 0]])),
        pd.DataFrame({"batch": "old"}, index=["x", "y", "z"]),
        features[:2],
        None,
        np.array([[0.1], [4.9], [0.0]]),
    )
    new = Increment(
        sparse.csr_matrix(np.array([[2e6, 2e6], [5e4, 3e4]])),
        pd.DataFrame({"batch": "new"}, index=["p", "q"]),
        features,
        sparse.csr_matrix(np.array([[8e6, 4e5], [0, 6e6]])),
        np.array([[0.0], [5.0]]),
    )
    both, n_old = joined(old, new, rng=np.random.default_rng(0))
    lent = both.counts[:n_old, 2:].toarray()
    # p has 4e6 counts of the genes that both have, q 8e4; the old cells 8e5, 4e4 and 4e6
    expected = np.array([[8e6 / 5, 4e5 / 5], [0, 6e6 / 2], [8e6, 4e5]])
    np.testing.assert_allclose(lent, expected, rtol=0.02)
    np.testing.assert_array_equal(both.counts[:n_old, :2].toarray(), old.counts.toarray())
    np.testing.assert_array_equal(both.counts[n_old:].toarray(), np.hstack([new.counts.toarray(), new.extra.toarray()]))


@pytest.mark.parametrize("n_known", [2, 3])
def test_a_new_batch_starts_at_the_mean_of_those_that_are_known(n_known):
    torch.manual_seed(0)
    old, new = CountVAE(12, n_batch=3), CountVAE(12, n_batch=5)
    old.n_known_batches.fill_(n_known)
    with torch.no_grad():
        old.decoder.batch.weight.normal_(2.0)
    new.take_over(old, FeatureMap(np.arange(12), 12))
    known = old.decoder.batch.weight
    torch.testing.assert_close(new.decoder.batch.weight[:3], known)
    for row in new.decoder.batch.weight[3:]:
        torch.testing.assert_close(row, known[:n_known].mean(0))
    assert float(known.detach()[:n_known].mean(0).abs().min()) > 0.1
