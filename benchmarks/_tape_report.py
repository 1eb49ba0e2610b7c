"""The document of the benchmark `tape`: its tables from its measurements."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import _row_commits, _tape_methods, _tape_simulation_report, _tape_targets

COLUMNS = {
    "pearson": ("Pearson a gene", "{:.4f}"),
    "given_library_pearson": ("given the library size", "{:.4f}"),
    "within_group_pearson": ("within time points", "{:.4f}"),
    "rmse": ("RMSE", "{:.4f}"),
    "auroc": ("AUROC", "{:.4f}"),
    "fold_change_pearson": ("fold changes", "{:.3f}"),
    "seconds": ("seconds", "{:.0f}"),
    "processor_seconds": ("CPU seconds", "{:.0f}"),
    "peak_mb": ("peak MB", "{:.0f}"),
}
COMPARED = ("pearson", "given_library_pearson", "within_group_pearson", "rmse", "auroc", "fold_change_pearson")
LOWER_IS_BETTER = {"rmse"}
UNTUNED = {"mean", "time_point", "library", "tape", "multivi", "average"}
TEXT = """\
sci-CAR A549 cells under dexamethasone for 0, 1 and 3 hours (Cao 2018): 2,641 cells, 1,185 genes, 52,761 peaks; random splits in
80 % training and 20 % test cells. Truth and predictions are log1p of counts per 10,000. *Pearson a gene*: over test cells, mean
over genes (constant prediction: 0). *Given the library size*: the same as partial correlation given the log library size of the cell,
on which log1p CP10k depends as well. *Within time points*: the same after the means of the time points are taken from truth
and prediction. *RMSE*: over all values. *AUROC*: detected or not, mean over genes. *Fold changes*: Pearson over genes of predicted with
measured mean difference 3 h - 0 h of the test cells.

