"""From open chromatin to the activity of genes: what is summed up, for which genes, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata.abc import CSCDataset
from scipy import sparse

from sctandem._blocks import matrix_blocks
from sctandem._chromatin_keys import GeneActivityKeys
from sctandem._text_rows import text_rows
from sctandem.kernels._activity_sums import GeneSums, effective_number, gene_sums
from sctandem.kernels._gene_activity import (
    ARCHR_CEILING,
    ARCHR_TOTAL,
    ARCHR_UPSTREAM,
    PLACES,
    UPSTREAM,
    Genes,
    Intervals,
    Pairs,
    owners,
    places,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class Rule:
    """What differs between the ways of weighing.

    Attributes
    ----------
    upstream
        Bases before a gene that count as its own.
    ceiling
        Counts of a source in a cell that enter the score at most, or `None`.
    total
        What the scores of a cell are scaled to, or `None`.
    """

    upstream: int = UPSTREAM
    ceiling: int | None = None
    total: float | None = None


RULES = {
    "gene_body": Rule(),
    "archr": Rule(ARCHR_UPSTREAM, ARCHR_CEILING, ARCHR_TOTAL),
    "learned": Rule(),
}


@dataclass(slots=True)
class Sources:
    """Where signal comes from, and for which genes it counts.

    Attributes
    ----------
    pairs
        Of sources and genes.
    owner
        Of each source, -1 for none.
    place
        Of each source, in `PLACES`.
    genes
        Positions of these genes among all.
    """

    pairs: Pairs
    owner: np.ndarray
    place: np.ndarray
    genes: np.ndarray

    @classmethod
    def of(
        cls, intervals: Intervals, pairs: Pairs, genes: Genes, rule: Rule, among: np.ndarray | None = None
    ) -> Sources:
        """Work out what follows from the weights."""
        owner = owners(pairs, intervals, genes)
        among = np.arange(len(genes.start)) if among is None else among
        return cls(pairs, owner, places(owner, intervals, genes, rule.upstream), among)


@dataclass(slots=True)
class Sums:
    """What `tl.gene_activity` writes.

    Attributes
    ----------
    counts, scores
        Cells x genes, CSR, int32 and float32.
    unassigned
        Counts of each cell that no gene got, int64.
    var, table
        Of the genes, and of where the counts went.
    sharing
        How many sources and genes share.
    """

    counts: sparse.csr_matrix
    scores: sparse.csr_matrix
    unassigned: np.ndarray
    var: pd.DataFrame
    table: pd.DataFrame
    sharing: dict[str, int]

    def params(self, rule: Rule) -> dict[str, Any]:
        """Say in the parameters of the result what it is made of."""
        constants = {"upstream": rule.upstream, "ceiling": rule.ceiling, "total": rule.total}
        held: dict[str, Any] = {name: value for name, value in constants.items() if value is not None}
        return held | self.sharing | {"n_with_signal": int((self.var[GeneActivityKeys().coverage] > 0).sum())}


def number_places(loci: pd.DataFrame, others: pd.Series) -> tuple[Genes, np.ndarray]:
    """Give numbers to the chromosomes; return the genes, and the numbers of those of the `others`."""
    both = pd.concat([loci["chrom"], others], ignore_index=True).astype(str)
    codes = pd.factorize(both, sort=True)[0].astype(np.int64)
    start, end, tss = (loci[column].to_numpy(np.int64) for column in ("start", "end", "tss"))
    minus = (loci["strand"] == "-").to_numpy()
    return Genes(codes[: len(loci)], start, end, tss, minus), codes[len(loci) :]


def _csr(parts: tuple[np.ndarray, np.ndarray, np.ndarray], shape: tuple[int, int]) -> Any:
    made = sparse.csr_matrix(parts, shape=shape)
    made.has_sorted_indices = True
    return made


class Collector:
    """Adds up blocks of counts for genes.

    Parameters
    ----------
    n_cells, n_genes
        Of the result.
    rule
        The way of weighing.
    """

    def __init__(self, n_cells: int, n_genes: int, rule: Rule) -> None:
        self.shape = (n_cells, n_genes)
        self.rule = rule
        self.unassigned, self.size = np.zeros(n_cells, dtype=np.int64), np.zeros(n_cells)
        self.n_sources, self.diversity = np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes)
        self.by_place, self.sources_by_place = np.zeros((2, len(PLACES)), dtype=np.int64)
        self.n_shared, self.n_used, self.sharing = 0, 0, np.zeros(n_genes, dtype=bool)

    def sums(self, block: Any, sources: Sources, rows: slice) -> tuple[GeneSums, Any, Any]:
        """Sum up a block of cells x sources, CSR without duplicates; return the sums, and counts and scores, unscaled."""
        parts, n_genes = (block.data, block.indices, block.indptr), len(sources.genes)
        found = gene_sums(parts, sources.owner, sources.pairs, n_genes, self.rule.ceiling)
        if found.largest > MOST:
            msg = f"The counts of a gene in a cell add up to {found.largest}, which is more than int32 holds ({MOST})."
            raise ValueError(msg)
        self.unassigned[rows] += found.unassigned
        self.size[rows] += found.size
        shape = (block.shape[0], n_genes)
        return found, _csr(found.counts, shape), _csr(found.scores, shape)

    def account(self, sources: Sources, counted: np.ndarray, capped: np.ndarray) -> None:
        """Say of sources, none of which was there before, what became of their counts and whom they count for.

        Parameters
        ----------
        sources
            The sources.
        counted, capped
            Their counts over all cells, and those that enter the scores.
        """
        pairs, genes = sources.pairs, sources.genes
        used = pairs.weight != 0
        per_source = np.bincount(pairs.source[used], minlength=len(sources.owner))
        shared = per_source > 1
        self.n_sources[genes] = np.bincount(pairs.gene[used], minlength=len(genes))
        self.diversity[genes] = effective_number(pairs, capped, len(genes))
        self.by_place += np.bincount(sources.place, counted, minlength=len(PLACES)).astype(np.int64)
        self.sources_by_place += np.bincount(sources.place, minlength=len(PLACES))
        self.n_shared += int(shared.sum())
        self.n_used += int((per_source > 0).sum())
        self.sharing[genes[pairs.gene[used][shared[pairs.source[used]]]]] = True

    def finish(self, counts: Any, scores: Any, loci: pd.DataFrame) -> Sums:
        """Scale the scores and make the tables."""
        keys = GeneActivityKeys()
        if self.rule.total is not None:
            factor = np.divide(self.rule.total, self.size, out=np.zeros_like(self.size), where=self.size > 0)
            scores.data *= np.repeat(factor.astype(np.float32), np.diff(scores.indptr))
        detected = np.bincount(scores.indices, minlength=self.shape[1])
        var = pd.DataFrame(
            {
                "chrom": loci["chrom"].astype(str),
                "start": loci["start"].astype(np.int64),
                "end": loci["end"].astype(np.int64),
                "tss": loci["tss"].astype(np.int64),
                "strand": loci["strand"].astype(str),
                keys.n_sources: self.n_sources,
                keys.coverage: detected / self.shape[0],
                keys.diversity: self.diversity,
            },
            index=pd.Index(loci.index.astype(str), name=None),
        )
        self.by_place[-1] = self.unassigned.sum()
        table = pd.DataFrame(
            {
                keys.n_sources: self.sources_by_place,
                keys.counts: self.by_place,
                keys.share: self.by_place / max(int(self.by_place.sum()), 1),
            },
            index=pd.Index(PLACES, name=None),
        )
        shares = {
            "n_sources": self.n_used,
            "n_sources_shared": self.n_shared,
            "n_genes_sharing": int(self.sharing.sum()),
        }
        return Sums(counts, scores, self.unassigned, var, table, shares)


def sum_sources(
    parts: Iterable[tuple[Any, Sources]], loci: pd.DataFrame, rule: Rule, n_cells: int, total: np.ndarray | None = None
) -> Sums:
    """Sum up counts of sources, block by block.

    Parameters
    ----------
    parts
        Counts, cells x sources, checked, in any format or backed by a file, and these sources. No two parts have a gene in
        common.
    loci
        The genes.
    rule
        The way of weighing.
    n_cells
        How many cells there are.
    total
        Of each cell what there was to count, where the sources do not cover all of it.

    Returns
    -------
    The result.
    """
    collector = Collector(n_cells, len(loci), rule)
    counts, scores, genes = [], [], [np.zeros(0, dtype=np.int64)]
    for matrix, sources in parts:
        both = _sum_blocks(matrix, sources, collector)
        counts.append(both[0])
        scores.append(both[1])
        genes.append(sources.genes)
    if total is not None:
        collector.unassigned = total - sum(np.asarray(part.sum(axis=1, dtype=np.int64)).ravel() for part in counts)
    order = np.concatenate(genes)
    placed = _beside(counts, order, collector.shape)
    counts.clear()
    return collector.finish(placed, _beside(scores, order, collector.shape), loci)


def _sum_blocks(matrix: Any, sources: Sources, collector: Collector) -> tuple[Any, Any]:
    """Sum up one part; return counts and scores."""
    n_cells, n_sources = matrix.shape
    counted, capped = np.zeros((2, n_sources), dtype=np.int64)
    parts: list[list[Any]] = []
    by_columns = isinstance(matrix, CSCDataset)
    for where, values in matrix_blocks(matrix):
        block = sparse.csr_matrix(values)
        block.sum_duplicates()
        rows = where
        if by_columns:  # some sources of all cells
            block = sparse.csr_matrix((block.data, block.indices + where.start, block.indptr), (n_cells, n_sources))
            rows = slice(0, n_cells)
        sums, *part = collector.sums(block, sources, rows)
        counted += sums.counted
        capped += sums.capped
        parts = [[parts[0][0] + part[0], parts[0][1] + part[1]]] if by_columns and parts else [*parts, part]
    collector.account(sources, counted, capped)
    counts = sparse.vstack([part[0] for part in parts], format="csr")
    parts = [[None, part[1]] for part in parts]  # the counts are there twice no longer than needed
    return counts, sparse.vstack([part[1] for part in parts], format="csr")


def _beside(parts: list[Any], genes: np.ndarray, shape: tuple[int, int]) -> Any:
    """Put the genes of several parts beside one another, in their order among all."""
    if len(parts) == 1 and np.array_equal(genes, np.arange(shape[1])):
        return parts[0]
    joined = sparse.hstack(parts, format="csr")
    made = sparse.csr_matrix((joined.data, genes[joined.indices].astype(np.int32), joined.indptr), shape=shape)
    made.sort_indices()
    return made


def weight_table(sources: Sources, genes: Sequence[str] | pd.Index, peaks: pd.Index) -> pd.DataFrame:
    """List which peak counts for which gene and how much, and where its counts go."""
    keys, pairs = GeneActivityKeys(), sources.pairs
    columns: dict[str, Any] = {}
    named: Iterable[tuple[str, np.ndarray, Any]] = (
        (keys.peak, pairs.source, peaks),
        (keys.gene, pairs.gene, pd.Index(genes)),
    )
    for column, positions, names in named:
        used, codes = np.unique(positions, return_inverse=True)
        columns[column] = pd.Categorical.from_codes(codes, categories=names[used].rename(None))
    columns[keys.weight] = pairs.weight.astype(np.float32)
    columns[keys.owned] = sources.owner[pairs.source] == pairs.gene
    return text_rows(pd.DataFrame(columns))
