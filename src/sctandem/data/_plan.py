"""What a collection will hold, from a look at all sources before any counts are read."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import listed
from sctandem.data._sources import SourceError, blamed, fingerprint, opened
from sctandem.data._words import DEFAULT_COLUMNS, decide_words, words_of
from sctandem.kernels._gene_names import (
    ENSEMBL_PREFIXES,
    NOT_A_GENE,
    GeneTable,
    canonical_genes,
    ensembl_id,
    gene_axis,
    gene_table,
    mapping_report,
    positions_on_axis,
    symbols_of_another,
)
from sctandem.kernels._harmonise import GeneSets, gene_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sctandem.data._source_file import SourceFile
    from sctandem.data._sources import Source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the user asks of a collection.

    Attributes
    ----------
    organism
        Whose genes.
    genes
        `"union"`, `"intersection"` or names.
    columns
        Where sources have the declared columns.
    words, gene_names
        Tables of the user, or `None`.
    block_entries, block_cells
        Most entries and cells in a block that is read, and in a part that is written: they bound the memory.
    """

    organism: str
    genes: str | list[str]
    columns: dict[str, tuple[str, ...]]
    words: pd.DataFrame | None = None
    gene_names: pd.DataFrame | None = None
    block_entries: int = 1 << 23
    block_cells: int = 1 << 16


@dataclass
class SourcePlan:
    """A source as it was found.

    Attributes
    ----------
    source
        The file.
    state
        Size and time of its last change.
    slot
        Where its counts are.
    n_cells, n_entries
        How many cells, and counts above zero at most.
    genes
        Table of `name`, `symbol`, `is_gene`.
    ranges
        First cell of each block.
    words
        How many cells have each word: column, source, word, cells.
    positions
        Place of each gene on the axis; -1 for none.
    """

    source: Source
    state: dict[str, int]
    slot: str
    n_cells: int
    n_entries: int
    genes: pd.DataFrame
    ranges: np.ndarray
    words: list[tuple[str, str, str, int]]
    positions: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    @property
    def name(self) -> str:
        """Name of the source."""
        return str(self.source.name)


@dataclass
class Plan:
    """What is to be built.

    Attributes
    ----------
    settings
        What the user asks.
    sources
        Those that can be read.
    broken
        Why the others cannot, by name.
    var
        Genes of the collection with `symbol` and `n_sources`.
    gene_sets
        Which of them sources have.
    mapping
        What becomes of each gene of each source.
    words
        What becomes of each word.
    n_buckets
        Parts that the cells are dealt to at random.
    """

    settings: Settings
    sources: list[SourcePlan]
    broken: dict[str, str]
    var: pd.DataFrame
    gene_sets: GeneSets
    mapping: pd.DataFrame
    words: pd.DataFrame
    n_buckets: int

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """Words of each declared column, sorted."""
        return {
            column: sorted(set(self.words.loc[self.words["column"] == column, "becomes"]))
            for column in self.settings.columns
        }

    @cached_property
    def digest(self) -> str:
        """The hash of all that decides what is written, but for the seed."""
        settings = self.settings
        what: list[Any] = [settings.organism, settings.block_entries, settings.block_cells, self.n_buckets]
        what += [list(self.var.index), list(self.var["symbol"]), self.categories]
        what += [
            self.words[["column", "source", "word", "becomes"]].to_numpy().tolist(),
            [[s.name, s.state, s.slot, s.n_cells, s.positions.tolist(), s.ranges.tolist()] for s in self.sources],
        ]
        return hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()


