"""`python -m benchmarks NAME [options]` runs `benchmarks/NAME.py`; `python -m benchmarks` lists the names."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from benchmarks import _tables

COMMANDS = {"tables": "benchmarks._tables"}


def names() -> list[str]:
    """Names that can be run: every public module of this folder, and the commands."""
    files = Path(__file__).parent.glob("*.py")
    return sorted([*(file.stem for file in files if not file.stem.startswith("_")), *COMMANDS])


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in names():
        asked = f"unknown benchmark {argv[0]!r}\n" if argv and not argv[0].startswith("-") else ""
        print(f"{asked}usage: python -m benchmarks NAME [options]\nnames: {', '.join(names())}", file=sys.stderr)
        return 2 if asked else 0
    module = import_module(COMMANDS.get(argv[0], f"benchmarks.{argv[0]}"))
    code = module.main(argv[1:]) or 0
    _tables.write_page()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
