"""Queries on references, and learning from streams: `python -m benchmarks transfer`."""

from __future__ import annotations

from benchmarks._parts import Parts

TEXT = """\
CapsuleNet maps queries (`tl.map_query`) onto references that it was trained on, and learns from streams (`model.partial_fit`), at its
defaults; in the streams up to a third of the old cells is seen again (600 of 1,600 simulated ones, 200 of 680 of the cell lines). The peers and the simple baselines are measured in the same run, on the same cells."""

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
