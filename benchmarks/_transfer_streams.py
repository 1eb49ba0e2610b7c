"""Streams: five increments, one after the other, with what was learned first and what has come since."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from benchmarks._labelled_sets import BATCH, BY_NAME, LABEL, path
from benchmarks._transfer_data import mixology_cells, trained_net
from benchmarks._transfer_peers import variable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TITLE = "Streams of five increments"
CAPTION = (
    "Five increments, of which a model sees each once: the batches of the cell lines (three or five lines in a batch), and simulated cells (NB counts, "
    "1,000 genes, twelve types of which two or three are new in each increment and the older ones rare, a batch effect an increment). A third of the cells of each increment is held out. "
    "*first* is the accuracy on the held-out cells of the first increment, after it and at the end; *macro F1* is that of all held-out cells at the "
    "end. Genes are chosen on the first increment. *joint* trains on all increments at once. *MB* is what weights and cells of the model take after the second increment and at the end; as many old cells as are kept there are before the third, and labels that are new bring weights of their own. "
    "That labels are as probable as among all cells ever seen was chosen on simulated streams of other seeds, 40 to 45 (mean macro F1 0.986; as in the reservoir 0.982; joint training 0.985). "
    "On 41 to 45 neither a regression that starts from the one before (0.985 with it, 0.985 without) nor one on generated cells beside the reservoir (0.982, in place of the shift) added anything."
)
SEEDS = (0, 1, 2)
UNKNOWN = "unknown"
N_TYPES, N_GENES, N_CELLS = 12, 1000, 600
#: Ways to go on, as options of `partial_fit`; the first is its default but for the size of the reservoir.
WAYS: dict[str, dict[str, Any]] = {
    "partial_fit": {},
    "partial_fit, generated cells": {"replay": "generated"},
    "replay alone": {"elastic": 0.0},
    "springs alone": {"replay": "none"},
    "fine-tuning": {"replay": "none", "elastic": 0.0},
}
TARGETS = (
    "accuracy on the first increment lost",
    "macro F1 below joint training",
    "fine-tuning loses more on the first",
    "fine-tuning is further below joint training",
    "memory at the end, against that after the third increment",
)
#: Old cells that are kept, at most.
N_REPLAY = {"simulated": 600, "cell lines": 200}


@dataclass(frozen=True)
class Stream:
    """Increments with `obs["label"]` and `obs["batch"]`, and the cells of each that are held out."""

    name: str
    shown: list[AnnData]
    held_out: list[AnnData]


def simulated(seed: int) -> Stream:
    """Types of a common tree, two or three of them new in each increment, after which they are rare."""
    rng = np.random.default_rng(1000 + seed)
    branch = rng.normal(0, 0.7, (4, N_GENES))
    profiles = rng.normal(0, 1.2, N_GENES) + branch[np.arange(N_TYPES) % 4] + rng.normal(0, 0.22, (N_TYPES, N_GENES))
    theta = rng.gamma(4, 0.5, N_GENES) + 0.3
    parts = []
    for number, new in enumerate(np.array_split(np.arange(N_TYPES), 5)):
        weight = np.where(np.arange(N_TYPES) < new[0], 0.15 / max(new[0], 1), 0.0)
        weight[new] = (1 - weight.sum()) / len(new)
        kind = rng.choice(N_TYPES, N_CELLS, p=weight)
        logits = profiles[kind] + rng.normal(0, 0.25, N_GENES)
        shares = np.exp(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
        mean = shares * rng.lognormal(np.log(1000), 0.3, N_CELLS)[:, None]
        counts = rng.poisson(rng.gamma(theta, mean / theta)).astype(np.float32)
        obs = {LABEL: [f"type{k}" for k in kind], BATCH: f"increment{number}"}
        part = AnnData(sparse.csr_matrix(counts), obs=obs)
        part.obs_names = [f"{number}-{i}" for i in range(N_CELLS)]
        parts.append(part)
    return _split("simulated", parts, rng)


def cell_lines(seed: int) -> Stream:
    """Give the batches of the cell lines in the order of their names, with the genes that vary in the first."""
    cells = mixology_cells()
    names = sorted(cells.obs[BATCH].unique())
    genes = variable(cells[cells.obs[BATCH] == names[0]]).var_names
    parts = [cells[cells.obs[BATCH] == name, genes].copy() for name in names]
    return _split("cell lines", parts, np.random.default_rng(seed))


def _split(name: str, parts: list[AnnData], rng: np.random.Generator) -> Stream:
    """Hold a third of each increment out."""
    masks = [rng.random(part.n_obs) < 1 / 3 for part in parts]
    return Stream(
        name,
        [part[~mask].copy() for part, mask in zip(parts, masks, strict=True)],
        [part[mask].copy() for part, mask in zip(parts, masks, strict=True)],
    )


STREAMS = {"simulated": simulated, "cell lines": cell_lines}


def predicted(model: Any, cells: AnnData) -> np.ndarray:
    """Label held-out cells of batches that the model knows."""
    bare = cells.copy()
    del bare.obs[LABEL]
    found = type(model).load_query_data(bare, model).predict()
    return found.to_numpy().astype(str)


def went(stream: Stream, way: str, seed: int) -> dict[str, Any]:
    """Go through a stream in one way."""
    from sklearn.metrics import f1_score

    start = time.perf_counter()
    first, sizes = [], []
    if way == "joint":
        import anndata

        model = trained_net(anndata.concat(stream.shown), seed)
    else:
        model = trained_net(stream.shown[0], seed)
        first.append(_accuracy(model, stream.held_out[0]))
        for part in stream.shown[1:]:
            model.partial_fit(
                part, n_replay=N_REPLAY[stream.name], rng=seed, progress=False, accelerator="cpu", **WAYS[way]
            )
            first.append(_accuracy(model, stream.held_out[0]))
            sizes.append(_size(model))
    seconds = time.perf_counter() - start
    first = first or [_accuracy(model, stream.held_out[0])]
    truth = np.concatenate([part.obs[LABEL].to_numpy().astype(str) for part in stream.held_out])
    found = np.concatenate([predicted(model, part) for part in stream.held_out])
    return {
        "set": stream.name,
        "name": way,
        "seed": seed,
        "first": first,
        "macro_f1": float(f1_score(truth, found, average="macro", zero_division=0)),
        "accuracy": float((truth == found).mean()),
        "megabytes": sizes,
        "seconds": round(seconds, 1),
    }


def _accuracy(model: Any, cells: AnnData) -> float:
    return float((predicted(model, cells) == cells.obs[LABEL].to_numpy().astype(str)).mean())


def _size(model: Any) -> float:
    """Give what weights and cells take, in MB."""
    weights = sum(value.numel() * value.element_size() for value in model.module.state_dict().values())
    counts = model.adata.X
    return round((weights + counts.data.nbytes + counts.indices.nbytes + counts.indptr.nbytes) / 1e6, 3)


def measure_rest(seed: int, done: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Go through both streams in all ways, but for those that are done."""
    for name, make in STREAMS.items():
        for way in ("joint", *WAYS):
            if (name, way) not in done:
                yield went(make(seed), way, seed)


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row a stream and way, means over seeds."""
    out = []
    for name in STREAMS:
        for way in ("joint", *WAYS):
            same = [row for row in rows if (row["set"], row["name"]) == (name, way)]
            if same:
                out.append(
                    {
                        "stream": name,
                        "way": way,
                        "first, after it": _mean(row["first"][0] for row in same),
                        "first, at the end": _mean(row["first"][-1] for row in same),
                        "macro F1": _mean(row["macro_f1"] for row in same),
                        "MB at 2": "-" if way == "joint" else f"{np.mean([row['megabytes'][0] for row in same]):.2f}",
                        "MB at 5": "-" if way == "joint" else f"{np.mean([row['megabytes'][-1] for row in same]):.2f}",
                        "seconds": f"{np.mean([row['seconds'] for row in same]):.0f}",
                        "seeds": len(same),
                    }
                )
    return out


def _mean(values: Any) -> str:
    found = list(values)
    return f"{np.mean(found):.3f} ± {np.std(found):.3f}"


def targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say what was asked for and what was found."""
    out = []

    def mean(name: str, way: str, value: Any) -> float:
        return float(np.mean([value(row) for row in rows if (row["set"], row["name"]) == (name, way)]))

    for name in sorted(STREAMS):
        if not any(row["set"] == name for row in rows):
            out += [
                {"target": f"{name}: {target}", "asked": "", "found": "", "met": "not measured"} for target in TARGETS
            ]
            continue
        drop = mean(name, "partial_fit", lambda row: row["first"][0] - row["first"][-1])
        gap = mean(name, "joint", lambda row: row["macro_f1"]) - mean(name, "partial_fit", lambda row: row["macro_f1"])
        naive = mean(name, "fine-tuning", lambda row: row["first"][0] - row["first"][-1])
        naive_gap = mean(name, "joint", lambda row: row["macro_f1"]) - mean(
            name, "fine-tuning", lambda row: row["macro_f1"]
        )
        growth = mean(name, "partial_fit", lambda row: row["megabytes"][-1] / row["megabytes"][1] - 1)
        judged = (
            ("at most 0.02", drop, drop <= 0.02),
            ("at most 0.01", gap, gap <= 0.01),
            (f"more than {drop:.3f}", naive, naive > drop),
            (f"more than {gap:.3f}", naive_gap, naive_gap > gap),
            ("at most 10 % more", growth, growth <= 0.1),
        )
        for target, (asked, found, met) in zip(TARGETS, judged, strict=True):
            out.append(
                {"target": f"{name}: {target}", "asked": asked, "found": f"{found:.3f}", "met": "yes" if met else "no"}
            )
    return out


def data() -> list[Path]:
    """Name the files that were read."""
    return [path(BY_NAME["mixology"])]
