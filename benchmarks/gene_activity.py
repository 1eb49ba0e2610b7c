"""Chromatin mapped onto genes and the order of its nucleotides, beside the peers: `python -m benchmarks gene_activity`.

Every part is a module `_activity_<part>` with `TITLE`, `CAPTION`, `SEEDS`, `measure(seed)`, `table(rows)`, `targets(rows)` and `data()`.
Rows are kept in `benchmarks/results/gene_activity.json` as soon as they are measured; those that are there are not measured again without
`--again`. `--take` adds the rows of another such file.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import _results

NAME = "gene_activity"
PARTS = ("fragments", "kernels", "learned", "function", "deviations", "motifs")
#: What tells rows of a part from one another; a part on several sets of data has rows of one name for each.
KEY = ("seed", "name", "data", "set")
TITLE = "Chromatin onto genes, and the order of its nucleotides"
TEXT = """\
Counting fragments, gene activity by fixed and learned weights, the roles of peaks, and deviations of words and motifs, each beside the tools
that the field uses and beside the simplest thing an expert would try. What is not told otherwise ran on one thread."""

Rows = list[dict[str, Any]]


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    options = _options(argv)
    for file in options.take:
        for part, rows in json.loads(file.read_text())["measured"].items():
            _keep(part, *rows)
    if options.take:
        return
    for part in options.part:
        module = _module(part)
        for seed in options.seeds or module.SEEDS:
            if not options.again and any(row["seed"] == seed for row in _measured().get(part, [])):
                continue
            rows = [row | _results.stamp() for row in module.measure(seed)]
            _keep(part, *rows)
            for row in rows:
                print(time.strftime("%H:%M:%S"), part, row, flush=True)
    write()


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gene_activity", description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="by default those of the part")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    parser.add_argument("--take", nargs="+", type=Path, default=[], metavar="FILE", help="only add the rows of FILE")
    return parser.parse_args(argv)


def _module(part: str) -> Any:
    return import_module(f"benchmarks._activity_{part}")


def _measured() -> dict[str, Rows]:
    return _results.read(NAME).get("measured", {})


def _keep(part: str, *rows: dict[str, Any]) -> None:
    """Add rows to the file, in the place of older ones."""
    with _results.alone():
        measured = _measured()
        measured[part] = _results.with_rows(
            measured.get(part, []), rows, lambda row: tuple(row.get(key, "") for key in KEY)
        )
        write(measured)


def write(measured: dict[str, Rows] | None = None) -> None:
    """Write the document of all rows."""
    measured = _measured() if measured is None else measured
    modules = {part: _module(part) for part in PARTS if measured.get(part)}
    targets = [row for part, module in modules.items() for row in module.targets(measured[part])]
    tables = [{"title": "Targets", "rows": targets}]
    tables += [
        {"title": module.TITLE, "rows": module.table(measured[part]), "caption": module.CAPTION}
        for part, module in modules.items()
    ]
    document = {"title": TITLE, "text": TEXT, "tables": tables, "measured": measured}
    seeds = sorted({row["seed"] for rows in measured.values() for row in rows})
    files = {path for module in modules.values() for path in module.data()}
    _results.write(NAME, document, seeds=seeds, data=sorted(files))
