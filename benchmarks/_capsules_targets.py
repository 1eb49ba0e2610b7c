"""The targets of CapsuleNet, and what the rows say of them."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks._labelled_sets import SETS

Row = dict[str, Any]
ALL_SETS = tuple(entry.name for entry in SETS)
LABEL_SETS = ("zheng", "mixology", "symphony")
OWN = {
    "capsules": "CapsuleNet",
    "capsules_anneal": "CapsuleNet + tl.anneal",
    "capsules_inductive": "CapsuleNet, not seen",
}
CLUSTER_PEERS = {"pca_leiden": "PCA + Leiden", "scvi_leiden": "scVI + Leiden"}
LABEL_PEERS = {"lr": "logistic regression", "lr_median": "logistic regression, median depth", "scanvi": "scANVI"}
MARGIN, SETS_BETTER, ECE, AUROC, SIZE, TIME = 0.05, 4, 0.03, 0.85, 1 / 2, 1 / 8
N_GENES = 2000


def targets(measured: dict[str, list[Row]]) -> list[Row]:
    """Give a row a target: what is asked for, what was found, and whether it is met (`-` where rows are missing)."""
    clusters, labels = measured.get("clusters", []), measured.get("labels", [])
    table = []
    for own in ("capsules", "capsules_anneal"):
        table += clusters_above(clusters, own)
    for own in ("capsules", "capsules_inductive"):
        for name in LABEL_SETS:
            table += labels_above(labels, own, name)
    for own in ("capsules", "capsules_inductive"):
        table.append(novelty_above(measured.get("novelty", []), own))
    return table + costs_below(measured.get("cost", []))


def means(rows: list[Row], figure: str, method: str) -> dict[str, float]:
    """Give the mean over seeds of each set."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] == method:
            values.setdefault(row["set"], []).append(row[figure])
    return {name: mean(found) for name, found in values.items()}


def _row(target: str, asked: str, found: str | None, *, met: bool | None) -> Row:
    answer = "-" if met is None else "yes" if met else "no"
    return {"target": target, "asked": asked, "found": found or "not measured", "met": answer}


def clusters_above(rows: list[Row], own: str) -> list[Row]:
    """Compare ARI and NMI with both peers: the sets on which they are above, and the margin on average."""
    figures = {
        (figure, method): means(rows, figure, method) for figure in ("ari", "nmi") for method in (own, *CLUSTER_PEERS)
    }
    sets = [name for name in ALL_SETS if all(name in found for found in figures.values())]
    which, margin = f"{OWN[own]}: ARI and NMI above both peers", f"{OWN[own]}: mean ARI above"
    asked = f"{SETS_BETTER} of {len(ALL_SETS)} sets"
    if not sets:
        return [
            _row(which, asked, None, met=None),
            *(_row(f"{margin} {title}", f"by {MARGIN}", None, met=None) for title in CLUSTER_PEERS.values()),
        ]
    above = {
        figure: {
            name for name in sets if all(figures[figure, own][name] > figures[figure, p][name] for p in CLUSTER_PEERS)
        }
        for figure in ("ari", "nmi")
    }
    both = above["ari"] & above["nmi"]
    found = f"{len(both)} of {len(sets)} (ARI {len(above['ari'])}, NMI {len(above['nmi'])})"
    complete = len(sets) == len(ALL_SETS)
    table = [_row(which, asked, found, met=len(both) >= SETS_BETTER if complete else None)]
    for peer, title in CLUSTER_PEERS.items():
        gap = mean(figures["ari", own][name] - figures["ari", peer][name] for name in sets)
        table.append(_row(f"{margin} {title}", f"by {MARGIN}", f"{gap:+.3f}", met=gap >= MARGIN if complete else None))
    return table


def labels_above(rows: list[Row], own: str, name: str) -> list[Row]:
    """Compare accuracy and macro F1 with the peers on a set, and the calibration with its bound."""
    table = []
    for figure, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        ours = means(rows, figure, own).get(name)
        theirs = {method: means(rows, figure, method).get(name) for method in LABEL_PEERS}
        known = {method: value for method, value in theirs.items() if value is not None}
        asked = (
            ", ".join(f"{LABEL_PEERS[method]} {value:.3f}" for method, value in known.items()) or "at least the peers"
        )
        complete = ours is not None and len(known) == len(LABEL_PEERS)
        met = ours >= max(known.values()) if complete else None
        table.append(_row(f"{OWN[own]}, {name}: {title}", asked, None if ours is None else f"{ours:.3f}", met=met))
    ece = means(rows, "ece", own).get(name)
    met = None if ece is None else ece <= ECE
    table.append(_row(f"{OWN[own]}, {name}: ECE", f"at most {ECE}", None if ece is None else f"{ece:.3f}", met=met))
    return table


def best_score(rows: list[Row]) -> str:
    """Give the score of novelty of a method with the highest AUROC, mean over rows."""
    return max(rows[0]["auroc"], key=lambda score: mean(row["auroc"][score] for row in rows))


def novelty_above(rows: list[Row], own: str) -> Row:
    """Average AUROC over types, then over the sets of the target."""
    by_set = {}
    for name in LABEL_SETS:
        same = [row for row in rows if (row["set"], row["method"]) == (name, own)]
        if same:
            score = best_score(same)
            types = sorted({row["hidden"] for row in same})
            by_set[name] = mean(mean(row["auroc"][score] for row in same if row["hidden"] == kind) for kind in types)
    title, asked = f"{OWN[own]}: AUROC of a hidden type, mean over types and sets", f"at least {AUROC}"
    if not by_set:
        return _row(title, asked, None, met=None)
    average = mean(by_set.values())
    found = f"{average:.3f} ({', '.join(f'{name} {value:.3f}' for name, value in by_set.items())})"
    return _row(title, asked, found, met=average >= AUROC if len(by_set) == len(LABEL_SETS) else None)


def costs_below(rows: list[Row]) -> list[Row]:
    """Compare parameters at 2,000 genes and the time of training, in the set that is worst for us."""
    shares: dict[str, dict[str, float]] = {"parameters": {}, "seconds": {}, "processor_seconds": {}}
    for figure, found in shares.items():
        ours, theirs = means(rows, figure, "capsules"), means(rows, figure, "scvi")
        genes = {row["set"]: row["genes"] for row in rows}
        sets = [name for name in ours if name in theirs and (figure != "parameters" or genes[name] == N_GENES)]
        found.update({name: ours[name] / theirs[name] for name in sets})
    table = []
    for figure, title, bound in (
        ("parameters", f"parameters, share of scVI's at {N_GENES:,} genes", SIZE),
        ("seconds", "seconds of training, share of scVI's, worst set", TIME),
        ("processor_seconds", "CPU seconds of training, share of scVI's, worst set", TIME),
    ):
        worst = max(shares[figure], key=shares[figure].__getitem__, default=None)
        share = None if worst is None else shares[figure][worst]
        found = None if share is None else f"{share:.3f} ({worst})"
        table.append(
            _row(f"CapsuleNet: {title}", f"at most {bound}", found, met=None if share is None else share <= bound)
        )
    return table
