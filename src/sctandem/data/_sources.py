"""Files that cells come from: what they hold, and their counts in blocks of bounded size. They are only ever read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from mudata import MuData

from sctandem._check_arguments import received
from sctandem._checks import check_path, check_type, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sctandem.data._source_file import SourceFile

#: How the errors of HDF5 begin that have no number of the system, which would say that a file may not be read.
_HDF5 = re.compile(r"(Unable to|Can't) .*\(")
SUFFIXES = (".h5ad", ".h5mu", ".h5", ".zarr")


class SourceError(ValueError):
    """A source cannot be read, or does not hold what is needed; the message names it.

    Parameters
    ----------
    message
        What is wrong.
    source
        Name of the source.
    """

    def __init__(self, message: str, *, source: str = "") -> None:
        super().__init__(message)
        self.source = source


@dataclass(frozen=True)
class Source:
    """A file of cells, with what its reader has to be told.

    Parameters
    ----------
    path
        An `.h5ad`, `.h5mu`, 10x `.h5` or zarr.
    layer
        Layer with the counts; `None` looks for them in `X`, the layer `counts` and `raw`, in this order.
    modality
        Of an `.h5mu` or a MuData in zarr; `None` for `rna`, `gex` or the only one. Of a folder it is said of those files in it that have modalities.
    name
        What its cells are said to come from; `None` for the name of the file.
    obs
        Words that hold for all of its cells, by declared column, such as ``{"tissue": "blood"}``.

    Raises
    ------
    TypeError
        When an argument is of another type. Whether layer and modality are there is seen when the file is read.

    Examples
    --------
    >>> import sctandem as td
    >>> td.data.Source("pbmc.h5ad", layer="counts", obs={"tissue": "blood"}).path
    'pbmc.h5ad'
    """

    path: str | PathLike[str]
    layer: str | None = None
    modality: str | None = None
    name: str | None = None
    obs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_path(self.path, "path")
        for name in ("layer", "modality", "name"):
            check_type(getattr(self, name), str | None, name)
        check_type(self.obs, Mapping, "obs")


def find_sources(sources: Any) -> list[Source]:
    """Turn what was given into one source a file, with names that are not the same twice.

    Parameters
    ----------
    sources
        A path or a `Source`, or several; a folder stands for all files in it and below.

    Returns
    -------
    The sources, in the order given; those of a folder by name.

    Raises
    ------
    TypeError
        When `sources` is something else.
    FileNotFoundError
        When a path does not exist, or a folder holds no file of a kind that is known.
    ValueError
        When a file is named twice, or two sources have one name.
    """
    if isinstance(sources, AnnData | MuData) or not isinstance(sources, Iterable | PathLike | Source):
        msg = f"sources must be a path, a Source or a list of them, got {type(sources).__name__}: write it to a file first."
        raise TypeError(msg)
    given = [sources] if isinstance(sources, (str, PathLike, Source)) else list(sources)
    found: list[Source] = []
    for each in given:
        if not isinstance(each, str | PathLike | Source):
            msg = f"each of sources must be a path or a Source, got {received(each)}."
            raise TypeError(msg)
        source = each if isinstance(each, Source) else Source(each)
        path = Path(source.path)
        if not path.exists():
            msg = f"sources names {str(path)!r}, which does not exist."
            if any(sign in str(path) for sign in "*?["):
                msg += " Patterns are not expanded: name the folder, or each file."
            raise FileNotFoundError(msg)
        if path.is_dir() and not is_zarr(path):
            inside = _inside(path)
            if not inside:
                msg = f"sources names the folder {str(path)!r}, in which there is no {', '.join(SUFFIXES)}."
                raise FileNotFoundError(msg)
            found += [_of_folder(source, file) for file in inside]
        else:
            found.append(source)
    if not found:
        msg = "sources is empty: name at least one file or folder."
        raise ValueError(msg)
    return _named(found)


def _of_folder(source: Source, file: Path) -> Source:
    """Return the source of one file of a folder: what is said of modalities is said of the files that have any."""
    has_any = file.suffix == ".h5mu" or (file / "mod").is_dir()
    return replace(source, path=file, name=None, modality=source.modality if has_any else None)


def _inside(folder: Path) -> list[Path]:
    """Return the files in a folder and below; a zarr is one of them."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not is_zarr(path):
            found += _inside(path)
        elif path.suffix in SUFFIXES or is_zarr(path):
            found.append(path)
    return found


def _named(sources: Sequence[Source]) -> list[Source]:
    """Give every source a name of its own: that of its file, with its folder where files are named alike."""
    resolved = [(str(Path(source.path).resolve()), source.layer, source.modality) for source in sources]
    twice = sorted({path[0] for path in resolved if resolved.count(path) > 1})
    if twice:
        msg = f"sources names {listed(twice)} more than once."
        raise ValueError(msg)
    names = [source.name or Path(source.path).stem for source in sources]
    for i, source in enumerate(sources):
        if source.name is None and names.count(Path(source.path).stem) > 1:
            names[i] = f"{Path(source.path).resolve().parent.name}/{Path(source.path).stem}"
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = (
            f"sources would have the names {listed(twice)} more than once: give each a name, `Source(path, name=...)`."
        )
        raise ValueError(msg)
    return [
        replace(source, path=Path(source.path), name=name, obs=dict(source.obs))
        for source, name in zip(sources, names, strict=True)
    ]


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def fingerprint(path: Path) -> dict[str, int]:
    """Return size and time of the last change of a file, or of all files of a zarr: what tells that a source has changed."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    states = [file.stat() for file in files]
    return {"bytes": sum(s.st_size for s in states), "changed": max((s.st_mtime_ns for s in states), default=0)}


@contextmanager
def blamed(source: Source) -> Iterator[None]:
    """Say of what fails while a source is read that it is of this source.

    Raises
    ------
    SourceError
        Names the source and what is wrong with it.
    """
    try:
        yield
    except SourceError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError, EOFError) as error:
        said = error.args[0] if isinstance(error, KeyError) and error.args else error
        said = str(said) or type(error).__name__
        if _HDF5.match(said):
            said = f"the file is damaged, cut short or of another kind ({said})"
        found = SourceError(f"{source.path}: {said}", source=str(source.name))
        for note in getattr(error, "__notes__", []):
            found.add_note(note)
        raise found from error


@contextmanager
def opened(source: Source) -> Iterator[SourceFile]:
    """Open a source for reading.

    Raises
    ------
    SourceError
        When it cannot be opened.
    """
    from sctandem.data._source_file import open_file

    with ExitStack() as stack:
        with blamed(source):
            file = stack.enter_context(open_file(source))
        yield file


def row_ranges(entries: np.ndarray, most_entries: int, most_rows: int) -> np.ndarray:
    """Cut rows into blocks.

    Parameters
    ----------
    entries
        (rows + 1,): entries before each row.
    most_entries, most_rows
        Bounds of a block; a single row may have more entries.

    Returns
    -------
    First row of each block, and the number of rows.
    """
    n_rows, starts = len(entries) - 1, [0]
    while starts[-1] < n_rows:
        start = starts[-1]
        stop = int(np.searchsorted(entries, entries[start] + most_entries, side="right")) - 1
        starts.append(min(max(stop, start + 1), start + most_rows, n_rows))
    return np.array(starts, dtype=np.int64)
