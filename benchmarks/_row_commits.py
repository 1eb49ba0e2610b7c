"""Which rows of a document were measured at which commit, in one sentence a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

SEVERAL = "Rows of several commits are of several states of the code."


def sentences(rows: Iterable[tuple[str, dict[str, Any]]], *, between: str = ", ") -> list[str]:
    """Name the commits of rows, each with what its rows are called; `rows` pairs a name with a row."""
    measured_at: dict[str, dict[str, None]] = {}
    for name, row in rows:
        measured_at.setdefault(row.get("commit", "unknown"), {})[name] = None
    return [f"Commit {commit}: {between.join(names)}." for commit, names in measured_at.items()]


def of_runs(rows: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Name the commits of rows with their seeds, and say where there are several."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for name, row in rows:
        seeds.setdefault((row.get("commit", "unknown"), name), []).append(row["seed"])
    named = [(f"{name} ({_seeds(sorted(set(found)))})", {"commit": commit}) for (commit, name), found in seeds.items()]
    found = sentences(named, between="; ")
    return [*found, SEVERAL] if len(found) > 1 else found


def _seeds(seeds: list[int]) -> str:
    """Name seeds, a run without gaps by its ends."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
