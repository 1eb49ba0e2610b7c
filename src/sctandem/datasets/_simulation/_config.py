from __future__ import annotations

from dataclasses import dataclass

from sctandem._checks import check_number, check_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationDesign:
    """The biology that :func:`simulate_multiome` draws.

    Parameters
    ----------
    n_chromosomes
        Chromosomes of the genome, of about equal length.
    gene_spacing
        Mean distance between neighbouring transcription start sites, in bp; with the number of peaks it sets how many
        peaks a gene has in reach.
    link_loss
        Share of the peak-gene pairs that the grammar allows and that are nevertheless no links: what is specific to a
        gene and cannot be learnt from others.
    grammar
        Whether combinations and the order of peaks decide which of them drive a gene. `False` for genes that follow the
        peaks near them, whatever these hold: there distance is the best guess.
    n_types
        Cell types, the nodes of a binary tree filled from the root; at least 5.
    n_donors
        Donors; each has cells of both conditions.
    n_batches
        Batches; a donor lies in one of them.
    condition_effect
        Change of the activity of three transcription factors on treatment, in units of their spread between types;
        0 for a true null.
    cell_sd
        Standard deviation of the activities between cells of the same state.
    donor_sd
        Standard deviation of the activities between donors.

    Raises
    ------
    ValueError
        When a number is out of range.

    Examples
    --------
    >>> import sctandem as td
    >>> td.datasets.SimulationDesign(n_donors=8).n_types
    7
    """

    n_chromosomes: int = 6
    gene_spacing: float = 150_000
    link_loss: float = 0.15
    grammar: bool = True
    n_types: int = 7
    n_donors: int = 4
    n_batches: int = 2
    condition_effect: float = 1.0
    cell_sd: float = 0.4
    donor_sd: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.n_types, "n_types", low=5, whole=True)
        for name in ("n_chromosomes", "n_donors", "n_batches"):
            check_positive(getattr(self, name), name, whole=True)
        check_positive(self.gene_spacing, "gene_spacing")
        check_number(self.link_loss, "link_loss", high=1)
        for name in ("condition_effect", "cell_sd", "donor_sd"):
            check_number(getattr(self, name), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationNoise:
    """The measurement that :func:`simulate_multiome` draws; the defaults follow the 10x PBMC multiome.

    Parameters
    ----------
    counts_per_gene
        RNA depth of the median cell, in molecules per simulated gene.
    counts_per_peak
        ATAC depth of the median cell, in cut sites per simulated peak.
    depth_sd
        Standard deviation of the log depth of cells, in both modalities (correlated with 0.5).
    dispersion
        Median inverse dispersion of the genes (variance = mean + mean^2 / dispersion).
    one_ended
        Share of the fragments with one end in the peak; the others add two cut sites, hence mostly even counts.
    batch_sd
        Standard deviation of the log technical effect of a batch on a gene or peak.
    doublets
        Share of the cells that are two cells.
    ambient
        Mean share of the counts that come from the mean of all cells.
    dropout
        Probability of losing an RNA count of a low mean on top of the sampling (0 for UMI data).

    Raises
    ------
    ValueError
        When a number is out of range.

    Examples
    --------
    >>> import sctandem as td
    >>> td.datasets.SimulationNoise(doublets=0.1, ambient=0).doublets
    0.1
    """

    counts_per_gene: float = 0.8
    counts_per_peak: float = 0.2
    depth_sd: float = 0.5
    dispersion: float = 4.0
    one_ended: float = 0.1
    batch_sd: float = 0.1
    doublets: float = 0.04
    ambient: float = 0.05
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("counts_per_gene", "counts_per_peak", "dispersion"):
            check_positive(getattr(self, name), name)
        for name in ("depth_sd", "batch_sd"):
            check_number(getattr(self, name), name)
        for name in ("one_ended", "doublets", "ambient", "dropout"):
            check_number(getattr(self, name), name, high=1)