Every peer sees RNA and ATAC of the training cells and ATAC of the test cells. Settings (components, weighting, neighbours,
penalty, length scale, decay) are chosen by threefold cross-validation on the training cells for mean per-gene Pearson; kNN and the
regressions predict leading directions of the expression, as the winner of the NeurIPS 2021 task did, and their number is
chosen likewise; one factor for all deviations from the mean, fitted on the same held-out training cells, makes the best of
their RMSE. The average of the regressions is the plain mean of the three below kNN. TAPE runs at its defaults."""
MULTIVI = " MultiVI runs at its defaults too, and its imputed values get such a factor."


#: Splits from this number on were first looked at when the method was fixed; those below helped to choose it.
FRESH = 100
WAITED = 0.7
"""Share of the wall-clock time in CPU seconds below which methods on one thread must have waited for others."""


def document(measured: dict[str, Any]) -> dict[str, Any]:
    """Give title, text, tables and raw figures."""
    tables = []
    cells = measured.get("cells", {})
    for title, caption, wanted in (
        ("Held-out cells", "", lambda seed: seed < FRESH),
        ("Held-out cells, splits that nobody had looked at", FRESH_CAPTION, lambda seed: seed >= FRESH),
    ):
        chosen_rows = {name: [row for row in found if wanted(row["seed"])] for name, found in cells.items()}
        if any(chosen_rows.values()):
            tables.append({"title": title, "caption": caption + _caption(chosen_rows), "rows": rows(chosen_rows)})
        if chosen_rows.get("tape"):
            tables.append(
                {"title": f"TAPE against each: {title.lower()}", "caption": PAIRED, "rows": paired(chosen_rows)}
            )
    if cells:
        tables.append({"title": "Settings chosen on the training cells", "caption": "", "rows": chosen(cells)})
    tables += _tape_simulation_report.tables(measured.get("simulation", {}))
    if targets := _tape_targets.rows(measured, fresh=FRESH):
        tables.append({"title": "Targets", "caption": _tape_targets.CAPTION, "rows": targets})
    text = TEXT + (MULTIVI if cells.get("multivi") else "")
    return {"title": "Expression from chromatin", "text": text, "tables": tables, "measured": measured}


def seeds(measured: dict[str, Any]) -> list[int]:
    """Give the seeds of all rows."""
    if isinstance(measured, list):
        return sorted({row["seed"] for row in measured})
    return sorted({seed for part in measured.values() for seed in seeds(part)})


FRESH_CAPTION = (
    "The form of TAPE (kernels, stacking, number of factors) was chosen by its skill on test cells of other random splits of these "
    "cells, while the peers are tuned on training cells only: its figures above may be somewhat optimistic. These splits were drawn "
    "after that choice; the cells are the same, so they lessen the doubt and do not remove it. "
)
PAIRED = "Difference TAPE - other on the same split, mean and standard deviation over splits, and splits in which TAPE is better."


def rows(cells: dict[str, list[dict[str, Any]]]) -> list[dict[str, str]]:
    """Give one row a method: mean +- standard deviation over splits."""
    table = []
    for name, entry in _tape_methods.entries().items():
        found = cells.get(name, [])
        if not found:
            continue
        row = {"method": entry.title + _mark(found), "splits": str(len(found))}
        table.append(row | {title: _spread(found, key, form) for key, (title, form) in COLUMNS.items()})
    return table


def paired(cells: dict[str, list[dict[str, Any]]]) -> list[dict[str, str]]:
    """Give the differences of TAPE to every other method on the same splits."""
    ours = {row["seed"]: row for row in cells["tape"]}
    table = []
    for name, entry in _tape_methods.entries().items():
        theirs = {row["seed"]: row for row in cells.get(name, [])}
        seeds = sorted(ours.keys() & theirs.keys())
        if name == "tape" or not seeds:
            continue
        row = {"TAPE against": entry.title, "splits": str(len(seeds))}
        for key in COMPARED:
            pairs = [(ours[seed][key], theirs[seed][key]) for seed in seeds]
            differences = np.array([left - right for left, right in pairs if None not in {left, right}])
            better = int(np.sum(differences < 0 if key in LOWER_IS_BETTER else differences > 0))
            title = COLUMNS[key][0]
            row[title] = f"{_signed(differences)} ({better}/{differences.size})" if differences.size else "-"
        table.append(row)
    return table


def line(row: dict[str, Any]) -> str:
    """Give one measurement in one line."""
    figures = [f"{title} {form.format(row[key])}" for key, (title, form) in COLUMNS.items() if row.get(key) is not None]
    return f"{', '.join(figures)}; {row['settings']}"


def _spread(found: list[dict[str, Any]], key: str, form: str) -> str:
    values = np.array([row[key] for row in found if row.get(key) is not None], dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return "-"
    text = form.format(values.mean())
    return f"{text} ± {form.format(values.std(ddof=1))}" if values.size > 1 else text


def _signed(differences: np.ndarray) -> str:
    spread = f" ± {differences.std(ddof=1):.4f}" if differences.size > 1 else ""
    return f"{differences.mean():+.4f}{spread}"


def _mark(found: list[dict[str, Any]]) -> str:
    """Mark MultiVI when it was given fewer epochs than its default."""
    limits = {row["settings"].get("epochs_limit", "default") for row in found} - {"default"}
    return f" (at most {', '.join(map(str, sorted(limits)))} epochs)" if limits else ""


def chosen(cells: dict[str, list[dict[str, Any]]]) -> list[dict[str, str]]:
    """Give the settings that every tuned method chose, and in how many splits."""
    table = []
    for name, entry in _tape_methods.entries().items():
        if name in UNTUNED:
            continue
        texts = [_settings(row["settings"]) for row in cells.get(name, [])]
        table += [
            {"method": entry.title, "settings": text, "splits": str(texts.count(text))} for text in dict.fromkeys(texts)
        ]
    return table


def _settings(settings: dict[str, Any]) -> str:
    """Give settings as text, without the factor of the deviations, which differs in every split."""
    return "; ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in settings.items()
        if key != "scale"
    )


def _caption(cells: dict[str, list[dict[str, Any]]]) -> str:
    """Say what the figures are, how long MultiVI's epochs took, and at which commits the rows were measured."""
    entries = _tape_methods.entries()
    parts = [
        "Mean ± standard deviation over splits. Seconds are wall-clock time with the choice of settings; CPU seconds do not grow "
        "when the machine has other work."
    ]
    rows_of_all = [row for found in cells.values() for row in found]
    if sum(row["processor_seconds"] for row in rows_of_all) < WAITED * sum(row["seconds"] for row in rows_of_all):
        parts.append("It had, in these runs: compare CPU seconds.")
    if multivi := cells.get("multivi"):
        epochs = ", ".join(str(row["settings"]["epochs"]) for row in multivi)
        seconds = np.mean([row["settings"]["processor_seconds_per_epoch"] for row in multivi])
        parts.append(f"MultiVI trained {epochs} epochs of {seconds:.1f} CPU seconds.")
    if without := [row["settings"]["pearson_without_windows"] for row in cells.get("tape", [])]:
        parts.append(
            f"TAPE without its windows, their gates set to zero, has a Pearson of {np.mean(without):.4f}: for genes with counts of "
            "their own the state of the cell says what the windows say. The windows are what predicts genes without "
            "counts, and what links are read from."
        )
    parts += _row_commits.sentences((entries[name].title, row) for name, found in cells.items() for row in found)
    return " ".join(parts)
