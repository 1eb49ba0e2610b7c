"""Tables of `benchmarks/de.py` from its runs."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from benchmarks._de_targets import Row, targets

if TYPE_CHECKING:
    from collections.abc import Callable

Runs = list[dict[str, Any]]

TEXT = """\
Control cells of eight donors (Kang 2018), all types with at least 100 cells, which are given: no model is trained. All methods see the same
samples and genes. *Null*: all splits of
the donors 4 v 4 (35) and 2 v 6 (28), and simulated donors (5 v 5, two hidden factors). *Power*: in each type a tenth of the genes is
thinned in one of the groups (log2 fold change 1 or 0.5); with a batch, donors lie in two lanes, partly confounded with the groups, that
change three tenths of the genes, and the lane is in the design of all methods. *Interferon*: interferon beta against control, paired by donor, in
eight donors (of the stimulated cells most have no label; a logistic regression on labelled cells gives them a lineage) and in two (one residual
dimension), against independent bulk: monocytes against dendritic cells (first 500 genes), T cells against T cells (first 100; that table
has fold changes only). *Titration*: mixtures of the RNA of three cell lines against one another; wells of one mixture, protocol and amount
are a sample. The columns `H2228_prop` and `HCC827_prop` of that file are exchanged: pure wells named for one line have the profile of
single cells of the other (table below), and the benchmark exchanges them back.

Moderated t, voom and quasi-likelihood are written after the papers, not the R packages, and share the regression and the prior of the
variances with DeepDE. Depths are normalised by trimmed means for all of them, and log-counts without weights have a prior count of 3, as limma's user guide
asks. PyDESeq2 leaves out no genes of its own (no independent filtering): all methods are judged on the same ones. edgeR was not run: it is an R package; nor was memento. scVI was trained for 40 epochs, fewer than its default. The method was chosen on
thinning seeds 100 to 123 and on every second split of the same donors; the limit of the spread was added after a look at the
titration and at interferon, with a value from null splits and simulations. The seeds draw other genes and groups of the same cells:
calibration, power and agreement are thus not of cells seen for the first time. With a batch and half effects forty more seeds were run, after the first
twenty had missed the rate, to see whether that was chance. PyDESeq2, Wilcoxon and scVI were run on few splits and seeds (`runs`); their rows are an indication only."""


def document(measured: dict[str, Runs]) -> dict[str, Any]:
    """Make the document."""
    rows = {part: flat(runs) for part, runs in measured.items()}
    null, power = rows.get("null", []), rows.get("power", [])
    mixtures = [row for row in rows.get("mixtures", []) if row["method"]]
    evidence = [row for row in rows.get("mixtures", []) if not row["method"]]
    return {
        "title": "Differential expression between samples",
        "text": TEXT,
        "tables": [
            {
                "title": "Null: share of genes with p < 0.05, by type, mean over runs",
                "rows": by(null, ("kind", "method"), "type", lambda part: round(mean(r["type1"] for r in part), 3)),
            },
            {
                "title": "Null: what is reported at 5 %",
                "rows": reported(null),
                "caption": "A run is a type of a split.",
            },
            {
                "title": "Null on states that a model found",
                "rows": on_states(rows.get("states", [])),
                "caption": "A DeepDE finds the states, without labels; ours tests them with the weights of all cells, peers with "
                "each cell in its likeliest state. A run is a state of a split.",
            },
            {
                "title": "Power",
                "rows": averaged(power),
                "caption": "A run is a type of a seed; the error is that of the mean over seeds.",
            },
            {
                "title": "Power / realised false discovery rate, by type, log2 fold change 1",
                "rows": by([r for r in power if r["kind"].endswith(" 1")], ("kind", "method"), "type", _both),
            },
            {
                "title": "scVI on one split and one seed 4 v 4, log2 fold change 1, among all genes",
                "rows": cells(rows.get("cells", [])),
            },
            {
                "title": "Interferon against bulk",
                "rows": interferon(rows.get("interferon", [])),
                "caption": "Concordance: area under the curve of concordance at the top. Significant: genes at 5 %.",
            },
            {
                "title": "Titration of RNA: slope of estimated on true log2 fold changes, mean (least to largest) over six pairs of mixtures",
                "rows": titration(mixtures),
                "caption": "Nominal: by the shares that were pipetted. Measured: by the shares that all genes together show. "
                "Error: root mean square, against measured.",
            },
            {
                "title": "Pure wells as the file names them against single cells of the lines: correlation over genes",
                "rows": [{k: v for k, v in row.items() if k not in {"method", "kind", "which"}} for row in evidence],
            },
            {"title": "Time and memory", "rows": cost(rows.get("cost", []))},
            {"title": "Targets", "rows": targets(rows)},
        ],
        "measured": measured,
    }


def flat(runs: Runs) -> list[Row]:
    """Give all rows of a part, each with the kind of its run and which of them it was."""
    found = []
    for run in runs:
        kind, _, which = run["run"].partition(": ")
        found += [{"kind": kind, "which": which, **row} for row in run["rows"]]
    return found


def _both(rows: list[Row]) -> str:
    return f"{mean(r['power'] for r in rows):.2f} / {mean(r['fdr'] for r in rows):.3f}"


def groups(rows: list[Row], keys: tuple[str, ...]) -> dict[tuple[Any, ...], list[Row]]:
    """Put rows of the same values together."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def by(rows: list[Row], keys: tuple[str, ...], across: str, value: Callable[[list[Row]], Any]) -> list[Row]:
    """Give a row a combination of keys, with a column a value of `across`."""
    return [
        dict(zip(keys, key, strict=True)) | {name[0]: value(part) for name, part in groups(same, (across,)).items()}
        for key, same in groups(rows, keys).items()
    ]


