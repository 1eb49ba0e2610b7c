from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_hex

import sctandem as td


@pytest.fixture
def adata():
    names = [f"a{i}" for i in range(6)] + [f"b{i}" for i in range(4)] + ["c"]
    rows = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if first[0] != second[0] and second != "c":
                continue
            row = dict.fromkeys(
                ["correlation", "p_value", "q_value", "change", "change_p_value", "change_q_value"], 0.01
            )
            strength = (0.1 + 0.01 * len(rows)) * (-1 if first == "a0" else 1)
            module = {"a": "M1", "b": "M2"}[first[0]] if second != "c" else ""
            rows.append(row | {"gene_a": first, "gene_b": second, "association": strength, "module": module})
    members = pd.DataFrame({"gene": names[:10], "module": ["M1"] * 6 + ["M2"] * 4, "loading": 0.5})
    return AnnData(uns={"gene_associations": {"table": pd.DataFrame(rows), "modules": members}})


def places(ax) -> np.ndarray:
    return np.vstack([points.get_offsets() for points in ax.collections[1:]])


def test_modules_are_circles_and_pairs_lines(adata):
    ax = td.pl.gene_associations(adata)
    lines, *circles = ax.collections
    table = td.get.gene_associations(adata)
    assert len(lines.get_segments()) == len(table)
    assert [len(points.get_offsets()) for points in circles] == [6, 4, 1]
    for points in circles[:2]:
        around = points.get_offsets() - np.mean(points.get_offsets(), axis=0)
        np.testing.assert_allclose(np.linalg.norm(around, axis=1), 0.27)
    colors = {to_hex(color).upper() for color in lines.get_colors()}
    assert colors == {"#B2182B", "#2166AC"}
    blue = [to_hex(color).upper() == "#2166AC" for color in lines.get_colors()]
    assert sum(blue) == (table["association"] < 0).sum()
    widths = np.asarray(lines.get_linewidths())
    assert widths.argmax() == len(widths) - 1  # the strongest on top
    texts = [text.get_text() for text in ax.texts]
    assert {"M1", "M2", "no module", "a0", "b3", "c"} <= set(texts)
    assert ax.get_title(loc="left") == f"{len(table)} associations, 11 genes"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["together", "against each other"]


def test_lines_end_at_their_genes(adata):
    ax = td.pl.gene_associations(adata, gene="b0", n_names=2)
    known = {tuple(np.round(spot, 9)) for spot in places(ax)}
    ends = {tuple(np.round(end, 9)) for segment in ax.collections[0].get_segments() for end in segment}
    assert ends == known
    assert len(known) == 5  # b0 to b3, and c


def test_modules_take_turns(adata):
    ax = td.pl.gene_associations(adata, 6)
    shown = [len(points.get_offsets()) for points in ax.collections[1:]]
    assert len(shown) == 3  # two pairs of each, where the strongest six are all of one
    assert ax.get_title(loc="left").startswith("6 of ")


def test_pairs_without_an_association_are_the_thinnest_lines(adata):
    adata.uns["gene_associations"]["table"]["association"] = 0.0
    with np.errstate(all="raise"):
        ax = td.pl.gene_associations(adata)
    assert set(ax.collections[0].get_linewidths()) == {0.4}


def test_errors(adata):
    with pytest.raises(KeyError, match="run `td.tl.gene_associations"):
        td.pl.gene_associations(adata, key="other")
    with pytest.raises(ValueError, match="n_pairs=0 is not an integer above 0"):
        td.pl.gene_associations(adata, 0)
    for n_names in (-1, 2.5):
        with pytest.raises(ValueError, match=f"n_names={n_names} is not an integer of at least 0"):
            td.pl.gene_associations(adata, n_names=n_names)
    with pytest.raises(ValueError, match="module='M7' is not in"):
        td.pl.gene_associations(adata, module="M7")
