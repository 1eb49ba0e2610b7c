"""`python -m benchmarks anneal`: clusters by annealing against Leiden, k-means and mixtures on labelled cells, and times."""

from __future__ import annotations

import argparse
import os
from statistics import mean, pstdev
from typing import Any

from benchmarks import _results

TEXT = """\
Five sets whose labels come from outside the expression (for paul15 from an earlier clustering), each as 30 principal components
(`X_pca`) and as the latent space of a count VAE that knows the batches (`X_vae`, one training). Annealing and Leiden are not told
the number of clusters. *Number within 1*: clusters found against labels. Annealing draws nothing at random up to 8,000 cells, so
that its spread over seeds is nil on these sets. The stop rule was chosen on simulated cells (normal, skewed, stretched, gradients
and negative binomial counts); these labels were looked at while it was chosen, and no threshold was set by them."""


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks anneal", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cells", type=int, nargs="*", default=[20_000, 100_000, 1_000_000], help="for the times")
    parser.add_argument(
        "--peer-cells", type=int, default=100_000, help="largest number of cells on which Leiden is timed"
    )
    parser.add_argument("--no-write", action="store_true", help="print only")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = arguments(argv)
    # before numpy is loaded in the processes that measure
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = str(options.threads)
    from benchmarks import _anneal_runs as runs
    from benchmarks._labelled_sets import LABEL, SETS, path
    from benchmarks._measure import measure

    times = [measure(runs.timed, n, list(runs.IN_PLACE)[: 1 + (n <= options.peer_cells)]).value for n in options.cells]
    rows = []
    for entry in SETS:
        adata = runs.represented(entry.name)
        for rep in (runs.PCA, runs.VAE):
            for method in runs.METHODS:
                seeds = 1 if method.endswith("BIC") else options.seeds
                for seed in range(seeds):
                    row = runs.scored(method, adata, rep, seed)
                    rows.append({"set": entry.name, "true": adata.obs[LABEL].nunique(), **row})
            print(
                entry.name,
                rep,
                [(row["method"], row["clusters"], round(row["ari"], 3)) for row in rows[-20:]],
                flush=True,
            )
    document = report(rows, times)
    for table in document["tables"]:
        print(table["title"])
        for row in table["rows"]:
            print("  ", row)
    if not options.no_write:
        print(_results.write("anneal", document, seeds=range(options.seeds), data=[path(entry) for entry in SETS]))
    return 0


def summarised(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row a set, representation and method: mean and spread over seeds."""
    keys = list(dict.fromkeys((row["set"], row["representation"], row["method"]) for row in rows))
    table = []
    for key in keys:
        same = [row for row in rows if (row["set"], row["representation"], row["method"]) == key]
        line = dict(zip(("set", "representation", "method"), key, strict=True)) | {"labels": same[0]["true"]}
        line["clusters"] = f"{mean(row['clusters'] for row in same):.1f}"
        for score in ("ari", "nmi"):
            values = [row[score] for row in same]
            line[score.upper()] = f"{mean(values):.3f} ± {pstdev(values):.3f}"
        table.append(line | {"seconds": mean(row["seconds"] for row in same), "seeds": len(same)})
    return table


def averaged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row a representation and method: averages over sets, and on how many the number is right within one."""
    table = []
    for rep, method in dict.fromkeys((row["representation"], row["method"]) for row in rows):
        same = [row for row in rows if (row["representation"], row["method"]) == (rep, method)]
        sets = list(dict.fromkeys(row["set"] for row in same))
        by_set = {name: [row for row in same if row["set"] == name] for name in sets}
        close = sum(abs(mean(row["clusters"] - row["true"] for row in part)) <= 1 for part in by_set.values())
        spread = max(pstdev(row["ari"] for row in part) for part in by_set.values())
        table.append(
            {
                "representation": rep,
                "method": method,
                "mean ARI": mean(mean(row["ari"] for row in part) for part in by_set.values()),
                "mean NMI": mean(mean(row["nmi"] for row in part) for part in by_set.values()),
                "number within 1": "told" if "told" in method else f"{close} of {len(sets)}",
                "largest s.d. over seeds": spread,
            }
        )
    return table


def report(rows: list[dict[str, Any]], times: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the document."""
    own, peer = "sctandem anneal", "Leiden(1.0)"
    lines = [
        {
            "cells": row["cells"],
            "anneal, s": row[own],
            "anneal, CPU s": row[f"{own}, CPU s"],
            "Leiden, s": row.get(peer),
            "Leiden, CPU s": row.get(f"{peer}, CPU s"),
            "times faster": row[peer] / row[own] if peer in row else None,
            "in CPU s": row[f"{peer}, CPU s"] / row[f"{own}, CPU s"] if peer in row else None,
            "anneal, MB above the input": row[f"{own}, peak MB above the input"],
            "anneal, ARI": row[f"{own}, ARI"],
            "Leiden, ARI": row.get(f"{peer}, ARI"),
        }
        for row in times
    ]
    caption = "Simulated: 50 dimensions, 15 round clusters with masses of 1 to 30 parts. Neighbours and Leiden are scanpy's, both warm. CPU seconds do not grow when the machine has other work."
    if len(times) > 1:
        first, last = times[0], times[-1]
        cpu = f"{own}, CPU s"
        slope = (last[cpu] - first[cpu]) / (last["cells"] - first["cells"])
        start = first[cpu] - slope * first["cells"]
        worst = max(abs(row[cpu] / (start + slope * row["cells"]) - 1) for row in times)
        caption += f" Line through the first and the last: {start:.2f} + {1e6 * slope:.2f} CPU s a million cells; others lie within {100 * worst:.0f} % of it."
    return {
        "title": "Clusters by annealing",
        "text": TEXT,
        "tables": [
            {"title": "Averages over the sets", "rows": averaged(rows)},
            {"title": "Each set", "rows": summarised(rows)},
            {"title": "Times", "rows": lines, "caption": caption},
        ],
        "runs": rows,
        "times": times,
    }
