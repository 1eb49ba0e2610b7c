"""What `benchmarks/deconvolution.py` runs: each function measures the rows of one method on one set."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from benchmarks import _deconvolution_methods as methods
from benchmarks import _deconvolution_own as own
from benchmarks import _deconvolution_scores as scores
from benchmarks._deconvolution_data import TYPE, Mixtures
from benchmarks._measure import measure
from benchmarks.peers._deconvolution_tape import NotInstalledError

if TYPE_CHECKING:
    Row = dict[str, Any]

OWN = methods.OWN
PEERS = tuple(methods.PEERS)
#: What each part can measure.
METHODS = {
    "fractions": (OWN, *PEERS),
    "pairs": (OWN, *(name for name in PEERS if name not in methods.SLOW)),
    "missing": (OWN, *(name for name in PEERS if name not in methods.SLOW)),
    "expression": (OWN, "em", "bulk"),
    "drivers": (OWN,),
    "cost": (OWN, "em", "dampened", "mlp"),
}
#: Samples of a group of the cohorts in which drivers are looked for.
DRIVER_SIZES = (10, 20)
COST_SAMPLES, COST_TYPES, COST_GENES, COST_CELLS = 100, 10, 15_000, 5000


def fractions(mixtures: Mixtures, method: str, seed: int) -> list[Row]:
    """Take a set apart. Of a peer two rows: as it is, and with the published RNA of a cell; of RSD one, which has its own contents."""
    start = time.perf_counter(), time.process_time()
    shared = {"method": method, "seed": seed, "samples": len(mixtures.truth), "types": len(mixtures.types)}
    shared["uniform"] = scores.uniform(mixtures.truth)
    try:
        found = own.fractions(mixtures, seed) if method == OWN else methods.peer(mixtures, method, seed)
    except NotInstalledError as error:
        return [shared | {"set": mixtures.name, "contents": told, "skipped": str(error)} for told in (False, True)]
    shared |= {
        "seconds": round(time.perf_counter() - start[0], 2),
        "processor_seconds": round(time.process_time() - start[1], 2),
    }
    if method != OWN:
        return [
            shared | {"set": mixtures.name, "contents": told} | scores.composition(mixtures.truth, shares)
            for told, shares in found.items()
        ]
    row = shared | {"set": mixtures.name, "contents": True} | scores.composition(mixtures.truth, found["fractions"])
    # intervals are of shares of all cells, as the fractions are
    row |= scores.coverage(mixtures.absolute, found["low"], found["high"])
    row |= {"unknown": float(found["unknown"].mean()), "other": float(mixtures.other.mean())}
    return [row | {"fit": float(np.mean(found["fit"]))}]


def missing(mixtures: Mixtures, hidden: str | None, method: str, seed: int) -> Row:
    """Take a set apart with a reference that lacks a type (or none); shares of all cells are compared, peers told the published contents."""
    lacking = mixtures if hidden is None else mixtures.without(hidden)
    if method == OWN:
        found = own.fractions(lacking, seed)
        shares, unknown = found["fractions"], found["unknown"]
    else:
        shares = methods.peer(lacking, method, seed)[True]
        unknown = pd.Series(0.0, index=shares.index)
    row = {"set": mixtures.name, "method": method, "seed": seed, "hidden": hidden or "none"}
    return row | scores.missing(lacking.absolute, lacking.other, shares, unknown)


def expression(mixtures: Mixtures, method: str, seed: int) -> Row:
    """Correlate what each type is found to express with what it expresses, gene by gene over samples."""
    found = {OWN: own.expression, "em": methods.em_expression, "bulk": methods.bulk_expression}[method](mixtures, seed)
    row = {"set": mixtures.name, "method": method, "seed": seed}
    assert mixtures.expression is not None
    return row | scores.expression(mixtures.expression, found)


def sizes(n: int) -> str:
    """Name the size of two groups."""
    return f"{n} v {n}"


def drivers(n: int, seed: int) -> list[Row]:
    """Compare simulated groups of unlike composition, in some of whose genes one type changes."""
    from benchmarks import _deconvolution_drivers as simulated

    return [{"set": sizes(n), "hidden": row["level"], **row} for row in simulated.drivers(seed, n)]


def cost(method: str, seed: int) -> Row:
    """Take 100 simulated samples of 10 types apart, 15,000 genes, training included, in a process of its own."""
    measured = measure(_cost, method, seed)
    row = {"set": "simulated", "method": method, "seed": seed, "samples": COST_SAMPLES, "types": COST_TYPES}
    row |= {"genes": COST_GENES, "cells": COST_CELLS, "rmse": measured.value["rmse"]}
    # the seconds are those of the method: reading and simulating are no part of it
    return row | {"seconds": round(measured.value["seconds"], 1), "peak_mb": round(measured.peak_mb)}


def _cost(method: str, seed: int) -> dict[str, float]:
    import torch

    from benchmarks._results import n_threads

    torch.set_num_threads(n_threads())
    mixtures = large(seed)
    start = time.perf_counter()
    shares = own.fractions(mixtures, seed)["fractions"] if method == OWN else methods.peer(mixtures, method, seed)[True]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "rmse": scores.composition(mixtures.truth, shares)["rmse"]}


def large(seed: int) -> Mixtures:
    """Draw a reference of ten types with a hundred markers each, and samples mixed from the same profiles."""
    rng = np.random.default_rng([seed, 5])
    level = np.tile(rng.lognormal(0, 2, COST_GENES), (COST_TYPES, 1))
    types = [f"type {k}" for k in range(COST_TYPES)]
    for row in level:
        row[rng.choice(COST_GENES, 100, replace=False)] *= 10
    level /= level.sum(axis=1, keepdims=True)
    kind = np.resize(np.arange(COST_TYPES), COST_CELLS)
    depth = rng.lognormal(np.log(2500), 0.3, COST_CELLS)
    blocks = [
        sparse.csr_matrix(rng.poisson(level[kind[i : i + 500]] * depth[i : i + 500, None]))
        for i in range(0, COST_CELLS, 500)
    ]
    genes = pd.DataFrame(index=[f"gene {g}" for g in range(COST_GENES)])
    obs = pd.DataFrame({TYPE: pd.Categorical([types[k] for k in kind])}, index=[f"cell {i}" for i in range(COST_CELLS)])
    reference = AnnData(sparse.vstack(blocks).tocsr().astype(np.float32), obs=obs, var=genes)
    truth = pd.DataFrame(
        rng.dirichlet(np.ones(COST_TYPES), COST_SAMPLES), [f"sample {i}" for i in range(COST_SAMPLES)], types
    )
    counts = rng.poisson(truth.to_numpy() @ level * 5e6).astype(float)
    bulk = AnnData(counts, obs=pd.DataFrame(index=truth.index), var=genes.copy())
    other = pd.Series(0.0, index=truth.index, name="other")
    return Mixtures("simulated", bulk, reference, truth, "counts", other, dict.fromkeys(types, 1.0), exact=True)
