"""Saving and loading, the same tests for every model of the package."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from models import CASES
from mudata import MuData

import sctandem as td
from sctandem.model.base import CountVAEModel, FilesMixin


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parameters_of(model):
    return {key: value.clone() for key, value in model.module.state_dict().items()}


def data_file(model):
    return "adata.h5ad" if isinstance(model.adata, AnnData) else "mdata.h5mu"


# --- there and back ---------------------------------------------------------------------------------------------------


def test_same_output_bit_for_bit(case, model, saved):
    found = case.cls.load(saved, case.data())
    assert type(found) is case.cls
    for key, value in parameters_of(model).items():
        assert torch.equal(value, found.module.state_dict()[key])
    np.testing.assert_array_equal(case.output(found), case.output(model))


def test_data_saved_with_the_model(case, model, saved):
    assert sorted(bytes_of(saved)) == sorted(["model.pt", data_file(model)])
    found = case.cls.load(saved)
    assert type(found.adata) is type(model.adata)
    np.testing.assert_array_equal(case.output(found), case.output(model))


def test_models_that_were_loaded_with_their_data_do_not_share_them(case, saved):
    first, second = case.cls.load(saved), case.cls.load(saved)
    marks = {model.adata.uns["_scvi_uuid"] for model in (first, second)}
    assert len(marks) == 2
    assert first.get_anndata_manager(first.adata) is first.adata_manager
    assert first.get_anndata_manager(second.adata) is None


def test_setup_is_shown(case, model, saved, capsys):
    model.view_anndata_setup()
    assert f"{case.cls.__name__}.setup_" in capsys.readouterr().out
    case.cls.load(saved).view_anndata_setup(hide_state_registries=True)
    assert f"{case.cls.__name__}.setup_" in capsys.readouterr().out


def test_history_indices_and_config_come_back(case, model, saved):
    found = case.cls.load(saved)
    assert found.is_trained
    assert list(found.history) == list(model.history)
    for name, table in model.history.items():
        pd.testing.assert_frame_equal(found.history[name], table, check_dtype=False)
    for name in ("train_indices", "validation_indices", "test_indices"):
        np.testing.assert_array_equal(getattr(found, name), getattr(model, name))
    assert found.module.config == model.module.config
    assert found.init_params_["non_kwargs"].keys() == model.init_params_["non_kwargs"].keys()


def test_loaded_model_trains_on_and_is_saved_again(case, saved, tmp_path):
    found = case.cls.load(saved)
    before = parameters_of(found)
    found.train(1, rng=0, progress=False)
    assert any(not torch.equal(value, before[key]) for key, value in parameters_of(found).items())
    found.save(tmp_path / "again")
    np.testing.assert_array_equal(case.output(case.cls.load(tmp_path / "again", case.data())), case.output(found))


def test_loading_leaves_the_random_state_alone(case, saved):
    data = case.data()
    before = torch.random.get_rng_state()
    case.cls.load(saved, data)
    assert torch.equal(before, torch.random.get_rng_state())


def test_prefix_and_registry(case, model, tmp_path):
    model.save(tmp_path / "m", "first_")
    model.save(tmp_path / "m", prefix="second_", overwrite=True)
    assert sorted(bytes_of(tmp_path / "m")) == ["first_model.pt", "second_model.pt"]
    found = case.cls.load(tmp_path / "m", case.data(), prefix="second_")
    np.testing.assert_array_equal(case.output(found), case.output(model))
    registry = case.cls.load_registry(tmp_path / "m", prefix="first_")
    assert registry["model_name"] == case.cls.__name__
    assert registry["setup_args"] == dict(model.registry_["setup_args"])


def test_layout_is_that_of_scvi_tools(case, model, saved):
    raw = torch.load(saved / "model.pt", weights_only=True)
    assert list(raw) == ["model_state_dict", "var_names", "attr_dict"]
    assert raw["attr_dict"]["registry_"]["model_name"] == case.cls.__name__
    assert raw["attr_dict"]["registry_"]["scvi_version"] == model.registry_["scvi_version"]
    names = model.get_var_names()
    for found, expected in zip(
        raw["var_names"].values() if isinstance(names, dict) else [raw["var_names"]],
        names.values() if isinstance(names, dict) else [names],
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


# --- whole or not at all ----------------------------------------------------------------------------------------------


def test_interrupted_first_save_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "save", interrupted(torch.save))
    with pytest.raises(KeyboardInterrupt, match="pulled"):
        model.save(tmp_path / "new" / "model", save_anndata=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]


def test_interrupted_save_leaves_the_old_files(case, model, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    model.save(folder, save_anndata=True)
    (folder / "notes.txt").write_text("mine")
    before = bytes_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupted(torch.save))
        with pytest.raises(KeyboardInterrupt, match="pulled"):
            model.save(folder, overwrite=True, save_anndata=True)
    assert bytes_of(folder) == before
    np.testing.assert_array_equal(case.output(case.cls.load(folder)), case.output(model))


def test_full_disk_while_the_data_are_written(case, model, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    model.save(folder)
    before = bytes_of(folder)

    def full(self, path, *args, **kwargs):
        Path(path).write_bytes(b"half of it")
        msg = "No space left on device"
        raise OSError(msg)

    monkeypatch.setattr(type(model.adata), "write", full)
    with pytest.raises(OSError, match="No space left"):
        model.save(folder, overwrite=True, save_anndata=True)
    assert bytes_of(folder) == before


def test_files_are_on_the_disk_before_they_take_their_place(model, tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor):
        done.append("sync")
        sync(descriptor)

    def noted_replace(self, target):
        done.append(Path(target).name)
        return replace(self, target)

    model.save(tmp_path / "m", save_anndata=True)
    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    model.save(tmp_path / "m", save_anndata=True, overwrite=True)
    assert done == ["sync", "sync", "sync", data_file(model), "model.pt", "sync", "sync"]


def interrupted(save):
    """`torch.save`, with the plug pulled when half of the file is written."""

    def run(content, path, **kwargs):
        save(content, path, **kwargs)
        written = Path(path).read_bytes()
        Path(path).write_bytes(written[: len(written) // 2])
        msg = "pulled"
        raise KeyboardInterrupt(msg)

    return run


def test_existing_folder(case, model, saved, tmp_path):
    before = bytes_of(saved)
    with pytest.raises(ValueError, match="already exists.*overwrite=True"):
        model.save(saved)
    assert bytes_of(saved) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="already exists. It is a file: name a folder"):
        model.save(tmp_path / "file", overwrite=True)
    (tmp_path / "folder").mkdir()
    model.save(tmp_path / "folder", overwrite=True)
    assert list(bytes_of(tmp_path / "folder")) == ["model.pt"]
    model.save(str(tmp_path / "parent" / "child"))
    assert list(bytes_of(tmp_path / "parent" / "child")) == ["model.pt"]


def test_permissions_are_the_usual_ones(model, saved, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    assert saved.stat().st_mode == plain.stat().st_mode
    (plain / "file").touch()
    assert (saved / "model.pt").stat().st_mode == (plain / "file").stat().st_mode


# --- errors -----------------------------------------------------------------------------------------------------------


def test_no_data(case, model, tmp_path):
    model.save(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match=f"no data were given.*there is no .*{data_file(model)}"):
        case.cls.load(tmp_path / "m")


def test_wrong_class(case, saved):
    other = type("OtherModel", (case.cls,), {})
    with pytest.raises(ValueError, match=f"a model of a different class: {case.cls.__name__}, not OtherModel"):
        other.load(saved, case.data())


def test_missing_and_shuffled_features(case, saved):
    data = case.data()
    if isinstance(data, MuData):
        name = list(data.mod)[-1]  # chromatin: what only training needs may be missing
        whole = dict(data.mod)
        with pytest.raises(ValueError, match=f"the data lack .*{name}"):
            case.cls.load(saved, MuData({key: value for key, value in whole.items() if key != name}))

        def changed(columns):
            return MuData({**whole, name: whole[name][:, columns].copy()})
    else:
        whole, name = {"": data}, ""

        def changed(columns):
            return data[:, columns].copy()

    names, slot = whole[name].var_names, f"adata[{name!r}]" if name else "adata"
    with pytest.raises(
        ValueError,
        match=rf"{re.escape(slot)}\.var_names lack 2 of the {len(names)} features of the model in .*: '{names[0]}'",
    ):
        case.cls.load(saved, changed(np.arange(2, len(names))))
    with pytest.raises(ValueError, match="in another order, or more than these"):
        case.cls.load(saved, changed(np.arange(len(names))[::-1]))


def test_data_of_the_other_kind(case, saved):
    data = case.data()
    if isinstance(data, MuData):
        other, asked = next(iter(data.mod.values())), r"a MuData with the modalities \['"
    else:
        other, asked = MuData({"rna": data}), "an AnnData"
    with pytest.raises(TypeError, match=f"adata is {type(other).__name__}, .* was set up with {asked}"):
        case.cls.load(saved, other)


def test_what_a_file_cannot_hold_is_refused_on_saving(case, model, tmp_path):
    model.extra_ = {"deep": [{1, 2}]}
    try:
        with pytest.raises(TypeError, match=r"attribute extra_\['deep'\]\[0\] is a set, which a model file does not"):
            model.save(tmp_path / "m")
    finally:
        del model.extra_
    assert not (tmp_path / "m").exists()


def test_every_model_has_it():
    models = []
    for name in td.model.__all__:
        with suppress(ImportError):  # test_package_structure tells
            models.append(getattr(td.model, name))
    of_sequences = {cls for cls in models if not hasattr(cls, "setup_anndata") and not hasattr(cls, "setup_mudata")}
    assert {cls.__name__ for cls in of_sequences} == {"SequenceGAN"}  # its files have tests of their own
    of_cells = set(models) - of_sequences
    assert all(issubclass(cls, FilesMixin) for cls in of_cells)
    assert {cls.__name__ for cls in of_cells} <= set(CASES)


# --- one model --------------------------------------------------------------------------------------------------------


def test_categories_are_those_of_training(tmp_path):
    case = CASES["CountVAEModel"]
    model = case.trained()
    model.save(tmp_path / "m")
    data = case.data()
    part = data[data.obs["batch"] == "b"].copy()
    found = CountVAEModel.load(tmp_path / "m", part)
    assert set(part.obs["_scvi_batch"]) == {1}
    assert found.summary_stats["n_batch"] == 2
    assert CountVAEModel.load(tmp_path / "m", part).summary_stats["n_batch"] == 2


@pytest.mark.parametrize("value", ["c", ""])
def test_unknown_categories_leave_the_data_as_they_were(tmp_path, value):
    case = CASES["CountVAEModel"]
    case.trained().save(tmp_path / "m")
    data = case.data()
    data.obs.loc[data.obs_names[:3], "batch"] = value
    before = data.obs.copy()
    known = rf"adata\.obs\['batch'\] has categories that the saved model does not know: '{value}'\. It knows 'a', 'b'\."
    with pytest.raises(ValueError, match=known):
        CountVAEModel.load(tmp_path / "m", data)
    assert list(data.uns) == []
    pd.testing.assert_frame_equal(data.obs, before)


def test_backed_data_stay_with_their_file(tmp_path):
    import anndata

    case = CASES["CountVAEModel"]
    case.data().write_h5ad(tmp_path / "backed.h5ad")
    backed = anndata.read_h5ad(tmp_path / "backed.h5ad", backed="r+")
    try:
        case.set_up(backed)
        model = case.make(backed)
        model.train(1, rng=0, progress=False)
        model.save(tmp_path / "m", save_anndata=True)
        assert Path(backed.filename) == tmp_path / "backed.h5ad"
        np.testing.assert_array_equal(case.output(CountVAEModel.load(tmp_path / "m")), case.output(model))
    finally:
        backed.file.close()
