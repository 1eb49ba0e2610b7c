from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sctandem as td


@pytest.fixture(name="adata")
def fixture_adata() -> AnnData:
    adata = AnnData(np.ones((2, 4)), var=pd.DataFrame(index=["A", "B", "C", "D"]))
    adata.varm["capsules_genes"] = pd.DataFrame(
        {"0": [0.1, 2.0, -1.0, 0.5], "1": [1.0, -3.0, 1.5, 0.0]}, index=adata.var_names, dtype=np.float32
    )
    return adata


def test_all_genes_of_all_capsules(adata):
    table = td.get.capsule_genes(adata)
    assert table.columns.tolist() == ["capsule", "gene", "weight", "rank"]
    assert table["gene"].tolist() == ["B", "D", "A", "C", "C", "A", "D", "B"]
    assert table["capsule"].tolist() == ["0"] * 4 + ["1"] * 4
    assert table["rank"].tolist() == [1, 2, 3, 4] * 2
    wide = table.pivot(index="gene", columns="capsule", values="weight")
    np.testing.assert_array_equal(wide.loc[adata.var_names], adata.varm["capsules_genes"])


def test_top_genes_of_some_capsules(adata):
    assert td.get.capsule_genes(adata, 1, n_genes=2)["gene"].tolist() == ["C", "A"]
    pd.testing.assert_frame_equal(td.get.capsule_genes(adata, "1"), td.get.capsule_genes(adata, 1))
    assert td.get.capsule_genes(adata, ["1", 0], n_genes=1)["gene"].tolist() == ["C", "B"]
    assert len(td.get.capsule_genes(adata, 0, n_genes=100)) == 4


def test_symbols_stand_beside_ids(adata):
    adata.var["symbol"] = ["a", "b", "c", "d"]
    table = td.get.capsule_genes(adata, n_genes=2)
    assert table.columns.tolist() == ["capsule", "gene", "symbol", "weight", "rank"]
    assert table["symbol"].tolist() == ["b", "d", "c", "a"]


def test_what_is_wrong(adata):
    with pytest.raises(KeyError, match=r"no capsule '7'; it has '0', '1'"):
        td.get.capsule_genes(adata, [0, 7])
    with pytest.raises(KeyError, match=r"no 'other_genes'; run `sctandem.tl.capsules\(adata, key_added='other'\)`"):
        td.get.capsule_genes(adata, key="other")
    with pytest.raises(ValueError, match="n_genes=0 is not an integer above 0"):
        td.get.capsule_genes(adata, n_genes=0)
    with pytest.raises(TypeError, match="adata must be an AnnData"):
        td.get.capsule_genes(adata.varm)
