from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import check_number
from sctandem._compat import new_mudata
from sctandem._keys import SimulationKeys
from sctandem._random import as_generator
from sctandem.datasets._simulation import _truth
from sctandem.datasets._simulation._cells import Population, draw_population
from sctandem.datasets._simulation._config import SimulationDesign, SimulationNoise
from sctandem.datasets._simulation._counts import (
    VALUES,
    Depths,
    batch_effects,
    draw_counts,
    draw_depths,
    sample_atac,
    sample_rna,
)
from sctandem.datasets._simulation._genome import Genome, lay_out
from sctandem.datasets._simulation._motifs import draw_motifs, plant_sites, write_fasta
from sctandem.datasets._simulation._regulation import ROLES, Regulation, draw_regulation

if TYPE_CHECKING:
    import os

    from mudata import MuData
    from scipy import sparse

    from sctandem._random import RNG

KEYS = SimulationKeys()
N_FACTORS = sum(ROLES.values())
_MOST_CELLS = 10_000_000


def simulate_multiome(
    n_cells: int = 2000,
    n_genes: int = 400,
    n_peaks: int = 4000,
    *,
    design: SimulationDesign | None = None,
    noise: SimulationNoise | None = None,
    fasta: str | os.PathLike[str] | None = None,
    rng: RNG = 0,
) -> MuData:
    """Simulate a multiome in which transcription factors open peaks and peaks drive genes, and tell the truth.

    Cells lie along a branching lineage and come from donors, batches and two conditions. Each cell has activities of 16
    transcription factors; a factor opens the peaks that hold its motif; open peaks change the rate of genes within
    100 kb by a grammar that all genes share:

    - activators and repressors work from anywhere, some activators only from upstream and some only from downstream in
      the direction of transcription;
    - a boundary between a peak and the gene blocks the peak: the order of the peaks matters;
    - a peak of a *pair* works only together with the peak next to it on the side of the gene, if that holds the motif
      of the helper: the product of the two counts;
    - decoys open peaks in the same cells and regulate nothing.

    Strength falls slowly with distance, what the peaks of a gene add up to saturates, and 15 % of the pairs that the
    grammar allows are dropped at random. Neither distance nor correlation therefore tells the links.

    Parameters
    ----------
    n_cells
        Cells, doublets included; at most 10,000,000, for they are held in memory.
    n_genes
        Genes, at least 20; the first 16 encode the transcription factors.
    n_peaks
        Peaks, at least as many as genes.
    design
        The other knobs of the biology: genome, lineage, donors, batches, conditions.
    noise
        The knobs of the measurement: depth, dispersion, batch effects, doublets, ambient counts, dropout.
    fasta
        Where to write the genome (some 170 kb a gene), if it is wanted.
    rng
        Seed or generator. Genome and regulation do not change with `n_cells`.

    Returns
    -------
    A MuData with

    ====================================== ====================================================================
    `["rna"].X`, `["atac"].X`              counts, CSR int32
    `["rna"].layers["true_rate"]`          noiseless expression, counts per 10,000, float32
    `["rna"].var`                          chrom, start, end, strand, tss (0-based, half open)
    `["atac"].var`                         chrom, start, end
    `.obs` and `.obs` of both modalities   cell_type, donor, batch, condition (category), pseudotime (float64 in
                                           0 to 1), doublet (bool)
    `.uns["truth"]`                        the tables below
    ====================================== ====================================================================

    and in `uns["truth"]`

    ============= =====================================================================================================
    links         peak, gene, weight (change of the log rate, before it saturates, when the peak opens fully, the helper
                  being as open as it is on average), sign, distance (bp to the midpoint of the peak, negative upstream)
    edges         tf, peak, gene, sign
    lineage       parent, child
    de_genes      gene, cell_type, log_fold_change (log2 of treated over control in the same cells before they are
                  scaled to 10,000; all that are not 0)
    fractions     donors x cell types, share of the donor's cells
    tfs           role, partner, gene; indexed by transcription factor
    peaks         tf (the factor that decides what the peak does, empty for none), role (of the factor), promoter;
                  indexed by peak
    sites         tf, peak, chrom, start, end, strand, sequence of each planted motif
    motifs        for each factor its position probability matrix, width x ACGT
    tf_activity   cells x factors
    doublets      cell, second_type
    chromosomes   size of each chromosome in bp
    ============= =====================================================================================================

    Raises
    ------
    ValueError
        For sizes out of range, and when the peaks do not fit on the genome.

    Notes
    -----
    The defaults take about 2 s and 0.5 GB; time grows with cells x peaks, memory with the counts. Depth, sparsity,
    dispersion and peaks per gene follow the 10x PBMC multiome. Simplifications: one regulating factor a peak, no
    splicing, no copy number, peaks that never overlap, motifs only where they were planted (and by chance), and a
    chromatin that leads expression without delay.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(200, 50, 500, rng=0)
    >>> mdata["rna"].shape, mdata["atac"].shape
    ((200, 50), (200, 500))
    >>> sorted(mdata.uns["truth"]["links"].columns)
    ['distance', 'gene', 'peak', 'sign', 'weight']
    """
    design, noise = design or SimulationDesign(), noise or SimulationNoise()
    check_number(n_cells, "n_cells", low=1, high=_MOST_CELLS, whole=True)
    check_number(n_genes, "n_genes", low=N_FACTORS + 4, whole=True)
    check_number(n_peaks, "n_peaks", low=n_genes, whole=True)
    if fasta is not None and not Path(fasta).parent.is_dir():
        msg = f"fasta={str(fasta)!r}: the folder {str(Path(fasta).parent)!r} does not exist; make it first."
        raise FileNotFoundError(msg)
    place, rule, motif, people, count, sequence = as_generator(rng).spawn(6)
    genome = lay_out(n_genes, n_peaks, design=design, rng=place)
    regulation = draw_regulation(genome, design=design, rng=rule)
    motifs = draw_motifs(list(regulation.tfs.index), rng=motif)
    sites = plant_sites(genome, regulation.bound, motifs, rng=motif)
    roles = regulation.tfs["role"].to_numpy().astype(str)
    # doublets share their droplet with one of the cells that are drawn on top
    n_double = round(noise.doublets * n_cells)
    population = draw_population(n_cells + n_double, roles, design=design, rng=people)
    partner = np.full(n_cells, -1)
    partner[people.choice(n_cells, n_double, replace=False)] = n_cells + np.arange(n_double)
    depths = draw_depths(n_cells + n_double, n_genes, n_peaks, noise=noise, rng=count)

    rna, rate = _draw_rna(regulation, population, depths, partner, noise=noise, rng=count)
    atac = _draw_atac(regulation, population, depths, partner, noise=noise, rng=count)
    mdata = _assemble(rna, atac, rate, genome=genome, population=population, partner=partner)
    links = _truth.link_table(regulation, population, genome)
    mdata.uns[KEYS.truth] = {
        KEYS.links: links,
        KEYS.edges: _truth.edge_table(links, regulation, genome),
        KEYS.lineage: population.lineage,
        KEYS.de_genes: _truth.fold_changes(regulation, population, genome),
        KEYS.fractions: _truth.fractions(mdata.obs),
        "tfs": _truth.factor_table(regulation),
        "peaks": _truth.peak_table(regulation, genome),
        "sites": sites,
        "motifs": motifs,
        "tf_activity": _truth.activity_table(regulation, population, mdata.obs_names),
        "doublets": _truth.doublet_table(population, partner, mdata.obs_names),
        "chromosomes": genome.sizes.to_frame(),
    }
    if fasta is not None:
        write_fasta(fasta, genome, sites, rng=sequence)
    return mdata


