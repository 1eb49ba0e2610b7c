"""The tables of the benchmark `tape` on simulations, from their measurements."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks._tape_simulation import LEVELS, N_HELDOUT_CHROMOSOMES, WORLDS

TARGET = 1.5
LINK_TITLES = {
    "distance": "distance",
    "correlation": "peak-gene correlation",
    "correlation_distance": "correlation x exp(-distance)",
    "tape": "TAPE",
}
GENE_TITLES = {"gene_score": "distance-weighted gene score", "tape": "TAPE", "true_rate": "true rates (ceiling)"}
LINKS_CAPTION = f"""\
Regulating pairs among all pairs of a gene and a peak within 100 kb, pooled over genes; 2,000 cells. The decay of correlation x
distance is the one that gives the highest AUPRC. Ratios are taken within each simulation; the target is {TARGET} times
distance and correlation at the simulator's defaults. The simulator's defaults were set so that distance and correlation mislead,
by rules that hold for all genes; the world without grammar has no such rules. Correlation is that of single cells: with peaks
smoothed over cells first it is stronger, and is not in this table. The links' statistic and the weights of its test were chosen
looking at the truth of simulation 1 of the larger genome; the default was first run three times, then ten."""
LISTED_CAPTION = (
    "Pairs that TAPE lists at a false discovery rate, over all simulations, and the share of them that are true links."
)
GENES_CAPTION = f"""\
The genes of the last {N_HELDOUT_CHROMOSOMES} chromosomes were hidden from training; Pearson over test cells of log1p CP10k, mean over these genes.
The model and the decay of the gene score are chosen on the other genes. Truth is at the depth that each cell has, which TAPE
predicts from its chromatin and the gene score, of peaks that are not smoothed over cells, does not: a part of the difference is
skill about depth and not about genes."""


def tables(measured: dict[str, dict[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Give the tables of both parts, a block of rows a world."""
    found = measured.get("links", {})
    parts = [
        ("Links in simulations", LINKS_CAPTION, _by_world(found, _link_rows)),
        ("Links listed at a false discovery rate", LISTED_CAPTION, _by_world(found, _listed_rows)),
        ("Held-out genes in simulations", GENES_CAPTION, _by_world(measured.get("genes", {}), _gene_rows)),
    ]
    return [{"title": title, "caption": caption, "rows": rows} for title, caption, rows in parts if rows]


def _by_world(found: dict[str, list[dict[str, Any]]], rows_of: Any) -> list[dict[str, str]]:
    return [
        {"simulation": WORLDS[name].title, **row} for name in WORLDS if found.get(name) for row in rows_of(found[name])
    ]


def _link_rows(found: list[dict[str, Any]]) -> list[dict[str, str]]:
    table = []
    for name, title in LINK_TITLES.items():
        row = {"score": title, "runs": str(len(found))}
        row |= {measure.upper(): _spread([r[measure][name] for r in found]) for measure in ("auprc", "auroc")}
        ratios = {peer: [r["auprc"][name] / r["auprc"][peer] for r in found] for peer in ("distance", "correlation")}
        row |= {f"/ {peer}": _spread(values) for peer, values in ratios.items()}
        row["met"] = _met(ratios) if name == "tape" else ""
        table.append(row)
    share = np.mean([row["n_links"] / row["n_pairs"] for row in found])
    return [{"score": "share of pairs that are links", "runs": str(len(found)), "AUPRC": f"{share:.3f}"}, *table]


def _met(ratios: dict[str, list[float]]) -> str:
    return "yes" if all(np.mean(values) >= TARGET for values in ratios.values()) else "no"


def _listed_rows(found: list[dict[str, Any]]) -> list[dict[str, str]]:
    table = []
    for level in LEVELS:
        listed, true = np.sum([row["listed"][str(level)] for row in found], axis=0)
        share = f"{true / listed:.3f}" if listed else "-"
        table.append({"FDR": f"{level:g}", "runs": str(len(found)), "listed": str(listed), "true": share})
    return table


def _gene_rows(found: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {"method": title, "runs": str(len(found)), "Pearson a gene": _spread([row["pearson"][name] for row in found])}
        for name, title in GENE_TITLES.items()
    ]


def _spread(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
