"""Attacks on classes that are read off counts by rules that can be worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scvi import REGISTRY_KEYS

from sctandem.model.base import AttackConfig
from sctandem.model.base._robustness import _SHARES, attack


class Reader:
    """Read classes off counts by a rule."""

    module = SimpleNamespace(device=torch.device("cpu"))

    def __init__(self, counts, names, scores, objective=None):
        self.counts, self.names, self.rule = torch.as_tensor(counts, dtype=torch.float32), list(names), scores
        self.objective = objective

    def batches(self, batch_size):
        for rows in self.counts.split(batch_size):
            yield {REGISTRY_KEYS.X_KEY: rows}

    def scores(self, counts, batch):
        return self.rule(counts)

    def losses(self, codes, batch):
        if self.objective is not None:
            return self.objective

        def margin(counts):
            scores = self.rule(counts)
            others = scores.scatter(1, codes[:, None], -torch.inf)
            return others.max(1).values - scores.gather(1, codes[:, None])[:, 0]

        return margin


QUICK = {"n_genes": (1,), "dropout": (0.0,), "depth": (1.0,)}


def ratio(counts):
    """Log of the first gene by the second: the larger one is the class."""
    return counts.clamp_min(1e-6)[:, :2].log()


def test_a_cell_that_is_read_wrong_is_not_brought_back_by_an_attack():
    # the even ones are of the first class; every fourth cell is read as the other one
    truth = np.arange(40) % 2
    read = np.where(np.arange(40) % 4 == 0, 1 - truth, truth)
    counts = np.full((40, 3), 1000.0)
    counts[np.arange(40), read] = 1050
    found = attack(Reader(counts, "ab", ratio), truth, AttackConfig(radii=(0.01, 0.4), max_sd=100, **QUICK), seed=0)
    np.testing.assert_array_equal(found.clean, read)
    np.testing.assert_array_equal(found.read["pgd", 0.01], read)  # the two are 5 % apart
    np.testing.assert_array_equal(found.read["pgd", 0.4], 1 - truth)
    np.testing.assert_array_equal(found.read["genes", 1], 1 - truth)
    rows = {(row["attack"], row["strength"]): row for row in found.rows(truth)}
    assert rows["pgd", 0.01]["accuracy"] == 0.75
    assert rows["pgd", 0.4]["accuracy"] == 0
    assert rows["pgd", 0.4]["kept"] == 0.25


def test_a_cell_of_another_class_is_taken_from_what_it_is_read_as():
    truth, counts = np.full(10, -1), np.tile([1000.0, 1050.0, 1000.0], (10, 1))
    found = attack(Reader(counts, "ab", ratio), truth, AttackConfig(radii=(0.4,), max_sd=100, **QUICK), seed=0)
    assert (found.clean == 1).all()
    assert (found.read["pgd", 0.4] == 0).all()


def test_what_a_smaller_radius_has_found_stays_found():
    counts = np.full((10, 2), 5000.0)

    def shift(cells):
        return cells.clamp_min(1e-6)[:, 0].log() - cells.clamp_min(1e-6)[:, 1].log()

    def band(cells):  # the second class is a band in which the moves of 0.2 end, and those of 1 do not
        inside = (shift(cells) > 0.3) & (shift(cells) < 0.9)
        return torch.stack([torch.zeros(len(cells)), torch.where(inside, 1.0, -1.0)], 1)

    config = AttackConfig(radii=(0.05, 0.2, 1.0), max_sd=1000, **QUICK)
    found = attack(Reader(counts, "ab", band, objective=shift), np.zeros(10, dtype=np.int64), config, seed=0)
    assert [set(found.read["pgd", radius]) for radius in config.radii] == [{0}, {1}, {1}]


@pytest.mark.parametrize("kind", ["dropout", "depth"])
def test_chance_leaves_the_part_that_was_said(kind):
    n_genes = 4000

    def tenths(counts):  # class k is read where k tenths of the counts are left
        left = counts.sum(1, keepdim=True) / n_genes
        return -(left - torch.arange(11) / 10).abs()

    reader = Reader(np.ones((5, n_genes)), map(str, range(11)), tenths)
    config = AttackConfig(radii=(0.1,), n_steps=1, n_genes=(1,), dropout=(0.1, 0.3, 0.5, 0.8), depth=(0.7, 0.5, 0.2))
    found = attack(reader, np.full(5, 10), config, seed=0)
    for part in getattr(config, kind):
        kept = 1 - part if kind == "dropout" else part
        assert set(found.read[kind, part]) == {round(10 * kept)}, part
    lost = [found.read[kind, part] for part in getattr(config, kind)]
    assert all((after <= before).all() for before, after in zip(lost, lost[1:], strict=False))


def test_genes_are_set_to_much_from_the_least_to_the_most_that_matters():
    n_genes = len(_SHARES) - 1  # one more gene a step
    influence = np.random.default_rng(0).permutation(n_genes) + 1.0
    low, high = np.full(n_genes, 10.0), np.full(n_genes, 20.0)
    counts = np.concatenate([np.tile(low, (20, 1)), np.tile(high, (20, 1))])
    counts[:, 0] += (
        5 * n_genes
    )  # so that there is a gene with more than its share, which makes `much` of the others differ
    weight = torch.as_tensor(influence, dtype=torch.float32)
    limit = float(counts[0] @ influence) + 800.0

    def scores(cells):
        return torch.stack([torch.zeros(len(cells)), cells @ weight - limit], 1)

    found = attack(Reader(counts, "ab", scores), np.repeat([0, 1], 20), AttackConfig(radii=(0.1,), **QUICK), seed=0)
    np.testing.assert_array_equal(found.clean, np.repeat([0, 1], 20))
    shares = counts / counts.sum(1, keepdims=True)
    much = np.maximum(np.quantile(shares, 0.99, axis=0) * counts[0].sum(), counts[0])
    gains = np.sort(influence * (much - counts[0]))
    n_kept = int((counts[0] @ influence + gains.cumsum() < limit).sum())
    assert 5 < n_kept < n_genes - 5
    assert found.largest["a"] == pytest.approx(n_kept / n_genes)
    assert int((counts[0] @ influence + gains[::-1].cumsum() < limit).sum()) < n_kept - 3  # the order matters
    assert found.largest["b"] == 1  # more of any gene only speaks for it
