"""Regulators and targets of a graph by their symbols, where genes go by identifiers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from regulation import TFS, multiome

import sctandem as td
from sctandem.model import RegulatoryGraph

PRIOR = pd.DataFrame({"tf": ["T0", "T0", "T1"], "target": ["G0", "G1", "G2"]})


def identified(mdata=None):
    """The multiome with genes that go by identifiers, their symbols beside, and the identifier of each symbol."""
    mdata = multiome() if mdata is None else mdata
    rna = mdata["rna"]
    symbols = rna.var_names.astype(str)
    ids = pd.Series([f"ENSG{i:011d}" for i in range(rna.n_vars)], index=symbols)
    rna.var["symbol"], rna.var_names = symbols.to_numpy(), ids.to_numpy()
    for slot in ("gene_windows", "tape_links"):
        for table in mdata.uns.get(slot, {}).values():
            if isinstance(table, pd.DataFrame) and "gene" in table:
                table["gene"] = table["gene"].astype(str).map(ids)
    mdata.update()
    return mdata, ids


def edges(data, tfs, **settings) -> pd.DataFrame:
    setup = RegulatoryGraph.setup_mudata if hasattr(data, "mod") else RegulatoryGraph.setup_anndata
    setup(data)
    model = RegulatoryGraph(data, tfs, rng=0, **settings)
    model.train(5)
    return model.get_edges().astype({"tf": str, "target": str})


@pytest.mark.parametrize("settings", [{"prior": None}, {"prior": PRIOR}, {}], ids=["alone", "table", "sites"])
def test_names_of_another_kind_give_the_same_edges(settings):
    """Motifs go by symbols, and so does the table; the edges name genes as the data do."""
    mdata, ids = identified()
    plain = multiome()
    if settings:
        mdata, plain = mdata["rna"], plain["rna"]
    found, wanted = edges(mdata, TFS, **settings), edges(plain, TFS, **settings)
    assert len(wanted)
    wanted = wanted.assign(tf=wanted["tf"].map(ids), target=wanted["target"].map(ids))
    pd.testing.assert_frame_equal(found, wanted)


def test_the_function_takes_symbols_as_well():
    rna = identified()[0]["rna"]
    td.tl.regulatory_graph(rna, TFS, prior=None, n_states=20, rng=0)
    assert rna.uns["regulatory_graph"]["params"]["tfs"] == list(identified()[1][TFS])


def test_a_symbol_of_several_genes_names_none(caplog):
    mdata, ids = identified()
    rna = mdata["rna"]
    rna.var.loc[ids["G5"], "symbol"] = "T1"
    RegulatoryGraph.setup_anndata(rna)
    model = RegulatoryGraph(rna, ["T0", "T1", ids["T2"]], prior=None, rng=0)
    assert model.regulators.names == [ids["T0"], ids["T2"]]
    assert "'T1'" in caplog.text
    with pytest.raises(ValueError, match=f"tfs names '{ids['T0']}' by its symbol as well"):
        RegulatoryGraph(rna, ["T0", ids["T0"]], prior=None, rng=0)


def test_a_symbol_that_is_a_name_is_that_gene():
    """Here the symbol of a gene is the name of another: the name goes first."""
    rna = multiome()["rna"]
    rna.var["symbol"] = np.roll(rna.var_names, 1)
    RegulatoryGraph.setup_anndata(rna)
    assert RegulatoryGraph(rna, TFS, prior=None, rng=0).regulators.names == list(TFS)


def test_a_saved_graph_needs_no_symbols(tmp_path):
    rna, ids = identified()[0]["rna"], identified()[1]
    RegulatoryGraph.setup_anndata(rna)
    model = RegulatoryGraph(rna, TFS, prior=PRIOR, rng=0)
    model.train(3)
    model.save(tmp_path / "model")
    del rna.var["symbol"]
    again = RegulatoryGraph.load(tmp_path / "model", rna)
    assert again.regulators.names == list(ids[TFS])
    pd.testing.assert_frame_equal(again.get_edges(), model.get_edges())


def test_a_collection_knows_the_symbols_of_its_genes(tmp_path):
    rna, ids = identified()[0]["rna"], identified()[1]
    rna.write_h5ad(tmp_path / "x.h5ad")
    td.data.build_collection(tmp_path / "x.h5ad", tmp_path / "out", organism="human", rng=0)
    collection = td.data.open_collection(tmp_path / "out")
    RegulatoryGraph.setup_collection(collection)
    assert set(RegulatoryGraph(collection, TFS, prior=None, rng=0).regulators.names) == set(ids[TFS])
