"""What a collection on disk is made of: its manifest with checksums, its reports, and how it comes into place."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from sctandem._check_files import check_format
from sctandem._checks import listed
from sctandem._sync import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

#: Version of the layout; files of a newer one are refused.
FORMAT = 1
MANIFEST = "collection.json"
#: What the manifest says at the least, of what kind, and the same of each shard and file.
_NEEDED: dict[str, type] = {
    **dict.fromkeys(("n_obs", "n_vars", "n_entries"), int),
    **dict.fromkeys(("organism", "digest", "identity"), str),
    **dict.fromkeys(("columns", "shards"), list),
    "files": dict,
}
_OF_A_SHARD: dict[str, type] = {"name": str, "n_obs": int, "n_entries": int}
_OF_A_FILE: dict[str, type] = {"bytes": int, "sha256": str}
#: The group of the shards.
CELLS = "cells.zarr"


def report_path(folder: Path, name: str) -> Path:
    """Return where a report lies."""
    return folder / "reports" / f"{name}.csv.gz"


def write_report(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table as text; the same table gives the same bytes."""
    path = report_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, compression={"method": "gzip", "mtime": 1}, lineterminator="\n")


def files_of(folder: Path) -> list[Path]:
    """Return all files of a collection but the manifest, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path, tick: Callable[[int], None]) -> dict[str, dict[str, Any]]:
    """Return size and hash of every file, by its path inside the folder; waits until each is on the disk."""
    found = {}
    for path in files_of(folder):
        sync(path)
        size = path.stat().st_size
        found[path.relative_to(folder).as_posix()] = {"bytes": size, "sha256": sha256(path)}
        tick(size)
    return found


def identity(files: dict[str, dict[str, Any]]) -> str:
    """Return one hash for all files."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a collection.

    Raises
    ------
    FileNotFoundError
        When there is none.
    ValueError
        When it cannot be read, or is of a newer version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        building = work_folder(folder)
        hint = f" An unfinished build lies in {building}: build it again with resume=True." if building.is_dir() else ""
        msg = f"{folder} is not a collection: there is no {MANIFEST} in it.{hint}"
        raise FileNotFoundError(msg)
    try:
        manifest = json.loads(path.read_text())
        number = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is damaged: {error}"
        raise ValueError(msg) from error
    check_format(number, FORMAT, str(folder))
    _check_says(manifest, _NEEDED, str(path))
    if odd := [column for column in manifest["columns"] if not isinstance(column, str)]:
        msg = f"{path} is damaged: it names the column {odd[0]!r}, which is no text."
        raise ValueError(msg)
    for shard in manifest["shards"]:
        _check_says(shard, _OF_A_SHARD, f"{path}: a shard")
    for name, file in manifest["files"].items():
        _check_says(file, _OF_A_FILE, f"{path}: the file {name!r}")
    for name in (*(shard["name"] for shard in manifest["shards"]), *manifest["files"]):
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            msg = f"{path} names {name!r}, which is not inside it."
            raise ValueError(msg)
    return manifest


def _check_says(found: Any, needed: dict[str, type], where: str) -> None:
    """Check that a part of a manifest says what it has to."""
    lacking = [key for key in needed if not isinstance(found, dict) or key not in found]
    if lacking:
        msg = f"{where} is damaged: it lacks {listed(lacking)}."
        raise ValueError(msg)
    for key, kind in needed.items():
        if not isinstance(found[key], kind):
            msg = f"{where} is damaged: {key} is {found[key]!r:.80}, which is no {kind.__name__}."
            raise ValueError(msg)


def check_sizes(folder: Path, manifest: dict[str, Any]) -> None:
    """Check that all files of a collection are there with their sizes, without reading them.

    Raises
    ------
    ValueError
        Names the first that is not.
    """
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected["bytes"]:
            msg = f"{path} is missing, or was cut short: `collection.verify()` lists what is not as it was written."
            raise ValueError(msg)


def faults(folder: Path, manifest: dict[str, Any], tick: Callable[[int], None]) -> Iterator[str]:
    """Yield what of a collection is not as it was written."""
    here = {path.relative_to(folder).as_posix() for path in files_of(folder)}
    for name, expected in manifest["files"].items():
        if name not in here:
            yield f"{name} is missing"
        elif (folder / name).stat().st_size != expected["bytes"]:
            yield f"{name} has {(folder / name).stat().st_size} bytes instead of {expected['bytes']}"
        elif sha256(folder / name) != expected["sha256"]:
            yield f"{name} has another checksum"
        tick(expected["bytes"])
    for name in sorted(here - set(manifest["files"])):
        yield f"{name} is not part of the collection"


def make_root(folder: Path) -> None:
    """Make the group of the shards, with the mark by which annbatch knows its collections."""
    import zarr

    group = zarr.open_group(folder / CELLS, mode="a", zarr_format=3)
    group.attrs.update({"encoding-type": "annbatch-preshuffled", "encoding-version": "0.1.0"})


def work_folder(out: Path) -> Path:
    """Return where a collection is built before it comes into place."""
    return out.absolute().parent / f".{out.name}.building"


def put_in_place(whole: Path, out: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest and move the finished folder to its place."""
    path = whole / MANIFEST
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    sync(path)
    sync(whole)
    whole.rename(out)
    sync(out.absolute().parent)
