from __future__ import annotations

import numpy as np
import pytest
from benchmarks import _talen_knockout as part


def rows(**changed):
    out = []
    for reading in part.READINGS:
        for name in part.METHODS:
            row = {
                "seed": 2,
                "name": f"{reading}, {name}",
                "large": [100, 60],
                "said": [50, 40],
                "any": [120, 60],
                "spearman": 0.1,
                "driving": 0.5,
            }
            if name == "ours":
                row |= {
                    "large": [100, 95],
                    "spearman": 0.7,
                    "covered": [10, 9],
                    "covered_linked": [5, 4],
                    "called": [4, 3],
                }
                row |= changed
            out.append(row)
    return out


def test_targets_can_be_missed():
    assert {row["met"] for row in part.targets(rows())} == {"yes"}
    missed = part.targets(rows(large=[100, 50], spearman=0.05))
    assert {row["met"] for row in missed} == {"no"}
    assert {row["met"] for row in part.targets([])} == {"not measured"}
    assert len(part.targets([])) == len(missed) == 6
    for row in (made := rows()):  # on its own elements the baseline is no peer
        if row["name"] == "strongest, nearest":
            row |= {"large": [100, 99], "spearman": 0.9}
    assert {row["met"] for row in part.targets(made)} == {"yes"}
    for row in made:
        if row["name"] == "same, nearest":
            row |= {"large": [100, 99]}
    assert [row["met"] for row in part.targets(made)] == ["yes", "yes", "no", "yes", "yes", "yes"]
    assert "all genes go down 0.600" in part.targets(made)[2]["measured"]
    assert part.data() == []


def test_table_has_the_baselines_beside():
    table = part.table(rows())
    assert len(table) == 4 * len(part.METHODS)
    assert table[0]["sign right"] == "0.950 of 100"
    assert table[0]["coverage"] == "0.900"
    assert table[0]["called (right)"] == "0.750 of 4"
    assert table[1]["coverage"] == ""
    assert table[1]["where told"] == "0.800 of 50"


@pytest.fixture(scope="module")
def simulated():
    import sctandem as td

    mdata = td.datasets.simulate_multiome(200, 60, 600, rng=3)
    td.pp.gene_windows(mdata)
    return mdata


def test_truth_is_that_of_the_whole_regulation(simulated):
    """The truth from the links that changed is that of all rates computed again."""
    import sctandem as td
    from sctandem._random import as_generator
    from sctandem.datasets import SimulationDesign
    from sctandem.datasets._simulation._genome import lay_out
    from sctandem.datasets._simulation._regulation import draw_regulation

    pairs = td.get.gene_windows(simulated).astype({"peak": str, "gene": str})
    links = simulated.uns["truth"]["links"]
    elements = sorted(set(links["peak"].astype(str)) & set(pairs["peak"]))[:4]
    kinds = [str(name) for name in simulated.obs["cell_type"].cat.categories]
    table = pairs[pairs["peak"].isin(elements)][["peak", "gene"]].rename(columns={"peak": "element"})
    table = table.loc[table.index.repeat(len(kinds))].assign(group=kinds * len(table)).reset_index(drop=True)
    found = part._truth(simulated, 3, table, set(elements))
    place, rule = as_generator(3).spawn(6)[:2]
    genome = lay_out(60, 600, design=SimulationDesign(), rng=place)
    regulation = draw_regulation(genome, design=SimulationDesign(), rng=rule)
    activity = simulated.uns["truth"]["tf_activity"].to_numpy()
    openness = regulation.openness(activity)
    member = np.eye(len(kinds))[simulated.obs["cell_type"].cat.codes]
    before = member.T @ np.exp(regulation.log_rate(openness, activity))
    for element in elements:
        changed = regulation.without_peak(int(simulated["atac"].var_names.get_loc(element)), genome)
        fold = np.log2(member.T @ np.exp(changed.log_rate(openness, activity)) / before)
        here = (table["element"] == element).to_numpy()
        gene = simulated["rna"].var_names.get_indexer(table["gene"][here])
        group = [kinds.index(name) for name in table["group"][here]]
        np.testing.assert_allclose(found[here], fold[group, gene], atol=1e-5)
    assert np.abs(found).max() > 0.05


