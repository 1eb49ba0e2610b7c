from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sctandem as td


@pytest.fixture(name="adata")
def fixture_adata() -> AnnData:
    obs = pd.DataFrame({"rsd_unknown": [0.0, 0.2], "group": pd.Categorical(["b", "a"])}, index=["s1", "s0"])
    adata = AnnData(np.ones((2, 3)), obs=obs)
    shares = pd.DataFrame({"T": [0.7, 0.4], "B": [0.3, 0.4]}, index=adata.obs_names)
    for name, off in (("fractions", 0), ("low", -0.1), ("high", 0.2)):
        adata.obsm[f"rsd_{name}"] = shares + off
    return adata


def test_rows_are_those_of_the_tables(adata):
    found = td.get.fractions(adata, "group")
    assert list(found.columns) == ["sample", "cell_type", "fraction", "low", "high", "group"]
    assert found["sample"].tolist() == ["s1"] * 3 + ["s0"] * 3
    assert list(found["cell_type"].cat.categories) == ["T", "B", "unknown"]
    assert found["group"].tolist() == ["b"] * 3 + ["a"] * 3
    assert isinstance(found["group"].dtype, pd.CategoricalDtype)
    wide = {name: found.pivot(index="sample", columns="cell_type", values=name) for name in ("fraction", "low", "high")}
    for name, slot in (("fraction", "fractions"), ("low", "low"), ("high", "high")):
        expected = adata.obsm[f"rsd_{slot}"]
        np.testing.assert_allclose(wide[name].loc[expected.index, list(expected.columns)], expected)
    assert wide["fraction"]["unknown"].to_dict() == {"s0": 0.2, "s1": 0.0}
    assert wide["low"]["unknown"].isna().all()
    np.testing.assert_allclose(found.groupby("sample")["fraction"].sum(), 1)


def test_what_is_missing_is_named(adata):
    with pytest.raises(KeyError, match="adata.obs has no column 'sex'"):
        td.get.fractions(adata, ["group", "sex"])
    with pytest.raises(
        KeyError, match=r"adata.obs has no 'mine_unknown'; run `td.tl.deconvolve\(.*key_added='mine'\)` first"
    ):
        td.get.fractions(adata, key="mine")


@pytest.mark.parametrize("name", ["sample", "cell_type", "fraction", "low", "high"])
def test_columns_of_the_table_are_not_overwritten(adata, name):
    adata.obs[name] = [7, 8]
    with pytest.raises(ValueError, match=f"has '{name}', which the table has itself"):
        td.get.fractions(adata, ["group", name])
