"""The way that the guide of collections shows for cells from elsewhere, and for scarce types, as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from scattered import IDS

import sctandem as td
from sctandem.module import CapsuleConfig

GUIDE = Path(__file__).parents[2] / "docs" / "user_guide" / "collections.md"


def block(holds: str) -> str:
    """The one block of the guide that holds a text."""
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if holds in each]
    return found


@pytest.fixture
def blood(tmp_path):
    rng = np.random.default_rng(0)
    adata = AnnData(rng.poisson(2.0, (80, 12)).astype(np.float32))
    adata.var_names = IDS[:12]
    adata.var["symbol"] = [f"SYM{i}" for i in range(12)]
    adata.obs_names = [f"cell{i}" for i in range(80)]
    adata.obs["cell_type"] = ["a"] * 40 + ["b"] * 33 + ["c"] * 7
    adata.write_h5ad(tmp_path / "x.h5ad")
    columns = {"cell_type": "cell_type"}
    return td.data.build_collection(tmp_path / "x.h5ad", tmp_path / "out", organism="human", obs=columns, rng=0)


def test_cells_with_symbols_are_brought_onto_the_axis(blood):
    td.model.CapsuleNet.setup_collection(blood)
    model = td.model.CapsuleNet(blood, config=CapsuleConfig(n_hidden=16), rng=0)
    model.train(1, rng=0)
    new = blood.to_adata()[:, ::-1].copy()
    expected = new.copy()
    td.tl.capsules(expected, model=model)
    new.var_names = new.var["symbol"].astype(str).to_numpy()
    exec(block("td.tl.capsules(new, model=model)"), {"td": td, "blood": blood, "new": new, "model": model})
    assert list(new.var_names) == list(expected.var_names)
    np.testing.assert_array_equal(new.obsm["X_capsules"], expected.obsm["X_capsules"])


def test_scarce_types_are_named_unknown(blood):
    exec(block('>= 10, "unknown"'), {"blood": blood})
    assert blood.adata.obs["cell_type"].value_counts().to_dict() == {"a": 40, "b": 33, "unknown": 7}
