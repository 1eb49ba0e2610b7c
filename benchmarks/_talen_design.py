"""Pairs for a region: all of them by a plain enumeration, beside talenWF, and how specific the first of the table are."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._talen_speed import SHARES

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Design"
CAPTION = """\
All pairs of 15 to 20 repeats with spacers of 15 to 18 in 1,000 random bases, T before both halves. talenWF is version 0.1.2 without a cut site; where it cannot be
imported (`pip install talenWF`) it is left out. It takes each upstream T once, and so misses pairs. Expected places are those that a billion random bases hold by
chance at cut-off 3.0: the median of all pairs, which is what the first pair found gives, and that of the first pair of each cut site."""
SEEDS = (0, 1, 2)
ARRAY, SPACER, LENGTH = (15, 20), (15, 18), 1000


def data() -> list[Path]:
    return []


def naive(sequence: str) -> set[tuple[int, int, int, int]]:
    """Every pair, by looking at every window: start of the left half, last base of the right half, spacer and its left length."""
    found = set()
    for start in range(1, len(sequence)):
        if sequence[start - 1] != "T":
            continue
        for left in range(ARRAY[0], ARRAY[1] + 1):
            for spacer in range(SPACER[0], SPACER[1] + 1):
                for right in range(ARRAY[0], ARRAY[1] + 1):
                    last = start + left + spacer + right
                    if last < len(sequence) and sequence[last] == "A":
                        found.add((start, last - 1, spacer, left))
    return found


def talenwf(sequence: str) -> set[tuple[int, int, int, int]] | None:
    """The pairs that talenWF lists, or None where it is not installed."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from talenWF import FindTALTask
    except ImportError:
        return None
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            shape = {"min_spacer": SPACER[0], "max_spacer": SPACER[1], "array_min": ARRAY[0], "array_max": ARRAY[1]}
            rows = FindTALTask(sequence=sequence, outpath=None, **shape).run()
    finally:
        logging.disable(logging.NOTSET)
    columns = ("TAL1 start", "TAL2 start", "Spacer length", "TAL1 length")
    return set(rows[list(columns)].itertuples(index=False, name=None))


def measure(seed: int) -> list[dict[str, Any]]:
    from sctandem.genome._locus_bases import LocusBases
    from sctandem.genome._talen_design import talen_pairs
    from sctandem.tl._design_talens import _best_first, _expected_places

    codes = np.random.default_rng(seed).choice(4, size=LENGTH, p=SHARES).astype(np.uint8)
    sequence = "".join("ACGT"[code] for code in codes)
    pairs = talen_pairs(LocusBases("a", 0, codes), 0, LENGTH, array=ARRAY, spacer=SPACER)
    ours = set(
        zip(pairs["left_start"], pairs["right_start"], pairs["spacer"], pairs["left_target"].str.len(), strict=True)
    )
    expected, peer = naive(sequence), talenwf(sequence)
    places = _expected_places(pairs, "NN")
    ranked = pairs.assign(expected_places=places, target="a", accessibility=0.0, off=(pairs["cut"] - LENGTH / 2).abs())
    first = _best_first(ranked, {"per_cut": 1, "n_best": 50})
    return [{
        "seed": seed, "name": "pairs", "naive": len(expected), "ours": len(ours), "same": ours == expected,
        "talenwf": None if peer is None else len(peer), "talenwf_ours": None if peer is None else len(peer & ours),
        "median_places": float(np.median(places)), "first_places": float(first["expected_places"].median()),
    }]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "seed": str(row["seed"]),
            "pairs by enumeration": str(row["naive"]),
            "pairs here": str(row["ours"]),
            "pairs of talenWF": "not installed" if row["talenwf"] is None else str(row["talenwf"]),
            "of these here": "" if row["talenwf"] is None else str(row["talenwf_ours"]),
            "expected places, any pair": f"{row['median_places']:.1f}",
            "expected places, first 50": f"{row['first_places']:.2f}",
        }
        for row in rows
    ]


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    same = sum(row["same"] for row in rows)
    return [{
        "target": "design lists exactly the pairs of a plain enumeration",
        "measured": f"{same} of {len(rows)} sequences" if rows else "",
        "met": "not measured" if not rows else "yes" if same == len(rows) else "no",
    }]  # fmt: skip
