from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from sctandem._checks import check_frame, check_texts, check_type
from sctandem.genome._coordinates import as_text

_VERSION = r"^(ENS[A-Z]*\d+)\.\d+(?:_PAR_Y)?$"


class GeneMatch(NamedTuple):
    """How the genes of an annotation are found among those measured."""

    by: str
    """The column of the annotation, ``name`` or ``gene_id``."""
    to: str
    """The names of the measured genes, such as ``var_names``."""
    keys: pd.Index
    """For each measured gene what to look for in the annotation."""
    genes: pd.DataFrame
    """The annotation, with Ensembl versions taken off the column."""
    n_matched: int
    """How many of the measured genes are found."""


def strip_version(names: pd.Series | pd.Index) -> pd.Series:
    """Take the version off Ensembl identifiers (``ENSG00000156738.18``); other names stay as they are."""
    return pd.Series(as_text(names), dtype=object).str.replace(_VERSION, r"\1", regex=True)


def match_genes(genes: pd.DataFrame, measured: Mapping[str, pd.Series | pd.Index]) -> GeneMatch:
    """Find the names by which most of the measured genes are in the annotation.

    Parameters
    ----------
    genes
        As `read_genes` returns it.
    measured
        The names of the measured genes, of one or several kinds, all in the same order. The first is preferred.

    Returns
    -------
    The match; see `GeneMatch`.

    Raises
    ------
    ValueError
        When no gene is found by any name; shows three names of each side.
    TypeError
        When `genes` is not a table, `measured` not a mapping of columns, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import match_genes, read_genes
    >>> table = pd.DataFrame({"chrom": ["chr1"], "start": [1], "end": [9], "gene_id": ["ENSG01.4"], "name": ["A"]})
    >>> match_genes(read_genes(table), {"var_names": pd.Index(["ENSG01", "ENSG02"])}).by
    'gene_id'
    """
    check_frame(genes, ("name", "gene_id"), "genes")
    check_type(measured, Mapping, "measured", hint="It leads from the name of a column to the names in it.")
    for by in ("name", "gene_id"):
        check_texts(genes[by], f"a value of genes[{by!r}]", hint="td.genome.read_genes reads such a table.")
    best: GeneMatch | None = None
    for to, names in measured.items():
        check_type(names, pd.Series | pd.Index, f"measured[{to!r}]")
        keys = pd.Index(strip_version(names).to_numpy(object))
        for by in ("name", "gene_id"):
            stripped = strip_version(genes[by])
            n_matched = int((keys.isin(stripped) & (keys != "")).sum())
            if best is None or n_matched > best.n_matched:
                best = GeneMatch(by, to, keys, genes.assign(**{by: stripped.to_numpy(object)}), n_matched)
    if best is None or best.n_matched == 0:
        ours = "; ".join(f"{to}: {', '.join(map(repr, list(names)[:3]))}" for to, names in measured.items())
        theirs = "; ".join(
            f"{by}: {', '.join(map(repr, shown))}"
            for by in ("name", "gene_id")
            if (shown := [*genes[by][:3]]) != [""] * 3
        )
        msg = f"None of the genes is in the annotation. The data have {ours}, ...; the annotation has {theirs}, ..."
        raise ValueError(msg)
    return best
