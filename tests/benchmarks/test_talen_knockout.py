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
    assert part.data() == []


def test_table_has_the_baselines_beside():
    table = part.table(rows())
    assert len(table) == 2 * len(part.METHODS)
    assert table[0]["sign right"] == "0.950 of 100"
    assert table[0]["coverage"] == "0.900"
    assert table[0]["called (right)"] == "0.750 of 4"
    assert table[1]["coverage"] == ""


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


def test_measure_runs():
    small = part.measure(5, n_genes=60, n_peaks=600, n_cells=150)
    assert len(small) == 2 * len(part.METHODS)
    ours = next(row for row in small if row["name"] == "strongest, ours")
    assert ours["n_elements"] <= part.N_STRONGEST
    assert 0 <= ours["covered"][1] <= ours["covered"][0]
    assert len(part.table(small)) == len(small)
