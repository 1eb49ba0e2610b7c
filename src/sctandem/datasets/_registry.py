from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pooch
import yaml

ENVIRONMENT = "SCTANDEM_DATA"
_chosen: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of the registry, as `registry.yaml` describes it."""

    name: str
    title: str
    file: str
    urls: tuple[str, ...]
    checksum: str
    size: int
    assembly: str
    n_cells: int
    n_genes: int
    n_peaks: int
    licence: str
    page: str
    citation: str

    @property
    def path(self) -> Path:
        """Where the file lies, or will."""
        return cache_dir() / self.file


@cache
def registry() -> dict[str, Entry]:
    """Read the registry, once."""
    text = files("sctandem.datasets").joinpath("registry.yaml").read_text(encoding="utf-8")
    rows = yaml.safe_load(text)
    return {name: Entry(name=name, **{**row, "urls": tuple(row["urls"])}) for name, row in rows.items()}


def set_cache_dir(path: str | os.PathLike[str] | None) -> None:
    """Choose the folder that downloads are kept in, for this session.

    Parameters
    ----------
    path
        The folder; it is made when it is needed. `None` goes back to the default: the environment variable
        `SCTANDEM_DATA`, or else the user's cache folder.

    Examples
    --------
    >>> import sctandem as td
    >>> td.datasets.set_cache_dir("~/data")
    >>> td.datasets.set_cache_dir(None)
    """
    global _chosen
    _chosen = None if path is None else Path(path).expanduser()


def cache_dir() -> Path:
    """Return the folder that downloads are kept in."""
    if _chosen is not None:
        return _chosen
    named = os.environ.get(ENVIRONMENT)
    return Path(named).expanduser() if named else Path(pooch.os_cache("sctandem"))


def fetch(entry: Entry, *, progress: bool) -> Path:
    """Return the file of a data set, downloaded if it is not there or not whole.

    A download goes to a temporary name and gets its own only after its checksum was found right.

    Raises
    ------
    ValueError
        When no address sent the file and one sent another: its checksum is wrong; nothing is kept.
    ConnectionError
        When no address answers; says where to put the file by hand.
    """
    from requests.exceptions import RequestException

    agent = {"User-Agent": f"sctandem/{version('sctandem')}"}
    failures, changed = [], False
    for url in entry.urls:
        get = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 20, headers=agent, timeout=60)
        try:
            kept = pooch.retrieve(url, entry.checksum, fname=entry.file, path=cache_dir(), downloader=get)
        except RequestException as error:
            failures.append(f"{url} ({type(error).__name__}: {error})")
        except ValueError as error:
            if "hash" not in str(error):
                raise
            changed = True
            failures.append(f"{url} (not the file that was published: {error})")
        else:
            return Path(kept)
    if changed:
        msg = (
            f"{entry.name}: what was sent is not the file that was published, and was not kept: {'; '.join(failures)}. "
            "Try again; if this stays, the file was changed at its source or on the way."
        )
        raise ValueError(msg)
    msg = (
        f"{entry.name} could not be downloaded from {'; '.join(failures)}. Without a connection, fetch it elsewhere "
        f"and put it at {entry.path}."
    )
    raise ConnectionError(msg)
