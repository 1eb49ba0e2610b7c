"""What the Makefile builds on, as far as it can be tried without installing anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIND = ["sh", str(ROOT / "tools" / "find_python.sh")]
BASE = Path(sys.base_prefix) / "bin" / "python3"


#: What a surrounding `make` hands down.
OF_MAKE = {"ARGS", "DATA", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "NEWEST", "PYTHON", "VENV"}


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**inherited, **environment}
    )


def test_find_python_prints_one_that_is_new_enough():
    found = run([*FIND, "3.11"])
    assert found.returncode == 0, found.stderr
    version = run([found.stdout.strip(), "-c", "import sys, venv, ensurepip; print(sys.version_info >= (3, 11))"])
    assert version.stdout.strip() == "True"


def test_find_python_says_plainly_where_there_is_none():
    found = run([*FIND, "99.0"])
    assert found.returncode == 1
    assert found.stdout == ""
    assert "No Python >= 99.0" in found.stderr


def test_find_python_takes_the_one_that_is_named_or_none():
    if not BASE.exists():
        pytest.skip(f"this Python has no {BASE}")
    assert run([*FIND, "3.11"], PYTHON=str(BASE)).returncode == 0
    refused = run([*FIND, "99.0"], PYTHON=str(BASE))
    assert refused.returncode == 1
    assert f"PYTHON={BASE} is not a Python >= 99.0" in refused.stderr


@pytest.fixture
def fake_pyenv(tmp_path) -> Path:
    """A pyenv that holds a Python PATH does not know."""
    folder = tmp_path / "pyenv" / "versions" / "3.99.0" / "bin"
    folder.mkdir(parents=True)
    python = folder / "python3"
    python.write_text('#!/bin/sh\necho "$0"\n')
    python.chmod(0o755)
    return python


def test_find_python_looks_under_pyenv(fake_pyenv, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "sh").symlink_to("/bin/sh")
    found = run([*FIND, "3.12"], PATH=str(empty), PYENV_ROOT=str(fake_pyenv.parents[3]))
    assert found.stdout.strip() == str(fake_pyenv)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("test", '-m pytest -m "not slow"'),
        ("test-all", "-m pytest"),
        ("test-newest", "--upgrade-strategy eager"),
        ("docs", "-m sphinx -n -W"),
        ("demo", "-m benchmarks.demo  --out demo"),
        ("lint", "-m ruff check"),
        ("types", "-m mypy"),
    ],
)
def test_make_targets(target, command):
    planned = run(["make", "-n", target])
    assert planned.returncode == 0, planned.stderr
    assert command in planned.stdout


def test_make_demo_passes_the_file_on():
    assert (
        '-m benchmarks.demo --data "my file.h5mu" --out demo' in run(["make", "-n", "demo", "DATA=my file.h5mu"]).stdout
    )


def test_make_demo_can_leave_its_results_elsewhere():
    planned = run(["make", "-n", "demo", "ARGS=--out mine"]).stdout
    assert planned.rstrip().endswith("--out demo --out mine")
    assert 'ARGS="--out folder"' in run(["make", "help"]).stdout


def test_installs_are_constrained():
    for target in ("test", "docs", "test-newest"):
        installs = [
            line
            for line in run(["make", "-n", "-B", target]).stdout.splitlines()
            if " -e ." in line or "--group" in line
        ]
        assert installs
        assert all("-c constraints.txt" in line for line in installs)
