"""Queries on references, and learning from streams: `python -m benchmarks transfer`."""

from __future__ import annotations

from benchmarks._parts import Parts

TEXT = """\
CapsuleNet maps queries (`tl.map_query`) onto references that it was trained on, and learns from streams (`model.partial_fit`), at its
defaults; in the streams at most 600 old cells are kept (200 of the cell lines): all 400 of the first increment, and 600 of 1,600 before the last (200 of 680). The peers and the simple baselines are measured on the same cells; where
a table has rows of several states of the code, it says so."""

BENCHMARK = Parts(
    name="transfer",
    prefix="transfer",
    parts=("mapping", "streams"),
    title="Online and transfer learning",
    text=TEXT,
)


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    BENCHMARK.main(argv)
