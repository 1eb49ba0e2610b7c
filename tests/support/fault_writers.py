"""Everything public that writes files: how it is called, what it leaves, and how a disk is made that does not take it."""

from __future__ import annotations

import contextlib
import io
import os
import resource
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import fault_objects as make
import numpy as np
from models import CASES

import sctandem as td
from sctandem.__main__ import main
from sctandem.module import SequenceGANConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOBODY = 65534


@dataclass(frozen=True)
class Writer:
    """One way to write.

    Attributes
    ----------
    name
        Of what is written, in its folder.
    write
        Writes it to a path; the second argument gives what is written another content.
    read
        Reads it, and raises where it is not whole.
    replaces
        Whether it may take the place of an older one.
    hdf5
        Whether HDF5 writes: after an error it leaves objects open, which fail again when they are taken away, and end the process.
    resumes
        Whether work that was done before an error is kept, in a hidden folder beside.
    """

    name: str
    write: Callable[[Path, int], Any]
    read: Callable[[Path], Any]
    replaces: bool = True
    resumes: bool = False
    hdf5: bool = False


@cache
def trained(name: str) -> Any:
    """A trained model of a class."""
    return CASES[name].trained()


def _model(name: str, *, save_anndata: bool) -> Writer:
    def write(path: Path, content: int) -> None:
        model = trained(name)
        model.content_ = content
        try:
            model.save(path, overwrite=True, save_anndata=save_anndata)
        finally:
            del model.content_

    def read(path: Path) -> Any:
        return CASES[name].cls.load(path, None if save_anndata else CASES[name].data())

    return Writer("model", write, read, hdf5=save_anndata)


@cache
def _writing(content: int) -> Any:
    letters = ["".join(row) for row in np.random.default_rng(content).choice(list("ACGT"), (100, 40))]
    config = SequenceGANConfig(max_motifs=0, critic_epochs=1, n_filters=4)
    model = td.model.SequenceGAN(letters, config=config)
    model.train(rng=content, progress=False)
    return model


def _sequences(path: Path, content: int) -> None:
    _writing(content).save(path, overwrite=True)


def _vectors(path: Path, content: int) -> None:
    td.io.write_vectors(make.vectors_table() + content, path)


def _talens(path: Path, content: int) -> None:
    td.genome.write_talens(make.talen_table().assign(pair=f"T{content}"), path)


def _genome(path: Path, content: int) -> None:
    td.datasets.simulate_multiome(20, 30, 300, fasta=path, rng=content)


def _collection(path: Path, content: int) -> None:
    td.data.build_collection(make.source_file(), path, organism="human", resume=True, rng=content)


def _command(path: Path, content: int) -> None:
    """The command says what is wrong, and returns 2: here it is raised again, to be judged as the others are."""
    words = ["collection", "build", str(make.source_file()), "--out", str(path), "--organism", "human", "--resume"]
    with contextlib.redirect_stderr(_Raised()):
        main([*words, "--seed", str(content)])


class _Raised:
    def write(self, text: str) -> None:
        if "Errno" in text or "already" in text:
            raise _SaidError(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


class _SaidError(OSError):
    """What the command line said."""


def _verified(path: Path) -> Any:
    collection = td.data.open_collection(path)
    assert collection.verify() == []
    return collection


WRITERS = {
    **{f"{name}.save": _model(name, save_anndata=False) for name in CASES},
    "CountVAEModel.save with data": _model("CountVAEModel", save_anndata=True),
    "TAPE.save with data": _model("TAPE", save_anndata=True),
    "SequenceGAN.save": Writer("model", _sequences, td.model.SequenceGAN.load),
    "io.write_vectors": Writer("genes.npz", _vectors, td.io.read_vectors),
    "genome.write_talens table": Writer("order.csv", _talens, lambda path: path.read_text().splitlines()[1]),
    "genome.write_talens sites": Writer("order.fasta", _talens, lambda path: path.read_text().splitlines()[3]),
    "datasets.simulate_multiome": Writer(
        "genome.fa", _genome, lambda path: path.read_text().startswith(">chr1") or 1 / 0
    ),
    "data.build_collection": Writer("collection", _collection, _verified, replaces=False, resumes=True),
    "python -m sctandem collection build": Writer("collection", _command, _verified, replaces=False, resumes=True),
}


def content_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones as well; folders end in a slash."""
    return {
        path.relative_to(folder).as_posix() + ("/" if path.is_dir() else ""): b""
        if path.is_dir()
        else path.read_bytes()
        for path in folder.rglob("*")
    }


@contextlib.contextmanager
def no_room_above(n_bytes: int) -> Iterator[None]:
    """Let no file of this process grow above a size: the system refuses the rest of it, as a full disk does.

    What is printed meanwhile goes nowhere, for pytest keeps it in a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def written_apart(writer: Writer, path: Path) -> OSError:
    """Write in a child of this process, which ends at once; return what was raised there."""
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            writer.write(path, 1)
            said = "nothing"
        except OSError as error:
            said = f"{error.errno} {error}"
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to know
            said = repr(error)
        os.write(start, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(start)
    number, _, text = os.read(end, 10_000).decode().partition(" ")
    os.close(end)
    return OSError(int(number), text) if number.isdigit() else OSError(f"{number} {text}")


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let this process write nothing to a folder; root, who may always, is someone else meanwhile."""
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        for needed in (*folder.parents, make.folder()):
            if needed.stat().st_mode & 0o55 != 0o55:
                needed.chmod(needed.stat().st_mode | 0o55)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
