"""How the regulators that `model.RegulatoryGraph` is given are found among the genes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._check_arguments import article, shown
from sctandem._checks import listed
from sctandem.kernels._gene_names import symbols_for_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

#: Column of `var` with the symbols of the genes: collections have it.
SYMBOL = "symbol"


@dataclass(frozen=True)
class Regulators:
    """The regulators that were found: positions among the genes, names, and the names of their motifs."""

    position: np.ndarray
    names: list[str]
    motifs: list[str]


def read_names(tfs: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Read the names of the regulators, each with that of its motif, which is the same where none is told.

    Raises
    ------
    TypeError
        When `tfs` is a single text.
    ValueError
        When a name is given twice.
    """
    if isinstance(tfs, str | pd.DataFrame) or not hasattr(tfs, "__iter__"):
        msg = f"tfs must be a list of gene names, or a mapping from gene to the name of its motif, got {article(type(tfs).__name__)}: {shown(tfs)}"
        raise TypeError(msg)
    if not list(tfs):
        msg = "tfs is empty: name at least one regulator."
        raise ValueError(msg)
    if isinstance(tfs, Mapping):
        return {str(name): str(motif) for name, motif in tfs.items()}
    names = pd.Series([str(name) for name in tfs], dtype=object)
    if names.duplicated().any():
        msg = f"tfs names {listed(names[names.duplicated()].unique())} more than once; each once is enough."
        raise ValueError(msg)
    return {name: name for name in names}


def symbols_of(var: pd.DataFrame) -> dict[str, str]:
    """Return the gene of each symbol that is the symbol of one gene alone, and no name of a gene itself; empty where `var` has no symbols."""
    if SYMBOL not in var.columns:
        return {}
    symbols = pd.Series(var[SYMBOL].astype(object).to_numpy(), index=var.index.astype(str)).dropna().astype(str)
    symbols = symbols[~symbols.duplicated(keep=False).to_numpy() & ~symbols.isin(symbols.index).to_numpy()]
    return dict(zip(symbols, symbols.index, strict=True))


def by_gene(named: Mapping[str, str], symbols: Mapping[str, str]) -> dict[str, str]:
    """Name regulators that are given by their symbols as the genes are; their motifs keep the names that they had.

    Raises
    ------
    ValueError
        When a gene is given by its name and by its symbol.
    """
    genes = pd.Series([symbols.get(name, name) for name in named], dtype=object)
    if genes.duplicated().any():
        msg = f"tfs names {listed(genes[genes.duplicated()].unique())} by its symbol as well; each once is enough."
        raise ValueError(msg)
    return dict(zip(genes, named.values(), strict=True))


def find_regulators(named: Mapping[str, str], genes: pd.Index, varying: np.ndarray) -> Regulators:
    """Find the regulators of `read_names` among the genes; those that are absent or constant are told and left out.

    Raises
    ------
    ValueError
        When none is left.
    """
    place = {str(gene): i for i, gene in enumerate(genes)}
    absent = [name for name in named if name not in place]
    constant = [name for name in named if name in place and not varying[place[name]]]
    hint = case_hint(absent, genes)
    left = [name for name in named if name in place and varying[place[name]]]
    if not left:
        why = (
            [f"{len(absent)} of tfs ({listed(absent)}) are not among the genes ({listed(genes, 5)})"] if absent else []
        )
        why += [f"{len(constant)} ({listed(constant)}) are the same in all cells"] if constant else []
        if any(motif in place for motif in named.values()):
            hint = " A mapping leads from the gene to its motif; this one is the other way round."
        msg = f"no regulator is left: {' and '.join(why)}.{hint}"
        raise ValueError(msg)
    if absent:
        logger.warning(
            "%d of %d tfs are not among the genes and left out: %s.%s", len(absent), len(named), listed(absent), hint
        )
    if constant:
        logger.warning("%d tfs are constant and left out: %s", len(constant), listed(constant))
    return Regulators(np.array([place[name] for name in left]), left, [named[name] for name in left])


def case_hint(absent: list[str], genes: pd.Index) -> str:
    """Say which names would be found in another case, or under names of another kind."""
    lower = {str(gene).lower(): str(gene) for gene in genes}
    other = [f"{name} as {lower[name.lower()]}" for name in absent if lower.get(name.lower(), name) != name]
    if other:
        return f" In another case {len(other)} are there: {listed(other, 5)}; name them so."
    if symbols_for_ids(absent, genes):
        return (
            f" The genes are Ensembl identifiers and these look like symbols: give identifiers, or write the symbols of all genes to "
            f"adata.var[{SYMBOL!r}]. One that several genes have tells none of them."
        )
    return (
        f" Names are compared with var_names and, where there is one, the column {SYMBOL!r} of var; synonyms and identifiers are not resolved."
        if absent
        else ""
    )
