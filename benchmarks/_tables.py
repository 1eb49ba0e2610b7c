"""`docs/benchmarks.md` from the results: `python -m benchmarks tables`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks import _massive_page, _overview, _results

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
FIRST = ("tape", "speed", "simulator", "demo")
INTRODUCTION = """\
# Benchmarks

Every figure on this page was measured by `python -m benchmarks NAME`, ours and the peers on the same data by the same lines, and
is kept in `benchmarks/results/NAME.json` with seeds, versions, the commit and the hashes of the data; where rows are
measured one by one, the file has the day and the commit of each. The page is generated from these files by `python -m benchmarks tables`.
"""


def main(argv: list[str]) -> None:
    """Write the page."""
    if argv:
        print("python -m benchmarks tables takes no options", file=sys.stderr)
        raise SystemExit(2)
    write_page()
    print(f"wrote {PAGE}")


def write_page() -> None:
    """Make the page again from the results, and the one on large collections."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    _massive_page.write_page(_results.read("massive"))


def page(*, folder: Path = _results.FOLDER) -> str:
    """Give the whole page as Markdown."""
    found = {path.stem for path in folder.glob("*.json")}
    ordered = [name for name in FIRST if name in found] + sorted(found.difference(FIRST))
    documents = {name: _results.read(name, folder=folder) for name in ordered}
    sections = [section(name, document) for name, document in documents.items()]
    return "\n".join([INTRODUCTION, *_overview.overview(documents.values()), *sections])


def section(name: str, document: dict[str, Any]) -> str:
    """Give the part of the page for one benchmark."""
    parts = [f"## {document['title']}", f"`python -m benchmarks {name}`"]
    parts += [document["text"]] if document["text"] else []
    for part in document["tables"]:
        parts += [f"### {part['title']}"] if part.get("title") else []
        parts += [table(part["rows"])]
        parts += [part["caption"]] if part.get("caption") else []
    parts.append(provenance(document["run"]))
    return "\n\n".join(parts) + "\n"


def table(rows: list[dict[str, Any]]) -> str:
    """Give rows as a Markdown table; columns in the order in which they appear first, numbers right-aligned."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numeric = {c: all(_is_number(row.get(c)) for row in rows) for c in columns}
    lines = [
        "| " + " | ".join(columns) + " |",
        "| " + " | ".join("---:" if numeric[c] else "---" for c in columns) + " |",
    ]
    lines += ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def provenance(run: dict[str, Any]) -> str:
    """Say in one paragraph how the figures were made."""
    packages = ", ".join(f"{name} {found}" for name, found in run["packages"].items())
    text = (
        f"Measured {run['date']} on {run['processor']} ({run['cpu_count']} cores, {run['threads']} threads), {run['system']}, "
        f"Python {run['python']}; {packages}; commit {run.get('commit', 'unknown')}; seeds {', '.join(map(str, run['seeds'])) or 'none'}"
    )
    files = "; ".join(f"`{name}` sha256 `{digest[:12]}`" for name, digest in run["data"].items())
    return f"<small>{text}{'; ' + files if files else ''}.</small>"


def _is_number(value: Any) -> bool:
    """Whether a cell holds a number or nothing; a string that begins with a number counts, as in `0.07 +- 0.01`."""
    if isinstance(value, str):
        value = value.split(" ")[0]
        return value in {"", "-"} or value.lstrip("+-").replace(".", "", 1).isdigit()
    return value is None or isinstance(value, int | float)


def _cell(value: Any) -> str:
    """Give one value as text; four significant digits are enough for every figure here."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|")
