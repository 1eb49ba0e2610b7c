"""Find measured genes in an annotation, with the chromosomes named as in the signal, and say what is suspicious."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sctandem.genome._annotation import read_genes
from sctandem.genome._chromosomes import match_chromosomes
from sctandem.genome._coordinates import find_columns
from sctandem.genome._match import GeneMatch, match_genes, strip_version
from sctandem.genome._windows import gene_loci, window_pairs

if TYPE_CHECKING:
    from collections.abc import Collection

logger = logging.getLogger(__name__)

_ID_COLUMNS = ("gene_ids", "gene_id")
NEAR, LEAST_NEAR, ENOUGH_STARTS = 1000, 0.3, 10
"""Genes have a peak within so many bp of their start; a smaller share is suspicious; fewer genes say nothing about it."""


def has_places(var: pd.DataFrame) -> bool:
    """Whether genes have coordinates in a table of them."""
    return find_columns(var) is not None or "interval" in var.columns


def annotation(
    var: pd.DataFrame | None, genes: str | Path | pd.DataFrame | None, slot: str
) -> tuple[str, pd.DataFrame]:
    """Read the annotation, by default from the columns of `var`; return what to call it in messages and its rows."""
    if genes is not None:
        table = read_genes(genes)
        return ("the table of genes" if isinstance(genes, pd.DataFrame) else Path(genes).name), table
    if var is None or not has_places(var):
        shown = "" if var is None else ", ".join(map(str, var.columns)) or "no columns"
        msg = (
            f"{slot} has no coordinates of genes (chrom, start, end and strand, or interval; it has {shown}). "
            "Give an annotation: genes=<a BED or GTF file, or a table>."
        )
        raise ValueError(msg)
    # the names of the measured genes, whatever other names the columns hold
    return slot, read_genes(var.drop(columns=["name", "gene", "gene_name"], errors="ignore"))


def place_genes(
    table: pd.DataFrame,
    chromosomes: Collection[str],
    var: pd.DataFrame | None = None,
    *,
    everything: bool = False,
    signal: str = "peaks",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Find genes and their places, with the chromosomes named as in the signal.

    Parameters
    ----------
    table
        As `read_genes` returns it.
    chromosomes
        Names of the chromosomes in the signal.
    var
        The measured genes: their names, and identifiers where it has a column of them. `None` takes the annotation as it is.
    everything
        Keep, after the measured genes, those that are annotated only.
    signal
        What the signal is called in messages.

    Returns
    -------
    A row per gene, named as in `var`, as `gene_loci` returns them; and how they were found, for the parameters of a result.
    """
    match = match_measured(table, var)
    known_keys = match.genes[match.by] != ""
    rows = match.genes[known_keys if everything else known_keys & match.genes[match.by].isin(match.keys)]
    wanted, known = _on_known_chromosomes(rows, match.by, chromosomes, signal)
    found = gene_loci(wanted, by=match.by)
    measured = pd.Index(found.index if var is None else var.index)
    here = match.keys.isin(found.index)
    loci = found.loc[match.keys[here]].set_axis(measured[here])
    if everything:
        rest = found[~found.index.isin(match.keys) & ~found.index.isin(measured)]
        loci = pd.concat([loci, rest]) if len(rest) else loci
    renamed = {old: new for old, new in known.items() if old != new}
    if renamed:
        logger.warning("Chromosomes of the genes were renamed as in the %s: %s", signal, arrows(renamed))
    n_unknown = int((loci["strand"] == ".").sum())
    if n_unknown:
        logger.warning("%d of %d genes have no strand; they are read as if on +", n_unknown, len(loci))
    if var is not None and here.sum() < len(var):
        _log_absent(table, var, here)
    return loci, {
        "matched_by": f"{match.to} = {match.by}",
        "tss_rule": str(table.attrs.get("tss_rule", "")),
        "renamed_chromosomes": arrows(renamed),
        "n_genes": len(measured),
        "n_annotated": int(here.sum()),
        "n_without_strand": n_unknown,
    }


def match_measured(table: pd.DataFrame, var: pd.DataFrame | None) -> GeneMatch:
    """Find by which names the measured genes, a row of `var` each, are in an annotation; `None` takes it as it is."""
    if var is None:
        by = "name" if (table["name"] != "").any() else "gene_id"
        keys = pd.Index(pd.unique(table[by][table[by] != ""]))
        return GeneMatch(by, "annotation", keys, table, len(keys))
    measured = {"var_names": var.index, **{f"var[{c!r}]": var[c] for c in _ID_COLUMNS if c in var.columns}}
    try:
        return match_genes(table, measured)
    except ValueError as error:
        msg = f"{error}{_other_names(table, var, 0)}"
        raise ValueError(msg) from None


