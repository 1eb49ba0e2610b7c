"""Regulation beside the peers: `python -m benchmarks regulation`."""

from __future__ import annotations

from benchmarks._parts import Parts

TEXT = """\
Binding sites from ChIP-exo, regulatory edges with and without labels, and lineages over waypoints, beside what an expert would try and the tools in use. What is not told otherwise
ran on one thread."""

BENCHMARK = Parts(
    name="regulation",
    prefix="regulation",
    parts=("chipexo", "unsupervised", "supervised", "graph", "lineages"),
    title="Regulation",
    text=TEXT,
)


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    BENCHMARK.main(argv)
