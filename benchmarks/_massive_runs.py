"""What is measured on a collection, each in a process of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

BATCH = 1024
#: Most of an epoch that a slow way of reading is given, in seconds.
PATIENCE = 20.0
#: Turns of two ways of reading, at the least.
LEAST_TURNS = 5


def build(folder: Path, out: Path) -> dict[str, Any]:
    """Build the collection."""
    import sctandem as td

    start = time.process_time()
    collection = td.data.build_collection(folder, out, organism="human", rng=0)
    sources = collection.sources
    return {
        "n_obs": collection.n_obs,
        "n_vars": collection.n_vars,
        "n_read": int(sources["n_cells"].sum()),
        "n_duplicates": int(sources["n_duplicates"].sum()),
        "n_entries": collection.manifest["n_entries"],
        "n_shards": len(collection.manifest["shards"]),
        "bytes": sum(file["bytes"] for file in collection.manifest["files"].values()),
        "cpu_seconds": time.process_time() - start,
    }


def concatenate(folder: Path, out: Path) -> dict[str, Any]:
    """The plain way: read all files, put them together in memory, shuffle, write."""
    import anndata

    start = time.process_time()
    parts = [anndata.read_h5ad(path) for path in sorted(folder.glob("*.h5ad"))]
    for part in parts:
        part.var_names = part.var["gene_symbols"].astype(str)
    whole = anndata.concat(parts, join="outer", fill_value=0, index_unique="-")
    order = np.random.default_rng(0).permutation(whole.n_obs)
    whole = whole[order].copy()
    whole.write_h5ad(out)
    return {"n_obs": whole.n_obs, "cpu_seconds": time.process_time() - start}


def read_bare(out: Path, seconds: float) -> dict[str, Any]:
    """Read in random order for some seconds, epoch after epoch, and do nothing with it."""
    import sctandem as td

    collection = td.data.open_collection(out)
    counts, n_cells = collection.counts, 0
    start, cpu = time.perf_counter(), time.process_time()
    rng = np.random.default_rng(0)
    while time.perf_counter() - start < seconds:
        for cells, _ in counts.shuffled(np.arange(collection.n_obs), rng):
            n_cells += len(cells)
    return _rate(n_cells, start, cpu)


def read_batches(out: Path, seconds: float) -> dict[str, Any]:
    """Read the batches of a model: counts as tensors, labels, the words of the metadata."""
    collection, loader = _loader(out)
    codes = collection.obs["cell_type"].cat.codes.to_numpy()
    n_cells, sources = 0, []
    start, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        for batch in loader:
            n_cells += len(batch["batch"])
            sources.append(batch["batch"].numpy().ravel())
    found = _rate(n_cells, start, cpu)
    rng = np.random.default_rng(1)
    of_all = collection.obs["source"].cat.codes.to_numpy()
    random = [of_all[rng.integers(len(of_all), size=BATCH)] for _ in range(len(sources))]
    found |= {"entropy": np.mean([_entropy(s) for s in sources[:-1] or sources]), "n_types": len(np.unique(codes))}
    return found | {"entropy_random": np.mean([_entropy(s) for s in random])}


def read_in_turn(out: Path, seconds: float) -> dict[str, Any]:
    """Read an epoch bare and an epoch of batches in turn for some seconds: the median of what batches have of the bare speed."""
    collection, loader = _loader(out)
    rng = np.random.default_rng(0)
    shares: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(shares) < LEAST_TURNS:
        before = time.perf_counter()
        for _ in collection.counts.shuffled(np.arange(collection.n_obs), rng):
            pass
        between = time.perf_counter()
        for _ in loader:
            pass
        shares.append((between - before) / (time.perf_counter() - between))
    return {"share": float(np.median(shares)), "shares": shares}


def _loader(out: Path) -> tuple[Any, Any]:
    """Open the collection, and make the loader of a model."""
    import sctandem as td
    from sctandem.data import CountLoader
    from sctandem.model.base import CountVAEModel

    collection = td.data.open_collection(out)
    CountVAEModel.setup_collection(collection, batch_key="source")
    manager = CountVAEModel(collection, rng=0).adata_manager
    return collection, CountLoader(manager, batch_size=BATCH, shuffle=True, rng=0)


def read_backed(path: Path, seconds: float) -> dict[str, Any]:
    """The plain way: random batches of one backed file."""
    import anndata

    adata = anndata.read_h5ad(path, backed="r")
    order, n_cells = np.random.default_rng(0).permutation(adata.n_obs), 0
    start, cpu = time.perf_counter(), time.process_time()
    for first in range(0, adata.n_obs, BATCH):
        adata.X[np.sort(order[first : first + BATCH])]
        n_cells += len(order[first : first + BATCH])
        if time.perf_counter() - start > seconds:
            break
    return _rate(n_cells, start, cpu)


def train(out: Path, epochs: int, *, in_memory: bool) -> dict[str, Any]:
    """Train the count VAE from disk, or on the same cells in memory."""
    import torch

    import sctandem as td
    from sctandem.model.base import CountVAEModel

    torch.set_num_threads(1)
    collection = td.data.open_collection(out)
    data = collection.to_adata() if in_memory else collection
    if in_memory:
        CountVAEModel.setup_anndata(data, batch_key="source")
    else:
        CountVAEModel.setup_collection(data, batch_key="source")
    model = CountVAEModel(data, rng=0)
    waited = _Waiting()
    if not in_memory:
        waited.attach()
    start, cpu = time.perf_counter(), time.process_time()
    model.train(epochs, batch_size=BATCH, rng=0)
    found = _rate(epochs * len(model.train_indices), start, cpu)
    found["loss"] = float(model.history["train_loss"].to_numpy()[-1, 0])
    found["waited"] = waited.seconds / found["seconds"]
    return found


def train_capsules(out: Path, epochs: int) -> dict[str, Any]:
    """Train CapsuleNet from disk, with batches and labels."""
    import torch

    import sctandem as td

    torch.set_num_threads(1)
    collection = td.data.open_collection(out)
    td.model.CapsuleNet.setup_collection(collection, batch_key="source", labels_key="cell_type")
    model = td.model.CapsuleNet(collection, rng=0)
    start, cpu = time.perf_counter(), time.process_time()
    model.train(epochs, batch_size=BATCH, rng=0)
    return _rate(epochs * len(model.train_indices), start, cpu)


def train_by_two(out: Path, epochs: int) -> dict[str, Any]:
    """Train the count VAE from disk in two processes; how often they see each cell in an epoch is counted beside that."""
    import resource

    import sctandem as td
    from sctandem.model.base import CountVAEModel

    collection = td.data.open_collection(out)
    CountVAEModel.setup_collection(collection, batch_key="source")
    model = CountVAEModel(collection, rng=0)
    start, cpu = time.perf_counter(), time.process_time()
    model.train(epochs, batch_size=BATCH, rng=0, devices=2)
    found = _rate(epochs * len(model.train_indices), start, cpu)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["cpu_seconds"] += usage.ru_utime + usage.ru_stime
    found["loss"] = float(model.history["train_loss"].to_numpy()[-1, 0])
    return found | {"seen_once": _seen_once(model)}


def _seen_once(model: Any) -> float:
    """The share of the training cells that two processes see exactly once in an epoch."""
    import torch

    from sctandem.data import CountLoader

    cells = {"cell": torch.arange(model.adata.n_obs)[:, None]}
    seen = np.zeros(model.adata.n_obs, dtype=np.int64)
    for rank in range(2):
        loader = CountLoader(
            model.adata_manager, model.train_indices, batch_size=BATCH, shuffle=True, entries=cells, rng=0
        )
        loader.divide(rank, 2)
        for batch in loader:
            np.add.at(seen, batch["cell"].numpy().ravel(), 1)
    return float((seen[model.train_indices] == 1).mean()) if seen.sum() == len(model.train_indices) else 0.0


class _Waiting:
    """Seconds in which the training waited for cells to be read."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def attach(self) -> None:
        from sctandem.data import _streamed

        ahead = _streamed.ahead

        def timed(read: Any) -> Any:
            parts = ahead(read)
            while True:
                start = time.perf_counter()
                part = next(parts, None)
                self.seconds += time.perf_counter() - start
                if part is None:
                    return
                yield part

        _streamed.ahead = timed


def _rate(n_cells: int, start: float, cpu: float) -> dict[str, Any]:
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return {"n_cells": n_cells, "seconds": seconds, "cpu_seconds": used, "cells_a_second": n_cells / seconds}


def _entropy(codes: np.ndarray) -> float:
    share = np.bincount(codes) / len(codes)
    return float(-(share[share > 0] * np.log(share[share > 0])).sum())