def _on_known_chromosomes(
    wanted: pd.DataFrame, by: str, chromosomes: Collection[str], signal: str
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Name the chromosomes of the genes as in the signal; a locus on one of those goes before one elsewhere."""
    known = match_chromosomes(wanted["chrom"].unique(), chromosomes)
    if not known:
        msg = (
            f"Genes and {signal} share no chromosome: the genes are on "
            f"{_first(wanted['chrom'])}, the {signal} on {_first(pd.Series(list(chromosomes), dtype=object))}."
        )
        raise ValueError(msg)
    usable = wanted["chrom"].isin(known)
    elsewhere = ~usable.groupby(wanted[by]).transform("any")  # alternative contigs
    wanted = wanted[usable | elsewhere]
    return wanted.assign(chrom=wanted["chrom"].map(lambda chrom: known.get(chrom, chrom))), known


def _log_absent(table: pd.DataFrame, var: pd.DataFrame, here: Any) -> None:
    """Log how many of the measured genes are not annotated; loudly where it is most of them."""
    n_found, n_genes = int(here.sum()), len(var)
    absent = ", ".join(map(repr, var.index[~here][:3]))
    few = n_found < n_genes / 2
    logger.log(
        logging.WARNING if few else logging.INFO,
        "%d of %d genes (%.0f %%) are in the annotation; not found: %s%s%s",
        *(n_found, n_genes, 100 * n_found / n_genes, absent, ", ..." * (n_genes - n_found > 3)),
        _other_names(table, var, n_found) if few else "",
    )


def _other_names(table: pd.DataFrame, var: pd.DataFrame, n_found: int) -> str:
    """Say which column of `var` holds names of more genes of the annotation, and how to take it."""
    known = (set(strip_version(table["name"])) | set(strip_version(table["gene_id"]))) - {""}
    text = [c for c in var.columns if not pd.api.types.is_numeric_dtype(var[c])]
    n_known = {column: int(strip_version(var[column]).isin(known).sum()) for column in text}
    best = max(n_known, key=lambda column: n_known[column], default=None)
    if best is None or n_known[best] <= n_found:
        return ""
    return (
        f" The column {best!r} of var has names of {n_known[best]} of the {len(var)} genes. Take it: "
        f"rna.var_names = rna.var[{best!r}].astype(str); rna.var_names_make_unique()"
    )


def share_near_start(tss: pd.DataFrame, peaks: pd.DataFrame) -> float:
    """Return the share of genes with a peak at their TSS, of those on chromosomes with peaks; warn where it is small."""
    n_genes = int(tss["chrom"].isin(peaks["chrom"].unique()).sum())
    near = window_pairs(tss, peaks, upstream=NEAR, downstream=NEAR)
    share = near["gene"].nunique() / n_genes
    if share < LEAST_NEAR and n_genes >= ENOUGH_STARTS and len(peaks) < LEAST_NEAR * n_genes:
        logger.warning(
            "%d peaks are too few to tell whether they are of the same assembly as the %d genes: look it up",
            len(peaks),
            n_genes,
        )
    elif share < LEAST_NEAR and n_genes >= ENOUGH_STARTS:
        logger.warning(
            "only %.0f %% of the genes have a peak within 1 kb of their start; are genes and peaks of the same assembly?",
            100 * share,
        )
    return share


def arrows(renamed: dict[str, str]) -> str:
    """Write what was renamed to what."""
    return ", ".join(f"{old} -> {new}" for old, new in renamed.items())


def _first(values: pd.Series) -> str:
    return ", ".join(repr(value) for value in values.unique()[:3])


def example_places(tss: pd.DataFrame, peaks: pd.DataFrame) -> str:
    """Show where the first genes and peaks lie."""
    genes = ", ".join(f"{name} at {row.chrom}:{row.tss}" for name, row in tss.head(3).iterrows())
    places = ", ".join(f"{row.chrom}:{row.start}-{row.end}" for row in peaks.head(3).itertuples())
    return f"The first genes: {genes}; the first peaks: {places}."
