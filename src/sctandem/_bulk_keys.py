"""Names of the slots of bulk samples: what `_keys.py` is for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._keys import PARAMS


@dataclass(frozen=True, slots=True)
class RSDKeys:
    """Slots of `tl.deconvolve` on the bulk: entries of `obsm` and `varm`, columns of `obs`, and `uns[key]`."""

    key: str = "rsd"
    params: str = PARAMS
    kind: str = "kind"
    layer: str = "layer"

    @property
    def rna(self) -> str:
        """`obsm`: share of RNA of each type, a table of samples x types, float64."""
        return f"{self.key}_rna"

    @property
    def fractions(self) -> str:
        """`obsm`: share of cells of each type, a table of samples x types, float64."""
        return f"{self.key}_fractions"

    @property
    def unknown(self) -> str:
        """`obs`: share of RNA that is of no type of the reference, float64."""
        return f"{self.key}_unknown"

    @property
    def signature(self) -> str:
        """`varm`: expected counts per million of each type on the platform of the bulk, a table of genes x types, float64."""
        return f"{self.key}_signature"


@dataclass(frozen=True, slots=True)
class DriverKeys:
    """Slots of `tl.drivers`: `adata.uns[key]` with its tables and their columns."""

    key: str = "drivers"
    params: str = PARAMS
    genes: str = "genes"
    types: str = "types"
    groups: str = "groups"
    gene: str = "gene"
    cell_type: str = "cell_type"
    group: str = "group"
    log2fc: str = "log2fc"
    composition: str = "composition"
    expression: str = "expression"
    se: str = "se"
    share: str = "share"
    statistic: str = "statistic"
    p_value: str = "p_value"
    q_value: str = "q_value"
    pattern: str = "pattern"
    candidates: str = "candidates"
    n_samples: str = "n_samples"
    n_reference: str = "n_reference"
    n_genes: str = "n_genes"
    n_drivers: str = "n_drivers"
    n_permutations: str = "n_permutations"
    exact: str = "exact"
    resolution: str = "resolution"
    prior_df: str = "prior_df"
    spread: str = "spread"

    @property
    def gene_columns(self) -> tuple[str, ...]:
        """Columns of the table of genes, in order."""
        return (
            self.gene,
            self.group,
            self.log2fc,
            self.composition,
            self.expression,
            self.statistic,
            self.p_value,
            self.q_value,
            self.pattern,
            self.candidates,
        )

    @property
    def type_columns(self) -> tuple[str, ...]:
        """Columns of the table of genes and types, in order."""
        return (
            self.gene,
            self.cell_type,
            self.group,
            self.log2fc,
            self.se,
            self.share,
            self.statistic,
            self.p_value,
            self.q_value,
        )
