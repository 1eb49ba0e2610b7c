"""TALENs, their places, their design and the effect of a cut, beside the peers: `python -m benchmarks talen`."""

from __future__ import annotations

from benchmarks._parts import Parts

TEXT = """\
Places where pairs of TALENs may cut, held against TALE-NT's own output; the time that a genome takes; and pairs for a region beside those of
talenWF; and what closing an element does, predicted and true, on simulations. Scores say nothing about how often a place is cut, and nothing here measures that."""

BENCHMARK = Parts(
    name="talen",
    prefix="talen",
    parts=("parity", "speed", "design", "knockout"),
    title="TALEN pairs and the places they may cut",
    text=TEXT,
)


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    BENCHMARK.main(argv)
