"""Genes of different sources on one axis: Ensembl ids without versions, symbols turned into ids where that is certain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Beginning of the Ensembl ids of the genes of an organism.
ENSEMBL_PREFIXES = {
    "human": "ENSG",
    "mouse": "ENSMUSG",
    "rat": "ENSRNOG",
    "zebrafish": "ENSDARG",
    "pig": "ENSSSCG",
    "macaque": "ENSMMUG",
    "chicken": "ENSGALG",
}
#: The names of these organisms in Latin.
_LATIN = {
    "homo sapiens": "human",
    "mus musculus": "mouse",
    "rattus norvegicus": "rat",
    "danio rerio": "zebrafish",
    "sus scrofa": "pig",
    "macaca mulatta": "macaque",
    "gallus gallus": "chicken",
}
#: How the symbols of these organisms are written.
_CASES = {"human": "upper", "mouse": "title", "rat": "title"}
#: Symbols that tell their case: one that has a single letter, as G6, is the same in both.
_UPPER, _TITLE = re.compile(r"^[A-Z]{2}[A-Z0-9.\-]*$"), re.compile(r"^[A-Z][a-z][a-z0-9.\-]*$")
_FEWEST = 20
_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{6,})(?:\.\d+)?(?:_PAR_Y)?$")

#: How a name of a source came onto the axis.
ID, TABLE, SYMBOL, AMBIGUOUS, NOT_ASKED, NOT_A_GENE = (
    "Ensembl id",
    "symbol with one id",
    "symbol without an id",
    "symbol with several ids, kept as a symbol",
    "left out: not among the genes asked for",
    "left out: not a gene",
)


def organism_name(name: str) -> str:
    """Return the name under which an organism is known here, whatever its case, in English or Latin; others as they are."""
    folded = " ".join(name.replace("_", " ").casefold().split())
    found = _LATIN.get(folded, folded)
    return found if found in ENSEMBL_PREFIXES else name


def symbols_of_another(names: Iterable[str], organism: str) -> list[str]:
    """Find symbols that are written as those of another organism: TP53 is human, Trp53 of mouse or rat.

    Parameters
    ----------
    names
        Of the genes of a source; those that tell no case, Ensembl ids among them, are passed over.
    organism
        Whose they should be.

    Returns
    -------
    Symbols in the other case, where more than half of at least 20 that tell one are; else, and for organisms without a habit that is
    known here, nothing.

    Examples
    --------
    >>> from sctandem.kernels._gene_names import symbols_of_another
    >>> len(symbols_of_another([f"ABC{i}" for i in range(30)], "mouse"))
    30
    """
    if organism not in _CASES:
        return []
    symbols = [name for name in names if ensembl_id(name) is None]
    upper = [name for name in symbols if _UPPER.match(name)]
    title = [name for name in symbols if _TITLE.match(name)]
    other = upper if _CASES[organism] == "title" else title
    told = len(upper) + len(title)
    return other if told >= _FEWEST and len(other) > told / 2 else []


class GeneTable(NamedTuple):
    """What is known of symbols and ids.

    Attributes
    ----------
    ids
        From symbol to its ids, in the order they were met.
    symbols
        From id to symbol; the first that was met.
    """

    ids: dict[str, list[str]]
    symbols: dict[str, str]


def ensembl_id(name: str) -> str | None:
    """Return the Ensembl id of a gene without its version, or `None` for another name.

    Parameters
    ----------
    name
        A name of a gene.

    Returns
    -------
    The id. The copy of a gene on the Y chromosome (`_PAR_Y`) has the id of that on the X.

    Examples
    --------
    >>> from sctandem.kernels._gene_names import ensembl_id
    >>> ensembl_id("ENSG00000141510.17"), ensembl_id("TP53")
    ('ENSG00000141510', None)
    """
    match = _ENSEMBL.match(name)
    return match[1] if match else None


def symbols_for_ids(given: Iterable[str], known: Iterable[str]) -> bool:
    """Whether names look like symbols where Ensembl ids are wanted.

    Parameters
    ----------
    given
        The names.
    known
        Those they are compared with.

    Returns
    -------
    Whether most of `known` are ids and most of `given` none.

    Examples
    --------
    >>> from sctandem.kernels._gene_names import symbols_for_ids
    >>> symbols_for_ids(["TP53", "SPI1"], ["ENSG00000141510", "ENSG00000066336"])
    True
    """
    of_given, of_known = ([ensembl_id(str(name)) is not None for name in names] for names in (given, known))
    return bool(of_given and of_known) and 2 * sum(of_known) > len(of_known) and 2 * sum(of_given) < len(of_given)


def gene_table(pairs: Iterable[tuple[str, str]]) -> GeneTable:
    """Collect pairs of an Ensembl id and a symbol.

    Parameters
    ----------
    pairs
        Ids (with or without version) and symbols; pairs without an id, or whose symbol is itself an id, are passed over.

    Returns
    -------
    The table.
    """
    table = GeneTable({}, {})
    for given, symbol in pairs:
        gene = ensembl_id(given)
        if gene is None or not symbol or symbol == "nan" or ensembl_id(symbol) is not None:
            continue
        table.symbols.setdefault(gene, symbol)
        known = table.ids.setdefault(symbol, [])
        if gene not in known:
            known.append(gene)
    return table


def canonical_genes(names: Sequence[str], table: GeneTable) -> tuple[list[str], list[str]]:
    """Give each gene of a source its name on the axis.

    Parameters
    ----------
    names
        Ids or symbols.
    table
        What is known of them.

    Returns
    -------
    The Ensembl id where there is one, else the symbol; and how it was found.
    """
    keys, how = [], []
    for name in names:
        gene = ensembl_id(name)
        ids = [gene] if gene is not None else table.ids.get(name, [])
        keys.append(ids[0] if len(ids) == 1 else name)
        how.append(ID if gene is not None else TABLE if len(ids) == 1 else AMBIGUOUS if ids else SYMBOL)
    return keys, how


def gene_axis(genes: Mapping[str, Sequence[str]], wanted: str | Sequence[str]) -> list[str]:
    """Give the genes of the collection.

    Parameters
    ----------
    genes
        Those of each source, by their names on the axis.
    wanted
        `"union"`, `"intersection"`, or the genes themselves.

    Returns
    -------
    Names, sorted; those asked for in the order given.
    """
    if not isinstance(wanted, str):
        return list(dict.fromkeys(wanted))
    sets = [set(names) for names in genes.values()]
    if not sets:
        return []
    return sorted(set.union(*sets) if wanted == "union" else set.intersection(*sets))


def positions_on_axis(keys: Sequence[str], axis: Sequence[str]) -> np.ndarray:
    """Give the place of each gene of a source on the axis, int32, (genes of the source,); -1 for none."""
    return pd.Index(axis).get_indexer(pd.Index(keys)).astype(np.int32)


def mapping_report(names: Sequence[str], keys: Sequence[str], how: Sequence[str], axis: Sequence[str]) -> pd.DataFrame:
    """Say what became of each gene of a source.

    Parameters
    ----------
    names
        As the source has them.
    keys, how
        Those of `canonical_genes`.
    axis
        The genes of the collection.

    Returns
    -------
    Genes x `name`, `gene` (on the axis; empty for none), `how`, and `summed`: how many genes of the source were added up there.
    """
    inside = positions_on_axis(keys, axis) >= 0
    times = pd.Series(list(keys)).map(pd.Series(list(keys)).value_counts()).to_numpy()
    return pd.DataFrame(
        {
            "name": list(names),
            "gene": np.where(inside, np.asarray(keys, dtype=object), ""),
            "how": np.where(inside, np.asarray(how, dtype=object), NOT_ASKED),
            "summed": np.where(inside, times, 0),
        }
    )
