"""Adversarial training beside the peers: `python -m benchmarks adversarial`."""

from __future__ import annotations

from benchmarks._parts import Parts

TEXT = """\
Labels under attack, cells and sequences from generators that a critic is to mend (rows without it show what it does), and batches that states hide, each beside what an expert would try first and
the tools in use. Settings are the defaults of the package, the same on every set; none was chosen on the cells that are scored, but for the epochs
of `tl.simulate`, which were chosen on symphony."""

BENCHMARK = Parts(
    name="adversarial",
    prefix="adversarial",
    parts=("attacks", "cells", "sequences", "integration"),
    title="Adversarial training",
    text=TEXT,
)


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    BENCHMARK.main(argv)