def _draw_rna(
    regulation: Regulation,
    population: Population,
    depths: Depths,
    partner: np.ndarray,
    *,
    noise: SimulationNoise,
    rng: np.random.Generator,
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Draw RNA counts; return them and the noiseless rates in counts per 10,000."""
    n_genes = regulation.base.size
    activity = population.activity()
    rate = np.empty((len(activity), n_genes))
    step = max(1, VALUES // regulation.baseline.size)
    for start in range(0, len(activity), step):
        rows = slice(start, start + step)
        rate[rows] = regulation.log_rate(regulation.openness(activity[rows]), activity[rows])
    rate = np.exp(rate - rate.max(1, keepdims=True))
    rate /= rate.sum(1, keepdims=True)
    batch = population.obs["batch"].cat.codes.to_numpy()
    effect = batch_effects(n_genes, batch, noise=noise, rng=rng)
    dispersion = noise.dispersion * rng.lognormal(0, 0.5, n_genes)

    def profile(rows: np.ndarray) -> np.ndarray:
        mean = rate[rows] * effect[batch[rows]]
        return mean / mean.sum(1, keepdims=True)

    counts = draw_counts(
        profile,
        lambda mean: sample_rna(mean, dispersion, dropout=noise.dropout, rng=rng),
        depth=depths.rna,
        ambient=depths.ambient,
        soup=rate.mean(0),
        partner=partner,
    )
    true = rate[: partner.size]
    double = np.flatnonzero(partner >= 0)
    first, second = depths.rna[double, None], depths.rna[partner[double], None]
    true[double] = (first * true[double] + second * rate[partner[double]]) / (first + second)
    return counts, (1e4 * true).astype(np.float32)


def _draw_atac(
    regulation: Regulation,
    population: Population,
    depths: Depths,
    partner: np.ndarray,
    *,
    noise: SimulationNoise,
    rng: np.random.Generator,
) -> sparse.csr_matrix:
    """Draw ATAC counts (cut sites)."""
    activity = population.activity()
    batch = population.obs["batch"].cat.codes.to_numpy()
    size = rng.lognormal(0, 0.7, regulation.baseline.size)
    effect = (size * batch_effects(size.size, batch, noise=noise, rng=rng)).astype(np.float32)

    def profile(rows: np.ndarray) -> np.ndarray:
        mean = regulation.openness(activity[rows]) * effect[batch[rows]]
        return mean / mean.sum(1, keepdims=True)

    some = rng.choice(len(activity), min(500, len(activity)), replace=False)
    return draw_counts(
        profile,
        lambda mean: sample_atac(mean, one_ended=noise.one_ended, rng=rng),
        depth=depths.atac,
        ambient=depths.ambient,
        soup=profile(some).mean(0),
        partner=partner,
    )


def _assemble(
    rna: sparse.csr_matrix,
    atac: sparse.csr_matrix,
    rate: np.ndarray,
    *,
    genome: Genome,
    population: Population,
    partner: np.ndarray,
) -> MuData:
    """Put the counts, the annotations and the cells together."""
    from anndata import AnnData

    n_cells = partner.size
    names = pd.Index([f"cell_{index + 1:05d}" for index in range(n_cells)])
    obs = population.obs.iloc[:n_cells].set_index(names)
    obs[KEYS.doublet] = partner >= 0
    mdata = new_mudata(
        {
            "rna": AnnData(rna, obs=obs.copy(), var=genome.genes, layers={KEYS.true_rate: rate}),
            "atac": AnnData(atac, obs=obs.copy(), var=genome.peaks),
        }
    )
    mdata.obs = obs.copy()
    return mdata