def test_scores_and_choice_by_hand():
    """Two elements, of which the one drives A up by 1 and the other B down by 2; C only loses a boundary."""
    import pandas as pd

    table = pd.DataFrame({"element": list("aabbb"), "gene": list("ABABC"), "true": [1.0, 0.0, 0.1, -2.0, 0.9]})
    linked = np.array([True, False, False, True, False])
    truth, wrong = table["true"].to_numpy(), np.array([-1.0, 0.0, 0.0, 2.0, -1.0])
    right = part._score(table, truth, linked)
    assert (right["large"], right["any"], right["driving"]) == ([2, 2], [3, 3], 1.0)
    assert right["spearman"] == pytest.approx(1)
    assert part._score(table, wrong, linked)["large"] == [2, 0]
    assert part._score(table, wrong, linked)["any"] == [3, 0]
    half = part._score(table, np.array([1.0, 0, 0, 0, 0]), linked)
    assert (half["large"], half["said"]) == ([2, 1], [1, 1])
    silent = part._score(table, np.zeros(5), linked)  # says nothing: no sign is right, and there is no order
    assert (silent["large"], silent["spearman"]) == ([2, 0], 0.0)
    table = table.assign(
        low=[0.5, -1, -1, -1.9, 0], high=[2, 1, 1, 0, 1], log2fc=truth, verdict=["up", *["unclear"] * 4]
    )
    intervals = part._coverage(table, linked)
    assert intervals == {"covered": [5, 4], "covered_linked": [2, 1], "called": [1, 1]}


def test_the_strongest_are_those_of_the_largest_size(monkeypatch):
    import pandas as pd

    monkeypatch.setattr(part, "N_STRONGEST", 2)
    element = pd.Series(list("ddccbbaa"))
    assert part._strongest(element, np.array([0, 0.1, -3, 0, 0.2, 0, 0, 1])) == {"c", "a"}
    assert part._strongest(element, -np.ones(8)) == {"a", "b"}  # a tie goes by name


def test_readings_take_the_elements_that_they_name():
    import pandas as pd

    table = pd.DataFrame(
        {"element": list("abcd"), "gene": "G", "true": [1.0, -1, 0, 2], "log2fc": [1.0, -1, 0, np.nan]}
    )
    table = table.assign(low=-2.0, high=2.0, verdict="unclear")
    scores = {"ours": np.array([1.0, -1, 0, 0]), "nearest": np.array([-1.0, 0, -1, -1])}
    strongest = {"ours": {"a", "b"}, "nearest": {"a", "c", "d"}}
    linked = np.array([True, False, False, True])
    found = part._readings(table, scores, linked, strongest=strongest, random={"a", "b", "c", "d"})
    rows = {row["name"]: (row["n"], row["large"], row["any"]) for row in found}
    assert rows == {
        "strongest, ours": (2, [1, 1], [2, 2]),
        "strongest, nearest": (2, [1, 0], [1, 0]),  # nothing is predicted of d
        "same, ours": (2, [1, 1], [2, 2]),
        "same, nearest": (2, [1, 0], [2, 0]),
        "linked, ours": (1, [1, 1], [1, 1]),
        "linked, nearest": (1, [1, 0], [1, 0]),
        "drawn, ours": (3, [1, 1], [2, 2]),
        "drawn, nearest": (3, [1, 0], [2, 0]),
    }


def test_baselines_are_what_they_are_called(simulated):
    import pandas as pd

    import sctandem as td

    mdata = simulated.copy()
    td.tl.gene_function(mdata, batch_key="batch")
    table = td.get.gene_windows(mdata).astype({"peak": str, "gene": str}).rename(columns={"peak": "element"})
    table = table.assign(log2fc=np.arange(len(table), dtype=float)).reset_index(drop=True)
    found = part._predictions(mdata, table)
    assert list(found) == list(part.METHODS)
    np.testing.assert_array_equal(found["ours"], table["log2fc"])
    distance = table["distance"].abs()
    for _, rows in table.groupby("element"):
        said = found["nearest"][rows.index]
        np.testing.assert_array_equal(said, np.where(distance[rows.index] == distance[rows.index].min(), -1, 0))
    assert (found["distance"] < 0).all()
    np.testing.assert_array_equal(np.argsort(found["distance"], kind="stable"), np.argsort(distance, kind="stable"))
    effect = td.get.gene_function(mdata).astype({"peak": str, "gene": str}).set_index(["gene", "peak"])["effect"]
    effect = effect.reindex(pd.MultiIndex.from_frame(table[["gene", "element"]])).fillna(0).to_numpy()
    np.testing.assert_array_equal(np.sign(found["effect"]), -np.sign(effect))  # what an activator gives goes
    logs = {}
    for name in ("rna", "atac"):
        counts = mdata[name].X.toarray().astype(float)
        logs[name] = np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    varied = np.flatnonzero(np.abs(found["correlation"]) > 0)[:40]
    for at in varied:
        gene, peak = (mdata[m].var_names.get_loc(table[c][at]) for m, c in (("rna", "gene"), ("atac", "element")))
        expected = np.corrcoef(logs["rna"][:, gene], logs["atac"][:, peak])[0, 1]
        assert found["correlation"][at] == pytest.approx(-expected, abs=0.02)


def test_measure_runs():
    small = part.measure(5, n_genes=60, n_peaks=600, n_cells=150)
    assert len(small) == 4 * len(part.METHODS)
    ours = next(row for row in small if row["name"] == "strongest, ours")
    assert ours["n_elements"] <= part.N_STRONGEST
    assert 0 <= ours["covered"][1] <= ours["covered"][0]
    assert len(part.table(small)) == len(small)
