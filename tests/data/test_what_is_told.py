"""What a build says of what it was asked for and does not find, and of work that is not as it was written."""

from __future__ import annotations

import logging

import anndata
import pandas as pd
import pytest
import scattered
from anndata import AnnData
from scattered import IDS, build_small

import sctandem as td
from sctandem.data import _stage
from sctandem.data._manifest import work_folder
from sctandem.kernels._gene_names import organism_name


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
