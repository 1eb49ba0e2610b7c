"""Labels of held-out cells under attacks that see the model: trained plainly and adversarially, and a plain regression."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._label_tasks import KNOWN, UNKNOWN, Cells
from benchmarks._labelled_sets import BATCH, BY_NAME, path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anndata import AnnData

TITLE = "Labels under attack"
CAPTION = """\
Accuracy on 30 % of the cells, held out by type, 2,000 variable genes chosen on the others; types with fewer than 20 cells are left out. *Radius*: that at which CapsuleNet,
trained plainly, loses 20 points under projected gradient descent (10 steps on the margin; log1p of counts per 10,000, two Poisson standard deviations at most, zeros kept), between the
radii that were measured; *under PGD* is the accuracy of each method there. The attack sees each method, and starts anew from a random place. *Score* is the one number of `tl.robustness`, *one gene* the
accuracy with the worst of the genes that the gradient names set to nothing or to much. How CapsuleNet trains against an adversary was chosen on the training cells of zheng and symphony, divided again.
There a bound that no attack within the ball can pass (2,000 genes and their first molecules, each at its worst) left a regression of that kind the same 0.78 as projected gradient descent did at radius 0.2;
every single gene in turn, where the gradient is not asked, left it 0.59, as much as one fitted to the worst places of logarithms alone, and 0.55 a plain one. On zheng both targets are missed by 0.3 points: how much moved cells count trades one for the other, and on the
divided training cells no setting met both with a margin (clean accuracy and points lost at radius 0.2: 0.869 and 11.2, 0.861 and 8.1, 0.857 and 6.9, 0.853 and 5.1, where a plain regression has 0.866 and 17.1).
It is no limit of the cells: boxes around counts of 1, 2 and 3 do not overlap at radius 0.2, so that rounding would undo the attack, which is not what is asked."""
SEEDS = (0,)
SETS = ("symphony", "mixology", "zheng")
RADII = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2)
FEWEST, HELD_OUT, LOSS, ALLOWED = 20, 0.3, 0.20, 0.08
PLAIN, TRAINED, REGRESSION = "CapsuleNet", "CapsuleNet, adversarial='pgd'", "logistic regression"

Row = dict[str, Any]


def measure_rest(seed: int, done: set[tuple[str, str]]) -> Iterator[Row]:
    """Train on each set in two ways, and attack these and the regression inside the plain one; leave out what is done."""
    for name in SETS:
        missing = [method for method in (PLAIN, TRAINED, REGRESSION) if (name, method) not in done]
        if not missing:
            continue
        train, test, depth = _split(name, seed)
        for way, methods in ((None, (PLAIN, REGRESSION)), ("pgd", (TRAINED,))):
            asked = [method for method in methods if method in missing]
            if not asked:
                continue
            model, seconds = _trained(train, depth, seed, way)
            for method in asked:
                spent = {} if method == REGRESSION else {"processor_seconds": seconds}
                if method == REGRESSION:
                    _only_regression(model)
                yield {"set": name, "name": method, "seed": seed} | _attacked(model, test, seed) | spent


def _split(name: str, seed: int) -> tuple[AnnData, AnnData, str | None]:
    """Hold cells of each type out."""
    cells = Cells.read(name)
    labels, rng = cells.labels, np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    keep = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        if len(where) >= FEWEST:
            keep[where] = True
            held[rng.choice(where, round(HELD_OUT * len(where)), replace=False)] = True
    shown = keep & ~held
    counts = cells.counts(np.flatnonzero(shown))
    counts.obs[KNOWN] = labels
    return counts[shown].copy(), counts[held].copy(), cells.depth


def _trained(train: AnnData, depth: str | None, seed: int, way: str | None) -> tuple[Any, float]:
    """Train at the defaults; give the model and the CPU seconds."""
    from sctandem.model import CapsuleNet

    CapsuleNet.setup_anndata(
        train,
        labels_key=KNOWN,
        unlabeled_category=UNKNOWN,
        batch_key=BATCH if BATCH in train.obs else None,
        size_factor_key=depth,
    )
    model = CapsuleNet(train, rng=seed)
    start = time.process_time()
    model.train(rng=seed, progress=False, accelerator="cpu", adversarial=way)
    return model, round(time.process_time() - start, 1)


def _attacked(model: Any, test: AnnData, seed: int) -> Row:
    """Read labels under all attacks."""
    import sctandem as td
    from sctandem.model.base import AttackConfig

    attacks = AttackConfig(radii=RADII, n_genes=(1, 3), dropout=(0.3, 0.5), depth=(0.5, 0.25))
    found = td.tl.robustness(test, model, KNOWN, attacks=attacks, rng=seed, copy=True).uns["robustness"]
    table = found["table"]
    by_attack = {
        attack: dict(zip(rows["strength"].astype(str), rows["accuracy"].round(4), strict=True))
        for attack, rows in table.groupby("attack")
    }
    return {
        "clean": round(found["clean_accuracy"], 4),
        "score": round(found["score"], 4),
        "weights": model.calibration_["expert_weights"][0].round(3).tolist(),
        "test_cells": test.n_obs,
        **by_attack,
    }


def _only_regression(model: Any) -> None:
    """Leave CapsuleNet's regression alone to tell labels: an L2-penalised one on the same logarithms, its penalty chosen on held-out cells."""
    model.calibration_ = {**model.calibration_, "expert_weights": np.array([[0.0, 1.0], [0.0, 1.0]])}


