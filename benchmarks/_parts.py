"""A benchmark in parts, each a module `_<prefix>_<part>` with `TITLE`, `CAPTION`, `SEEDS`, `measure(seed)`, `table(rows)`, `targets(rows)` and `data()`.

Targets of a part without rows are printed too, as not measured: `targets` takes an empty list.

The rows of a seed are kept in `benchmarks/results/<name>.json` as soon as it is measured; a seed that is there is not measured again without
`--again`. A part whose rows take long each has `measure_rest(seed, done)` in the place of `measure`, which leaves out the pairs of `set` and `name`
that are done: its rows are kept one by one. `--take` adds the rows of another such file.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import _results, _row_commits

#: What tells rows of a part from one another; a part with one set of data need not name it.
KEY = ("seed", "set", "name")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Parts:
    """A benchmark: its name, the beginning of the names of its modules, its parts, and what stands above the tables."""

    name: str
    prefix: str
    parts: tuple[str, ...]
    title: str
    text: str

    def main(self, argv: list[str]) -> None:
        """Measure what is asked for, and write the results."""
        options = self._options(argv)
        for file in options.take:
            for part, rows in json.loads(file.read_text())["measured"].items():
                self._keep(part, *rows)
        if options.take:
            return
        for part in options.part:
            module = self._module(part)
            for seed in options.seeds or module.SEEDS:
                there = [] if options.again else [r for r in self._measured().get(part, []) if r["seed"] == seed]
                if hasattr(module, "measure_rest"):
                    done = {(row.get("set", ""), row.get("name", "")) for row in there}
                    for row in module.measure_rest(seed, done):
                        self._found(part, row)
                elif not there:
                    self._found(part, *module.measure(seed))
        self._write()

    def _found(self, part: str, *rows: dict[str, Any]) -> None:
        """Keep new rows, and say so."""
        stamped = [row | _results.stamp() for row in rows]
        self._keep(part, *stamped)
        for row in stamped:
            print(time.strftime("%H:%M:%S"), part, row, flush=True)

    def _options(self, argv: list[str]) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks {self.name}", description=self.text)
        parser.add_argument("--part", nargs="+", choices=self.parts, default=self.parts)
        parser.add_argument("--seeds", nargs="+", type=int, default=[], help="by default those of the part")
        parser.add_argument("--again", action="store_true", help="measure rows again that are there")
        parser.add_argument(
            "--take", nargs="+", type=Path, default=[], metavar="FILE", help="only add the rows of FILE"
        )
        return parser.parse_args(argv)

    def _module(self, part: str) -> Any:
        return import_module(f"benchmarks._{self.prefix}_{part}")

    def _measured(self) -> dict[str, Rows]:
        return _results.read(self.name).get("measured", {})

    def _keep(self, part: str, *rows: dict[str, Any]) -> None:
        """Add rows to the file, in the place of older ones."""
        with _results.alone():
            measured = self._measured()
            measured[part] = _results.with_rows(
                measured.get(part, []), rows, lambda row: tuple(row.get(key, "") for key in KEY)
            )
            self._write(measured)

    def _write(self, measured: dict[str, Rows] | None = None) -> None:
        """Write the document of all rows."""
        measured = self._measured() if measured is None else measured
        every = {part: self._module(part) for part in self.parts}
        targets = [row for part, module in every.items() for row in module.targets(measured.get(part, []))]
        modules = {part: module for part, module in every.items() if measured.get(part)}
        tables = [{"title": "Targets", "rows": targets}]
        tables += [
            {
                "title": module.TITLE,
                "rows": module.table(measured[part]),
                "caption": " ".join((module.CAPTION.strip(), *_commits(measured[part]))),
            }
            for part, module in modules.items()
        ]
        document = {"title": self.title, "text": self.text, "tables": tables, "measured": measured}
        seeds = sorted({row["seed"] for rows in measured.values() for row in rows})
        files = {path for module in modules.values() for path in module.data()}
        _results.write(self.name, document, seeds=seeds, data=sorted(files))


def _commits(rows: Rows) -> list[str]:
    """Say where rows of a table were measured at several states of the code; one is told below the page."""
    if len({row.get("commit") for row in rows}) < 2:
        return []
    return _row_commits.of_runs((row.get("name") or row.get("set") or "rows", row) for row in rows)
