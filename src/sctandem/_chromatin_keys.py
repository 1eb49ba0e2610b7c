"""Names of the slots of open chromatin and its sequence: what `_keys.py` is for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sctandem._keys import PARAMS, TABLE


@dataclass(frozen=True, slots=True)
class FragmentKeys:
    """Slots of `pp.count_fragments`: a column of `obs`, columns of `var`, and `uns[key]`."""

    key: str = "count_fragments"
    params: str = PARAMS
    n_fragments: str = "n_fragments"
    chrom: str = "chrom"
    start: str = "start"
    end: str = "end"


@dataclass(frozen=True, slots=True)
class GeneActivityKeys:
    """Slots of `tl.gene_activity`: a modality of a MuData, or of an AnnData `obsm[key]`, `obsm[scores]`, `obs[left]` and `uns[key]`.

    In the modality counts are in `X`, scores in `layers[score]`, genes in `var`, and the rest in `obs` and `uns[mark]`.
    """

    key: str = "gene_activity"
    mark: str = "gene_activity"
    modality: str = "activity"
    params: str = PARAMS
    table: str = TABLE
    genes: str = "genes"
    score: str = "score"
    weights: str = "weights"
    peak: str = "peak"
    gene: str = "gene"
    weight: str = "weight"
    owned: str = "owned"
    learned: str = "learned"
    peaks: str = "peaks"
    n_sources: str = "n_sources"
    counts: str = "counts"
    share: str = "share"
    coverage: str = "coverage"
    diversity: str = "diversity"
    unassigned: str = "unassigned"

    @property
    def scores(self) -> str:
        """`obsm`: weighted scores, cells x genes, CSR float32 (the counts, CSR int32, are in `obsm[key]`)."""
        return f"{self.key}_scores"

    @property
    def left(self) -> str:
        """`obs`: counts that no gene got, int64 (in a modality, `obs[unassigned]`)."""
        return f"{self.key}_unassigned"


@dataclass(frozen=True, slots=True)
class GeneFunctionKeys:
    """Slots of `tl.gene_function`: `mdata.uns[key]` with its table and the columns of it."""

    key: str = "gene_function"
    params: str = PARAMS
    table: str = TABLE
    gene: str = "gene"
    peak: str = "peak"
    distance: str = "distance"
    place: str = "place"
    role: str = "role"
    openness: str = "openness"
    variation: str = "variation"
    effect: str = "effect"
    se: str = "se"
    score: str = "score"
    pvalue: str = "pvalue"
    fdr: str = "fdr"
    silent_fdr: str = "silent_fdr"


#: Categories of `GeneFunctionKeys.role` and `GeneFunctionKeys.place`.
PEAK_ROLES: Final = ("activator", "repressor", "silent", "undecided")
PEAK_PLACES: Final = ("promoter", "gene body", "distal")


@dataclass(frozen=True, slots=True)
class SpectrumKeys:
    """Slots of `pp.nucleotide_spectrum`: `varm[key]` (a table) and `uns[key]`; words and motifs have keys of their own."""

    key: str = "nucleotides"
    params: str = PARAMS
    gc: str = "gc"


@dataclass(frozen=True, slots=True)
class WordKeys:
    """Words of `pp.nucleotide_spectrum`: `varm[key]` (peaks x words, CSR, counts of occurrences) and `uns[key]`."""

    key: str = "kmers"
    params: str = PARAMS
    names: str = "names"


@dataclass(frozen=True, slots=True)
class MotifKeys:
    """Motifs of `pp.nucleotide_spectrum`: `varm[key]` (peaks x motifs, CSR, counts of hits) and `uns[key]`.

    `uns[key]["table"]` describes the motifs, in the order of the columns; `uns[key]["hits"]` lists every hit.
    """

    key: str = "motifs"
    params: str = PARAMS
    names: str = "names"
    table: str = TABLE
    hits: str = "hits"
    motif: str = "motif"
    name: str = "name"
    width: str = "width"
    threshold: str = "threshold"
    n_peaks: str = "n_peaks"
    peak: str = "peak"
    start: str = "start"
    strand: str = "strand"
    score: str = "score"


@dataclass(frozen=True, slots=True)
class DeviationKeys:
    """Slots of `tl.sequence_deviations`: entries of `obsm`, and `uns[result]` with its table, a row a word or motif."""

    key: str = "motif"
    params: str = PARAMS
    table: str = TABLE
    name: str = "name"
    n_peaks: str = "n_peaks"
    n_cells: str = "n_cells"
    variability: str = "variability"
    pvalue: str = "pvalue"
    fdr: str = "fdr"

    @property
    def z(self) -> str:
        """`obsm`: Z scores of motifs, a table of cells x motifs, float32."""
        return f"{self.key}_z"

    @property
    def words(self) -> str:
        """`obsm`: Z scores of words, an array of cells x words, float32."""
        return f"X_{self.key}"

    @property
    def deviations(self) -> str:
        """`obsm`: bias-corrected deviations, a table for motifs and an array for words, float32."""
        return f"{self.key}_deviations"

    @property
    def result(self) -> str:
        """`uns`: parameters and table (the words and motifs themselves have keys of their own there)."""
        return f"{self.key}_deviations"


#: Features of `tl.sequence_deviations`, and the default key of each.
DEVIATION_KEYS: Final = {"motifs": "motif", "kmers": "kmers"}


@dataclass(frozen=True, slots=True)
class GrammarKeys:
    """Slots of `tl.motif_grammar`: `atac.uns[key]` with its table and the columns of it."""

    key: str = "motif_grammar"
    params: str = PARAMS
    table: str = TABLE
    group: str = "group"
    groups: str = "groups"
    motif_a: str = "motif_a"
    motif_b: str = "motif_b"
    test: str = "test"
    n_peaks: str = "n_peaks"
    observed: str = "observed"
    expected: str = "expected"
    effect: str = "effect"
    spacing: str = "spacing"
    pvalue: str = "pvalue"
    fdr: str = "fdr"


#: Categories of `GrammarKeys.test`.
GRAMMAR_TESTS: Final = ("cooccurrence", "order", "spacing")
