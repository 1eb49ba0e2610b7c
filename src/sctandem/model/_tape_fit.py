"""What TAPE fits in closed form and gene by gene, before it sees minibatches of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sctandem._random import as_generator
from sctandem.kernels import (
    CellState,
    Windows,
    fit_cell_state,
    gene_profiles,
    pair_features,
    peak_response,
    rna_factors,
    whiten,
)
from sctandem.kernels._window_features import predict_baseline
from sctandem.kernels._window_kernel import kernel_weights, pair_places
from sctandem.train._fit_windows import WindowData, fit_windows, mean_weights, unseen_weights

if TYPE_CHECKING:
    from scipy import sparse

    from sctandem._random import RNG
    from sctandem.kernels import RnaFactors
    from sctandem.module import TAPEConfig

#: Genes that are treated at once.
BLOCK = 2000


@dataclass(frozen=True)
class TAPEData:
    """The arrays TAPE is fitted to.

    Parameters
    ----------
    rna, atac
        Counts, cells x genes and cells x peaks.
    library
        Library size of each cell, (cells,).
    cells
        Cells to learn from, with counts in both modalities, (cells,).
    windows
        Peaks of every gene.
    learned
        Genes to learn from, (genes,).
    sequence
        Composition of each peak, peaks x features, where known.
    chromosome
        Code of each gene's chromosome, (genes,).
    batch
        1 for the batch of each cell, cells x batches.
    """

    rna: sparse.csr_matrix
    atac: sparse.csr_matrix
    library: np.ndarray
    cells: np.ndarray
    windows: Windows
    learned: np.ndarray
    sequence: np.ndarray | sparse.csr_matrix | None
    chromosome: np.ndarray
    batch: np.ndarray


@dataclass(frozen=True)
class Context:
    """Functions of a cell's chromatin that the weights of peaks act on.

    They are the components of the chromatin, and these times each context factor, made white.

    Parameters
    ----------
    spread
        Standard deviation of the context factors, (context factors,).
    mean, matrix
        Whitening of the functions.
    """

    spread: np.ndarray
    mean: np.ndarray
    matrix: np.ndarray

    @staticmethod
    def raw(components: np.ndarray, state: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Lay out components and products, cells x functions."""
        factors = np.clip(state[:, : spread.size] / spread, -3, 3)
        return np.concatenate([components, *(components * factors[:, [k]] for k in range(spread.size))], axis=1)

    @classmethod
    def fit(cls, components: np.ndarray, state: np.ndarray, *, n_context: int, weights: np.ndarray) -> Context:
        """Fit the whitening to training cells."""
        spread = np.maximum(state[:, :n_context].std(0), 1e-12)
        mean, matrix = whiten(cls.raw(components, state, spread), weights)
        return cls(spread, mean, matrix)

    def __call__(self, components: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Compute the white functions, cells x functions."""
        return (self.raw(components, state, self.spread) - self.mean) @ self.matrix


@dataclass(frozen=True)
class TAPEFit:
    """Result of `fit_tape`.

    Parameters
    ----------
    start
        What the module's parameters start from (`TAPEModule.start`).
    keep
        Arrays that prediction and links need later (`TAPEModule.set_fitted`).
    state, context
        Of all cells, cells x factors and cells x functions; those of training cells are honest: predicted without them.
    """

    start: dict[str, np.ndarray]
    keep: dict[str, np.ndarray]
    state: np.ndarray
    context: np.ndarray


def fit_tape(data: TAPEData, train: np.ndarray, config: TAPEConfig, *, rng: RNG = 0, progress: bool = False) -> TAPEFit:
    """Fit state, context, profiles and window networks.

    Parameters
    ----------
    data
        All cells.
    train
        Positions of the training cells, all of them among `data.cells`.
    config
        The architecture.
    rng
        Seed.
    progress
        Whether to show a progress bar of the window networks, which take most of the time.

    Returns
    -------
    The fit.
    """
    generator = as_generator(rng)
    rna, library = data.rna[train][:, data.learned], data.library[train]
    factors = rna_factors(rna, library, config.n_factors, rng=generator)
    n_factors = factors.scores.shape[1]
    targets = np.column_stack([factors.scores, np.log(library)])
    state, honest = fit_cell_state(
        data.atac[train],
        targets,
        n_landmarks=config.n_landmarks,
        n_components=max(50, config.n_components),
        rng=generator,
    )
    states = state.predict(data.atac)
    states[train] = honest
    library_sd = float((targets[:, -1] - honest[:, -1]).std())
    components = state.components(data.atac)[:, : config.n_components]
    context = Context.fit(components[train], honest, n_context=min(config.n_context, n_factors), weights=library)
    functions = context(components, states)
    profiles = gene_profiles(rna, library, functions[train], rate=np.exp(factors.log_mean), theta=factors.theta)
    learned = np.flatnonzero(data.learned)
    target = np.zeros((data.rna.shape[1], functions.shape[1]))
    information = np.zeros(len(target))
    target[learned], information[learned] = profiles.target, profiles.information
    response = peak_response(
        state.loadings[:, : components.shape[1]] * state.spread[: components.shape[1]], state.accessibility
    )
    read = _read_windows(
        data,
        response,
        state.accessibility,
        context=context,
        target=target,
        information=information,
        config=config,
        rng=generator,
        progress=progress,
    )

    log_mean, theta = np.zeros(len(target)), np.full(len(target), np.median(factors.theta))
    log_mean[learned], theta[learned] = factors.log_mean, factors.theta
    unseen = ~data.learned
    log_mean[unseen] = predict_baseline(data.windows, state.accessibility, log_mean, data.learned)[unseen]
    loadings = np.zeros((len(target), config.n_factors))
    loadings[learned, :n_factors] = factors.loadings
    variance = np.zeros(config.n_factors)
    variance[:n_factors] = honest[:, :n_factors].var(0)
    effect = np.zeros((len(target), data.batch.shape[1]))
    effect[learned] = _batch_effects(rna, library, factors, honest=honest[:, :n_factors], batch=data.batch[train])
    start = {
        "batch_effect": effect,
        "log_mean": log_mean,
        "theta": theta,
        "loadings": loadings,
        "profile": read.profile,
        "information": information,
        "state_variance": variance,
        "learned": data.learned.astype(np.float32),
    }
    shared = np.average(profiles.target, axis=0, weights=profiles.information)
    keep = {f"state_{name}": values for name, values in state.arrays().items()}
    keep |= {f"context_{name}": getattr(context, name) for name in ("spread", "mean", "matrix")}
    keep |= {
        "target": target - shared * data.learned[:, None],
        "response": _white_response(response, context),
        "chromosome": data.chromosome,
        "pair_weight": read.weight,
        "pair_unseen": read.unseen,
        "tested": read.tested.astype(np.float32),
        "pair_gene": data.windows.gene,
        "pair_peak": data.windows.peak,
        "pair_distance": data.windows.distance,
        "library_sd": np.array([library_sd]),
    }
    padded = np.zeros((len(states), config.n_factors))
    padded[:, :n_factors] = states[:, :n_factors]
    return TAPEFit(start, keep, padded, functions)


def read_state(keep: dict[str, np.ndarray]) -> tuple[CellState, Context]:
    """Rebuild the maps from chromatin to state and context from the arrays of `TAPEFit.keep`."""
    parts = {
        kind: {name.removeprefix(kind): values for name, values in keep.items() if name.startswith(kind)}
        for kind in ("state_", "context_")
    }
    # the context in double precision: a cell's is then the same to the last digit that is shown, whatever cells are beside it
    return CellState(**parts["state_"]), Context(**{k: v.astype(np.float64) for k, v in parts["context_"].items()})


def _batch_effects(
    rna: sparse.csr_matrix, library: np.ndarray, factors: RnaFactors, *, honest: np.ndarray, batch: np.ndarray
) -> np.ndarray:
    """Compare the counts of each batch with those that the state expects: log ratios about their mean, genes x batches."""
    out = np.zeros((rna.shape[1], batch.shape[1]))
    here = batch.any(axis=0)
    if here.sum() < 2:
        return out
    for start in range(0, len(out), BLOCK):
        genes = slice(start, start + BLOCK)
        expected = library[:, None] * np.exp(
            np.minimum(factors.log_mean[genes] + honest @ factors.loadings[genes].T, 0.0)
        )
        # one count on each side: a gene that is hardly seen tells nothing of its batches
        out[genes] = np.log((rna[:, genes].T @ batch + 1) / (expected.T @ batch + 1))
    return np.where(here, out - out[:, here].mean(axis=1, keepdims=True), 0.0)


def _white_response(response: np.ndarray, context: Context) -> np.ndarray:
    """Write the response of each peak, at the average context, in the white functions."""
    padded = np.zeros((len(response), len(context.matrix)))
    padded[:, : response.shape[1]] = response
    return padded @ np.linalg.inv(context.matrix)


class _Reading(NamedTuple):
    """Weight of each pair, by all genes and by those of other folds; genes that have such a one; profiles by the networks."""

    weight: np.ndarray
    unseen: np.ndarray
    tested: np.ndarray
    profile: np.ndarray


def _read_windows(
    data: TAPEData,
    response: np.ndarray,
    accessibility: np.ndarray,
    *,
    context: Context,
    target: np.ndarray,
    information: np.ndarray,
    config: TAPEConfig,
    rng: np.random.Generator,
    progress: bool,
) -> _Reading:
    """Fit the window networks, and read every window; profiles are in white functions."""
    windows = data.windows
    profile = np.zeros_like(target)
    has_window = np.bincount(windows.gene, minlength=windows.n_genes) > 0
    readable = np.flatnonzero(has_window & data.learned)
    if readable.size == 0:
        nothing = np.zeros(windows.gene.size)
        return _Reading(nothing, nothing, np.zeros(len(target), dtype=bool), profile)
    features = pair_features(windows, response, accessibility, sequence=data.sequence)
    arrays = (
        windows.pad(features),
        windows.pad(np.ones(windows.gene.size)),
        windows.pad(response[windows.peak]),
        target,
        information,
        np.linalg.inv(context.matrix),
    )
    fitted = WindowData(*(torch.from_numpy(np.asarray(values, dtype=np.float32)) for values in arrays))
    networks = fit_windows(fitted, readable, config.windows, rng=rng, progress=progress)
    weights, common = mean_weights(networks, fitted)
    genes = torch.from_numpy(np.flatnonzero(has_window))
    profile[has_window] = (fitted.profile(weights[genes], genes, weights.shape[1]) + common).numpy()
    unseen, tested = unseen_weights(networks, fitted)
    pairs = windows.gene, windows.slot
    fold = np.full(windows.n_genes, -1)
    fold[readable] = 0
    for number, network in enumerate(networks):
        fold[network.unseen] = number
    by_kernel, by_others = kernel_weights(
        windows,
        pair_places(windows, response, accessibility),
        response=_white_response(response, context),
        target=target,
        information=information,
        fold=fold,
        rng=rng,
    )
    # links hear both readers; predictions hear the networks alone
    return _Reading(
        (weights[..., 0].numpy()[pairs] + by_kernel) / 2,
        (unseen[..., 0].numpy()[pairs] + by_others) / 2,
        tested,
        profile,
    )
