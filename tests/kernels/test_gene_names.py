"""Names of genes on one axis."""

from __future__ import annotations

import pytest

from sctandem.kernels._gene_names import canonical_genes, ensembl_id, gene_axis, gene_table, mapping_report


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ENSG00000141510", "ENSG00000141510"),
        ("ENSG00000141510.17", "ENSG00000141510"),
        ("ENSMUSG00000059552.1", "ENSMUSG00000059552"),
        ("ENSG00000182378.14_PAR_Y", "ENSG00000182378"),
        ("TP53", None),
        ("AL627309.1", None),
        ("ENST00000269305", None),
    ],
)
def test_ids_lose_their_version_and_symbols_are_none(name, expected):
    assert ensembl_id(name) == expected


def test_a_symbol_becomes_an_id_only_where_one_is_known():
    table = gene_table(
        [
            ("ENSG00000000001.3", "ONE"),
            ("ENSG00000000001.4", "ONE"),
            ("ENSG00000000002", "TWIN"),
            ("ENSG00000000003", "TWIN"),
        ]
    )
    keys, how = canonical_genes(["ONE", "TWIN", "NEW", "ENSG00000000009.1"], table)
    assert keys == ["ENSG00000000001", "TWIN", "NEW", "ENSG00000000009"]
    assert len(set(how)) == 4
    assert table.symbols["ENSG00000000002"] == "TWIN"


def test_axis_and_report_account_for_every_gene():
    genes = {"x": ["A", "B", "B"], "y": ["B", "C"]}
    assert gene_axis(genes, "union") == ["A", "B", "C"]
    assert gene_axis(genes, "intersection") == ["B"]
    assert gene_axis(genes, ["C", "A", "C"]) == ["C", "A"]
    report = mapping_report(["a", "b", "b2"], genes["x"], ["s", "s", "s"], ["B"])
    assert report["gene"].tolist() == ["", "B", "B"]
    assert report["summed"].tolist() == [0, 2, 2]
    assert report["how"].iloc[0].startswith("left out")
