"""What a build says of what it was asked for and does not find, and of work that is not as it was written."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scattered
from anndata import AnnData
from scattered import IDS, build_small

import sctandem as td
from sctandem.data import _stage
from sctandem.data._manifest import work_folder
from sctandem.data._words import DEFAULT_COLUMNS
from sctandem.kernels._gene_names import organism_name, symbols_of_another


@pytest.mark.parametrize("name", ["Human", "homo_sapiens", " Homo  sapiens "])
def test_organisms_are_known_by_their_names(tmp_path, name):
    scattered.sources(tmp_path / "in")
    cells = anndata.read_h5ad(tmp_path / "in" / "a.h5ad")
    cells.var_names = [gene.replace("ENSG", "ENSMUSG") for gene in cells.var_names]
    cells.write_h5ad(tmp_path / "mouse.h5ad")
    with pytest.raises(ValueError, match="genes of another organism than 'human'"):
        td.data.build_collection(tmp_path / "mouse.h5ad", tmp_path / "out", organism=name)
    assert organism_name("Mus musculus") == "mouse"
    assert organism_name("Martian") == "Martian"


def test_what_no_source_has_is_told(tmp_path, caplog):
    scattered.sources(tmp_path / "in")
    with caplog.at_level(logging.WARNING, "sctandem"):
        td.data.build_collection(
            tmp_path / "in",
            tmp_path / "out",
            organism="human",
            genes=[IDS[3], "FOO"],
            obs={"age": "years", "donor": "donor"},
        )
    assert [record.getMessage() for record in caplog.records] == [
        "genes names 'FOO', which no source has: nothing is counted for them.",
        "obs names the column 'age', which no source has under 'years', 'age'.",
    ]


def test_words_of_a_column_that_is_not_there_are_refused(tmp_path):
    scattered.sources(tmp_path / "in")
    words = pd.DataFrame({"column": ["celltype"], "word": ["NK"], "becomes": ["NK cell"]})
    with pytest.raises(
        ValueError, match=r"words is about 'celltype', which the collection has no column for; it has 'cell_type'"
    ):
        td.data.build_collection(tmp_path / "in", tmp_path / "out", organism="human", words=words)


def test_a_column_is_found_by_its_own_name_too(tmp_path):
    scattered.sources(tmp_path / "in")
    found = td.data.build_collection(
        tmp_path / "in" / "a.h5ad", tmp_path / "out", organism="human", obs={"donor": ["donor_id", "patient"]}
    )
    assert set(found.obs["donor"]) == {"a: d1"}


def test_the_layers_there_are_are_named(tmp_path):
    cells = AnnData(
        scattered.counts(20, 0) + 0.5, var=pd.DataFrame(index=IDS), layers={"raw_counts": scattered.counts(20, 0)}
    )
    cells.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(ValueError, match=r"holds no counts .* in X: name the layer that does \(it has 'raw_counts'\)"):
        build_small(tmp_path / "a.h5ad", tmp_path / "out")


@pytest.mark.parametrize("fault", ["cut", "flipped", "table", "gone"])
def test_blocks_that_are_not_as_they_were_written_are_made_again(tmp_path, monkeypatch, fault):
    scattered.sources(tmp_path / "in")
    whole = build_small(tmp_path / "in", tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(
            "sctandem.data._build_collection.find_duplicates", lambda *_: (_ for _ in ()).throw(MemoryError("stop"))
        )
        with pytest.raises(MemoryError, match="stop"):
            build_small(tmp_path / "in", tmp_path / "out")
    units = sorted((work_folder(tmp_path / "out") / "units").iterdir())
    path = units[1] / ("arrays.json" if fault == "table" else "arrays.bin")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if fault == "cut" else content)
    if fault == "gone":
        path.unlink()
    again, write = [], _stage.Unit.write

    def counted(folder, *arguments):
        again.append(folder)
        write(folder, *arguments)

    monkeypatch.setattr(_stage.Unit, "write", counted)
    assert (
        build_small(tmp_path / "in", tmp_path / "out", resume=True).manifest["identity"] == whole.manifest["identity"]
    )
    assert again == [units[1]]


HUMAN = [
    "TP53",
    "MYC",
    "GATA1",
    "CD3E",
    "HLA-DRA",
    "LYZ",
    "C1orf112",
    "MT-CO1",
    "AC012345.1",
    "G6",
    *(f"ABC{i}" for i in range(30)),
]
MOUSE = [
    "Trp53",
    "Myc",
    "Gata1",
    "Cd3e",
    "H2-Aa",
    "Lyz2",
    "mt-Co1",
    "1700001C02Rik",
    "Gm1234",
    *(f"Abc{i}" for i in range(30)),
]


@pytest.mark.parametrize(
    ("names", "organism", "told"),
    [
        (HUMAN, "human", False),
        (HUMAN, "mouse", True),
        (HUMAN, "rat", True),
        (MOUSE, "mouse", False),
        (MOUSE, "human", True),
        (HUMAN[:8], "mouse", False),  # too few to tell
        (IDS, "mouse", False),  # ids are judged by their beginning
        (MOUSE, "zebrafish", False),
    ],
)
def test_the_case_of_symbols_tells_the_organism(names, organism, told):
    assert bool(symbols_of_another(names, organism)) == told


@pytest.mark.parametrize("organism", ["human", "mouse"])
def test_symbols_of_another_organism_are_told(tmp_path, caplog, organism):
    AnnData(scattered.counts(20, 0, len(HUMAN)), var=pd.DataFrame(index=HUMAN)).write_h5ad(tmp_path / "x.h5ad")
    with caplog.at_level(logging.WARNING, "sctandem"):
        td.data.build_collection(tmp_path / "x.h5ad", tmp_path / "out", organism=organism, rng=0)
    said = [record.getMessage() for record in caplog.records]
    if organism == "human":
        assert said == []
    else:
        assert len(said) == 1
        assert "organism='mouse', but most symbols of" in said[0]
        assert "x.h5ad are written as those of another organism are: 'TP53', 'MYC', 'GATA1' and" in said[0]


def test_the_page_lists_the_default_columns():
    page = (Path(__file__).parents[2] / "docs" / "user_guide" / "collections.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)` \| (`.*`) \|$", page.split("### Default columns")[1].split("\n## ")[0], re.MULTILINE
    )
    assert {name: tuple(re.findall(r"`(\w+)`", names)) for name, names in rows} == DEFAULT_COLUMNS


def test_sources_that_are_no_paths_or_patterns_are_named(tmp_path):
    scattered.sources(tmp_path / "in")
    with pytest.raises(TypeError, match="each of sources must be a path or a Source, got int: 3"):
        td.data.build_collection([tmp_path / "in" / "a.h5ad", 3], tmp_path / "out", organism="human")
    with pytest.raises(
        FileNotFoundError, match=r"a\*\.h5ad', which does not exist\. Patterns are not expanded: name the folder"
    ):
        td.data.build_collection(tmp_path / "in" / "a*.h5ad", tmp_path / "out", organism="human")
    with pytest.raises(FileNotFoundError, match=r"no\.h5ad', which does not exist\.$"):
        td.data.build_collection(tmp_path / "in" / "no.h5ad", tmp_path / "out", organism="human")


@pytest.mark.parametrize("first", [True, False])
def test_a_source_refused_while_it_is_read_leaves_nothing_or_says_what_is_kept(tmp_path, first):
    scattered.sources(tmp_path / "in")
    values = scattered.counts(300, 9)
    values[250, 3] = 0.5  # behind those that are looked at before anything is read
    path = tmp_path / "in" / ("0.h5ad" if first else "z.h5ad")
    AnnData(np.vstack([scattered.counts(200, 8), values]), var=pd.DataFrame(index=IDS)).write_h5ad(path)
    work = work_folder(tmp_path / "out")
    with pytest.raises(td.data.SourceError, match="does not hold counts") as raised:
        td.data.build_collection(
            path if first else tmp_path / "in", tmp_path / "out", organism="human", obs={"donor": "donor"}
        )
    (note,) = raised.value.__notes__
    if first:
        assert not work.exists()
        assert note == "Leave it out, or pass skip_broken=True to go on without it."
    else:
        assert (work / "units").is_dir()
        assert f"is kept in {work}: pass skip_broken=True and resume=True" in note
    rest = td.data.build_collection(
        tmp_path / "in",
        tmp_path / "out",
        organism="human",
        obs={"donor": "donor"},
        skip_broken=True,
        resume=not first,
        rng=0,
    )
    assert set(rest.obs["source"]) == {"a", "b", "c", "d"}


def test_a_query_that_is_true_of_no_cell_is_told(tmp_path):
    scattered.sources(tmp_path / "in")
    found = build_small(tmp_path / "in" / "a.h5ad", tmp_path / "out")
    with pytest.warns(
        UserWarning,
        match=r"query=\"cell_type == 'T cells'\" is true of no cell: cell_type has 'B cell', 'T cell'\.",
    ) as told:
        assert found.to_adata("cell_type == 'T cells'").n_obs == 0
    assert told[0].filename == __file__
    assert found.to_adata("cell_type == 'T cell'").n_obs == 75
    with pytest.raises(ValueError, match=r"'cel_type' is not defined\); obs has the columns 'cell_type'"):
        found.to_adata("cel_type == 'T cell'")
