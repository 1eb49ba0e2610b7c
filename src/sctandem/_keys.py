"""The one place that names every slot the package writes; those of bulk samples are in `_bulk_keys.py` beside it.

A class per method; its only field is the `key_added` of the call, so that `tl`, `pl` and `get` agree on the names
whatever the user called the result: `PredictionKeys().pearson == "tape_pearson"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Modalities of a MuData and what the package calls them.
MODALITIES: Final = ("rna", "atac")

#: Sub-keys of every `uns` entry.
PARAMS: Final = "params"
TABLE: Final = "table"


@dataclass(frozen=True, slots=True)
class PeakColumns:
    """Columns of `atac.var` that place a peak on the genome (0-based, half open)."""

    chrom: str = "chrom"
    start: str = "start"
    end: str = "end"


@dataclass(frozen=True, slots=True)
class GeneColumns:
    """Columns of a gene annotation and of `rna.var`."""

    chrom: str = "chrom"
    start: str = "start"
    end: str = "end"
    strand: str = "strand"
    tss: str = "tss"


@dataclass(frozen=True, slots=True)
class GeneWindowKeys:
    """Slots of `pp.gene_windows`: `mdata.uns[key]` with its tables and their columns."""

    key: str = "gene_windows"
    params: str = PARAMS
    pairs: str = "pairs"
    genes: str = "genes"
    gene: str = "gene"
    peak: str = "peak"
    distance: str = "distance"
    width: str = "width"
    chrom: str = "chrom"
    tss: str = "tss"
    strand: str = "strand"
    n_peaks: str = "n_peaks"


@dataclass(frozen=True, slots=True)
class SequenceKeys:
    """Slots of `pp.sequence_features`: `atac.varm[key]` (peaks x features, float32) and `atac.uns[key]`."""

    key: str = "sequence"
    params: str = PARAMS


@dataclass(frozen=True, slots=True)
class PredictionKeys:
    """Slots of `tl.predict_expression`: a layer and columns of `rna`, a column of `mdata.obs`, and `mdata.uns[key]`."""

    key: str = "tape"
    params: str = PARAMS

    @property
    def layer(self) -> str:
        """`rna.layers`: expected counts per 10,000, float32."""
        return self.key

    @property
    def pearson(self) -> str:
        """`rna.var`: correlation with the observed expression over held-out cells, float64."""
        return f"{self.key}_pearson"

    @property
    def auroc(self) -> str:
        """`rna.var`: area under the ROC curve of detection over held-out cells, float64."""
        return f"{self.key}_auroc"

    @property
    def rmse(self) -> str:
        """`rna.var`: root mean squared error over held-out cells, float64."""
        return f"{self.key}_rmse"

    @property
    def gain_mean(self) -> str:
        """`rna.var`: gain over the gene's mean, float64."""
        return f"{self.key}_gain_mean"

    @property
    def gain_knn(self) -> str:
        """`rna.var`: gain over the nearest neighbours, float64."""
        return f"{self.key}_gain_knn"

    @property
    def gain(self) -> str:
        """`rna.var`: the smaller of the two gains, float64."""
        return f"{self.key}_gain"

    @property
    def verdict(self) -> str:
        """`rna.var`: the verdict in words, category (see `VERDICTS`)."""
        return f"{self.key}_verdict"

    @property
    def skill(self) -> tuple[str, ...]:
        """`rna.var`: all of these, which come and go together."""
        return (
            self.pearson,
            self.auroc,
            self.rmse,
            self.gain_mean,
            self.gain_knn,
            self.gain,
            self.verdict,
        )

    @property
    def heldout(self) -> str:
        """`mdata.obs`: cells that the model was not fitted to, bool."""
        return f"{self.key}_heldout"


#: Categories of `PredictionKeys.verdict`, best first.
VERDICTS: Final = ("better than kNN", "better than the mean", "no better than the mean", "not scored")


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """Slots of `tl.peak_gene_links`: `mdata.uns[key]` with its table and the columns of it."""

    key: str = "tape_links"
    params: str = PARAMS
    table: str = TABLE
    peak: str = "peak"
    gene: str = "gene"
    distance: str = "distance"
    weight: str = "weight"
    sign: str = "sign"
    pvalue: str = "pvalue"
    fdr: str = "fdr"


@dataclass(frozen=True, slots=True)
class ProgrammeKeys:
    """Slots of `tl.programme_skill`: `mdata.uns[key]` with its table and the columns of it, and `rna.obsm[key]`."""

    key: str = "tape_programmes"
    params: str = PARAMS
    table: str = TABLE
    programme: str = "programme"
    n_genes: str = "n_genes"
    pearson: str = "pearson"
    gain_mean: str = "gain_mean"
    score_pearson: str = "score_pearson"
    random_pearson: str = "random_pearson"
    pvalue: str = "pvalue"
    verdict: str = "verdict"


#: Categories of `ProgrammeKeys.verdict`, best first.
PROGRAMME_VERDICTS: Final = ("predicted well", "predicted weakly", "not predicted", "too few genes")


