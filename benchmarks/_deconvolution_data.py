"""Bulk samples whose composition is known, with a single-cell reference for each: real bulk, and what all sets share.

`_deconvolution_sets.load(name)` gives a `Mixtures`. The truth is given over the types of the reference, adding up to 1 in each sample; `other` is the share of all
cells that belongs to none of them (dendritic cells and granulocytes in blood, for one), as far as it was measured.

The ten sorted populations of the zheng reference are mapped to the coarse types of the truths as in `POPULATIONS`, fixed before anything was run:
helper, memory, regulatory and naive CD4+ T are one type, cytotoxic and naive CD8+ T another; CD34+ cells are left out of the references of blood,
of which they are one in a thousand. Technical genes (ribosomal, mitochondrial, haemoglobin, MALAT1) are *not* left out here; `technical` names them.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from scipy import sparse

from benchmarks._real_data import real_file as file

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE, DONOR = "cell_type", "donor"
#: Messenger RNA of a cell, relative: Racle 2017 (EPIC), T cells, B cells, NK cells and monocytes.
CONTENTS = {"T": 0.40, "B": 0.40, "NK": 0.44, "Mono": 1.42}
#: Which of these holds for a type of the sets.
CONTENT_OF = {"CD4 T": "T", "CD8 T": "T", "CD14 Mono": "Mono", "CD16 Mono": "Mono"}
#: Sorted populations of the zheng reference, and their types in five and in four.
POPULATIONS = {
    "CD19+ B": ("B", "B"),
    "CD14+ Monocyte": ("Mono", "Mono"),
    "CD56+ NK": ("NK", "NK"),
    "CD4+ T Helper2": ("CD4 T", "T"),
    "CD4+/CD45RO+ Memory": ("CD4 T", "T"),
    "CD4+/CD25 T Reg": ("CD4 T", "T"),
    "CD4+/CD45RA+/CD25- Naive T": ("CD4 T", "T"),
    "CD8+ Cytotoxic T": ("CD8 T", "T"),
    "CD8+/CD45RA+ Naive Cytotoxic": ("CD8 T", "T"),
}
#: Columns of the flow cytometry of GSE107011, in per cent of all cells. `T_cells` holds innate T cells as well.
FLOW_5 = {"B": "B_cells", "CD4 T": "CD4_T_cells", "CD8 T": "CD8_T_cells", "NK": "NK_cells", "Mono": "Monocytes"}
FLOW_4 = {"B": "B_cells", "T": "T_cells", "NK": "NK_cells", "Mono": "Monocytes"}
#: Lines of the RNA mixtures and the column of each: two columns of the file are exchanged.
LINES = {"H1975": "H1975_prop", "H2228": "HCC827_prop", "HCC827": "H2228_prop"}
TECHNICAL = re.compile(
    r"^(RP[LS]\d+[AXYL]?\d*(P\d+)?|RPL[PS]\w*|RPS[A-Z]\w*|RPLP\d|RPSA|MT-.*|HB[ABDEGMQZ]\d?|MALAT1)$"
)
ZHENG, CELL_LINES = "rna/zheng_pbmc_facs10.h5ad", "rna/sc_mixology_cell_lines.h5ad"
RNAMIX, GENES = "rna/sc_mixology_RNAmix.h5ad", "genome/hg38_genes_gencode43.bed"
KANG, SYMPHONY = "rna/kang_ctrl_8donors_1287genes.h5ad", "rna/symphony_pbmc_3tech.h5ad"
GSE, GSE_FLOW = "bulk/ABIS_GSE107011_PBMC_tpm.csv.gz", "bulk/ABIS_GSE107011_truth_flow_all_types.csv.gz"
HOEK, HOEK_FLOW = "bulk/hoek_pbmc_expr.csv.gz", "bulk/hoek_pbmc_truth_flow.csv.gz"


@dataclass(frozen=True)
class Mixtures:
    """Bulk samples (samples x genes), cells of known types (cells x genes, `obs["cell_type"]`) and the true composition.

    `truth` is samples x types, shares of the cells of these types (of RNA where `unit` says so), and adds up to 1; `other` is the share of all
    cells that is of no type of the reference. `contents` is the messenger RNA of a cell of each type, which a method may be told. `expression`,
    where it is known, is samples x genes for each type: what its cells express in this sample.
    """

    name: str
    bulk: AnnData
    reference: AnnData
    truth: pd.DataFrame
    kind: Literal["counts", "tpm"]
    other: pd.Series
    contents: Mapping[str, float]
    unit: Literal["cells", "rna"] = "cells"
    exact: bool = False
    expression: Mapping[str, pd.DataFrame] | None = None

    @property
    def types(self) -> list[str]:
        """Types of the reference, in order."""
        return list(self.truth.columns)

    @property
    def absolute(self) -> pd.DataFrame:
        """Shares of all cells, those of no type of the reference included."""
        return self.truth.mul(1 - self.other, axis=0)

    def without(self, kind: str) -> Mixtures:
        """Give the same samples with a reference that lacks a type; its cells are now among the others."""
        left = [name for name in self.types if name != kind]
        if len(left) == len(self.types):
            msg = f"{self.name} has no type {kind!r}; it has {self.types}"
            raise ValueError(msg)
        share = self.absolute[left]
        known = share.sum(axis=1)
        return replace(
            self,
            name=f"{self.name} without {kind}",
            reference=self.reference[(self.reference.obs[TYPE] != kind).to_numpy()].copy(),
            truth=share.div(known, axis=0),
            other=1 - known,
            contents={name: self.contents[name] for name in left},
        )


def technical(genes: pd.Index) -> np.ndarray:
    """Say of each gene, by its symbol, whether it is ribosomal, mitochondrial, of haemoglobin, or MALAT1."""
    return np.array([TECHNICAL.match(str(gene).upper()) is not None for gene in genes])


def published(types: list[str]) -> dict[str, float]:
    """Give the published messenger RNA of a cell of each type."""
    return {name: CONTENTS[CONTENT_OF.get(name, name)] for name in types}


@lru_cache(maxsize=4)
def read(name: str) -> AnnData:
    """Read cells; they are not to be written to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_h5ad(file(name))


