"""First pass of a build: each block of a source becomes a unit on disk, its cells dealt to buckets at random."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sctandem._ahead import ahead
from sctandem._sync import sync
from sctandem.data._manifest import sha256
from sctandem.data._plan import read_columns
from sctandem.data._sources import SourceError, blamed, fingerprint, opened
from sctandem.kernels._harmonise import barcode_hashes, cell_keys, harmonise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scipy import sparse

    from sctandem.data._plan import Plan, SourcePlan
    from sctandem.data._source_file import SourceFile
    from sctandem.kernels._harmonise import Harmonised

_ARRAYS, _TABLE, _CHECK = "arrays.bin", "arrays.json", "sha256"


class Unit:
    """A block of a source on disk: arrays one after the other in one file, rows sorted by bucket.

    Parameters
    ----------
    folder
        Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table: dict[str, Any] = json.loads((folder / _TABLE).read_text())

    @staticmethod
    def write(folder: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Write a unit, whole or not at all."""
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        layout, offset = {}, 0
        with (unfinished / _ARRAYS).open("wb") as file:
            for name, array in arrays.items():
                layout[name] = {"dtype": array.dtype.str, "offset": offset, "length": len(array)}
                np.ascontiguousarray(array).tofile(file)
                offset += array.nbytes
        (unfinished / _TABLE).write_text(json.dumps({"layout": layout, **facts}))
        (unfinished / _CHECK).write_text(_checksum(unfinished))
        for path in unfinished.iterdir():
            sync(path)
        unfinished.rename(folder)
        sync(folder.parent)

    @staticmethod
    def is_whole(folder: Path) -> bool:
        """Whether a unit is there as it was written; what is left of another is taken away."""
        if not folder.is_dir():
            return False
        try:
            if (folder / _CHECK).read_text() == _checksum(folder):
                return True
        except OSError:
            pass
        shutil.rmtree(folder)
        return False

    def read(self, name: str, start: int = 0, stop: int | None = None, *, file: Any = None) -> np.ndarray:
        """Read a part of an array; from an open file where several are read."""
        layout = self.table["layout"][name]
        kind = np.dtype(layout["dtype"])
        count, offset = (layout["length"] if stop is None else stop) - start, layout["offset"] + start * kind.itemsize
        if file is None:
            return np.fromfile(self.folder / _ARRAYS, dtype=kind, count=count, offset=offset)
        file.seek(offset)
        return np.fromfile(file, dtype=kind, count=count)

    def open(self) -> Any:
        """Open the file of the arrays."""
        return (self.folder / _ARRAYS).open("rb")


def _checksum(folder: Path) -> str:
    """Return one hash of the files of a unit."""
    return " ".join(sha256(folder / name) for name in (_ARRAYS, _TABLE))


def unit_folder(work: Path, source: int, block: int) -> Path:
    """Return where a unit lies."""
    return work / "units" / f"{source:05d}-{block:06d}"


def stage(plan: Plan, work: Path, seed: int, tick: Callable[[int], None]) -> None:
    """Read all sources, block by block; blocks that are there as they were written are not read again.

    Parameters
    ----------
    plan
        What is to be built.
    work
        Folder of the build.
    seed
        Of the deal.
    tick
        Called with the number of cells after each block.

    Raises
    ------
    SourceError
        When a source cannot be read to its end.
    """
    for number, source in enumerate(plan.sources):
        bounds = {
            block: (int(source.ranges[block]), int(source.ranges[block + 1])) for block in range(len(source.ranges) - 1)
        }
        missing = {b: rows for b, rows in bounds.items() if not Unit.is_whole(unit_folder(work, number, b))}
        tick(source.n_cells - sum(stop - start for start, stop in missing.values()))
        if not missing:
            continue
        own = plan.gene_sets.of_source[number]
        least = plan.gene_sets.least[own] if own >= 0 else np.empty(0, dtype=np.int64)
        with opened(source.source) as file:
            with blamed(source.source):
                codes = _codes(plan, source.name, read_columns(file, source.source, plan.settings.columns))
            with closing(ahead(partial(_next_rows, file, iter(missing.values())))) as parts:
                for block, (start, stop) in missing.items():
                    with blamed(source.source):
                        found = _harmonised(plan, source, next(parts), least)
                    arrays = _of_cells(found, file.names[start:stop], start)
                    arrays |= {f"code {column}": values[start:stop] for column, values in codes.items()}
                    rng = np.random.default_rng([seed, number, block])
                    _write(plan, unit_folder(work, number, block), found, arrays, rng=rng)
                    tick(stop - start)
        if fingerprint(Path(source.source.path)) != source.state:
            msg = f"{source.source.path}: was changed while it was read"
            raise SourceError(msg, source=source.name)


def _of_cells(found: Harmonised, given: np.ndarray, start: int) -> dict[str, np.ndarray]:
    """Return what is kept of each cell beside its counts and words."""
    names = [str(name) for name in given]
    barcodes = barcode_hashes(names)
    return {
        **{f"key {i}": cell_keys(found.hashes[:, i], barcodes) for i in range(found.hashes.shape[1])},
        "row": np.arange(start, start + len(names), dtype=np.int64),
        "n_counts": found.totals.astype(np.int64),
        "name": np.array([name.encode() for name in names], dtype="S"),
    }


def _next_rows(file: SourceFile, bounds: Iterator[tuple[int, int]]) -> sparse.csr_matrix | None:
    """Read the next block of a source."""
    block = next(bounds, None)
    return None if block is None else file.rows(*block)


def _harmonised(plan: Plan, source: SourcePlan, counts: sparse.csr_matrix, least: np.ndarray) -> Harmonised:
    """Bring a block of a source onto the axis."""
    try:
        return harmonise(counts, source.positions, plan.gene_sets.bits, least)
    except ValueError as error:
        msg = f"{source.slot} {error}"
        raise ValueError(msg) from error


def _codes(plan: Plan, name: str, columns: dict[str, Any]) -> dict[str, np.ndarray]:
    """Turn the words of a source into places among those of the collection, int32."""
    words = plan.words[plan.words["source"] == name]
    codes = {}
    for column, values in columns.items():
        becomes = words[words["column"] == column].set_index("word")["becomes"]
        places = {word: i for i, word in enumerate(plan.categories[column])}
        turned = [places.get(becomes.get(word, ""), -1) for word in values.cat.categories]
        codes[column] = np.array(turned, dtype=np.int32)[values.cat.codes.to_numpy()]
    return codes


def _write(
    plan: Plan,
    folder: Path,
    found: Harmonised,
    arrays: dict[str, np.ndarray],
    *,
    rng: np.random.Generator,
) -> None:
    """Deal the cells of a block to buckets, and write them."""
    counts = found.counts
    bucket = rng.integers(plan.n_buckets, size=counts.shape[0])
    order = np.argsort(bucket, kind="stable")
    counts = counts[order]
    small = np.uint16 if counts.shape[1] <= 2**16 else np.int32
    starts = np.searchsorted(bucket[order], np.arange(plan.n_buckets + 1))
    rows = {name: values[order] for name, values in arrays.items()}
    entries = {
        "indptr": counts.indptr.astype(np.int64),
        "indices": counts.indices.astype(small),
        "values": counts.data,
    }
    entries["starts"] = starts.astype(np.int64)
    facts = {"outside": float(found.outside.sum()), "largest": int(counts.data.max(initial=0))}
    Unit.write(folder, {**entries, **rows}, facts)
