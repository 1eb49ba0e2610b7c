from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_hex

import sctandem as td
from sctandem._keys import DEKeys


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    rows = []
    for state in ("B", "NK"):
        for i in range(20):
            p = 1e-6 if i < 3 else 0.5
            change = (2.0 if i % 2 else -2.0) if i < 3 else rng.normal(0, 0.1)
            row = dict.fromkeys(DEKeys().columns, 1.0)
            rows.append(
                row
                | {"gene": f"g{i}", "state": state, "contrast": "a vs b", "log2fc": change, "p_value": p}
                | {"q_value": p if state == "B" else 0.5, "n_samples": 6}
            )
    return AnnData(uns={"deepde": {"table": pd.DataFrame(rows)}})


def test_volcano(adata):
    ax = td.pl.volcano(adata, "B", n_names=2)
    points = ax.collections[0]
    assert points.get_offsets().shape == (20, 2)
    np.testing.assert_allclose(points.get_offsets()[0], [-2, 6])
    colors = [to_hex(color).upper() for color in points.get_facecolors()[:4]]
    assert colors == ["#2166AC", "#B2182B", "#2166AC", "#B3B3B3"]
    assert [text.get_text() for text in ax.texts] == ["g0", "g1"]
    with pytest.raises(ValueError, match="has several: 'B', 'NK'. Name one with state="):
        td.pl.volcano(adata)


def test_heatmap(adata):
    ax = td.pl.de_heatmap(adata, 2)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["g0", "g1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B", "NK"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[-2, 2], [-2, 2]])
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0, 0], [1, 0]])  # significant in B only
    with pytest.raises(ValueError, match="no gene of adata.uns"):
        td.pl.de_heatmap(adata, q_value=0)
