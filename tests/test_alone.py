"""One process at a time: who comes second is told, and who was killed holds nobody up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sctandem._alone import alone

CHILD = """
import sys, time
from pathlib import Path
from sctandem._alone import alone
with alone(Path(sys.argv[1]), "held"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_is_told_and_the_next_gets_it(tmp_path):
    lock = tmp_path / "lock"
    for _ in range(2):
        with alone(lock, "held"), pytest.raises(FileExistsError, match="held"), alone(lock, "held"):
            pytest.fail("two hold it")
        assert not lock.exists()


def test_a_process_that_is_killed_holds_nobody_up(tmp_path):
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", CHILD, lock], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(FileExistsError, match="held"), alone(lock, "held"):
            pass
        child.kill()
    assert lock.exists()
    with alone(lock, "held"):
        pass
    assert not lock.exists()


def test_file_that_was_deleted_by_who_held_it_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    import fcntl

    lock, flock, first = tmp_path / "lock", fcntl.flock, []

    def late(file, how):
        if not first:  # between opening and locking the other ends, and a third one begins
            lock.unlink()
            first.append(lock.open("ab"))
            flock(first[0], fcntl.LOCK_EX)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(FileExistsError, match="held"), alone(lock, "held"):
        pytest.fail("two hold it")
    first[0].close()


def test_a_disk_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    import errno
    import fcntl

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with alone(tmp_path / "lock", "held"):
        pass
