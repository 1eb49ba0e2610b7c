"""Chromatin mapped onto genes and the order of its nucleotides, beside the peers: `python -m benchmarks gene_activity`."""

from __future__ import annotations

from benchmarks._parts import Parts

TEXT = """\
Counting fragments, gene activity by fixed and learned weights, the roles of peaks, and deviations of words and motifs, each beside the tools
that the field uses and beside the simplest thing an expert would try. What is not told otherwise ran on one thread."""

BENCHMARK = Parts(
    name="gene_activity",
    prefix="activity",
    parts=("fragments", "kernels", "learned", "function", "deviations", "motifs"),
    title="Chromatin onto genes, and the order of its nucleotides",
    text=TEXT,
)


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    BENCHMARK.main(argv)
