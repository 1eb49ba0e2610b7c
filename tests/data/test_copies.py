"""Cells that several sources have: the one that stays knows what any of them knows."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import scattered
from anndata import AnnData
from scattered import IDS, build_small

from sctandem.__main__ import main, summary
from sctandem.data._copies import _that_stay

N = 90


@pytest.fixture
def folder(tmp_path):
    """Three files with the same cells in other orders: the first has no words, the others different ones. Returns the cells of each."""
    values, names = scattered.counts(N, 7), np.array(scattered.barcodes(N, 8))
    folder, orders = tmp_path / "in", {}
    folder.mkdir()
    for seed, (name, obs) in enumerate(
        {
            "a": {},
            "b": {"cell_type": np.where(np.arange(N) < 60, "T cell", ""), "donor": "d"},
            "c": {"cell_type": np.where(np.arange(N) < 30, "NK", "B cell"), "tissue": "blood"},
        }.items()
    ):
        orders[name] = np.random.default_rng(seed).permutation(N)
        cells = AnnData(values, obs=pd.DataFrame(obs, index=names), var=pd.DataFrame(index=IDS))
        cells[orders[name]].copy().write_h5ad(folder / f"{name}.h5ad")
    return folder, orders


def test_what_only_a_copy_knows_is_kept(folder, tmp_path, caplog):
    path, orders = folder
    with caplog.at_level(logging.WARNING, "sctandem"):
        found = build_small(path, tmp_path / "out")
    assert len(found.manifest["shards"]) > 1  # blocks and shards of a few cells
    assert found.n_obs == N
    assert set(found.obs["source"]) == {"a"}
    cell = orders["a"][found.obs["source_row"]]
    assert found.obs["cell_type"].tolist() == np.where(cell < 60, "T cell", "B cell").tolist()
    assert set(found.obs["donor"]) == {"b: d"}
    assert set(found.obs["tissue"]) == {"blood"}
    assert set(found.obs["assay"]) == {"unknown"}
    assert [record.getMessage() for record in caplog.records] == [
        "60 duplicates left out of 'c' have another word in the column 'cell_type' than the cell that stays, whose word holds."
    ]


def test_each_word_taken_or_left_is_listed_and_summed_up(folder, tmp_path):
    path, orders = folder
    found = build_small(path, tmp_path / "out")
    table = found.duplicates
    assert (table["kept_source"] == "a").all()
    for name, columns in (("b", "filled"), ("c", "filled"), ("c", "differs")):
        own = table[table["source"] == name]
        cell = orders[name][own["row"]]
        np.testing.assert_array_equal(cell, orders["a"][own["kept_row"]])
        expected = {
            ("b", "filled"): np.where(cell < 60, "cell_type, donor", "donor"),
            ("c", "filled"): np.where(cell < 60, "tissue", "cell_type, tissue"),
            ("c", "differs"): np.where(cell < 60, "cell_type", ""),
        }[name, columns]
        assert own[columns].tolist() == expected.tolist()
    said = summary(found)
    assert "cells took from duplicates, having none: 90 of cell_type, 90 of donor, 90 of tissue" in said
    assert "which hold: 60 of cell_type" in said


def test_words_of_the_source_named_first_hold(folder, tmp_path):
    path, orders = folder
    out = tmp_path / "out"
    command = ["collection", "build", *(str(path / f"{name}.h5ad") for name in "cba"), "--out", str(out)]
    assert main([*command, "--organism", "human", "--seed", "0"]) == 0
    from sctandem.data import open_collection

    found = open_collection(out)
    cell = orders["c"][found.obs["source_row"]]
    assert found.obs["cell_type"].tolist() == np.where(cell < 30, "NK", "B cell").tolist()


def test_a_cell_that_stays_is_not_itself_left_out():
    later, first = np.array([3, 5, 9, 12]), np.array([1, 3, 5, 2])
    assert _that_stay(later, first).tolist() == [1, 1, 1, 2]