def cells(source: AnnData, types: np.ndarray, donor: str | None = None) -> AnnData:
    """Keep the cells that have a type, with their types, and the genes that one of them has."""
    kept = np.array([kind is not None for kind in types])
    counts = sparse.csr_matrix(source.X[kept], dtype=np.float32)
    seen = np.asarray(counts.sum(axis=0)).ravel() > 0
    obs = pd.DataFrame({TYPE: pd.Categorical(types[kept].astype(str))}, index=source.obs_names[kept].astype(str))
    if donor is not None:
        obs[DONOR] = source.obs[donor].astype(str).to_numpy()[kept]
    found = AnnData(counts[:, seen], obs=obs, var=pd.DataFrame(index=source.var_names[seen].astype(str)))
    found.obs_names_make_unique()
    return found


def renamed(labels: pd.Series, names: Mapping[str, str]) -> np.ndarray:
    """Rename types; None where a type is left out."""
    return np.array([names.get(label) for label in labels.astype(str)], dtype=object)


@lru_cache(maxsize=2)
def zheng(n_types: int) -> AnnData:
    """Give the sorted blood cells with five or four types."""
    source = read(ZHENG)
    names = {population: found[0 if n_types == 5 else 1] for population, found in POPULATIONS.items()}
    return cells(source, renamed(source.obs[TYPE], names))


def table(name: str) -> AnnData:
    """Read a table of genes x samples as samples x genes."""
    found = pd.read_csv(file(name), index_col=0)
    found = found.loc[~found.index.duplicated()]
    return AnnData(
        found.T.to_numpy(dtype=np.float64),
        obs=pd.DataFrame(index=found.columns.astype(str)),
        var=pd.DataFrame(index=found.index.astype(str)),
    )


