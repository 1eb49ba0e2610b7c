from __future__ import annotations

import pytest

from sctandem.kernels._mrna_contents import PUBLISHED, published_contents

B, T, NK, MONO, NEUTRO = 0.40, 0.40, 0.44, 1.42, 0.13


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("B", B),
        ("B cells", B),
        ("Naive B", B),
        ("CD19+ B", B),
        ("Bcells", B),
        ("B_cell", B),
        ("T cells", T),
        ("CD4+/CD25 T Reg", T),
        ("CD8+ Cytotoxic T", T),
        ("CD4 T", T),
        ("CD8T", T),
        ("T.CD4.naive", T),
        ("Tregs", T),
        ("Th17", T),
        ("NK T", T),
        ("NK", NK),
        ("CD56+ NK", NK),
        ("NK_dim", NK),
        ("Natural killer cells", NK),
        ("CD16+ NK", NK),
        ("CD14+ Monocyte", MONO),
        ("CD14+CD16- mono", MONO),
        ("Monocytes.C", MONO),
        ("FCGR3A+ Monocytes", MONO),
        ("Macrophages", MONO),
        ("Dendritic.Cells", MONO),
        ("DC", MONO),
        ("mDCs", MONO),
        ("pDC", MONO),
        ("cDC1", MONO),
        ("Neutrophils", NEUTRO),
        ("Neutrophils.LD", NEUTRO),
    ],
)
def test_names_of_blood(name, content):
    assert published_contents([name]) == {name: content}


@pytest.mark.parametrize(
    "name",
    [
        "Megakaryocytes",
        "CD34+",
        "CD38+ cells",
        "Erythroblasts",
        "PBMC mononuclear",
        "Plasma",
        "beta",
        "alpha",
        "HEK293T",
        "T47D",
        "B16",
        "HCC827",
        "Basophils",
        "Endothelial",
        "Fibroblast",
        "",
    ],
)
def test_other_names_are_not_known(name):
    assert published_contents([name]) == {}


def test_the_table_is_that_of_the_paper():
    assert {entry.name: entry.content for entry in PUBLISHED} == {
        "neutrophils": NEUTRO,
        "dendritic cells": MONO,
        "monocytes": MONO,
        "NK cells": NK,
        "B cells": B,
        "T cells": T,
    }
    assert list(published_contents(["x", "NK", "T"])) == ["NK", "T"]
