from __future__ import annotations

import numpy as np
import pytest
from benchmarks import _activity_learned as part
from benchmarks._activity_learned_data import Paired, of_genes, random_folds
from scipy import sparse

from sctandem.kernels._activity_features import WindowPairs
from sctandem.kernels._learned_activity import learn


@pytest.fixture(name="paired", scope="module")
def fixture_paired() -> Paired:
    rng = np.random.default_rng(0)
    n_cells, n_genes, n_peaks = 200, 60, 180
    gene = np.repeat(np.arange(n_genes), 3)
    factor = rng.integers(0, 3, n_peaks)
    factors = rng.normal(size=(n_cells, 3))
    counts = sparse.csr_matrix(rng.poisson(0.5 * np.exp(1.2 * factors[:, factor])))
    expression = np.stack([factors[:, factor[gene == g]].sum(1) for g in range(n_genes)], axis=1)
    distance = rng.uniform(-50_000, 50_000, n_peaks)
    flat = np.full(n_peaks, 5000.0)
    pairs = WindowPairs(gene, np.arange(n_peaks), distance, flat, np.zeros(n_peaks, dtype=int), flat, n_genes)
    chromosome = np.array([f"chr{g % 10}" for g in range(n_genes)])
    values = expression + rng.normal(size=expression.shape)
    return Paired(counts, values.astype(np.float32), rng.normal(size=n_cells), pairs, chromosome)


def test_nothing_is_learned_from_test_genes_or_test_cells(paired, monkeypatch):
    given = []

    def recorded(counts, expression, pairs, **options):
        given.append((counts, expression, pairs, options["chromosome"]))
        return learn(counts, expression, pairs, **options)

    monkeypatch.setattr(part, "learn", recorded)
    list(part.compare(paired, 0))
    split, fold = part._a549.split(200, 0), paired.folds(0)
    assert len(given) == 2 * part.N_FOLDS  # the second of each on exchanged genes
    for held, (counts, expression, pairs, chromosome) in enumerate(given[::2]):
        seen = fold != held
        np.testing.assert_array_equal(expression, paired.expression[np.ix_(split.train, seen)])
        assert (counts != paired.counts[split.train]).nnz == 0
        assert pairs.n_genes == seen.sum()
        assert not set(chromosome) & set(paired.chromosome[~seen])


def test_rows_of_all_methods(paired):
    rows = {row["name"]: row for row in part.compare(paired, 0)}
    assert set(rows) == set(part.NAMES) - {part.TRUE}
    assert rows[part.LEARNED]["pearson"] > rows[part.OTHER]["pearson"] + 0.1
    assert rows[part.SMOOTHED]["pearson"] > max(rows[name]["pearson"] for name in part.RULES)
    # depth has nothing to do with this expression
    for row in rows.values():
        assert row["given_library"] == pytest.approx(row["pearson"], abs=0.05)


def test_folds_hold_whole_chromosomes():
    code = np.repeat([3, 0, 2, 1], [4, 3, 2, 1])
    fold = random_folds(code, 2)
    assert [len(set(fold[code == name])) for name in range(4)] == [1] * 4
    assert set(fold) == {0, 1}


def test_chosen_skill_is_the_mean_correlation(paired):
    cells, known = paired.counts.toarray().astype(float) @ np.eye(180)[:, :20], paired.expression[:, :30]
    shown = of_genes(paired.pairs, np.arange(6))
    loadings = np.eye(180)[:, :20]
    name, chosen = part._smoothed(loadings, cells, cells, (shown, known[:, :6], shown))
    found = []
    for kernel, weight in part.kernels(shown).items():
        for rank in part.RANKS:
            sums = (shown.matrix(weight) @ loadings)[:, :rank]
            found.append((part._mean(known[:, :6], cells[:, :rank] @ sums.T), f"{kernel}, {rank} components"))
    assert part._mean(known[:, :6], chosen) == pytest.approx(max(found)[0])
    assert part._mean(known[:, :6], chosen) == pytest.approx(dict(map(reversed, found))[name])


def test_tables_and_targets():
    names = {part.LEARNED: 0.05, part.SHARED: 0.06, part.SMOOTHED: 0.04, part.DEEP: 0.03}
    values = dict.fromkeys(part.FIXED, 0.01) | {part.RULES[1]: 0.02} | names
    rows = [
        {"seed": seed, "set": data, "name": name, "pearson": value + 0.001 * seed, "given_library": value / 2}
        for data in (part.A549, part.SIMULATED)
        for name, value in values.items()
        for seed in (0, 1)
    ]
    table = {line["score"]: line for line in part.table(rows)}
    assert table[part.LEARNED]["A549: Pearson a gene"] == "0.0505 ± 0.0005"
    assert table[part.TRUE]["A549: Pearson a gene"] == "-"
    first, second, third, *_ = part.targets(rows)
    assert first["measured"] == f"+0.0300 against {part.RULES[1]} (2/2 seeds)"
    assert first["met"] == "yes"
    assert second["met"] == "no"  # 0.025 - 0.010
    assert third["target"].startswith("[")
    assert third["measured"] == f"+0.0100 against {part.SMOOTHED} (0/2 seeds)"  # what is left beside smoothing


def test_fixed_rules_in_every_form(paired):
    raw = part.all_raw(paired)
    sums = paired.counts @ paired.pairs.matrix(part.kernels(paired.pairs)[part.RULES[1]]).T.toarray()
    scaled = raw[part.RULES[1] + part.SCALED]
    np.testing.assert_allclose(scaled, np.log1p(1e4 * sums / np.maximum(sums.sum(1, keepdims=True), 1e-12)), rtol=1e-5)
    for form in ("", part.PLAIN, part.SCALED):
        chosen = [name for name in raw if part._is_exponential(name, part.RULES[2] + form)]
        assert chosen == [f"exponential, {length:g} bp{form}" for length in part.LENGTHS]


def test_no_rows_no_targets():
    assert part.targets([])[0]["met"] == "not measured"