def _flow(name: str, bulk: AnnData, reference: AnnData, shares: pd.DataFrame) -> Mixtures:
    """Bulk blood in TPM with shares of all cells from flow cytometry."""
    shares = shares.loc[bulk.obs_names, sorted(shares.columns)].astype(float)
    known = shares.sum(axis=1)
    types = list(shares.columns)
    truth = shares.div(known, axis=0)
    return Mixtures(name, bulk, reference.copy(), truth, "tpm", (1 - known).rename("other"), published(types))


def gse107011(columns: Mapping[str, str], reference: AnnData | None = None) -> Mixtures:
    """Twelve samples of blood mononuclear cells with flow cytometry (Monaco 2019); the reference is that of Zheng, unless another is given."""
    flow = pd.read_csv(file(GSE_FLOW), index_col=0)
    shares = pd.DataFrame({kind: flow[column] / 100 for kind, column in columns.items()})
    cells_of = zheng(len(columns)) if reference is None else reference
    return _flow(f"gse107011_{len(columns)}", table(GSE), cells_of, shares)


def hoek(reference: AnnData | None = None) -> Mixtures:
    """Eight samples of two donors after vaccination, with flow cytometry (Hoek 2015); dendritic cells are not in the reference."""
    flow = pd.read_csv(file(HOEK_FLOW), index_col=0)
    return _flow("hoek", table(HOEK), zheng(4) if reference is None else reference, flow[["B", "Mono", "NK", "T"]])


def rnamix() -> Mixtures:
    """RNA of three lines in seven known proportions, wells of a proportion and protocol added up; cells of the lines as reference.

    RNA was mixed, so the truth is shares of RNA and a cell of each line counts as much. Genes are those that all five batches of the reference
    could measure; where Ensembl ids have a symbol of their own it is used.
    """
    source, lines = read(RNAMIX), read(CELL_LINES)
    singlet = lines[(lines.obs["demuxlet_cls"] == "SNG").to_numpy(), (lines.var["n_batches_detected"] == 5).to_numpy()]
    types = np.array([kind if kind in LINES else None for kind in singlet.obs[TYPE].astype(str)], dtype=object)
    reference = cells(singlet, types, donor="batch")
    shares = source.obs[[LINES[line] for line in sorted(LINES)]].to_numpy(dtype=float)
    shares = pd.DataFrame(shares / shares.sum(axis=1, keepdims=True), columns=sorted(LINES))
    group = source.obs[TYPE].astype(str).to_numpy() + " " + source.obs["batch"].astype(str).to_numpy()
    wells = {name: np.flatnonzero(group == name) for name in sorted(set(group))}
    counts = np.stack([np.asarray(source.X[rows].sum(axis=0)).ravel() for rows in wells.values()])
    bulk = AnnData(counts.astype(np.float64), obs=pd.DataFrame(index=list(wells)), var=source.var[[]].copy())
    truth = pd.DataFrame({name: shares.iloc[rows[0]] for name, rows in wells.items()}).T
    symbols = _symbols()
    for part in (bulk, reference):
        part.var_names = [symbols.get(gene, gene) for gene in part.var_names]
    other = pd.Series(0.0, index=truth.index, name="other")
    even = dict.fromkeys(LINES, 1.0)
    return Mixtures("rnamix", bulk, reference, truth, "counts", other, dict(sorted(even.items())), "rna", exact=True)


@lru_cache(maxsize=1)
def _symbols() -> dict[str, str]:
    """Give the symbols of Ensembl ids, for ids and symbols that belong to one another alone."""
    found = pd.read_csv(file(GENES), sep="\t")[["name", "Ensembl_ID"]].drop_duplicates()
    found["Ensembl_ID"] = found["Ensembl_ID"].str.replace(r"\..*$", "", regex=True)
    alone = ~found["name"].duplicated(keep=False) & ~found["Ensembl_ID"].duplicated(keep=False)
    return dict(zip(found.loc[alone, "Ensembl_ID"], found.loc[alone, "name"], strict=True))
