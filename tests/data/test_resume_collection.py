"""A build that is killed, fails or is repeated: whole or not at all, and the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scattered
from scattered import build_small

import sctandem as td
from sctandem.data import _shards, _stage
from sctandem.data._manifest import work_folder

SUPPORT = Path(__file__).parents[1] / "support"

CHILD = """
import sys, time
sys.path.insert(0, sys.argv[4])
from pathlib import Path
from scattered import build_small
from sctandem.data import _shards, _stage
write, shard = _stage.Unit.write, _shards._write_shard
def slow_write(*arguments):
    write(*arguments); time.sleep(0.02)
def slow_shard(*arguments):
    shard(*arguments); time.sleep(0.02)
_stage.Unit.write, _shards._write_shard = slow_write, slow_shard
print("go", flush=True)
build_small(Path(sys.argv[1]), Path(sys.argv[2]), resume=sys.argv[3] == "resume")
"""


def same(first: td.data.Collection, second: td.data.Collection) -> bool:
    return first.manifest["identity"] == second.manifest["identity"]


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_gives_the_same_bytes(tmp_path):
    scattered.sources(tmp_path / "in")
    whole, out = build_small(tmp_path / "in", tmp_path / "whole"), tmp_path / "out"
    rng, mode = np.random.default_rng(0), "anew"
    for moment in range(10):
        command = [sys.executable, "-c", CHILD, tmp_path / "in", out, mode, SUPPORT]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "go\n"
            time.sleep(rng.uniform(0.02, 0.2))  # all ten are before the end
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        assert not out.exists(), f"the build had ended before it was killed for the {moment}th time"
        mode = "resume"
        with pytest.raises(FileNotFoundError, match="is not a collection"):
            td.data.open_collection(out)
    resumed = build_small(tmp_path / "in", out, resume=True)
    assert same(resumed, whole)
    assert resumed.verify() == []
    assert not work_folder(out).exists()


@pytest.mark.parametrize("moment", [7, *(pytest.param(i, marks=pytest.mark.slow) for i in (0, 3, 9, 12))])
def test_failed_after_any_step_and_resumed_gives_the_same_bytes(tmp_path, monkeypatch, moment):
    scattered.sources(tmp_path / "in")
    whole = build_small(tmp_path / "in", tmp_path / "whole")
    steps = [0]
    write, shard = _stage.Unit.write, _shards._write_shard

    def counted(function):
        def call(*arguments):
            if steps[0] == moment:
                raise OSError(28, "No space left on device")
            steps[0] += 1
            function(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(_stage.Unit, "write", counted(write))
        patched.setattr(_shards, "_write_shard", counted(shard))
        # a full disk is not the fault of a source, and none is skipped for it
        with pytest.raises(OSError, match="No space left on device"):
            build_small(tmp_path / "in", tmp_path / "out", skip_broken=True)
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileExistsError, match="resume=True goes on with it"):
        build_small(tmp_path / "in", tmp_path / "out")
    assert same(
        build_small(tmp_path / "in", tmp_path / "out", resume=True, rng=5), whole
    )  # the seed is that of the beginning


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    scattered.sources(tmp_path / "in")
    with monkeypatch.context() as patched:
        patched.setattr(
            "sctandem.data._build_collection.find_duplicates", lambda *_: (_ for _ in ()).throw(MemoryError("stop"))
        )
        with pytest.raises(MemoryError, match="stop"):
            build_small(tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(_stage.Unit, "write", lambda *_: pytest.fail("a block was read again"))
    build_small(tmp_path / "in", tmp_path / "out", resume=True)


def test_same_seed_same_bytes_other_seed_other_order(tmp_path):
    scattered.sources(tmp_path / "in")
    first, second, other = (
        build_small(tmp_path / "in", tmp_path / n, rng=r) for n, r in (("1", 0), ("2", 0), ("3", 1))
    )
    assert same(first, second)
    assert not same(first, other)
    assert sorted(other.to_adata().obs_names) == sorted(first.to_adata().obs_names)


def test_a_finished_collection_is_opened_by_resume_and_never_replaced(tmp_path):
    scattered.sources(tmp_path / "in")
    first = build_small(tmp_path / "in", tmp_path / "out")
    assert same(build_small(tmp_path / "in", tmp_path / "out", resume=True), first)
    with pytest.raises(FileExistsError, match="built of other sources or settings"):
        build_small(tmp_path / "in", tmp_path / "out", genes="intersection", resume=True)


def test_a_source_that_has_changed_is_noticed_on_resume(tmp_path, monkeypatch):
    truth = scattered.sources(tmp_path / "in")
    with monkeypatch.context() as patched:
        patched.setattr("sctandem.data._build_collection.write_shards", None)
        with pytest.raises(TypeError, match="NoneType"):
            build_small(tmp_path / "in", tmp_path / "out")
    truth["a"][:100].copy().write_h5ad(tmp_path / "in" / "a.h5ad")
    with pytest.raises(ValueError, match="a source has changed"):
        build_small(tmp_path / "in", tmp_path / "out", resume=True)


def test_verify_finds_what_is_not_as_it_was(tmp_path):
    scattered.sources(tmp_path / "in")
    collection = build_small(tmp_path / "in", tmp_path / "out")
    assert collection.verify() == []
    path = tmp_path / "out" / "cells.zarr" / "dataset_0" / "X" / "data" / "c" / "0"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (tmp_path / "out" / "cells.zarr" / "dataset_1" / "zarr.json").unlink()
    (tmp_path / "out" / "stray").write_text("x")
    assert sorted(collection.verify()) == [
        "cells.zarr/dataset_0/X/data/c/0 has another checksum",
        "cells.zarr/dataset_1/zarr.json is missing",
        "stray is not part of the collection",
    ]


def test_a_newer_format_and_a_damaged_manifest_are_refused(tmp_path):
    scattered.sources(tmp_path / "in")
    build_small(tmp_path / "in", tmp_path / "out")
    path = tmp_path / "out" / "collection.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ValueError, match="made by a newer sctandem: it has the format 99"):
        td.data.open_collection(tmp_path / "out")
    path.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        td.data.open_collection(tmp_path / "out")
