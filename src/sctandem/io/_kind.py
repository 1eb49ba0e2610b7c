from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = 200
_KINDS = {
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"%%MatrixMarket": "a matrix in .mtx",
    b"\x89HDF": "an HDF5 file that was cut short or damaged",
}
"""How files begin that are often taken for HDF5."""


def check_hdf5(path: Path) -> None:
    """Check that a file is HDF5 that can be opened, and, where it is called `.h5mu`, a MuData.

    Raises
    ------
    ValueError
        Names the file and what it looks like.
    """
    if not h5py.is_hdf5(path):
        msg = f"{path} is no HDF5 file, whatever its name says; {_looks(path)}. Read are 10x .h5, .h5mu, and a pair of .h5ad."
        raise ValueError(msg)
    try:
        with h5py.File(path) as file:
            held = set(file)
    except OSError as error:
        msg = f"{path} cannot be opened ({error}). Was it cut short on the way? Copy or download it again."
        raise ValueError(msg) from error
    if path.suffix == ".h5mu" and "mod" not in held:
        is_anndata = {"obs", "var"} <= held
        what = "an AnnData, one modality: call it .h5ad, and give the other as well" if is_anndata else sorted(held)[:5]
        msg = f"{path} is no MuData, whatever its name says: it holds {what}."
        raise ValueError(msg)


def _looks(path: Path) -> str:
    """Say what a file looks like by how it begins."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "it is empty"
    for start, kind in _KINDS.items():
        if head.startswith(start):
            return f"it looks like {kind}"
    try:
        # the last letter may be cut in two
        line = head.decode("utf-8", errors="strict" if len(head) < _HEAD else "ignore").partition("\n")[0].strip()
    except UnicodeDecodeError:
        return "its kind is not known"
    line = line.replace("\t", " ")
    return f"it looks like text that begins with {line[:40]!r}" if line.isprintable() else "its kind is not known"
