"""CapsuleNet trained on a long tail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks._longtail_data import files
from benchmarks._longtail_labels import measure_classifiers, table, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CAPTION", "SEEDS", "TITLE", "data", "measure_rest", "table", "targets"]

CLASSIFIERS = ("CapsuleNet",)

TITLE = "Labels from a long tail: CapsuleNet"
CAPTION = "As for regression and network, of which the first three draws are taken, so that small differences are chance; CapsuleNet at its defaults."
SEEDS = (0, 1, 2)


def data() -> list[Path]:
    return files()


def measure_rest(seed: int, done: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    return measure_classifiers(seed, CLASSIFIERS, done)


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return targets_of(CLASSIFIERS, rows)
