"""The targets of TAPE, each with what was measured: from the rows of the benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import _tape_methods, _tape_simulation_report

PEARSON, SECONDS, MEMORY_MB, TIMES_FASTER = 0.09, 300.0, 4000.0, 10.0
#: The peers that the target names, and others that are not among them but come closer.
NAMED = ("mean", "gene_score", "knn", "ridge", "kernel_ridge", "multivi")
OTHERS = ("linear_kernel", "average")
SKILLS = ("pearson", "rmse", "auroc")
LOWER_IS_BETTER = {"rmse"}
CAPTION = """\
A549: the random splits of the first table. Differences TAPE - peer are means over the splits that both ran on, with the splits won; better
means in the mean. A difference of fold changes smaller than its standard deviation over splits is said to be a tie. Rows in
brackets are no targets: peers that these do not name, and that come closer."""

Rows = list[dict[str, Any]]


def rows(measured: dict[str, Any], *, fresh: int) -> list[dict[str, str]]:
    """Give a row a target: A549 first, on the splits below `fresh`, then simulations."""
    cells = {name: [row for row in found if row["seed"] < fresh] for name, found in measured.get("cells", {}).items()}
    table = _cells(cells) if cells.get("tape") else []
    return table + _simulations(measured.get("simulation", {}))


def _cells(cells: dict[str, Rows]) -> list[dict[str, str]]:
    tape = cells["tape"]
    pearson = np.mean([row["pearson"] for row in tape])
    table = [
        _row(f"A549, {len(tape)} splits: Pearson a gene >= {PEARSON}", f"{pearson:.4f}", _yes(pearson >= PEARSON)),
        *(_skills(name, cells) for name in NAMED + OTHERS if cells.get(name)),
        *(_fold_changes(names, cells) for names in (NAMED, OTHERS) if any(cells.get(name) for name in names)),
    ]
    if slowest := [row["settings"]["seconds_training"] for row in tape if "seconds_training" in row["settings"]]:
        words = f"{np.mean(slowest):.0f} s, at most {max(slowest):.0f} s (wall-clock time on {_threads(tape)})"
        table.append(_row("A549: training <= 5 minutes", words, _yes(max(slowest) <= SECONDS)))
    if multivi := cells.get("multivi"):
        table.append(_faster(tape, multivi))
    memory = max(row["peak_mb"] for row in tape)
    return [*table, _row("A549: memory <= 4 GB", f"{memory / 1000:.2f} GB", _yes(memory <= MEMORY_MB))]


def _skills(name: str, cells: dict[str, Rows]) -> dict[str, str]:
    """Compare with one peer in all three skills."""
    words, better = [], True
    for key in SKILLS:
        gained = _gained(cells, name, key)
        mean = gained.mean() * (-1 if key in LOWER_IS_BETTER else 1)
        words.append(
            f"{key.upper() if key != 'pearson' else 'Pearson'} {mean:+.4f} ({np.sum(gained > 0)}/{gained.size})"
        )
        better &= bool(gained.mean() > 0)
    n_splits = gained.size
    title = f"A549: better than {_tape_methods.entries()[name].title}"
    few = f", {n_splits} of {len(cells['tape'])} splits, at its defaults" if n_splits < len(cells["tape"]) else ""
    return _row(_bracket(title + few, name), ", ".join(words), _yes(better))


def _fold_changes(names: tuple[str, ...], cells: dict[str, Rows]) -> dict[str, str]:
    """Compare the fold changes with those of the best of some peers on all splits of TAPE."""
    skill = {}
    for name in names:
        values = [row["fold_change_pearson"] for row in cells.get(name, [])]
        if len(values) == len(cells["tape"]) and all(value is not None and np.isfinite(value) for value in values):
            skill[name] = np.mean(values)
    best = max(skill, key=lambda name: skill[name], default=None)
    whose = "peer that the target names" if names is NAMED else "other peer"
    title = f"A549: fold changes at least those of the best {whose}"
    if best is None:
        return _row(title, "not run", "not known")
    gained, mine = (
        _gained(cells, best, "fold_change_pearson"),
        np.mean([r["fold_change_pearson"] for r in cells["tape"]]),
    )
    words = f"{mine:.3f} against {skill[best]:.3f} ({_tape_methods.entries()[best].title}), {gained.mean():+.4f}, {np.sum(gained > 0)}/{gained.size}"
    tie = gained.size > 1 and abs(gained.mean()) < gained.std(ddof=1)
    met = _yes(gained.mean() >= 0)
    return _row(_bracket(title, best), words, f"{met} (a tie)" if tie else met)


def _faster(tape: Rows, multivi: Rows) -> dict[str, str]:
    """Compare CPU seconds on the splits that MultiVI ran on: its training against the whole run of TAPE."""
    ours = {row["seed"]: row["processor_seconds"] for row in tape}
    pairs = [
        (row["settings"]["epochs"] * row["settings"]["processor_seconds_per_epoch"], ours[row["seed"]])
        for row in multivi
        if row["seed"] in ours and "processor_seconds_per_epoch" in row["settings"]
    ]
    target = f"A549: training >= {TIMES_FASTER:g} times faster than MultiVI, at its defaults, {len(pairs)} of {len(tape)} splits"
    if not pairs:
        return _row(target, "not run", "not known")
    ratio = min(theirs / mine for theirs, mine in pairs)
    words = f"{ratio:.0f} times ({pairs[0][0]:.0f} CPU s of training against {pairs[0][1]:.0f} for all that TAPE does)"
    return _row(target, words, _yes(ratio >= TIMES_FASTER))


def _simulations(measured: dict[str, Any]) -> list[dict[str, str]]:
    table = []
    target = _tape_simulation_report.TARGET
    found = _tape_simulation_report.with_smoothed(measured).get("default", [])
    for peer, values in _tape_simulation_report.ratios(found).items():
        title = f"Simulations, {len(values)} at the defaults: AUPRC of links >= {target} x {_tape_simulation_report.RATIOS[peer]}"
        reached = f"{np.mean(values):.3f} ({sum(value >= target for value in values)}/{len(values)})"
        table.append(_row(_bracket(title, peer), reached, _yes(np.mean(values) >= target)))
    if genes := measured.get("genes", {}).get("default", []):
        gained = np.array([row["pearson"]["tape"] - row["pearson"]["gene_score"] for row in genes])
        title = (
            f"Simulations, {len(genes)} at the defaults: better than the gene score on genes of held-out chromosomes"
        )
        table.append(_row(title, f"{gained.mean():+.3f} ({np.sum(gained > 0)}/{gained.size})", _yes(gained.mean() > 0)))
    return table


def _gained(cells: dict[str, Rows], name: str, key: str) -> np.ndarray:
    """Give by how much TAPE is better than a peer on the splits of both."""
    ours, theirs = ({row["seed"]: row[key] for row in cells[method]} for method in ("tape", name))
    sign = -1.0 if key in LOWER_IS_BETTER else 1.0
    return np.array([sign * (ours[seed] - theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())])


def _threads(found: Rows) -> str:
    threads = sorted({row.get("threads", 1) for row in found})
    return f"{' or '.join(map(str, threads))} thread{'s' if threads != [1] else ''}"


def _bracket(title: str, peer: str) -> str:
    return f"[{title}]" if peer in (*OTHERS, "smoothed_correlation") else title


def _row(target: str, measured: str, met: str) -> dict[str, str]:
    return {"target": target, "measured": measured, "met": met}


def _yes(met: Any) -> str:
    return "yes" if met else "no"
