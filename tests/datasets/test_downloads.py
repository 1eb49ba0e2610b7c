"""Fetching: against a server on this machine, with checksums that are known here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.datasets import _registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Serve a folder, count the requests, and note the agents."""

    agents: list[str]

    def do_GET(self) -> None:
        self.agents.append(self.headers["User-Agent"])
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture(name="server")
def fixture_server(tmp_path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address that serves it, and the agents of the requests so far."""
    folder, agents = tmp_path / "served", []
    folder.mkdir()
    handler = type("H", (Handler,), {"agents": agents})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}", agents
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Downloads go to a folder of the test."""
    monkeypatch.setenv("SCTANDEM_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(_registry, "_chosen", None)
    return tmp_path / "cache"


def entry(name: str, urls: list[str], content: bytes, algorithm: str = "sha256") -> _registry.Entry:
    checksum = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    return replace(_registry.registry()[name], urls=tuple(urls), checksum=checksum)


def test_registry_is_complete():
    table = td.datasets.list_datasets()
    assert {"pbmc_multiome_3k", "pbmc_multiome_10k", "kang2018"} <= set(table.index)
    assert set(table.index) <= set(td.datasets.__all__)
    for name, known in _registry.registry().items():
        assert known.name == name
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", known.checksum)
        assert all(url.startswith("https://") for url in (*known.urls, known.page))
        assert known.size > 1e6
        assert known.licence
        assert known.citation
    assert not table["cached"].any()


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_fetch_keeps_what_it_got(server, cache, capsys, algorithm):
    folder, address, agents = server
    content = np.random.default_rng(0).bytes(3_000_000)
    (folder / "file.h5").write_bytes(content)
    known = entry("pbmc_multiome_3k", [f"{address}/file.h5"], content, algorithm)
    path = _registry.fetch(known, progress=True)
    assert path == known.path == cache / known.file
    assert path.read_bytes() == content
    assert "100%" in capsys.readouterr().err
    _registry.fetch(known, progress=True)
    assert len(agents) == 1
    assert agents[0].startswith("sctandem/")
    assert td.datasets.list_datasets().loc["pbmc_multiome_3k", "cached"]


def test_fetch_replaces_a_damaged_file(server, cache):
    folder, address, agents = server
    (folder / "file.h5").write_bytes(b"whole")
    cache.mkdir()
    known = entry("kang2018", [f"{address}/file.h5"], b"whole")
    known.path.write_bytes(b"who")
    assert _registry.fetch(known, progress=False).read_bytes() == b"whole"
    assert len(agents) == 1


def test_wrong_checksum_leaves_nothing(server, cache):
    folder, address, _ = server
    (folder / "file.h5").write_bytes(b"something else")
    known = entry("kang2018", [f"{address}/file.h5"], b"whole")
    with pytest.raises(ValueError, match=r"kang2018: what was sent is not the file .* was not kept: http.*file\.h5"):
        _registry.fetch(known, progress=False)
    assert list(cache.iterdir()) == []


def test_second_address_is_tried(server):
    folder, address, _ = server
    (folder / "file.h5").write_bytes(b"whole")
    known = entry("kang2018", [f"{address}/gone.h5", f"{address}/file.h5"], b"whole")
    assert _registry.fetch(known, progress=False).read_bytes() == b"whole"


def test_no_address_answers(server, cache):
    _, address, _ = server
    known = entry("kang2018", [f"{address}/gone.h5"], b"whole")
    with pytest.raises(ConnectionError, match=rf"gone\.h5 \(HTTPError: 404.*put it at {cache}"):
        _registry.fetch(known, progress=False)
    assert list(cache.iterdir()) == []


def test_cache_dir(tmp_path, cache, monkeypatch):
    assert _registry.cache_dir() == cache
    td.datasets.set_cache_dir(tmp_path / "mine")
    assert _registry.cache_dir() == tmp_path / "mine"
    assert td.datasets.list_datasets().loc["kang2018", "path"] == str(tmp_path / "mine" / "kang_2018.h5ad")
    td.datasets.set_cache_dir(None)
    assert _registry.cache_dir() == cache
    monkeypatch.delenv("SCTANDEM_DATA")
    assert "sctandem" in str(_registry.cache_dir())


def serve(monkeypatch, server, name: str, path: Path) -> None:
    """Let the registry point to a file on the server."""
    _, address, _ = server
    known = entry(name, [f"{address}/{path.name}"], path.read_bytes())
    monkeypatch.setattr(_registry, "registry", lambda: {name: known})


@pytest.mark.parametrize("name", ["pbmc_multiome_3k", "pbmc_multiome_10k"])
def test_pbmc_multiome(server, monkeypatch, name):
    path = server[0] / "matrix.h5"
    counts = sparse.csc_matrix(np.arange(12).reshape(4, 3))  # features x cells
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for part in ("data", "indices", "indptr"):
            matrix[part] = getattr(counts, part)
        matrix["shape"], matrix["barcodes"] = counts.shape, np.array([b"A-1", b"C-1", b"G-1"])
        matrix["features/id"] = np.array([b"ENSG1", b"ENSG2", b"chr1:5-90", b"chr2:7-80"])
        matrix["features/name"] = np.array([b"CD3E", b"CD19", b"chr1:5-90", b"chr2:7-80"])
        matrix["features/feature_type"] = np.array([b"Gene Expression"] * 2 + [b"Peaks"] * 2)
    serve(monkeypatch, server, name, path)
    mdata = getattr(td.datasets, name)(progress=False)
    assert mdata["rna"].X.toarray().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert mdata["atac"].X.toarray().tolist() == [[6, 9], [7, 10], [8, 11]]


def test_kang2018(server, monkeypatch):
    obs = pd.DataFrame(
        {
            "label": pd.Categorical(["stim", "ctrl", "ctrl"]),
            "replicate": pd.Categorical(["patient_101", "patient_107", "patient_101"]),
            "cell_type": pd.Categorical(["B cells", "NK cells", "B cells"]),
        },
        index=["a", "b", "c"],
    )
    adata = AnnData(sparse.csc_matrix(np.eye(3, dtype=np.float32)), obs=obs)
    adata.write_h5ad(server[0] / "kang.h5ad")
    serve(monkeypatch, server, "kang2018", server[0] / "kang.h5ad")
    loaded = td.datasets.kang2018(progress=False)
    assert loaded.X.format == "csr"
    assert loaded.obs["condition"].tolist() == ["stimulated", "control", "control"]
    assert loaded.obs["condition"].cat.categories.tolist() == ["control", "stimulated"]
    assert loaded.obs["donor"].tolist() == ["patient_101", "patient_107", "patient_101"]
    assert loaded.obs["cell_type"].tolist() == ["B cells", "NK cells", "B cells"]


def test_an_address_that_sends_another_file_is_passed_over(server, cache):
    folder, address, agents = server
    (folder / "changed.h5").write_bytes(b"changed")
    (folder / "file.h5").write_bytes(b"whole")
    known = entry("kang2018", [f"{address}/changed.h5", f"{address}/file.h5"], b"whole")
    path = _registry.fetch(known, progress=False)
    assert path.read_bytes() == b"whole"
    assert len(agents) == 2
    assert [found.name for found in cache.iterdir()] == [path.name]