@dataclass(frozen=True, slots=True)
class AnnealKeys:
    """Slots of `tl.anneal`: columns of `obs`, an entry of `obsm`, and `uns[key]` with its tables and their columns."""

    key: str = "anneal"
    params: str = PARAMS
    tree: str = "tree"
    phases: str = "phases"
    node: str = "node"
    parent: str = "parent"
    temperature: str = "temperature"
    mass: str = "mass"
    n_cells: str = "n_cells"
    evidence: str = "evidence"
    forced: str = "forced"
    cluster: str = "cluster"
    n_clusters: str = "n_clusters"
    free_energy: str = "free_energy"

    @property
    def memberships(self) -> str:
        """`obsm`: cells x clusters, float32."""
        return f"X_{self.key}"

    @property
    def entropy(self) -> str:
        """`obs`: entropy of the memberships, float64."""
        return f"{self.key}_entropy"


@dataclass(frozen=True, slots=True)
class CapsuleKeys:
    """Slots of `tl.capsules`: columns of `obs`, entries of `obsm` and `varm`, `uns[key]`, and the columns of `get.capsule_genes`."""

    key: str = "capsules"
    params: str = PARAMS
    coupling: str = "coupling"
    capsule: str = "capsule"
    gene: str = "gene"
    symbol: str = "symbol"
    weight: str = "weight"
    rank: str = "rank"

    @property
    def embedding(self) -> str:
        """`obsm`: pose of each cell, cells x dimensions, float32."""
        return f"X_{self.key}"

    @property
    def presence(self) -> str:
        """`obsm`: lengths of the capsules, a table of cells x capsules, float32."""
        return f"{self.key}_presence"

    @property
    def confidence(self) -> str:
        """`obs`: chance that the capsule is found again, float64."""
        return f"{self.key}_confidence"

    @property
    def genes(self) -> str:
        """`varm`: log fold change of each gene in each capsule, a table of genes x capsules, float32."""
        return f"{self.key}_genes"

    @property
    def label(self) -> str:
        """`obs`: label, category; only where labels were learned."""
        return f"{self.key}_label"

    @property
    def label_confidence(self) -> str:
        """`obs`: chance that the label is right, float64; only where labels were learned."""
        return f"{self.key}_label_confidence"

    @property
    def label_typicality(self) -> str:
        """`obs`: how much the cell is like those with a label, float64; only where labels were learned."""
        return f"{self.key}_label_typicality"

    @property
    def labels(self) -> tuple[str, ...]:
        """`obs`: all that come and go with the labels."""
        return (self.label, self.label_confidence, self.label_typicality)


#: The label of cells that have none, or fit none.
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class DEKeys:
    """Slots of `tl.differential_expression`: `adata.uns[key]` with its tables and their columns, scanpy's structure, and `obsm`."""

    key: str = "deepde"
    params: str = PARAMS
    table: str = TABLE
    states: str = "states"
    samples: str = "samples"
    contrasts: str = "contrasts"
    column: str = "column"
    weight: str = "weight"
    gene: str = "gene"
    state: str = "state"
    contrast: str = "contrast"
    log2fc: str = "log2fc"
    lfc_se: str = "lfc_se"
    ci_low: str = "ci_low"
    ci_high: str = "ci_high"
    log2fc_raw: str = "log2fc_raw"
    statistic: str = "statistic"
    p_value: str = "p_value"
    q_value: str = "q_value"
    base_mean: str = "base_mean"
    n_samples: str = "n_samples"
    sample: str = "sample"
    n_cells: str = "n_cells"
    counts: str = "counts"
    used: str = "used"
    n_genes: str = "n_genes"
    prior_df: str = "prior_df"
    spread: str = "spread"
    verdict: str = "verdict"

    @property
    def ranked(self) -> str:
        """`uns`: scanpy's structure, to be named as `key` in its functions."""
        return f"rank_genes_groups_{self.key}"

    @property
    def weights(self) -> str:
        """`obsm`: weights of the cells in the states that were learned, a table of cells x states, float32."""
        return f"{self.key}_states"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table of genes, in order."""
        return (
            self.gene,
            self.state,
            self.contrast,
            self.log2fc,
            self.lfc_se,
            self.ci_low,
            self.ci_high,
            self.log2fc_raw,
            self.statistic,
            self.p_value,
            self.q_value,
            self.base_mean,
            self.n_samples,
        )


@dataclass(frozen=True, slots=True)
class AssociationKeys:
    """Slots of `tl.gene_associations`: `adata.varp[key]` (sparse, float32), `adata.uns[key]` with its tables and their columns."""

    key: str = "gene_associations"
    params: str = PARAMS
    table: str = TABLE
    modules: str = "modules"
    gene: str = "gene"
    loading: str = "loading"
    gene_a: str = "gene_a"
    gene_b: str = "gene_b"
    association: str = "association"
    correlation: str = "correlation"
    p_value: str = "p_value"
    q_value: str = "q_value"
    module: str = "module"
    change: str = "change"
    change_p_value: str = "change_p_value"
    change_q_value: str = "change_q_value"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table of pairs, in order."""
        return (
            self.gene_a,
            self.gene_b,
            self.association,
            self.correlation,
            self.p_value,
            self.q_value,
            self.module,
            self.change,
            self.change_p_value,
            self.change_q_value,
        )


@dataclass(frozen=True, slots=True)
class SimulationKeys:
    """Slots of `datasets.simulate_multiome`."""

    truth: str = "truth"
    links: str = "links"
    edges: str = "edges"
    lineage: str = "lineage"
    de_genes: str = "de_genes"
    fractions: str = "fractions"
    true_rate: str = "true_rate"
    cell_type: str = "cell_type"
    donor: str = "donor"
    batch: str = "batch"
    condition: str = "condition"
    pseudotime: str = "pseudotime"
    doublet: str = "doublet"
