"""The outputs of TALE-NT's paired search, site by site."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pandas as pd

TITLE = "Parity with TALE-NT"
CAPTION = """\
Outputs of TALE-NT's paired search for one pair and its homodimers on four sequences, for two score cut-offs and nine ranges of the spacer. Exact: the same
rows in the same order, with both scores to two decimals, both starts, the spacer and both targets."""
SEEDS = (0,)

PAIR = (
    "NN HD HD HD NI NG NN HD NG NN NI NN NI NN NN",
    "NN HD NN NG NN NG NN HD NN NG NN NG NN NG NN NG",
)
COLUMNS = [
    "sequence", "left", "right", "left_score", "right_score", "left_start", "right_start", "spacer", "left_target",
    "right_target",
]  # fmt: skip


def folder() -> Path:
    return Path(os.environ["SCTANDEM_DATA"]) / "talen"


def data() -> list[Path]:
    return sorted(folder().iterdir()) if "SCTANDEM_DATA" in os.environ else []


def measure(seed: int) -> list[dict[str, Any]]:
    from sctandem.genome import scan_talens

    rows = []
    for path in sorted(folder().glob("cutoff*.txt")):
        cutoff, shortest, longest = re.fullmatch(r"cutoff(\d_\d)_pair0_min(\d+)_max(\d+)", path.stem).groups()
        expected = pd.read_csv(path, sep="\t", skiprows=2).set_axis(COLUMNS, axis=1)
        found = scan_talens(
            folder() / "paired_input.fasta",
            PAIR,
            spacer=(int(shortest), int(longest)),
            cutoff=float(cutoff.replace("_", ".")),
        ).round({"left_score": 2, "right_score": 2})[COLUMNS]
        exact = len(found) == len(expected) and bool((found.to_numpy() == expected.to_numpy()).all())
        rows.append({
            "seed": seed, "name": path.stem, "cutoff": cutoff.replace("_", "."), "spacers": f"{shortest} to {longest}",
            "expected": len(expected), "found": len(found), "exact": exact,
        })  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "cut-off": row["cutoff"],
            "spacers": row["spacers"],
            "places of TALE-NT": str(row["expected"]),
            "places here": str(row["found"]),
            "exact": "yes" if row["exact"] else "no",
        }
        for row in rows
    ]


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    exact = sum(row["exact"] for row in rows)
    return [{
        "target": "TALE-NT's outputs reproduced exactly: sites, scores to two decimals, all ranges, both cut-offs",
        "measured": f"{exact} of {len(rows)} files, {sum(row['expected'] for row in rows)} places" if rows else "",
        "met": "not measured" if not rows else "yes" if exact == len(rows) else "no",
    }]  # fmt: skip