def make_plan(
    sources: Sequence[Source],
    settings: Settings,
    broken: Mapping[str, str],
    *,
    skip_broken: bool,
    tick: Callable[[int], None],
) -> Plan:
    """Look at all sources.

    Parameters
    ----------
    sources
        The files.
    settings
        What the user asks.
    broken
        Sources that are known not to be readable, and why.
    skip_broken
        Whether to go on without sources that cannot be read.
    tick
        Called with 1 after each source.

    Returns
    -------
    The plan.

    Raises
    ------
    SourceError
        When a source cannot be read, and is not to be skipped; or none is left.
    ValueError
        When no gene is left.
    """
    found, broken = [], dict(broken)
    for source in sources:
        name = str(source.name)
        if name not in broken:
            try:
                with opened(source) as file, blamed(source):
                    found.append(_look(source, file, settings))
            except SourceError as error:
                if not skip_broken:
                    if not getattr(error, "__notes__", None):  # else it says itself what to do
                        error.add_note("Leave it out, or pass skip_broken=True to go on without it.")
                    raise
                broken[name] = str(error)
        tick(1)
    if not found:
        msg = "no source is left: " + "; ".join(broken.values())
        raise SourceError(msg)
    table = _table(found, settings.gene_names)
    keys = {plan.name: canonical_genes(list(plan.genes["name"]), table) for plan in found}
    axis = pd.Index(_axis(found, keys, settings, table))  # hashed once for all sources
    reports = []
    for plan in found:
        is_gene = plan.genes["is_gene"].to_numpy()
        plan.positions = np.where(is_gene, positions_on_axis(keys[plan.name][0], axis), -1).astype(np.int32)
        report = mapping_report(plan.genes["name"].tolist(), *keys[plan.name], axis)
        report.loc[~is_gene, ["gene", "how", "summed"]] = ["", NOT_A_GENE, 0]
        report.insert(0, "source", plan.name)
        reports.append(report)
    n_sources = np.zeros(len(axis), dtype=np.int64)
    for plan in found:
        n_sources[np.unique(plan.positions[plan.positions >= 0])] += 1
    var = pd.DataFrame({"symbol": [table.symbols.get(gene, gene) for gene in axis], "n_sources": n_sources}, index=axis)
    counted = pd.DataFrame(
        [row for plan in found for row in plan.words], columns=["column", "source", "word", "n_cells"]
    )
    n_entries = sum(plan.n_entries for plan in found)
    n_cells = sum(plan.n_cells for plan in found)
    n_buckets = max(1, -(-n_entries // (2 * settings.block_entries)), -(-n_cells // (2 * settings.block_cells)))
    for column in settings.columns.keys() - DEFAULT_COLUMNS.keys():
        if not counted.loc[counted["column"] == column, "word"].any():
            logger.warning(
                "obs names the column %r, which no source has under %s.", column, listed(settings.columns[column])
            )
    words = decide_words(counted, settings.words)
    mapping = pd.concat(reports, ignore_index=True)
    sets = gene_sets([plan.positions for plan in found], len(axis))
    return Plan(settings, found, broken, var, sets, mapping, words, n_buckets)


def read_columns(file: SourceFile, source: Source, columns: Mapping[str, Sequence[str]]) -> dict[str, pd.Series]:
    """Read the declared columns of a source as categories of text; an empty word where nothing is known."""
    found, n_cells = {}, file.shape[0]
    for name, places in columns.items():
        if name in source.obs:
            values = pd.Series(pd.Categorical.from_codes(np.zeros(n_cells, dtype=np.int8), [str(source.obs[name])]))
        else:
            read = (file.column(place) for place in places)
            column = next((values for values in read if values is not None), None)
            values = pd.Series(np.full(n_cells, "", dtype=object)) if column is None else column
        values = values.astype("category") if not isinstance(values.dtype, pd.CategoricalDtype) else values
        text = pd.Index(values.cat.categories).astype(str)
        codes = pd.Index(text.unique()).get_indexer(text)
        codes = np.r_[codes, -1][values.cat.codes.to_numpy()]
        names = [*text.unique()]
        if (codes < 0).any():
            names = names if "" in names else [*names, ""]
            codes = np.where(codes < 0, names.index(""), codes)
        found[name] = pd.Series(pd.Categorical.from_codes(codes, names))
    return found


def _look(source: Source, file: SourceFile, settings: Settings) -> SourcePlan:
    """Look at one source."""
    if not file.shape[0]:
        msg = "holds no cells"
        raise ValueError(msg)
    genes = file.genes
    if not genes["is_gene"].any():
        msg = "holds no genes"
        raise ValueError(msg)
    prefix = ENSEMBL_PREFIXES.get(settings.organism)
    ids = [gene for name in genes["name"] if (gene := ensembl_id(name)) is not None]
    foreign = [gene for gene in ids if prefix is not None and not gene.startswith(prefix)]
    if len(foreign) > len(ids) / 2:
        msg = f"holds genes of another organism than {settings.organism!r}: {listed(foreign, 2)}"
        raise ValueError(msg)
    if not ids and (other := symbols_of_another(genes.loc[genes["is_gene"], "name"], settings.organism)):
        logger.warning(
            "organism=%r, but most symbols of %s are written as those of another organism are: %s. Symbols alone do not prove it: "
            "see that it is the right one.",
            settings.organism,
            source.path,
            listed(other, 3),
        )
    columns = read_columns(file, source, settings.columns)
    return SourcePlan(
        source,
        fingerprint(Path(source.path)),
        file.slot,
        file.shape[0],
        file.n_entries(),
        genes,
        file.ranges(settings.block_entries, settings.block_cells),
        list(words_of(str(source.name), columns)),
    )


def _table(found: Iterable[SourcePlan], given: pd.DataFrame | None) -> GeneTable:
    """Collect symbols and ids: what the user says of a symbol goes before what sources say."""
    first = GeneTable({}, {}) if given is None else gene_table(zip(given["id"], given["symbol"], strict=True))
    rest = gene_table(
        (name, symbol) for plan in found for name, symbol in zip(plan.genes["name"], plan.genes["symbol"], strict=True)
    )
    return GeneTable({**rest.ids, **first.ids}, {**rest.symbols, **first.symbols})


def _axis(
    found: Sequence[SourcePlan],
    keys: Mapping[str, tuple[list[str], list[str]]],
    settings: Settings,
    table: GeneTable,
) -> list[str]:
    """Give the genes of the collection."""
    genes = {
        plan.name: [key for key, is_gene in zip(keys[plan.name][0], plan.genes["is_gene"], strict=True) if is_gene]
        for plan in found
    }
    wanted = settings.genes
    if not isinstance(wanted, str):
        wanted = canonical_genes(wanted, table)[0]
        known = set().union(*genes.values())
        if not known & set(wanted):
            msg = f"genes: none of {listed(wanted, 3)} is in any source; they have {listed(sorted(known), 3)}."
            raise ValueError(msg)
        if nowhere := [gene for gene in wanted if gene not in known]:
            logger.warning("genes names %s, which no source has: nothing is counted for them.", listed(nowhere, 5))
    axis = gene_axis(genes, wanted)
    if not axis:
        msg = "genes='intersection' leaves no gene: no gene is in all sources. Give a table `gene_names`, or take the union."
        raise ValueError(msg)
    return axis
