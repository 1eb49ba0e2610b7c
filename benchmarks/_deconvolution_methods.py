"""The methods of the benchmark of deconvolution: the peers, and what they are given of a set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks._deconvolution_data import DONOR, TYPE, Mixtures, technical
from benchmarks.peers import _deconvolution as regressions
from benchmarks.peers import _deconvolution_em as mixtures_em
from benchmarks.peers import _deconvolution_mlp as mlp
from benchmarks.peers import _deconvolution_plain as plain
from benchmarks.peers import _deconvolution_tape as tape

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers._deconvolution import Composition, Task


@dataclass(frozen=True)
class Entry:
    """A peer: its title, its function, and whether it draws anything."""

    title: str
    run: Callable[[Task], Composition]
    draws: bool = False


PEERS = {
    "nnls": Entry("NNLS, all genes", regressions.least_squares),
    "nnls_markers": Entry("NNLS, markers", regressions.least_squares_markers),
    "svr": Entry("nu-SVR, markers", regressions.support_vectors),
    "weighted": Entry("weighted NNLS (after MuSiC)", regressions.weighted),
    "dampened": Entry("dampened NNLS, markers (after DWLS)", regressions.dampened, draws=True),
    "em_fixed": Entry("EM, fixed reference", mixtures_em.em_fixed),
    "em": Entry("EM, updated reference (after BayesPrism)", mixtures_em.em),
    "em_markers": Entry("EM, updated reference, markers", mixtures_em.em_markers),
    "plain": Entry("plain likelihood, markers", plain.likelihood),
    "mlp": Entry("three MLPs (after Scaden)", mlp.networks, draws=True),
    "tape": Entry("scTAPE", tape.autoencoder, draws=True),
}
#: Peers that are left out where many runs are asked for.
SLOW = ("mlp", "tape")
OWN = "rsd"
#: The name of `tl.drivers` among the methods that compare groups.
DRIVERS = "sctandem drivers"
TITLES = {OWN: "RSD"} | {name: entry.title for name, entry in PEERS.items()}


def task(mixtures: Mixtures, seed: int) -> tuple[Task, pd.Index]:
    """Match the genes by name and leave out the technical ones; give what a peer sees, and the genes."""
    genes = mixtures.reference.var_names.intersection(mixtures.bulk.var_names)
    genes = genes[~technical(genes)]
    counts = mixtures.reference[:, genes].X.tocsr()
    bulk = np.asarray(mixtures.bulk[:, genes].X, dtype=float)
    obs = mixtures.reference.obs
    donors = obs[DONOR].astype(str).to_numpy() if DONOR in obs else None
    return regressions.Task(bulk, counts, obs[TYPE].astype(str).to_numpy(), seed, donors), genes


def peer(mixtures: Mixtures, name: str, seed: int) -> dict[bool, pd.DataFrame]:
    """Give the shares that a peer finds, as they are and (True) with the RNA of a cell of each type as it was published."""
    given, _ = task(mixtures, seed)
    found = PEERS[name].run(given)
    contents = np.array([mixtures.contents[kind] for kind in given.types])

    def framed(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, mixtures.truth.index, list(given.types))[mixtures.types]

    return {False: framed(found.shares), True: framed(found.told(contents))}


def em_expression(mixtures: Mixtures, seed: int) -> dict[str, pd.DataFrame]:
    """Give the expression of each type in each sample by EM."""
    given, genes = task(mixtures, seed)
    found = mixtures_em.em_expression(given)
    return {kind: pd.DataFrame(values, mixtures.truth.index, genes) for kind, values in found.items()}


def bulk_expression(mixtures: Mixtures, seed: int) -> dict[str, pd.DataFrame]:
    """Give the bulk itself as the expression of every type: what is reached without taking anything apart."""
    given, genes = task(mixtures, seed)
    found = pd.DataFrame(given.mixed, mixtures.truth.index, genes)
    return dict.fromkeys(mixtures.types, found)
