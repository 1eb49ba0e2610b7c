"""Rare types in training and in splits, beside the peers: `python -m benchmarks longtail`."""

from __future__ import annotations

from benchmarks._parts import Parts

TEXT = """\
Labelled cells of which the training has a long tail: the largest type 100 times the smallest, exponentially between. Weights of
`pp.hierarchical_weights` for CapsuleNet, a logistic regression and a small network, beside what is done against long tails elsewhere; clusters that splits miss; expectations
under weighted draws; and the time of a million cells."""

BENCHMARK = Parts(
    name="longtail",
    prefix="longtail",
    parts=("labels", "capsules", "split", "expectations", "speed"),
    title="Long tails: weights, splits and their cost",
    text=TEXT,
)


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    BENCHMARK.main(argv)
