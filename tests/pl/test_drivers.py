from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_hex

import sctandem as td


@pytest.fixture
def adata():
    genes = pd.DataFrame(
        {
            "gene": ["g0", "g1", "g2", "g3"],
            "group": "case",
            "log2fc": [1.5, -1.0, 0.5, 0.0],
            "composition": [0.5, 0.5, -0.5, 0.0],
            "expression": [1.0, -1.5, 1.0, 0.0],
            "statistic": [9.0, -8.0, 7.0, 0.0],
            "p_value": [1e-6, 1e-5, 1e-4, 0.9],
            "q_value": [1e-5, 1e-4, 1e-3, 0.9],
            "pattern": ["B up", "T down", "B up", "none"],
            "candidates": ["B", "T", "B | T", ""],
        }
    )
    rows = [
        {"gene": f"g{i}", "cell_type": t, "group": "case", "log2fc": value, "se": 0.2, "share": 0.5, "statistic": 1.0}
        | {"p_value": q, "q_value": q}
        for i, t, value, q in [
            (0, "B", 2.0, 0.01), (0, "T", 0.1, 1.0), (1, "T", -2.0, 0.01), (2, "B", 0.4, 0.01), (2, "T", 0.2, 1.0), (3, "B", 9.0, 0.01),
        ]
    ]  # fmt: skip
    run = {"genes": genes, "types": pd.DataFrame(rows), "params": {"reference": "control"}}
    return AnnData(uns={"drivers": run})


def test_squares_and_bars(adata):
    figure = td.pl.drivers(adata)
    left, right = figure.axes[:2]
    assert [label.get_text() for label in left.get_yticklabels()] == ["g0", "g2", "g1"]  # patterns together
    assert [label.get_text() for label in left.get_xticklabels()] == ["B", "T"]
    np.testing.assert_allclose(left.images[0].get_array().filled(np.nan), [[2, 0.1], [0.4, 0.2], [np.nan, -2]])
    np.testing.assert_allclose(left.collections[0].get_offsets(), [[0, 0], [0, 1], [1, 2]])
    bars = {
        (round(bar.get_y() + bar.get_height() / 2), to_hex(bar.get_facecolor()).upper()): bar for bar in right.patches
    }
    composition, expression = "#E69F00", "#009E73"
    ends = {key: (bar.get_x(), bar.get_x() + bar.get_width()) for key, bar in bars.items()}
    assert ends[0, composition] == (0, 0.5)
    assert ends[0, expression] == (0.5, 1.5)  # stacked
    assert ends[1, composition] == (0, -0.5)
    assert ends[1, expression] == (0, 1.0)  # either way from 0
    np.testing.assert_allclose(right.collections[0].get_offsets()[:, 0], [1.5, 0.5, -1.0])
    assert [text.get_text() for text in right.texts] == ["B up", "T down"]
    assert figure.get_suptitle() == "case vs control"


def test_what_cannot_be_drawn(adata):
    with pytest.raises(ValueError, match="no gene of adata.uns"):
        td.pl.drivers(adata, max_q=0)
    with pytest.raises(ValueError, match="n_genes=0"):
        td.pl.drivers(adata, 0)
    more = adata.uns["drivers"]["genes"].assign(group="late")
    adata.uns["drivers"]["genes"] = pd.concat([adata.uns["drivers"]["genes"], more])
    with pytest.raises(ValueError, match="has several: 'case', 'late'. Name one with group="):
        td.pl.drivers(adata)
    assert len(td.pl.drivers(adata, 1, group="case").axes[0].get_yticklabels()) == 1
