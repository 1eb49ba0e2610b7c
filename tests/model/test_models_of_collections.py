"""Models of a collection: those of the same cells in memory, in bounded memory, and the collection stays as it was."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scattered import IDS
from scipy import sparse

import sctandem as td
from sctandem.data import _streamed
from sctandem.kernels import _signature
from sctandem.model import RSD, TAPE, CapsuleNet, RegulatoryGraph

N_CELLS, N_GENES, N_TFS = 3000, 150, 4
TFS = IDS[:N_TFS]
TYPES = np.repeat(["common", "second", "rare"], [2400, 570, 30])


def planted() -> AnnData:
    """Cells of three types and four donors, where factor i drives the genes i, i + 4, ... of the first 40."""
    rng = np.random.default_rng(0)
    types = np.unique(TYPES, return_inverse=True)[1]
    donors = rng.integers(4, size=N_CELLS)
    level = rng.gamma(0.7, 3, (3, N_GENES))[types] * np.exp(0.3 * rng.standard_normal((4, N_GENES)))[donors]
    drive = np.exp(rng.standard_normal((N_CELLS, N_TFS)))
    level[:, :40] = 0.5 + 2 * drive[:, np.arange(40) % N_TFS]
    obs = pd.DataFrame({"cell_type": TYPES, "donor": np.array(list("abcd"))[donors]})
    obs.index = [f"cell{i}" for i in range(N_CELLS)]
    counts = sparse.csr_matrix(rng.poisson(level).astype(np.float32))
    return AnnData(counts, obs=obs, var=pd.DataFrame(index=IDS[:N_GENES]))


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


@pytest.mark.parametrize("passes", [1, 3])
def test_a_reference_from_disk_equals_that_in_memory(collection, held, monkeypatch, passes):
    """Profiles, their spread between donors and what tells types apart; with room for the donors of all types, or of one at a time."""
    memory = collection.to_adata()
    held.clear()
    monkeypatch.setattr(_signature, "MOST_SUMS", 4 * N_GENES * (3 if passes == 1 else 1))
    RSD.setup_collection(collection, "cell_type", donor_key="donor")
    held.clear()
    ours = RSD(collection, rng=0)
    assert max(held) <= 512
    assert sum(held) == (1 + passes) * N_CELLS
    RSD.setup_anndata(memory, "cell_type", donor_key="donor")
    theirs = RSD(memory, rng=0)
    for name, values in theirs.module.state_dict().items():
        np.testing.assert_allclose(ours.module.state_dict()[name].numpy(), values.numpy(), rtol=1e-9, err_msg=name)
    assert ours.module.spread.std() > 0.01  # it is not that of the prior


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
    again = RegulatoryGraph.load(tmp_path / "model", collection)  # the same seed draws the same cells
    np.testing.assert_array_equal(again.cells, ours.cells)
    pd.testing.assert_frame_equal(again.get_edges(), ours.get_edges())


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


def test_cells_of_an_anndata_are_drawn_on_wish():
    """Also where the order says something: here that of the types."""
    memory = planted()
    RegulatoryGraph.setup_anndata(memory)
    chosen = RegulatoryGraph(memory, TFS, prior=None, n_cells=1000, rng=0).cells
    share = memory.obs.loc[chosen, "cell_type"].value_counts(normalize=True)
    assert abs(share["common"] - 0.8) < 0.05
    assert chosen.equals(RegulatoryGraph(memory, TFS, prior=None, n_cells=1000, rng=0).cells)
    assert not chosen.equals(RegulatoryGraph(memory, TFS, prior=None, n_cells=1000, rng=1).cells)


def test_cells_of_a_mudata_are_drawn_in_both_modalities():
    mdata = td.datasets.simulate_multiome(300, 40, 200, rng=0)
    td.pp.gene_windows(mdata)
    RegulatoryGraph.setup_mudata(mdata)
    tfs = list(mdata["rna"].var_names[:3])
    chosen = RegulatoryGraph(mdata, tfs, prior=None, n_states=10, n_cells=100, rng=0)
    some = mdata[chosen.cells].copy()
    RegulatoryGraph.setup_mudata(some)
    of_these = RegulatoryGraph(some, tfs, prior=None, n_states=10, rng=0)
    for model in (chosen, of_these):
        model.train(2)
    np.testing.assert_array_equal(chosen.get_expression()["measured"], of_these.get_expression()["measured"])
    pd.testing.assert_frame_equal(chosen.get_edges(), of_these.get_edges())
    assert chosen.get_tf_activity().index.equals(some.obs_names)


def test_columns_that_are_not_there_are_refused(collection):
    for key in ({"cell_type_key": "celltype"}, {"cell_type_key": "cell_type", "donor_key": "patient"}):
        with pytest.raises(KeyError, match=r"has no column '(celltype|patient)'; it has 'cell_type', 'donor'"):
            RSD.setup_collection(collection, **key)
    RegulatoryGraph.setup_collection(collection)
    with pytest.raises(KeyError, match=r"has no column 'celltype'; it has 'cell_type', 'donor'"):
        RegulatoryGraph(collection, TFS, balance_key="celltype")
    with pytest.raises(ValueError, match="n_cells"):
        RegulatoryGraph(collection, TFS, n_cells=0)
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
