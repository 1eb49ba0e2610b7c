"""Files that keep the object code of kernels from one process to the next."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from functools import cache
from pathlib import Path

import llvmlite
import numba
from llvmlite import binding as llvm

from sctandem._compat import ObjectCode

logger = logging.getLogger(__name__)


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
                part.replace(folder / _file_name(name))
            finally:
                part.unlink(missing_ok=True)
        except OSError:
            continue
        return
    logger.debug("no folder takes the code of %s, which is compiled anew in every process", name)


@cache
def processor() -> str:
    """Describe the processor that code is compiled for."""
    cpu, features = numba.config.CPU_NAME, numba.config.CPU_FEATURES
    features = llvm.get_host_cpu_features().flatten() if features is None else features
    return f"{llvm.get_process_triple()} {cpu or llvm.get_host_cpu_name()} {features}"


@cache
def _source() -> str:
    """Return a checksum of the source of this folder, where all kernels are."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source.update(path.read_bytes())
    return source.hexdigest()


def _key(name: str) -> str:
    """Return what the code of a kernel depends on."""
    return f"{name} {_source()} numba {numba.__version__} llvmlite {llvmlite.__version__} {processor()}"


def _file_name(name: str) -> str:
    """Return the name of a file; processors that share a folder have their own."""
    return f"{name}-{hashlib.sha256(processor().encode()).hexdigest()[:12]}.kernel"


def _folders() -> list[Path]:
    """Return the folders where code may be kept, the first choice first; those of numba's own caches."""
    if numba.config.CACHE_DIR:
        return [Path(numba.config.CACHE_DIR)]
    import pooch

    return [Path(__file__).parent / "__pycache__", Path(pooch.os_cache("sctandem")) / "kernels"]
