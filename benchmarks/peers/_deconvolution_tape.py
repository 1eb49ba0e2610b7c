"""scTAPE's own lines (Chen 2022), where they are installed: an autoencoder on simulated mixtures, adapted to the bulk."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.peers._deconvolution import Composition, Task, per_million

N_MIXTURES, EPOCHS, N_GENES = 2000, 64, 3000


class NotInstalledError(ImportError):
    """A peer is not there; the row says so."""


def autoencoder(task: Task) -> Composition:
    """Train and adapt at the defaults, but on 2,000 mixtures for 64 epochs where 5,000 and 128 are usual.

    Genes are the 3,000 that vary most between cells by log-normalised counts. Shares of cells under the counts of the reference.
    """
    try:
        simulation, tool = import_module("TAPE.simulation"), import_module("TAPE.deconvolution")
    except ImportError as error:
        msg = f"scTAPE is not installed ({error})"
        raise NotInstalledError(msg) from error
    logged = task.counts.multiply(1e4 / task.depth[:, None]).tocsr().log1p()
    mean = np.asarray(logged.mean(axis=0)).ravel()
    spread = np.asarray(logged.multiply(logged).mean(axis=0)).ravel() - mean**2
    genes = np.sort(np.argsort(-spread)[:N_GENES])
    names = [f"gene {gene}" for gene in genes]
    cells = pd.DataFrame(task.counts[:, genes].toarray(), index=task.labels, columns=names)
    bulk = pd.DataFrame(
        per_million(task.bulk[:, genes]), index=[f"sample {i}" for i in range(len(task.bulk))], columns=names
    )
    with (
        _in_a_folder_of_its_own(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        simulated = simulation.generate_simulated_data(cells, samplenum=N_MIXTURES, random_state=task.seed)
        _, found = tool.Deconvolution(simulated, bulk, datatype="counts", epochs=EPOCHS, seed=task.seed)
    shares = found[list(task.types)].to_numpy(dtype=float)
    return Composition(shares, task.cell_content / task.cell_content.mean())


@contextlib.contextmanager
def _in_a_folder_of_its_own():
    """Work where the files and plots that it leaves go away; no window is opened."""
    import torch

    before, state, load = Path.cwd(), np.random.get_state(), torch.load  # noqa: NPY002
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        os.environ.setdefault("MPLBACKEND", "agg")
        os.chdir(folder)
        torch.load = lambda *args, **options: load(*args, **({"weights_only": False} | options))
        try:
            yield
        finally:
            torch.load = load
            os.chdir(before)
            np.random.set_state(state)  # noqa: NPY002
