"""A multinomial mixture of profiles, fitted by EM, with a reference that is updated from the bulk: after BayesPrism (Chu 2022)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from benchmarks.peers._deconvolution import Composition, Task

ROUNDS, STILL = 1000, 1e-6
#: Least part of the reads of a type that a gene has, and the spread of the log change of a gene between reference and bulk.
PSEUDO, SPREAD = 1e-8, 2.0
#: Fewest cells of the reference that a gene is seen in.
CELLS = 5
#: The part of all reads and the part of the samples above which a gene is left out, and how many genes are all.
OUTLIER, OFTEN, WHOLE = 0.01, 0.1, 5000
#: The posterior is per read: its gradient is small long before the top.
CLOSE = {"gtol": 1e-9, "ftol": 1e-12, "maxiter": 500}


def em_fixed(task: Task) -> Composition:
    """Shares of reads under the profiles of the reference."""
    return Composition(shares(*_problem(task)[:2]))


def em(task: Task) -> Composition:
    """Shares of reads under profiles that were updated from all samples of the bulk."""
    bulk, profiles, _ = _problem(task)
    return Composition(shares(bulk, updated(bulk, profiles, shares(bulk, profiles))))


def em_markers(task: Task) -> Composition:
    """Shares of reads under updated profiles, of genes that tell one type from every other alone: BayesPrism's choice against batch effects."""
    bulk, profiles, kept = _problem(task)
    inside = np.isin(np.flatnonzero(kept), task.differing)
    bulk, profiles = bulk[:, inside], profiles[:, inside]
    size = profiles.sum(axis=1)
    profiles = profiles / size[:, None]
    part = shares(bulk, updated(bulk, profiles, shares(bulk, profiles))) / size
    return Composition(part / part.sum(axis=1, keepdims=True))


def em_expression(task: Task) -> dict[str, np.ndarray]:
    """Give the expression of each type in each sample, samples x genes, adding up to 1: reads are dealt to types by the updated profiles."""
    bulk, profiles, kept = _problem(task)
    new = updated(bulk, profiles, shares(bulk, profiles))
    found = {}
    part = shares(bulk, new)
    below = part @ new
    for k, kind in enumerate(task.types):
        dealt = bulk * part[:, [k]] * new[k] / below
        whole = np.zeros(task.bulk.shape)
        whole[:, kept] = dealt / np.maximum(dealt.sum(axis=1, keepdims=True), 1e-300)
        found[str(kind)] = whole
    return found


def shares(bulk: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """Maximise the multinomial likelihood of every sample over the shares of the profiles."""
    part = np.full((len(bulk), len(profiles)), 1 / len(profiles))
    total = bulk.sum(axis=1, keepdims=True)
    for _ in range(ROUNDS):
        new = part * ((bulk / np.maximum(part @ profiles, 1e-300)) @ profiles.T) / total
        change = np.abs(new - part).max()
        part = new
        if change < STILL:
            break
    return part


def updated(bulk: np.ndarray, profiles: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Change the profile of each type gene by gene so that it fits the reads that fall to it over all samples.

    The log changes have a normal prior with spread 2; the posterior is maximised.
    """
    ratio = bulk / np.maximum(part @ profiles, 1e-300)
    found = []
    for k, profile in enumerate(profiles):
        reads = profile * (part[:, k] @ ratio)
        if reads.sum() < 1:
            found.append(profile)
            continue
        answer = minimize(
            _posterior, np.zeros(len(profile)), (reads, np.log(profile)), "L-BFGS-B", jac=True, options=CLOSE
        )
        new = profile * np.exp(answer.x)
        found.append(new / new.sum())
    return np.stack(found)


def _posterior(change: np.ndarray, reads: np.ndarray, log_profile: np.ndarray) -> tuple[float, np.ndarray]:
    """Give minus the log posterior of the changes and its gradient, both over the number of reads."""
    level = log_profile + change
    top = level.max()
    weight = np.exp(level - top)
    total = weight.sum()
    value = -(reads @ level) + reads.sum() * (np.log(total) + top) + (change @ change) / (2 * SPREAD**2)
    gradient = -reads + reads.sum() * weight / total + change / SPREAD**2
    return value / reads.sum(), gradient / reads.sum()


def _problem(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give bulk and profiles of the genes that are kept: those of five cells, without those that take over a hundredth of the reads.

    The last holds where all genes are there, as for BayesPrism; of a selection of genes any takes much.
    """
    kept = np.asarray((task.counts > 0).sum(axis=0)).ravel() >= CELLS
    if task.bulk.shape[1] > WHOLE:
        kept &= (task.mixed / 1e6 > OUTLIER).mean(axis=0) <= OFTEN
    profiles = np.maximum(task.signature[:, kept] / task.signature[:, kept].sum(axis=1, keepdims=True), PSEUDO)
    return np.asarray(task.bulk[:, kept], dtype=float), profiles / profiles.sum(axis=1, keepdims=True), kept
