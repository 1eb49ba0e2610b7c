"""The top of the benchmark page: how many targets each benchmark meets, and which it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEAD = """\
## Targets at a glance

Before anything was measured, targets were set. Those that are not met are named here, with what was found; the tables below
hold the others. *Open* are those that have not been measured, or not on all the data that they ask for.

| benchmark | met | not met | open |
| --- | ---: | ---: | ---: |"""
NOT_MET = "Not met:"


def overview(documents: Iterable[dict[str, Any]]) -> list[str]:
    """Give the counts of each document with targets, and a list of the targets that are not met."""
    judged = {document["title"]: list(targets(document)) for document in documents}
    judged = {title: found for title, found in judged.items() if found}
    if not judged:
        return []
    rows, missed = [], []
    for title, found in judged.items():
        said = [_verdict(row) for row in found]
        rows.append(f"| {title} | {said.count('yes')} | {said.count('no')} | {said.count('open')} |")
        missed += [
            f"- {title}: {name(row)}: {found_words(row)}."
            for row, word in zip(found, said, strict=True)
            if word == "no"
        ]
    parts = ["\n".join([HEAD, *rows]) + "\n"]
    return [*parts, "\n".join([NOT_MET, "", *missed]) + "\n"] if missed else parts


def targets(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the rows that hold a verdict on a target; those in brackets are none."""
    for part in document["tables"]:
        for row in part["rows"]:
            if "met" in row and "target" in row and not name(row).startswith("["):
                yield row


def name(row: dict[str, Any]) -> str:
    """Say what is asked for."""
    if "quantity" in row:
        return f"{row['quantity']}, target {row['target']:g}"
    return f"{row['target']} ({row['asked']})" if row.get("asked") else str(row["target"])


def found_words(row: dict[str, Any]) -> str:
    """Say what was found."""
    found = next((row[key] for key in ("measured", "found", "ratio") if row.get(key) is not None), "not measured")
    return f"{found:.3g}" if isinstance(found, float) else str(found)


def _verdict(row: dict[str, Any]) -> str:
    met = str(row["met"] or "-")
    return (
        "yes"
        if met.startswith("yes")
        else "no"
        if met.startswith("no") and not met.startswith("not measured")
        else "open"
    )
