"""`python -m sctandem collection`: what it says, and with which code it ends."""

from __future__ import annotations

import pandas as pd
import pytest
import scattered

import sctandem as td
from sctandem.__main__ import main
from sctandem.data._words import DEFAULT_COLUMNS


def test_build_inspect_and_verify(tmp_path, capsys):
    scattered.sources(tmp_path / "in")
    (tmp_path / "in" / "bad.h5ad").write_text("nothing")
    words, out = tmp_path / "words.csv", str(tmp_path / "out")
    pd.DataFrame({"column": ["type"], "word": ["NK"], "becomes": ["natural killer"]}).to_csv(words)
    command = ["collection", "build", str(tmp_path / "in"), "--out", out, "--organism", "human", "--seed", "0"]
    command += ["--obs", "type=cell_type,celltype", "--words", str(words)]
    assert main(command) == 2
    assert "bad.h5ad: the file is damaged, cut short or of another kind (" in (said := capsys.readouterr()).err
    assert "). Leave it out, or " in said.err
    assert "pass --skip-broken to go on without it" in said.err
    assert main([*command, "--skip-broken"]) == 0
    said = capsys.readouterr().out
    assert "b: 40 cells, 20 duplicates left out" in said
    assert f"Not read: {tmp_path / 'in' / 'bad.h5ad'}: the file is damaged, cut short or of another kind (" in said
    assert "broken" not in said
    collection = td.data.open_collection(out)
    assert set(collection.obs["type"]) == {"T cell", "B cell", "natural killer", "unknown"}
    assert main(["collection", "inspect", out, "--table", "words"]) == 0
    assert capsys.readouterr().out.startswith("column,source,word,n_cells,becomes,status\n")
    assert main(["collection", "verify", out]) == 0
    (tmp_path / "out" / "cells.zarr" / "dataset_0" / "zarr.json").write_text("{}")
    assert main(["collection", "verify", out]) == 1
    assert "cells.zarr/dataset_0/zarr.json" in capsys.readouterr().err
    assert main(command) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["collection", "inspect", str(tmp_path)]) == 2
    assert "is not a collection" in capsys.readouterr().err


def test_help_lists_the_default_columns(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        main(["collection", "build", "--help"])
    said = capsys.readouterr().out
    for column, names in DEFAULT_COLUMNS.items():
        assert f"  {column:<9}  {', '.join(names)}\n" in said
    assert "replaces all default columns" in " ".join(said.split())


def test_words_of_default_columns_that_obs_replaced(tmp_path, capsys):
    scattered.sources(tmp_path / "in")
    source, words = str(tmp_path / "in" / "b.h5ad"), tmp_path / "words.csv"
    command = ["collection", "build", source, "--organism", "human", "--seed", "0", "--out"]
    assert main([*command, str(tmp_path / "first")]) == 0
    td.data.open_collection(tmp_path / "first").words.to_csv(words, index=False)
    capsys.readouterr()
    command += [str(tmp_path / "second"), "--words", str(words), "--obs", "cell_type=celltype"]
    assert main(command) == 2
    advice = "--obs assay --obs disease --obs donor --obs tissue"
    said = capsys.readouterr().err
    assert f"--obs replaces the default columns, declare others by {advice}.\n" in said
    assert main([*command, *advice.split()]) == 0  # what is advised works
    found = td.data.open_collection(tmp_path / "second")
    assert set(found.manifest["columns"]) == set(DEFAULT_COLUMNS)
    assert set(found.obs["donor"]) == {"b: d1"}


def test_a_default_column_alone_has_its_usual_names(tmp_path):
    scattered.sources(tmp_path / "in")
    command = ["collection", "build", str(tmp_path / "in" / "b.h5ad"), "--organism", "human"]
    assert main([*command, "--obs", "cell_type", "--out", str(tmp_path / "out")]) == 0
    # it is named `celltype` there
    assert set(td.data.open_collection(tmp_path / "out").obs["cell_type"]) == {"t_cell", "NK"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--layer", "countz"],
            "b.h5ad: has no layer 'countz'; it has none. Name one of these, or 'X', or no layer: the counts are then looked for.\n",
        ),
        (
            ["--genes", "unoin"],
            "--genes='unoin' is neither 'union' nor 'intersection', nor a file with a gene a line.\n",
        ),
    ],
)
def test_options_that_are_misspelt_are_named(tmp_path, capsys, options, message):
    scattered.sources(tmp_path / "in")
    command = ["collection", "build", str(tmp_path / "in" / "b.h5ad"), "--organism", "human", "--out"]
    assert main([*command, str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert said.endswith(message)
    assert "skip-broken" not in said
