from __future__ import annotations

import copy
import inspect
import pickle

import anndata
import mudata
import numpy as np
import pytest
from anndata import AnnData
from mudata import MuData

import sctandem as td
from sctandem import _accessor


def describe(data, suffix="", *, copy: bool = False):
    """Stand for a function of a sub-package."""
    return (data, suffix, copy)


@pytest.fixture
def adata() -> AnnData:
    return AnnData(np.ones((3, 2), dtype=np.float32))


@pytest.fixture
def mdata(adata) -> MuData:
    atac = adata.copy()
    atac.var_names = ["peak1", "peak2"]
    return MuData({"rna": adata, "atac": atac})


@pytest.fixture(autouse=True)
def described(monkeypatch):
    monkeypatch.setitem(vars(td.tl), "describe", describe)


def test_functions_get_the_object_first(adata, mdata):
    assert adata.td.tl.describe("x", copy=True) == (adata, "x", True)
    data, suffix, copied = mdata.td.tl.describe()
    assert data is mdata
    assert (suffix, copied) == ("", False)
    assert mdata["rna"].td.tl.describe()[0] is mdata["rna"]


def test_help_is_that_of_the_function(mdata):
    assert mdata.td.tl.describe.__doc__ == describe.__doc__
    assert list(inspect.signature(mdata.td.tl.describe).parameters) == ["suffix", "copy"]


def first_annotation(function):
    return next(iter(inspect.signature(function).parameters.values())).annotation


@pytest.mark.parametrize("group", list(_accessor.GROUPS))
def test_groups_offer_what_takes_the_object(adata, mdata, group):
    package = getattr(td, group)
    for data, kind in ((mdata, "MuData"), (adata, "AnnData")):
        offered = [name for name in package.__all__ if kind in first_annotation(getattr(package, name)).split(" | ")]
        assert dir(getattr(data.td, group)) == offered
        for name in offered:
            bound = getattr(getattr(data.td, group), name)
            assert bound.__func__ is getattr(package, name)
            assert bound.__self__ is data
            assert name in repr(data.td)
    assert len(dir(getattr(mdata.td, group))) > 0


def test_an_anndata_is_told_what_is_needed(adata):
    assert dir(adata.td.pp) == []
    assert "sctandem.pp on AnnData: no function takes it" in repr(adata.td)
    with pytest.raises(
        AttributeError,
        match=r"`td\.tl\.predict_expression` works on MuData, not on AnnData like this one\. Put the .*mudata\.MuData",
    ):
        _ = adata.td.tl.predict_expression
    assert not hasattr(adata.td.pp, "gene_windows")


def on_cells(adata: AnnData):
    return adata


def on_both(data: AnnData | MuData):
    return data


def on_full_name(data: mudata.MuData):
    return data


def on_both_full_names(data: anndata.AnnData | mudata.MuData):
    return data


def on_class(data):
    return data


on_class.__annotations__["data"] = MuData  # not as text


def test_annotations_in_any_style():
    assert _accessor._takes(on_full_name) == ("MuData",)
    assert _accessor._takes(on_both_full_names) == ("AnnData", "MuData")
    assert _accessor._takes(on_class) == ("MuData",)
    assert _accessor._takes(describe) == ("AnnData", "MuData")


def test_functions_on_anndata(adata, mdata, monkeypatch):
    for function in (on_cells, on_both):
        monkeypatch.setitem(vars(td.tl), function.__name__, function)
    monkeypatch.setattr(td.tl, "__all__", ["describe", "on_both", "on_cells", "predict_expression"])
    assert dir(adata.td.tl) == ["describe", "on_both", "on_cells"]
    assert dir(mdata.td.tl) == ["describe", "on_both", "predict_expression"]
    assert adata.td.tl.on_cells() is adata
    assert mdata.td.tl.on_both() is mdata
    with pytest.raises(
        AttributeError, match=r"works on AnnData, not on MuData like this one\. Call it on one of the modalit"
    ):
        _ = mdata.td.tl.on_cells


def test_unknown_names_say_what_there_is(mdata):
    with pytest.raises(AttributeError, match=r"'td' has no group 'tools'; it has pp \(prepare\), tl"):
        _ = mdata.td.tools
    with pytest.raises(AttributeError, match=r"'sctandem.pp' has no attribute 'windows'; it offers .*gene_windows"):
        _ = mdata.td.pp.windows


def test_views_and_copies_reach_their_own_data(adata, mdata):
    _ = adata.td, mdata.td  # cached on the objects from now on
    view = adata[:2]
    assert view.td.tl.describe()[0] is view
    assert adata.copy().td.tl.describe()[0].n_obs == 3
    for clone in (mdata.copy(), mdata[:2]):
        assert clone.td.tl.describe()[0] is clone


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_deep_copies_and_pickles(adata, clone):
    _ = adata.td
    other = clone(adata)
    assert other is not adata
    assert other.td.tl.describe()[0] is other


def test_written_files_do_not_know_it(adata, tmp_path):
    from anndata import read_h5ad

    _ = adata.td
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert not vars(read_h5ad(tmp_path / "a.h5ad")).get("td")


def test_what_makes_an_object_from_files_is_not_called_on_one(adata, mdata):
    for data, kind in ((adata, "AnnData"), (mdata, "MuData")):
        assert "count_fragments" not in dir(data.td.pp)
        message = (
            rf"`sctandem\.pp\.count_fragments` takes no object in first place: call it by that name, not on {kind}"
        )
        with pytest.raises(AttributeError, match=message):
            _ = data.td.pp.count_fragments
