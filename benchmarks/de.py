"""`python -m benchmarks de`: calibration and power of differential expression between samples, against pseudobulk peers."""

from __future__ import annotations

import argparse
import os
from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks import _results

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = """\
Control cells of eight donors (Kang 2018), all types with at least 100 cells; all methods see the same samples and genes. *Null*: all
35 splits 4 v 4 and 28 splits 2 v 6, and simulated donors (5 v 5, two hidden factors). *Power*: in each type a tenth of the genes is thinned in one of the groups (log2 fold change 1 or 0.5); with a
batch, donors lie in two lanes, partly confounded with the groups, that change three tenths of the genes, and the lane is in the design of
all methods. moderated t, voom and quasi-likelihood are written after the papers, not the R packages. The method was chosen on thinning seeds 100 to
123 and on every second split; seeds here are others, the donors are the same."""


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks de", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--deseq-seeds", type=int, default=5, help="seeds and splits on which PyDESeq2 runs")
    parser.add_argument("--cells", type=int, nargs="*", default=[50, 150, 500], help="of simulated donors")
    parser.add_argument("--no-write", action="store_true", help="print only")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = arguments(argv)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from benchmarks import _de_data as data
    from benchmarks import _de_runs as runs

    null = []
    for size in (4, 2):
        for i, first in enumerate(data.splits(size)):
            few = i % 7 == 0 and i // 7 < options.deseq_seeds
            null += [{"against": f"{size} v {8 - size}", **row} for row in runs.null_split(first, deseq=few, cells=few)]
        print("null", size, flush=True)
    for n_cells in options.cells:
        for seed in range(options.seeds):
            rows = runs.null_simulated(n_cells, seed, deseq=seed < options.deseq_seeds)
            null += [{"against": f"simulated, {n_cells} cells", **row} for row in rows]
    power = []
    for n, batch in ((4, False), (3, False), (4, True)):
        for keep in (0.5, 0.5**0.5):
            for seed in range(options.seeds):
                power += runs.power(n, keep, seed, batch=batch, deseq=seed < options.deseq_seeds)
            print("power", n, batch, keep, flush=True)
    document = report(null, power)
    for table in document["tables"]:
        print(table["title"])
        for row in table["rows"]:
            print("  ", row)
    if not options.no_write:
        print(_results.write("de", document, seeds=range(options.seeds), data=[data.CONTROL]))
    return 0


def report(null: list[dict[str, Any]], power: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the document."""
    return {
        "title": "Differential expression between samples",
        "text": TEXT,
        "tables": [
            {
                "title": "Null: share of genes with p < 0.05, by type",
                "rows": by(null, ("against", "method"), "type", lambda rows: round(mean(r["type1"] for r in rows), 3)),
            },
            {"title": "Null: what is reported at 5 %", "rows": reported(null)},
            {"title": "Power", "rows": averaged(power)},
            {
                "title": "Power / realised false discovery rate, by type, log2 fold change 1",
                "rows": by([r for r in power if r["keep"] == 0.5], ("n", "batch", "method"), "type", _both),
            },
        ],
        "null": null,
        "power": power,
    }


def _both(rows: list[dict[str, Any]]) -> str:
    return f"{mean(r['power'] for r in rows):.2f} / {mean(r['fdr'] for r in rows):.3f}"


def by(
    rows: list[dict[str, Any]], keys: tuple[str, ...], across: str, value: Callable[[list[dict[str, Any]]], Any]
) -> list[dict[str, Any]]:
    """Give a row a combination of keys, with a column a value of `across`."""
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        lines.setdefault(tuple(row[key] for key in keys), {}).setdefault(row[across], []).append(row)
    return [
        dict(zip(keys, key, strict=True)) | {name: value(part) for name, part in parts.items()}
        for key, parts in lines.items()
    ]


def reported(null: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row a null and method: worst split and type, runs with more than five genes, and seconds a type."""
    table = []
    for against, method in dict.fromkeys((row["against"], row["method"]) for row in null):
        same = [row for row in null if (row["against"], row["method"]) == (against, method)]
        line = {"against": against, "method": method, "worst share below 0.05": max(r["type1"] for r in same)}
        line["runs with any gene, %"] = 100 * mean(r["reported"] > 0 for r in same)
        line["runs with more than 5, %"] = 100 * mean(r["reported"] > 5 for r in same)
        table.append(line | {"CPU s a type": mean(r["s"] for r in same), "runs": len(same)})
    return table


def averaged(power: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row a setting and method: averages over types and seeds."""
    keys = ("n", "keep", "batch", "method")
    table = []
    for key in dict.fromkeys(tuple(row[k] for k in keys) for row in power):
        same = [row for row in power if tuple(row[k] for k in keys) == key]
        setting = f"{key[0]} v {key[0]}{', batch' if key[2] else ''}, log2 fold change {1 if key[1] == 0.5 else 0.5}"
        line = {"setting": setting, "method": key[3], "power": mean(r["power"] for r in same)}
        table.append(line | {"realised FDR": mean(r["fdr"] for r in same), "runs": len(same)})
    return table
