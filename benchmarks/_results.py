"""Results of a benchmark as `benchmarks/results/NAME.json`, with what is needed to run it again.

A document holds `title`, `text` (paragraphs before the tables), `tables` (a list of `{"title", "caption", "rows"}`, every row a
mapping from column to value; `docs/benchmarks.md` is made of these), `run` (written here) and any other entries, such as
the raw figures of every repetition.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

FOLDER = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
PACKAGES = ("sctandem", "scvi-tools", "torch", "numba", "anndata", "mudata", "scanpy", "scikit-learn", "scipy", "numpy")
CHUNK = 2**20


def write(
    name: str,
    document: Mapping[str, Any],
    *,
    seeds: Iterable[int],
    data: Iterable[Path] = (),
    folder: Path = FOLDER,
) -> Path:
    """Write a document with the description of its run, whole or not at all, and give the path of the file."""
    for entry in ("title", "text", "tables"):
        if entry not in document:
            msg = f"the document of benchmark {name!r} has no {entry!r}; it has {sorted(document)}"
            raise KeyError(msg)
    whole = {**document, "run": describe_run(seeds=seeds, data=data)}
    content = json.dumps(_plain(whole), indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}-", suffix=".json")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def read(name: str, *, folder: Path = FOLDER) -> dict[str, Any]:
    """Give the document of a benchmark, or an empty one if it has not been run."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other run is between reading and writing: rows of two at once were lost."""
    import fcntl

    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = os.open(FOLDER, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def with_rows(
    older: Iterable[dict[str, Any]],
    newer: Iterable[dict[str, Any]],
    key: Callable[[dict[str, Any]], tuple[Hashable, ...]],
) -> list[dict[str, Any]]:
    """Give the rows of both in the order of their keys; of one key the newer."""
    found = {key(row): row for row in [*older, *newer]}
    return sorted(found.values(), key=lambda row: tuple(str(entry) for entry in key(row)))


def describe_run(*, seeds: Iterable[int], data: Iterable[Path]) -> dict[str, Any]:
    """Say when, on what and with which versions, seeds and files a benchmark ran."""
    return {
        **stamp(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "packages": {package: found for package in PACKAGES if (found := _version(package)) is not None},
        "seeds": list(seeds),
        "data": {path.name: sha256(path) for path in data},
    }


def stamp() -> dict[str, Any]:
    """Give what every row says of its making, for documents whose rows are made at different times."""
    return {"date": datetime.now(UTC).date().isoformat(), "threads": n_threads(), "commit": commit()}


def commit() -> str:
    """Give the first digits of the commit that is checked out; `+` says that files of the package or the benchmarks differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def ask(*words: str) -> str | None:
        answer = subprocess.run([git, "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else None

    head = ask("rev-parse", "--short=10", "HEAD")
    if head is None:
        return "unknown"
    changed = ask("status", "--porcelain", "--", "src", "benchmarks/*.py", "benchmarks/peers")
    return head + ("+" if changed else "")


def n_threads() -> int:
    """Threads that one process of the benchmark may use."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def sha256(path: Path) -> str:
    """Give the hash of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _plain(value: Any) -> Any:
    """Turn arrays and numpy scalars into what JSON knows; NaN and infinities become null."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
