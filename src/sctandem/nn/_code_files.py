"""Files that keep the object code of kernels from one process to the next."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import llvmlite
import numba
from llvmlite import binding as llvm

from sctandem._compat import ObjectCode

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)


def checksum(folder: Path) -> str:
    """Return a checksum of the source files of a folder; empty where there are none."""
    files = sorted(folder.glob("*.py"))
    source = hashlib.sha256()
    for path in files:
        source.update(path.name.encode() + path.read_bytes())
    return source.hexdigest() if files else ""


#: All kernels are in this folder, and what calls them is in the one above. Taken when this is imported, before any kernel is
#: made: later the files may be others than those that run.
_SOURCE = checksum(Path(__file__).parent) + checksum(Path(__file__).parents[1])


def read_code(name: str) -> ObjectCode | None:
    """Return the code that was kept under a name.

    Parameters
    ----------
    name
        Of the kernel and its types.

    Returns
    -------
    The code; `None` where there is none, where it is damaged, and where it was made from another source, by another
    compiler or for another processor.
    """
    for folder in _folders():
        try:
            content = (folder / _file_name(name)).read_bytes()
        except OSError:
            continue
        line, _, code = content.partition(b"\n")
        try:
            header = json.loads(line)
            if header["key"] == _key(name) and header["sha256"] == hashlib.sha256(code).hexdigest():
                return ObjectCode(header["symbol"], tuple(header["externals"]), code)
        except (ValueError, KeyError, TypeError):
            continue
    return None


def write_code(name: str, code: ObjectCode) -> None:
    """Keep code under a name, in the first folder that takes it: a file whole or not at all.

    Parameters
    ----------
    name
        Of the kernel and its types.
    code
        The code.
    """
    header = {
        "key": _key(name),
        "symbol": code.symbol,
        "externals": code.externals,
        "sha256": hashlib.sha256(code.code).hexdigest(),
    }
    content = json.dumps(header).encode() + b"\n" + code.code
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                part = Path(file.name)
            try:
                part.write_bytes(content)
                part.chmod(0o666 & ~_umask())  # as any other file: others who share the folder may read it
                part.replace(folder / _file_name(name))
            finally:
                part.unlink(missing_ok=True)
        except OSError:
            continue
        return
    logger.debug("no folder takes the code of %s, which is compiled anew in every process", name)


@cache
def _umask() -> int:
    """Return what new files are not allowed; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@cache
def processor() -> str:
    """Describe the processor that code is compiled for."""
    cpu, features = numba.config.CPU_NAME, numba.config.CPU_FEATURES
    features = llvm.get_host_cpu_features().flatten() if features is None else features
    return f"{llvm.get_process_triple()} {cpu or llvm.get_host_cpu_name()} {features}"


def _key(name: str) -> str:
    """Return what the code of a kernel depends on."""
    made_by = f"sctandem {version('sctandem')} numba {numba.__version__} llvmlite {llvmlite.__version__}"
    return f"{name} {_SOURCE} {made_by} {processor()}"


def _file_name(name: str) -> str:
    """Return the name of a file; processors that share a folder have their own."""
    return f"{name}-{hashlib.sha256(processor().encode()).hexdigest()[:12]}.kernel"


def _folders() -> Iterator[Path]:
    """Give the folders where code may be kept, the first choice first; those of numba's own caches."""
    if not _SOURCE:  # nothing would tell the code of one version from that of another
        return
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR)
        return
    yield Path(__file__).parent / "__pycache__"
    import pooch

    yield Path(pooch.os_cache("sctandem")) / "kernels"