def reported(null: list[Row]) -> list[Row]:
    """Give a row a null and method: worst split and type, runs with more than five genes, and seconds a type."""
    table = []
    for (kind, method), same in groups(null, ("kind", "method")).items():
        line = {"kind": kind, "method": method, "worst share below 0.05": max(r["type1"] for r in same)}
        line["runs with any gene, %"] = 100 * mean(r["reported"] > 0 for r in same)
        line["runs with more than 5, %"] = 100 * mean(r["reported"] > 5 for r in same)
        table.append(line | {"CPU s a type": mean(r["s"] for r in same), "runs": len(same)})
    return table


def on_states(null: list[Row]) -> list[Row]:
    """Give a row a null and method: mean share of the state farthest from 0.05, then what `reported` says."""
    table = []
    for line in reported(null):
        same = [r for r in null if (r["kind"], r["method"]) == (line["kind"], line["method"])]
        shares = [mean(r["type1"] for r in part) for part in groups(same, ("type",)).values()]
        mine = {
            "states": len(shares),
            "share below 0.05": mean(shares),
            "least state": min(shares),
            "largest state": max(shares),
        }
        table.append({"kind": line.pop("kind"), "method": line.pop("method"), **mine, **line})
    return table


def averaged(power: list[Row]) -> list[Row]:
    """Give a row a setting and method: averages over types and seeds."""
    table = []
    for (kind, method), same in groups(power, ("kind", "method")).items():
        seeds = [mean(r["fdr"] for r in part) for part in groups(same, ("which",)).values()]
        line = {"setting": kind, "method": method, "power": mean(r["power"] for r in same)}
        line["realised FDR"] = mean(r["fdr"] for r in same)
        line["error of it"] = stdev(seeds) / len(seeds) ** 0.5 if len(seeds) > 1 else None
        table.append(line | {"runs": len(same)})
    return table


def cells(rows: list[Row]) -> list[Row]:
    """Give a row a method and type: genes reported in a null split, and power and false discoveries with thinned genes."""
    table: dict[tuple[str, str], Row] = {}
    for row in rows:
        line = table.setdefault((row["method"], row["type"]), {"method": row["method"], "type": row["type"]})
        if "fdr" in row:
            line |= {"power": row["power"], "realised FDR": row["fdr"], "reported": row["reported"]}
        else:
            line["reported in the null split"] = row["reported"]
        line["CPU s a type"] = row["s"]
    return list(table.values())


def interferon(rows: list[Row]) -> list[Row]:
    """Give a row a set, type and method."""
    names = {"log2fc": "Spearman", "shrunken": "Spearman, shrunken", "aucc": "concordance", "chance": "by chance"}
    return [
        {"set": row["kind"], "type": row["type"], "method": row["method"]}
        | {new: row[old] for old, new in names.items()}
        | {"significant": row["significant"], "genes": row["genes"]}
        for row in rows
    ]


def titration(rows: list[Row]) -> list[Row]:
    """Give a row a setting and method: mean and range of the slopes over pairs of mixtures."""
    table = []
    for (kind, method), same in groups(rows, ("kind", "method")).items():
        line: Row = {"setting": kind, "method": method}
        for column in dict.fromkeys(key for row in same for key in row if ", " in key):
            values = [row[column] for row in same]
            shown = f"{mean(values):.3f}"
            if not column.endswith("error"):
                shown += f" ({min(values):.2f} to {max(values):.2f})"
            line[column] = shown
        table.append(line | {"pairs": len(same)})
    return table


def cost(rows: list[Row]) -> list[Row]:
    """Give a row a data set and method."""
    return [{key: value for key, value in row.items() if key not in {"kind", "which"}} for row in rows]
