from __future__ import annotations

import copy
import inspect
import pickle

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


@pytest.mark.parametrize("group", list(_accessor.GROUPS))
def test_groups_offer_what_the_sub_packages_export(mdata, group):
    package = getattr(td, group)
    assert dir(getattr(mdata.td, group)) == package.__all__
    for name in package.__all__:
        bound = getattr(getattr(mdata.td, group), name)
        assert bound.__func__ is getattr(package, name)
        assert bound.__self__ is mdata
        assert name in repr(mdata.td)


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
