from __future__ import annotations

from dataclasses import dataclass, fields

from sctandem._checks import check_number, check_positive

_SHARES = ("doublets", "ambient", "dropout", "one_ended", "link_loss")
_WHOLE = {"n_chromosomes": 1, "n_types": 5, "n_donors": 1, "n_batches": 1}
_POSITIVE = ("gene_spacing", "window", "decay", "counts_per_gene", "counts_per_peak", "dispersion")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """Knobs of :func:`simulate_multiome`; the defaults give the statistics of a PBMC multiome.

    Parameters
    ----------
    n_chromosomes
        Chromosomes of the genome, of about equal length.
    n_types
        Cell types, the nodes of a binary tree filled from the root; at least 5.
    n_donors
        Donors; each has cells of both conditions.
    n_batches
        Batches; a donor lies in one of them.
    gene_spacing
        Mean distance between neighbouring transcription start sites, in bp.
    window
        Reach of a peak up- and downstream of a transcription start site, in bp.
    decay
        Distance over which the strength of a link falls by the factor e, in bp.
    link_loss
        Share of the peak-gene pairs that the grammar allows and that are nevertheless no links: what is specific to a
        gene and cannot be learnt from others.
    counts_per_gene
        RNA depth of the median cell, in molecules per simulated gene.
    counts_per_peak
        ATAC depth of the median cell, in cut sites per simulated peak.
    depth_sd
        Standard deviation of the log depth of cells, in both modalities (correlated with 0.5).
    dispersion
        Median inverse dispersion of the genes (variance = mean + mean^2 / dispersion).
    one_ended
        Share of the fragments with one end in the peak; others add two cut sites.
    cell_sd
        Standard deviation of the transcription factors' activities between cells of the same state.
    donor_sd
        Standard deviation of the activities between donors.
    batch_sd
        Standard deviation of the log technical effect of a batch on a gene or peak.
    condition_effect
        Change of the activity of three transcription factors on treatment, in units of their spread between types.
    doublets
        Share of the cells that are two cells.
    ambient
        Mean share of the counts that come from the mean of all cells.
    dropout
        Probability of losing an RNA count of a low mean on top of the sampling (0 for UMI data).

    Examples
    --------
    >>> import sctandem as td
    >>> td.datasets.SimulationConfig(doublets=0.1).n_types
    7
    """

    n_chromosomes: int = 6
    n_types: int = 7
    n_donors: int = 4
    n_batches: int = 2
    gene_spacing: float = 150_000
    window: int = 100_000
    decay: float = 80_000
    link_loss: float = 0.15
    counts_per_gene: float = 0.9
    counts_per_peak: float = 0.2
    depth_sd: float = 0.5
    dispersion: float = 4.0
    one_ended: float = 0.1
    cell_sd: float = 0.4
    donor_sd: float = 0.1
    batch_sd: float = 0.1
    condition_effect: float = 1.0
    doublets: float = 0.04
    ambient: float = 0.05
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in _SHARES:
                check_number(value, name, high=1)
            elif name in _WHOLE:
                check_number(value, name, low=_WHOLE[name], whole=True)
            elif name in _POSITIVE:
                check_positive(value, name)
            else:
                check_number(value, name)
