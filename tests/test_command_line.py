"""`python -m sctandem collection`: what it says, and with which code it ends."""

from __future__ import annotations

import pandas as pd
import scattered

import sctandem as td
from sctandem.__main__ import main


def test_build_inspect_and_verify(tmp_path, capsys):
    scattered.sources(tmp_path / "in")
    (tmp_path / "in" / "bad.h5ad").write_text("nothing")
    words, out = tmp_path / "words.csv", str(tmp_path / "out")
    pd.DataFrame({"column": ["type"], "word": ["NK"], "becomes": ["natural killer"]}).to_csv(words)
    command = ["collection", "build", str(tmp_path / "in"), "--out", out, "--organism", "human", "--seed", "0"]
    command += ["--obs", "type=cell_type,celltype", "--words", str(words)]
    assert main(command) == 2
    assert "bad.h5ad" in (said := capsys.readouterr()).err
    assert "pass --skip-broken to go on without it" in said.err
    assert main([*command, "--skip-broken"]) == 0
    said = capsys.readouterr().out
    assert "b: 40 cells, 20 duplicates left out" in said
    assert "bad: broken" in said
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
