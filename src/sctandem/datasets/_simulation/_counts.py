from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

    from sctandem.datasets._simulation._config import SimulationNoise

VALUES = 4_000_000
"""Entries drawn at once: memory stays bounded whatever the number of cells."""


@dataclass(frozen=True, slots=True)
class Depths:
    """Expected counts of each cell and its share of ambient counts."""

    rna: np.ndarray
    atac: np.ndarray
    ambient: np.ndarray


def draw_depths(
    n_cells: int, n_genes: int, n_peaks: int, *, noise: SimulationNoise, rng: np.random.Generator
) -> Depths:
    """Draw log-normal depths, correlated between the modalities, and ambient shares."""
    shared, rna, atac = rng.normal(size=(3, n_cells)) * noise.depth_sd * np.sqrt(0.5)
    share = noise.ambient
    ambient = rng.beta(20 * share, 20 * (1 - share), n_cells) if 0 < share < 1 else np.full(n_cells, float(share))
    return Depths(
        rna=noise.counts_per_gene * n_genes * np.exp(shared + rna),
        atac=noise.counts_per_peak * n_peaks * np.exp(shared + atac),
        ambient=ambient,
    )


def batch_effects(
    n_features: int, batch: np.ndarray, *, noise: SimulationNoise, rng: np.random.Generator
) -> np.ndarray:
    """Draw the technical effect of each batch on each feature, batches x features, as a factor."""
    return np.exp(rng.normal(0, noise.batch_sd, (int(batch.max()) + 1, n_features)))


def draw_counts(
    profile: Callable[[np.ndarray], np.ndarray],
    sample: Callable[[np.ndarray], np.ndarray],
    *,
    depth: np.ndarray,
    ambient: np.ndarray,
    soup: np.ndarray,
    partner: np.ndarray,
) -> sparse.csr_matrix:
    """Draw counts block by block.

    Parameters
    ----------
    profile
        Gives the expected profile (rows sum to 1) of a block of cells, which may be real cells or partners.
    sample
        Draws counts from their means.
    depth, ambient
        Of each cell, partners of doublets last.
    soup
        The ambient profile.
    partner
        For each cell the position of the cell that it shares its droplet with, -1 for none.

    Returns
    -------
    Counts, cells x features, int32.
    """
    n_cells = partner.size
    step = max(1, VALUES // soup.size)
    blocks = []
    for start in range(0, n_cells, step):
        rows = np.arange(start, min(start + step, n_cells))
        mean = profile(rows) * depth[rows, None]
        double = np.flatnonzero(partner[rows] >= 0)
        second = partner[rows[double]]
        if double.size:
            mean[double] += profile(second) * depth[second, None]
        total = mean.sum(1, keepdims=True)
        mean += ambient[rows, None] * (total * soup - mean)
        blocks.append(sparse.csr_matrix(sample(mean)))
    return sparse.vstack(blocks, format="csr", dtype=np.int32)


def sample_rna(mean: np.ndarray, dispersion: np.ndarray, *, dropout: float, rng: np.random.Generator) -> np.ndarray:
    """Draw negative binomial counts (variance = mean + mean^2 / dispersion) and lose some of the low ones."""
    counts = rng.poisson(mean * rng.gamma(dispersion, 1 / dispersion, mean.shape))
    if dropout > 0:
        counts[rng.random(mean.shape) < dropout * np.exp(-mean)] = 0
    return counts


def sample_atac(mean: np.ndarray, *, one_ended: float, rng: np.random.Generator) -> np.ndarray:
    """Draw fragments and count their cut sites: two, or one where the other end lies outside the peak."""
    fragments = rng.poisson(mean / (2 - one_ended))
    row, column = np.nonzero(fragments)
    found = fragments[row, column]
    fragments[row, column] = 2 * found - rng.binomial(found, one_ended)
    return fragments
