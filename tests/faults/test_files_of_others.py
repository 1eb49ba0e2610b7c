"""What is loaded: cut short, with other bytes, of a newer version, of another class, or made to run code; every loader."""

from __future__ import annotations

import gzip
import json
import pickle
import re
import warnings
from pathlib import Path

import fault_objects as make
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from fault_trial import error_problem
from fault_writers import trained
from models import CASES

import sctandem as td


@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=() if n == "DeepDE" else pytest.mark.slow) for n in CASES]
)
def saved(request, tmp_path_factory):
    """Class, data, and the bytes of its file."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained(request.param).save(folder)
    return CASES[request.param].cls, CASES[request.param].data(), (folder / "model.pt").read_bytes()


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def load(saved, folder, content):
    (folder / "model.pt").write_bytes(content)
    return saved[0].load(folder, saved[1])


def test_cut_at_many_lengths(saved, tmp_path):
    whole = saved[2]
    rng = np.random.default_rng(0)
    for length in [0, 1, 3, 4, 30, len(whole) - 1, *rng.integers(len(whole), size=60)]:
        with pytest.raises(ValueError, match=r"model\.pt is damaged, or not a model file"):
            load(saved, tmp_path, whole[:length])
    load(saved, tmp_path, whole)


def test_flipped_bytes_are_never_taken_for_weights(saved, tmp_path):
    """Where a flipped byte is one of content it is refused; one between the parts changes nothing."""
    whole, rng, refused = saved[2], np.random.default_rng(1), 0
    module = load(saved, tmp_path, whole).module.state_dict()
    for place in rng.integers(len(whole), size=60):
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        try:
            found = load(saved, tmp_path, bytes(content)).module.state_dict()
        except ValueError as error:
            refused += 1
            assert "model.pt is" in str(error), error  # noqa: PT017
            continue
        assert all(torch.equal(found[name], value) for name, value in module.items())
    assert refused > 10


def test_noise_is_refused(saved, tmp_path):
    rng = np.random.default_rng(2)
    for start in (b"", b"PK\x03\x04", b"\x80\x02", saved[2][:200], saved[2][-100:]):
        with pytest.raises(ValueError, match=r"model\.pt (is damaged|was not loaded)"):
            load(saved, tmp_path, start + rng.bytes(2000))


def test_file_of_a_newer_version(saved, tmp_path):
    (tmp_path / "model.pt").write_bytes(saved[2])
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert content["attr_dict"]["sctandem_"]["format"] == 1
    for number in (2, 99):
        content["attr_dict"]["sctandem_"]["format"] = number
        torch.save(content, tmp_path / "model.pt")
        with pytest.raises(
            ValueError, match=rf"made by a newer sctandem: it has the format {number}.* Update sctandem"
        ):
            saved[0].load(tmp_path, saved[1])
    content["attr_dict"]["sctandem_"]["format"] = "x"
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="the number of its format is 'x'"):
        saved[0].load(tmp_path, saved[1])
    del content["attr_dict"]["sctandem_"]  # made before files said so
    torch.save(content, tmp_path / "model.pt")
    saved[0].load(tmp_path, saved[1])


def test_file_of_another_class(saved, tmp_path):
    (tmp_path / "model.pt").write_bytes(saved[2])
    for name, case in CASES.items():
        if case.cls is not saved[0]:
            with pytest.raises(
                ValueError, match=f"a model of a different class: {saved[0].__name__}, not {name}|holds no config"
            ):
                case.cls.load(tmp_path, saved[1])


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_vectors_cut_flipped_and_noise(tmp_path):
    whole = make.vectors_file().read_bytes()
    path, rng = tmp_path / "v.npz", np.random.default_rng(0)
    expected = td.io.read_vectors(make.vectors_file())
    for length in [0, 1, 4, len(whole) - 1, *rng.integers(len(whole), size=40)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            td.io.read_vectors(path)
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            pd.testing.assert_frame_equal(td.io.read_vectors(path), expected)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017


def test_vectors_of_a_newer_version_and_of_objects(tmp_path):
    path, marker = tmp_path / "v.npz", tmp_path / "ran"
    arrays = {"names": np.array(["a"]), "vectors": np.ones((1, 2), np.float32)}
    np.savez(path, **arrays)
    assert td.io.read_vectors(path).shape == (1, 2)  # written before files said so
    np.savez(path, **arrays, format=np.array(2))
    with pytest.raises(ValueError, match="made by a newer sctandem: it has the format 2"):
        td.io.read_vectors(path)
    for name in arrays:
        forged = arrays | {name: np.array([Runs(marker)], dtype=object)}
        np.savez(path, allow_pickle=True, **forged)
        with pytest.raises(ValueError, match=r"v\.npz' cannot be read as a file of vectors"):
            td.io.read_vectors(path)
    path.write_bytes(pickle.dumps(Runs(marker)))
    with pytest.raises(ValueError, match=r"v\.npz' cannot be read as a file of vectors"):
        td.io.read_vectors(path)
    assert not marker.exists()


# --- collections ------------------------------------------------------------------------------------------------------


@pytest.fixture
def collection(tmp_path):
    import shutil

    return Path(shutil.copytree(make.collection_folder(), tmp_path / "collection"))


def use(folder):
    """Everything that reads a collection."""
    collection = td.data.open_collection(folder)
    repr(collection)
    for name in ("genes", "mapping", "words", "duplicates", "sources", "obs"):
        getattr(collection, name)
    collection.to_adata()
    list(collection.counts.shuffled(np.arange(collection.n_obs), np.random.default_rng(0)))


def test_manifest_cut_flipped_and_forged(collection, tmp_path):
    path, marker = collection / "collection.json", tmp_path / "ran"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for content in [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"3",
        pickle.dumps(Runs(marker)),
        *(whole[:n] for n in rng.integers(1, len(whole) - 2, 30)),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"collection\.json is damaged"):
            td.data.open_collection(collection)
    manifest = json.loads(whole)
    for key in ("n_obs", "n_vars", "shards", "files", "columns", "organism"):
        path.write_text(json.dumps({k: v for k, v in manifest.items() if k != key}))
        with pytest.raises(ValueError, match=rf"collection\.json is damaged: it lacks .*'{key}'"):
            td.data.open_collection(collection)
    path.write_text(json.dumps(manifest | {"format": 7}))
    with pytest.raises(ValueError, match="made by a newer sctandem: it has the format 7"):
        td.data.open_collection(collection)
    shard, *others = manifest["shards"]
    file = next(iter(manifest["files"].values()))
    for forged, message in (
        (
            {"shards": [{**shard, "name": "../../elsewhere"}, *others]},
            "names '../../elsewhere', which is not inside it",
        ),
        ({"files": {"../elsewhere": file}}, "names '../elsewhere', which is not inside it"),
        ({"shards": [{"n_obs": 3, "n_entries": 3}]}, "a shard is damaged: it lacks 'name'"),
        ({"shards": [3]}, "a shard is damaged: it lacks 'name', 'n_obs', 'n_entries'"),
        ({"files": {"a": 3}}, "the file 'a' is damaged: it lacks 'bytes', 'sha256'"),
        ({"files": {"a": {**file, "bytes": "x"}}}, "the file 'a' is damaged: bytes is 'x', which is no int"),
        ({"n_obs": "x"}, "n_obs is 'x', which is no int"),
        ({"columns": 3}, "columns is 3, which is no list"),
        ({"columns": [3]}, "names the column 3, which is no text"),
    ):
        path.write_text(json.dumps(manifest | forged))
        with pytest.raises(ValueError, match=rf"collection\.json.* {message}"):
            td.data.open_collection(collection)
    assert not marker.exists()


def test_any_damaged_file_of_a_collection_is_named(collection):
    """Whatever is flipped, cut or missing: reading says what it was, or is not touched by it, and verifying finds it."""
    files = sorted(p for p in collection.rglob("*") if p.is_file() and p.name != "collection.json")
    rng, raised = np.random.default_rng(0), 0
    for file in files:
        whole = file.read_bytes()
        for content in (
            b"",
            whole[: len(whole) // 2],
            whole[: len(whole) // 3] + rng.bytes(8) + whole[len(whole) // 3 + 8 :],
            None,
        ):
            file.unlink() if content is None else file.write_bytes(content)
            assert td.data.open_collection(collection).verify() or content == whole
            try:
                use(collection)
            except (ValueError, OSError) as error:
                raised += 1
                assert str(collection) in str(error), (file, error)  # noqa: PT017
                assert error_problem(error) is None, (file, error_problem(error))  # noqa: PT017
            file.write_bytes(whole)
    assert raised > len(files)
    use(collection)


def test_nothing_is_unpickled_from_a_zarr(tmp_path):
    """The second version of zarr has a codec that unpickles."""
    from anndata import settings

    marker, path = tmp_path / "ran", tmp_path / "s.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the third is to be the default
        with settings.override(zarr_write_format=2):
            AnnData(np.ones((3, 2), np.float32)).write_zarr(path)
    meta = json.loads((path / "X" / ".zarray").read_text())
    (path / ".zmetadata").unlink(missing_ok=True)
    chunk = next(p for p in (path / "X").iterdir() if not p.name.startswith("."))
    chunk.write_bytes(pickle.dumps(Runs(marker)))
    for change in (
        {"compressor": {"id": "pickle"}, "filters": None},
        {"compressor": None, "filters": [{"id": "pickle"}]},
        {"compressor": None, "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "dtype": "|O"},
    ):
        (path / "X" / ".zarray").write_text(json.dumps(meta | change))
        with pytest.raises(td.data.SourceError, match=re.escape(str(path))):
            td.data.build_collection(path, tmp_path / "out", organism="human", resume=True)
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("argument", ["words", "gene_names"])
def test_tables_of_words_and_genes(tmp_path, argument):
    good = {"words": "column,word,becomes\ncell_type,a,b\n", "gene_names": "id,symbol\nENSG1,GENE1\n"}[argument]
    path, marker = tmp_path / "table.csv", tmp_path / "ran"
    bad = [
        b"",
        b"\x00\xff\xfe\x80",
        pickle.dumps(Runs(marker)),
        gzip.compress(good.encode()),
        good.encode("utf-16"),
        b"a,b\n1,2,3,4\n1\n",
    ]
    for number, content in enumerate(bad):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))}|{argument} (lacks|needs)") as caught:
            td.data.build_collection(make.source_file(), tmp_path / "c", organism="human", **{argument: path})
        assert error_problem(caught.value) is None, (number, error_problem(caught.value))
    for missing in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(OSError, match=re.escape(str(missing))):
            td.data.build_collection(make.source_file(), tmp_path / "c", organism="human", **{argument: missing})
    assert not marker.exists()
    assert not list(tmp_path.glob("*c*uilding"))
    path.write_bytes(b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode())  # as spreadsheets write it
    td.data.build_collection(make.source_file(), tmp_path / "c", organism="human", **{argument: path})
