"""Whatever the package writes is whole or not there, also on a disk that is full or that may not be written to."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from pathlib import Path

import fault_objects as make
import pytest
from fault_calls import CALLS, OUT
from fault_writers import CASES, WRITERS, content_of, no_room_above, read_only, written_apart

import sctandem as td
from sctandem import _sync, _whole

#: Public functions that are given a place to write to, and the methods of models that are.
WRITING = {f"{name}.save" for name in CASES} | {"io.write_vectors", "genome.write_talens", "data.build_collection"}


#: The others run in the slow suite: making their models takes longest.
QUICK = {"CountVAEModel.save", "CountVAEModel.save with data", "io.write_vectors", "data.build_collection"}
QUICK |= {name for name in WRITERS if name.startswith("genome.")}


@pytest.fixture(params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in WRITERS])
def writer(request):
    return WRITERS[request.param]


@pytest.fixture(autouse=True)
def made_before():
    """What is written, and what it is made from: made on a disk that takes it."""
    make.source_file()


def fails(writer, folder, number=errno.ENOSPC):
    """Write, and see that the error is the system's and names the place."""
    target = folder / writer.name
    if writer.hdf5 and number == errno.EFBIG:
        error = written_apart(writer, target)
    else:
        with pytest.raises(OSError, match=rf"\[Errno {number}\]") as caught:
            writer.write(target, 1)
        error = caught.value
    assert f"[Errno {number}]" in str(error)
    assert str(target) in str(error)
    return error


def check_nothing_is_there(writer, folder):
    """No target; beside it nothing, or the work that a later call goes on with."""
    left = {name.split("/")[0] for name in content_of(folder)}
    assert left <= ({f".{writer.name}.building"} if writer.resumes else set())


def check_it_works_now(writer, folder):
    writer.write(folder / writer.name, 1)
    writer.read(folder / writer.name)
    assert set(content_of(folder)) == {name for name in content_of(folder) if name.split("/")[0] == writer.name}


def test_every_writer_is_here():
    """A public function that is called with a place to write to, and every model."""
    written = {
        name.removeprefix("model.")
        for name, call in CALLS.items()
        if OUT in call.fixed.values() or name.rpartition(".")[2].startswith("write")
    }
    assert written | {f"{name}.save" for name in CASES} == WRITING
    assert {name.removesuffix(" table").removesuffix(" sites") for name in WRITERS} | {"genome.write_talens"} >= WRITING


@pytest.mark.parametrize("room", [0, 20])
def test_full_disk(writer, tmp_path, room):
    with no_room_above(room):
        fails(writer, tmp_path, errno.EFBIG)
    check_nothing_is_there(writer, tmp_path)
    check_it_works_now(writer, tmp_path)


def test_full_disk_with_an_older_one(writer, tmp_path):
    if not writer.replaces:
        pytest.skip("what is there is never replaced")
    writer.write(tmp_path / writer.name, 0)
    before = content_of(tmp_path)
    size = max(map(len, before.values()))
    for room in (0, size // 2):
        with no_room_above(room):
            fails(writer, tmp_path, errno.EFBIG)
        assert content_of(tmp_path) == before
    check_it_works_now(writer, tmp_path)
    assert content_of(tmp_path) != before


def test_disk_that_is_full_when_all_is_written(writer, tmp_path, monkeypatch):
    """Systems that write later say so when they are asked to."""

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if writer.replaces:
        writer.write(tmp_path / writer.name, 0)
    before = content_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        fails(writer, tmp_path)
    if writer.replaces:
        assert content_of(tmp_path) == before
    else:
        check_nothing_is_there(writer, tmp_path)
    check_it_works_now(writer, tmp_path)


def test_disk_that_is_full_when_the_file_takes_its_place(writer, tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        patch.setattr(Path, "rename", full)
        fails(writer, tmp_path)
    check_nothing_is_there(writer, tmp_path)
    check_it_works_now(writer, tmp_path)


def test_read_only_folder(writer, tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    writer.write(tmp_path / writer.name, 0)  # imports what it needs, from where another user may not read
    with read_only(folder):
        if os.access(folder, os.W_OK, effective_ids=True):
            pytest.skip("no folder of this machine is read-only")
        error = fails(writer, folder, errno.EACCES)
    assert isinstance(error, PermissionError) or "Permission denied" in str(error)
    assert content_of(folder) == {}
    check_it_works_now(writer, folder)


def test_data_for_which_there_is_no_room_are_not_begun(tmp_path, monkeypatch):
    """HDF5 does not get over a disk that fills up while it writes."""
    usage = _whole.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(_whole.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    error = fails(WRITERS["CountVAEModel.save with data"], tmp_path)
    assert "MB are to be written, 0.0 MB are free" in str(error)
    check_nothing_is_there(WRITERS["CountVAEModel.save with data"], tmp_path)


def test_reason_is_asked_of_the_disk_where_the_writer_does_not_say(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(said):
        with _whole.disk_errors(tmp_path / "file"):
            raise said

    with pytest.raises(OSError, match=r"\[Errno 5\] iostream error; nothing was written"):
        fail(RuntimeError("iostream error"))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device; nothing was written"):
        fail(RuntimeError("iostream error"))
    with pytest.raises(NotImplementedError, match="not of the disk"):
        fail(NotImplementedError("not of the disk"))
    assert list(tmp_path.iterdir()) == []


def test_command_line_says_it_and_returns_2(tmp_path):
    from sctandem.__main__ import main

    words = ["collection", "build", str(make.source_file()), "--out", str(tmp_path / "c"), "--organism", "human"]
    with no_room_above(100), contextlib.redirect_stderr(io.StringIO()) as printed:
        assert main(words) == 2
    said = printed.getvalue()
    assert "File too large" in said
    assert str(tmp_path / "c") in said
    assert "--resume goes on with it" in said
    assert main([*words, "--resume"]) == 0


def test_sync_is_what_is_patched():
    assert _sync.os is os
    assert td.io.write_vectors.__module__ == "sctandem.io._vectors"
