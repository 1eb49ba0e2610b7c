"""Models of a collection: those of the same cells in memory, in bounded memory, and the collection stays as it was."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from planted_cells import N_CELLS, N_GENES, N_TFS, TFS, TYPES, planted
from scattered import IDS

import sctandem as td
from sctandem.data import _streamed
from sctandem.kernels import _signature
from sctandem.model import RSD, TAPE, CapsuleNet, RegulatoryGraph


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    from sctandem.data._build_collection import build
    from sctandem.data._plan import Settings
    from sctandem.data._sources import find_sources

    folder = tmp_path_factory.mktemp("models")
    planted().write_h5ad(folder / "x.h5ad")
    columns = {"cell_type": ("cell_type",), "donor": ("donor",)}
    settings = Settings("human", "union", columns, block_entries=60_000, block_cells=700)
    build(find_sources(folder / "x.h5ad"), folder / "out", settings, skip_broken=False, resume=False, rng=0)
    return folder / "out"


@pytest.fixture
def collection(path, monkeypatch):
    """Opened anew, in small blocks; and as it was at the end."""
    monkeypatch.setattr(_streamed, "BLOCK", 64)
    monkeypatch.setattr(_streamed, "MOST_CELLS", 512)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    opened = td.data.open_collection(path)
    yield opened
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    assert opened.verify() == []


@pytest.fixture
def held(monkeypatch):
    """How many cells each read gave; all at once are refused."""
    read, sizes = _streamed.StreamedCounts.read, []

    def counted(self, start, stop):
        sizes.append(stop - start)
        return read(self, start, stop)

    monkeypatch.setattr(_streamed.StreamedCounts, "read", counted)
    monkeypatch.setattr(_streamed.StreamedCounts, "to_memory", lambda self: pytest.fail("all cells were read at once"))
    return sizes


def bulk(n: int = 5) -> AnnData:
    """Mixtures of the cells of the types."""
    cells, rng = planted(), np.random.default_rng(1)
    profiles = np.stack([cells.X[kind == TYPES].mean(0).A1 for kind in np.unique(TYPES)])
    return AnnData(rng.poisson(300 * rng.dirichlet(np.ones(3), n) @ profiles).astype(np.float32), var=cells.var)


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_reference_from_disk_equals_that_in_memory(collection, held, monkeypatch, passes):
    """Profiles, their spread between donors and what tells types apart; with room for the donors of all types, or of one at a time."""
    memory = collection.to_adata()
    held.clear()
    RSD.setup_anndata(memory, "cell_type", donor_key="donor")
    theirs = RSD(memory, rng=0)  # in one pass
    monkeypatch.setattr(_signature, "MOST_SUMS", 4 * N_GENES * {1: 3, 2: 2, 3: 1}[passes])
    RSD.setup_collection(collection, "cell_type", donor_key="donor")
    held.clear()
    ours = RSD(collection, rng=0)
    assert max(held) <= 512
    assert sum(held) == (1 + passes) * N_CELLS
    for name, values in theirs.module.state_dict().items():
        np.testing.assert_allclose(ours.module.state_dict()[name].numpy(), values.numpy(), rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_sums_and_spread_of_a_collection_are_those_of_the_plain_formulas(collection, held, monkeypatch, passes):
    """Of dense counts of a type at a time, as the docstring of `signature` puts it."""
    dense = collection.to_adata().X.toarray().astype(float)
    types, donors = (np.unique(collection.obs[key], return_inverse=True)[1] for key in ("cell_type", "donor"))
    monkeypatch.setattr(_signature, "MOST_SUMS", 4 * N_GENES * {1: 3, 2: 2, 3: 1}[passes])
    held.clear()
    found = _signature.signature_of_blocks(
        lambda: _streamed.blocks_in_order(collection.counts), N_GENES, types, donors, 3
    )
    assert sum(held) == (1 + passes) * N_CELLS
    sums = np.stack([dense[types == kind].sum(0) for kind in range(3)])
    np.testing.assert_allclose(found.molecules, sums)
    common = (sums / sums.sum(1, keepdims=True)).mean(0)
    prior = np.maximum(common, common[common > 0].min() / 10)
    shares = np.stack([(row + 300 * prior / prior.sum()) / (row.sum() + 300) for row in sums])
    np.testing.assert_allclose(found.shares, shares)
    for kind in range(3):
        each = [dense[(types == kind) & (donors == donor)].sum(0) for donor in range(4)]
        each = np.array([row for row in each if row.sum() >= 3000])  # ten times the molecules of the prior
        if len(each) < 2:  # the rare one: what is known beforehand
            np.testing.assert_allclose(found.spread[kind], 0.3)
            continue
        expected = np.array([row.sum() * shares[kind] for row in each])
        logs = np.log((each + 1) / (expected + 1))
        beyond = (logs - logs.mean(0)) ** 2 * len(each) / (len(each) - 1) - 1 / (expected + 1)
        reliable = expected / (expected + 5)
        variance = ((beyond * reliable).sum(0) + 4 * 0.3**2).clip(1e-3) / (reliable.sum(0) + 4)
        np.testing.assert_allclose(found.spread[kind], np.sqrt(variance))
    assert (found.spread.std(axis=1) > 0.01).sum() == 2


def test_bulk_is_taken_apart_as_with_the_reference_in_memory(collection, tmp_path):
    weights = np.random.default_rng(2).gamma(2.0, 1.0, N_CELLS)
    found = []
    for data in (collection, collection.to_adata()):
        (data.adata if data is collection else data).obs["weight"] = weights
        setup = RSD.setup_collection if data is collection else RSD.setup_anndata
        setup(data, "cell_type")
        model = RSD(data, rng=0)
        model.train(2, rng=0, sample_weight="weight")
        found.append(model.deconvolve(bulk(), rng=0).fractions)
        if data is collection:
            model.save(tmp_path / "model")
    pd.testing.assert_frame_equal(*found, rtol=0, atol=1e-4)  # float32 learns on sums that were rounded otherwise
    again = RSD.load(tmp_path / "model", collection)
    pd.testing.assert_frame_equal(again.deconvolve(bulk(), rng=0).fractions, found[0])


def graph(data, **settings) -> RegulatoryGraph:
    model = RegulatoryGraph(data, TFS, **{"prior": None, "n_states": 20, "rng": 0, **settings})
    model.train(5)
    return model


def test_a_graph_of_all_cells_equals_that_in_memory(collection):
    memory = collection.to_adata()
    RegulatoryGraph.setup_collection(collection)
    RegulatoryGraph.setup_anndata(memory)
    ours, theirs = graph(collection), graph(memory)
    assert len(ours.cells) == N_CELLS
    pd.testing.assert_frame_equal(
        ours.get_edges(collection.obs["cell_type"]), theirs.get_edges(memory.obs["cell_type"])
    )
    np.testing.assert_array_equal(ours.get_tf_activity(), theirs.get_tf_activity())


@pytest.mark.parametrize("balance_key", [None, "cell_type"])
def test_a_graph_of_drawn_cells_is_that_of_an_anndata_of_them(collection, held, balance_key, tmp_path):
    """Groups of the cells, weights and activity are those of the cells that were drawn."""
    collection.adata.obs["weight"] = np.random.default_rng(3).gamma(2.0, 1.0, N_CELLS)
    RegulatoryGraph.setup_collection(collection)
    held.clear()
    ours = graph(collection, n_cells=600, balance_key=balance_key)
    assert len(ours.cells) == 600
    assert max(held) <= 64
    assert sum(held) <= N_CELLS
    if balance_key is None:
        assert sum(held) <= 600 + 64  # other blocks are left alone
    else:
        assert collection.obs[balance_key].loc[ours.cells].value_counts().to_dict() == {
            "common": 285,
            "second": 285,
            "rare": 30,
        }
    memory = collection.to_adata(np.asarray(ours.cells))
    memory.obs["weight"] = collection.adata.obs["weight"].to_numpy()[ours.cells]
    RegulatoryGraph.setup_anndata(memory)
    theirs = graph(memory)
    pd.testing.assert_frame_equal(
        ours.get_edges(collection.obs["cell_type"]), theirs.get_edges(memory.obs["cell_type"])
    )
    np.testing.assert_array_equal(ours.get_tf_activity(), theirs.get_tf_activity())
    for model in (ours, theirs):
        model.train(2, sample_weight="weight")
    pd.testing.assert_frame_equal(ours.get_skill(), theirs.get_skill())
    ours.save(tmp_path / "model")
    again = RegulatoryGraph.load(tmp_path / "model", collection)
    np.testing.assert_array_equal(again.cells, ours.cells)
    pd.testing.assert_frame_equal(again.get_edges(), ours.get_edges())


def said(caplog) -> str:
    return " ".join(
        r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "no prior" not in r.getMessage()
    )


@pytest.mark.parametrize("n_cells", [600, None], ids=["asked for", "by default"])
def test_a_saved_graph_reads_the_cells_it_was_made_with(collection, monkeypatch, tmp_path, caplog, n_cells):
    """From whatever holds them, under other names, without the column, by another version that would draw others."""
    from sctandem.model import _regulatory_cells

    monkeypatch.setattr(_regulatory_cells, "MOST_CELLS", 600)
    monkeypatch.setattr(_regulatory_cells, "LEAST_CELLS", 600)
    RegulatoryGraph.setup_collection(collection)
    ours = graph(collection, n_cells=n_cells, balance_key="cell_type")
    ours.save(tmp_path / "model")
    monkeypatch.setattr(_streamed, "BLOCK", 48)
    monkeypatch.setattr(_regulatory_cells, "MOST_CELLS", 300)
    places = np.asarray(ours.cells)
    assert len(places) == 600
    everything, alone = collection.to_adata(), collection.to_adata(places)
    for data, names in ((collection, places), (everything, everything.obs_names[places]), (alone, alone.obs_names)):
        if data is not collection:
            del data.obs["cell_type"]
        again = RegulatoryGraph.load(tmp_path / "model", data)
        np.testing.assert_array_equal(again.cells, names)
        pd.testing.assert_frame_equal(again.get_edges(), ours.get_edges())
    assert not said(caplog)
    again.save(tmp_path / "alone")
    np.testing.assert_array_equal(RegulatoryGraph.load(tmp_path / "alone", alone).cells, alone.obs_names)
    assert not said(caplog)


def test_other_cells_than_those_drawn_are_told(collection, tmp_path, caplog):
    RegulatoryGraph.setup_collection(collection)
    ours = graph(collection, n_cells=600)
    ours.save(tmp_path / "model")
    RegulatoryGraph.load(tmp_path / "model", collection.to_adata()[::-1].copy())
    assert re.search(r"\d+ of the 600 cells .* have other values in these data", said(caplog))
    caplog.clear()
    assert len(RegulatoryGraph.load(tmp_path / "model", collection.to_adata(np.arange(2000))).cells) == 600
    assert "600 cells that were drawn of 3000, and these data hold 2000: other cells are drawn" in said(caplog)


def test_a_graph_of_all_cells_is_read_with_any(collection, tmp_path, caplog, monkeypatch):
    """All again of a collection that would be sampled now, and all of other cells, without a word: that is what it is for."""
    from sctandem.model import _regulatory_cells

    memory = collection.to_adata()
    RegulatoryGraph.setup_anndata(memory)
    ours = graph(memory)
    ours.save(tmp_path / "model")
    monkeypatch.setattr(_regulatory_cells, "MOST_CELLS", 600)
    again = RegulatoryGraph.load(tmp_path / "model", collection)
    pd.testing.assert_frame_equal(again.get_edges(), ours.get_edges())
    assert len(RegulatoryGraph.load(tmp_path / "model", memory[500:2000].copy()).cells) == 1500
    assert not said(caplog)


@pytest.mark.parametrize("fault", ["none", "far", "double", "length"])
def test_files_that_do_not_say_which_cells_are_read_and_damaged_ones_refused(collection, tmp_path, fault):
    RegulatoryGraph.setup_collection(collection)
    ours = graph(collection, n_cells=600, balance_key="cell_type")
    ours.save(tmp_path / "model")
    content = torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    kept = content["attr_dict"]["read_cells_"]
    positions = kept["positions"]["values"]
    if fault == "none":  # as before they were kept: the seed draws them
        del content["attr_dict"]["read_cells_"]
    elif fault == "far":
        positions[-1] = N_CELLS
    elif fault == "double":
        positions[1] = positions[0]
    else:
        kept["totals"]["values"] = kept["totals"]["values"][1:]
    torch.save(content, tmp_path / "model" / "model.pt")
    if fault == "none":
        np.testing.assert_array_equal(RegulatoryGraph.load(tmp_path / "model", collection).cells, ours.cells)
    else:
        with pytest.raises(ValueError, match="damaged: it does not say which cells"):
            RegulatoryGraph.load(tmp_path / "model", collection)


def test_a_fifth_of_the_cells_says_what_all_say(collection):
    """Planted edges come first in both, and edges are ordered alike."""
    RegulatoryGraph.setup_collection(collection)
    tables = [graph(collection, n_cells=n).get_edges() for n in (600, N_CELLS)]
    true = {(TFS[i % N_TFS], IDS[i]) for i in range(N_TFS, 40)}
    for table in tables:
        first = set(zip(table["tf"].head(len(true)), table["target"].head(len(true)), strict=True))
        assert len(first & true) >= 0.9 * len(true)
    few, all_ = (table.set_index(["tf", "target"])["weight"] for table in tables)
    assert few.corr(all_.reindex(few.index), method="pearson") > 0.95


def test_the_number_of_cells_read_without_a_wish_is_bounded(collection, monkeypatch):
    from sctandem.model import _regulatory_cells

    monkeypatch.setattr(_regulatory_cells, "MOST_CELLS", 900)
    monkeypatch.setattr(_regulatory_cells, "LEAST_CELLS", 200)
    RegulatoryGraph.setup_collection(collection)
    for most, n in ((100_000_000, 900), (400 * N_GENES, 400), (10, 200)):
        monkeypatch.setattr(_regulatory_cells, "MOST_VALUES", most)
        assert len(RegulatoryGraph(collection, TFS, prior=None, rng=0).cells) == n
    memory = collection.to_adata()
    RegulatoryGraph.setup_anndata(memory)
    assert len(RegulatoryGraph(memory, TFS, prior=None, rng=0).cells) == N_CELLS


def test_what_is_told_of_a_collection(collection, tmp_path):
    """Its own names in docstrings and messages, and nothing of what scvi-tools writes to it."""
    for model, needed in ((CapsuleNet, ()), (RSD, ("cell_type",)), (RegulatoryGraph, ())):
        text = model.setup_collection.__doc__
        assert "When the layer" not in text
        assert "`collection` is not a collection" in text
        assert inspect.signature(model.setup_collection).parameters["collection"].annotation is td.data.Collection
        with pytest.raises(TypeError, match="unexpected keyword argument 'layer'"):
            model.setup_collection(collection, *needed, layer="counts")
    assert "drawn by its seed" in RegulatoryGraph.setup_collection.__doc__
    assert "Notes\n-----\n" in RSD.setup_collection.__doc__
    RSD.setup_collection(collection, "cell_type")
    with pytest.raises(KeyError, match=r"collection\.adata\.obs has no column 'nope'; (?!.*_scvi)"):
        RSD.setup_collection(collection, "nope")
    with pytest.raises(TypeError, match=r"got Collection.*collection\.to_adata\(query\)"):
        td.tl.regulatory_graph(collection, TFS)
    model = RSD(collection, rng=0)
    model.train(1, rng=0)
    model.save(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="or a collection where the model was set up with one"):
        RSD.load(tmp_path / "model")
    with pytest.raises(TypeError, match="A collection .* is taken too"):
        RSD.load(tmp_path / "model", "folder")


def test_purposes_draw_from_streams_of_their_own():
    from sctandem.model import _regulatory_graph

    assert _regulatory_graph.PERMUTED != _regulatory_graph.DRAWS


def test_columns_that_are_not_there_are_refused(collection):
    for key in ({"cell_type_key": "celltype"}, {"cell_type_key": "cell_type", "donor_key": "patient"}):
        with pytest.raises(KeyError, match=r"has no column '(celltype|patient)'; it has 'cell_type', 'donor'"):
            RSD.setup_collection(collection, **key)
    RegulatoryGraph.setup_collection(collection)
    with pytest.raises(KeyError, match=r"has no column 'celltype'; it has 'cell_type', 'donor'"):
        RegulatoryGraph(collection, TFS, balance_key="celltype")
    with pytest.raises(ValueError, match="n_cells"):
        RegulatoryGraph(collection, TFS, n_cells=0)
    for few in (1, 2):
        with pytest.raises(ValueError, match=rf"n_cells={few} is too few: .* between 3 groups"):
            RegulatoryGraph(collection, TFS, n_cells=few)
    collection.adata.obs["some"] = pd.Categorical(np.where(TYPES == "rare", None, "x"))
    with pytest.raises(ValueError, match=r"obs\['some'\] is missing in 30 cells"):
        RegulatoryGraph(collection, TFS, balance_key="some", n_cells=100)


def test_what_to_call_is_told(collection):
    for model, arguments in ((CapsuleNet, ()), (RSD, ()), (RegulatoryGraph, (TFS,))):
        with pytest.raises(ValueError, match=rf"collection was not set up: call `{model.__name__}\.setup_collection"):
            model(collection, *arguments)
    with pytest.raises(TypeError, match=r"from a Collection, .* collection\.to_adata\(query\).* TAPE\.setup_mudata"):
        TAPE.setup_collection(collection)
    for model in (RSD, RegulatoryGraph):
        with pytest.raises(TypeError, match="collection must be a Collection"):
            model.setup_collection(collection.to_adata([0, 1]))


def test_the_data_of_a_collection_are_not_saved(collection, tmp_path):
    RSD.setup_collection(collection, "cell_type")
    model = RSD(collection, rng=0)
    model.train(1, rng=0)
    with pytest.raises(ValueError, match=r"save_anndata=True, .*a collection.*RSD\.load\(.*, collection\)"):
        model.save(tmp_path / "model", save_anndata=True)
    assert not (tmp_path / "model").exists()
    model.save(tmp_path / "model")
    before = (tmp_path / "model" / "model.pt").read_bytes()
    with pytest.raises(ValueError, match="save_anndata=True"):
        model.save(tmp_path / "model", save_anndata=True, overwrite=True)
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["model.pt"]
    assert (tmp_path / "model" / "model.pt").read_bytes() == before


def test_a_model_is_read_with_a_collection_or_its_adata(collection, tmp_path):
    CapsuleNet.setup_collection(collection, labels_key="cell_type")
    model = CapsuleNet(collection, rng=0)
    model.train(1, rng=0)
    model.save(tmp_path / "model")
    for data in (collection, collection.adata, td.data.open_collection(collection.path)):
        again = CapsuleNet.load(tmp_path / "model", data)
        np.testing.assert_array_equal(
            again.get_latent_representation(indices=[0, 7]), model.get_latent_representation(indices=[0, 7])
        )