def radius_of_loss(row: Row, loss: float = LOSS) -> float:
    """Find where the accuracy has fallen by so much, between the radii that were measured; NaN where it never has."""
    radii = np.array([0.0, *map(float, row["pgd"])])
    fallen = row["clean"] - np.array([row["clean"], *row["pgd"].values()])
    if fallen.max() < loss:
        return float("nan")
    return float(np.interp(loss, np.maximum.accumulate(fallen), radii))


def accuracy_at(row: Row, radius: float) -> float:
    """Give the accuracy at a radius, between those that were measured."""
    radii = np.array([0.0, *map(float, row["pgd"])])
    return float(np.interp(radius, radii, np.array([row["clean"], *row["pgd"].values()])))


def table(rows: list[Row]) -> list[Row]:
    """Give a row a set and method."""
    out = []
    for row in rows:
        plain = next(r for r in rows if (r["set"], r["seed"], r["name"]) == (row["set"], row["seed"], PLAIN))
        radius = radius_of_loss(plain)
        under = accuracy_at(row, radius)
        out.append(
            {
                "set": row["set"],
                "method": row["name"],
                "clean": row["clean"],
                "radius": round(radius, 3),
                "under PGD": round(under, 3),
                "points lost": round(100 * (row["clean"] - under), 1),
                "one gene": row["genes"]["1.0"],
                "half of the genes lost": row["dropout"]["0.5"],
                "a quarter of the molecules": row["depth"]["0.25"],
                "score": row["score"],
                "CPU s": row.get("processor_seconds"),
            }
        )
    return out


def targets(rows: list[Row]) -> list[Row]:
    """Compare with what was asked for."""
    shown = {(row["set"], row["method"]): row for row in table(rows)}
    out = []
    for name in SETS:
        words = (
            f"{name}: at most {100 * ALLOWED:.0f} points lost under PGD at the radius where plain training loses 20",
            f"{name}: clean accuracy at most 1 point below plain training",
        )
        if (name, TRAINED) not in shown:
            out += [{"target": target, "measured": "", "met": "not measured"} for target in words]
            continue
        own, plain = shown[name, TRAINED], shown[name, PLAIN]
        change = 100 * (own["clean"] - plain["clean"])
        lost = own["points lost"]
        for target, measured, met in zip(
            words, (f"{lost:.1f}", f"{change:+.1f}"), (lost <= 100 * ALLOWED, change >= -1), strict=True
        ):
            out.append({"target": target, "measured": measured, "met": "yes" if met else "no"})
    return out


def data() -> list[Path]:
    """Files that are read."""
    return [path(BY_NAME[name]) for name in SETS]
