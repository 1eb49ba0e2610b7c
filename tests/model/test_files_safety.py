"""Nothing that a model file holds is run, and a file that is not whole is refused: the same tests for every model."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch


class Marker:
    """A thing that would make a file when it is read by pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Shell(Marker):
    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Evaluation(Marker):
    def __reduce__(self):
        return eval, (f"__import__('pathlib').Path({str(self.path)!r}).touch()",)


@pytest.mark.parametrize("thing", [Marker, Shell, Evaluation])
@pytest.mark.parametrize("place", ["model_state_dict", "var_names", "attr_dict"])
def test_file_that_would_run_code_is_refused(case, model, saved, tmp_path, thing, place):
    marker = tmp_path / "ran"
    content = torch.load(saved / "model.pt", weights_only=True)
    if isinstance(content[place], dict):
        content[place]["extra_"] = thing(marker)
    else:
        content[place] = thing(marker)
    forge(tmp_path, content)
    asked = r"model.pt was not loaded: it asks for \S*(system|eval|getattr), .* Nothing of it was run"
    with pytest.raises(ValueError, match=asked):
        case.cls.load(tmp_path, case.data())
    with pytest.raises(ValueError, match="was not loaded: it asks for"):
        case.cls.load_registry(tmp_path)
    assert not marker.exists()
    torch.load(tmp_path / "model.pt", weights_only=False)  # the trap is a real one
    assert marker.exists()


def forge(folder, content):
    torch.save(content, folder / "model.pt")


def test_bare_pickle_and_what_scvi_tools_pickles_are_refused(case, tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Shell(marker)))
    with pytest.raises(ValueError, match="model.pt (was not loaded: it asks for|is damaged)"):
        case.cls.load(tmp_path, case.data())
    forge(tmp_path, {"var_names": np.array(["a", "b"], dtype=object)})
    with pytest.raises(ValueError, match=r"it asks for numpy\..*_reconstruct"):
        case.cls.load(tmp_path, case.data())
    assert not marker.exists()


def test_what_the_process_allows_is_not_allowed_here(case, saved, tmp_path):
    marker = tmp_path / "ran"
    content = torch.load(saved / "model.pt", weights_only=True)
    content["attr_dict"]["extra_"] = Shell(marker)
    forge(tmp_path, content)
    usual = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([os.system]):
        with pytest.raises(ValueError, match="it asks for (posix|nt).system"):
            case.cls.load(tmp_path, case.data())
        assert set(torch.serialization.get_safe_globals()) == {os.system, *usual}
    assert not marker.exists()


def test_file_cannot_choose_method_class_or_attribute(case, saved, tmp_path):
    def load(change):
        content = torch.load(saved / "model.pt", weights_only=True)
        change(content["attr_dict"])
        forge(tmp_path, content)
        case.cls.load(tmp_path, case.data())

    with pytest.raises(ValueError, match="was set up by 'load', not by one of"):
        load(lambda attributes: attributes["registry_"].update(setup_method_name="load"))
    with pytest.raises(ValueError, match=r"it has the attributes \['module'\]"):
        load(lambda attributes: attributes.update(module="gone"))
    with pytest.raises(ValueError, match=r"it has the attributes \['__class__'\]|__class__"):
        load(lambda attributes: attributes.update(__class__=1))
    with pytest.raises(ValueError, match="holds no config 'Popen'"):
        load(lambda a: a.update(x_={"sctandem_kind": "config", "name": "Popen", "fields": {"args": "true"}}))
    with pytest.raises(ValueError, match="it lacks registry_"):
        load(lambda attributes: attributes.pop("registry_"))


def test_legacy_files_are_not_converted(case, saved, tmp_path):
    with pytest.raises(ValueError, match="reading it would run code from the file"):
        case.cls.convert_legacy_save(saved, tmp_path / "new")


def test_missing_and_damaged_files(case, model, saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="no model file .*model.pt .there: no such folder"):
        case.cls.load(tmp_path / "nowhere", case.data())
    (tmp_path / "other.txt").touch()
    with pytest.raises(FileNotFoundError, match="no model file .*model.pt .there: other.txt"):
        case.cls.load(tmp_path, case.data())
    whole = (saved / "model.pt").read_bytes()
    for damaged in (b"", b"no model", whole[: len(whole) // 2], whole[:-10]):
        (tmp_path / "model.pt").write_bytes(damaged)
        with pytest.raises(ValueError, match="model.pt is damaged, or not a model file"):
            case.cls.load(tmp_path, case.data())
    forge(tmp_path, [1, 2])
    with pytest.raises(ValueError, match="model.pt is not a model file: it lacks model_state_dict"):
        case.cls.load(tmp_path, case.data())
