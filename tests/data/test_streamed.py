"""Counts that stay on disk: the same cells, each once, in random order, in bounded memory."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import scattered
import torch
from anndata import AnnData
from scattered import IDS
from scipy import sparse

import sctandem as td
from sctandem.data import CountLoader, _streamed
from sctandem.data._plan import Settings
from sctandem.data._sources import find_sources
from sctandem.data._streamed import cut_batches
from sctandem.model.base import CountVAEModel
from sctandem.model.base._increment import group_totals
from sctandem.train import TrainConfig

N_CELLS, N_GENES = 3000, 40


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Several shards of one source, whose cells can be told by their row."""
    from sctandem.data._build_collection import build

    folder = tmp_path_factory.mktemp("streamed")
    counts = scattered.counts(N_CELLS, 0, N_GENES) + 1
    obs = pd.DataFrame({"cell_type": np.where(np.arange(N_CELLS) % 3 == 0, "rare", "common")})
    obs.index = obs.index.astype(str)
    AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=IDS[:N_GENES])).write_h5ad(folder / "x.h5ad")
    settings = Settings("human", "union", {"cell_type": ("cell_type",)}, block_entries=25_000, block_cells=700)
    return build(find_sources(folder / "x.h5ad"), folder / "out", settings, skip_broken=False, resume=False, rng=0)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_streamed, "BLOCK", 64)
    monkeypatch.setattr(_streamed, "MOST_CELLS", 512)


@pytest.mark.parametrize(
    "index",
    [
        slice(5, 900, 7),
        slice(None, 3),
        np.array([2999, 0, 5, 5, 1200]),
        np.arange(3000) % 5 == 0,
        17,
        np.array([], dtype=int),
    ],
    ids=["steps", "first", "any order", "mask", "one", "none"],
)
def test_any_rows_are_those_in_memory(collection, index):
    whole = collection.to_adata().X
    rows = index if not isinstance(index, int) else slice(index, index + 1)
    np.testing.assert_array_equal(collection.counts[index].toarray(), whole[rows].toarray())
    np.testing.assert_array_equal(collection.counts[index, 3:7].toarray(), whole[rows][:, 3:7].toarray())


def test_sums_are_known_without_reading(collection, monkeypatch):
    whole = collection.to_adata().X
    monkeypatch.setattr(type(collection.counts), "read", lambda *_: pytest.fail("counts were read"))
    np.testing.assert_array_equal(collection.counts.sum(0), np.asarray(whole.sum(0)).ravel())
    np.testing.assert_array_equal(collection.counts.sum(1), np.asarray(whole.sum(1)).ravel())
    assert collection.counts.sum() == whole.sum()


def test_each_cell_once_an_epoch_with_its_own_counts(collection):
    cells = np.random.default_rng(1).choice(N_CELLS, 2345, replace=False)
    whole = collection.to_adata().X
    seen = []
    for places, rows in collection.counts.shuffled(cells, np.random.default_rng(0)):
        assert len(places) <= 512
        np.testing.assert_array_equal(rows.toarray(), whole[places].toarray())
        seen.append(places)
    assert sorted(np.concatenate(seen)) == sorted(cells)
    again = np.concatenate([p for p, _ in collection.counts.shuffled(cells, np.random.default_rng(0))])
    np.testing.assert_array_equal(np.concatenate(seen), again)


def test_in_order_means_in_the_order_given(collection):
    cells = np.array([7, 2990, 3, 1500, 1499])
    (places, rows), *rest = collection.counts.in_order(cells)
    assert not rest
    np.testing.assert_array_equal(places, cells)
    np.testing.assert_array_equal(rows.toarray(), collection.to_adata().X[cells].toarray())


def test_batches_are_cut_across_parts():
    whole = sparse.csr_matrix(np.arange(30).reshape(10, 3))
    parts = iter([(np.arange(4), whole[:4]), (np.arange(4, 5), whole[4:5]), (np.arange(5, 10), whole[5:])])
    found = list(cut_batches(parts, [3, 3, 4]))
    assert [len(cells) for cells, _ in found] == [3, 3, 4]
    np.testing.assert_array_equal(np.concatenate([cells for cells, _ in found]), np.arange(10))
    np.testing.assert_array_equal(sparse.vstack([rows for _, rows in found]).toarray(), whole.toarray())


def test_a_loader_gives_the_batches_of_memory(collection):
    """Not shuffled, the batches of a collection are those of the same cells in memory, entry by entry."""
    memory = collection.to_adata()
    CountVAEModel.setup_collection(collection, batch_key="cell_type")
    CountVAEModel.setup_anndata(memory, batch_key="cell_type")
    loaders = [
        CountLoader(CountVAEModel(data, rng=0).adata_manager, np.arange(100, 1100), batch_size=300)
        for data in (collection, memory)
    ]
    for ours, theirs in zip(*loaders, strict=True):
        assert set(ours) == set(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key].to_dense().numpy(), theirs[key].to_dense().numpy())


def test_batches_are_as_mixed_as_true_random_ones(collection):
    """The entropy of the labels of a batch, of which a third is rare, against that of random draws."""
    CountVAEModel.setup_collection(collection, batch_key="cell_type")
    manager = CountVAEModel(collection, rng=0).adata_manager
    rng = np.random.default_rng(0)
    codes = collection.obs["cell_type"].cat.codes.to_numpy()

    def entropy(labels: np.ndarray) -> float:
        share = np.bincount(labels, minlength=2) / len(labels)
        return float(-(share * np.log(np.maximum(share, 1e-12))).sum())

    ours = [
        entropy(batch["batch"].numpy().ravel())
        for _ in range(5)
        for batch in CountLoader(manager, batch_size=100, shuffle=True, rng=int(rng.integers(1000)))
    ]
    random = [entropy(codes[rng.choice(N_CELLS, 100, replace=False)]) for _ in range(len(ours))]
    assert abs(np.mean(ours) / np.mean(random) - 1) < 0.02


def test_a_model_trained_from_disk_equals_one_trained_in_memory(collection):
    memory = collection.to_adata()
    losses, bounds = [], []
    for data in (memory, collection):
        if data is memory:
            CountVAEModel.setup_anndata(data)
        else:
            CountVAEModel.setup_collection(data)
        model = CountVAEModel(data, rng=0)
        model.train(15, batch_size=128, rng=0)
        losses.append(model.history["train_loss"].to_numpy()[-1, 0])
        bounds.append(model.get_elbo(memory))
        assert len(set(model.train_indices) | set(model.validation_indices)) == N_CELLS
    assert abs(losses[1] / losses[0] - 1) < 0.01
    assert abs(bounds[1] / bounds[0] - 1) < 0.01


def test_same_seed_same_model_from_disk(collection):
    latent = []
    for _ in range(2):
        CountVAEModel.setup_collection(collection)
        model = CountVAEModel(collection, rng=0)
        model.train(2, rng=0)
        latent.append(model.get_latent_representation(indices=[3, 1, 2]))
    np.testing.assert_array_equal(latent[0], latent[1])


def test_capsules_and_deepde_take_a_collection_and_are_saved_without_it(collection, tmp_path):
    td.model.CapsuleNet.setup_collection(collection, labels_key="cell_type")
    model = td.model.CapsuleNet(collection, rng=0)
    model.train(3, rng=0)
    model.save(tmp_path / "model")
    few = collection.to_adata(np.arange(50))
    loaded = td.model.CapsuleNet.load(tmp_path / "model", adata=few)
    np.testing.assert_allclose(
        loaded.get_latent_representation(), model.get_latent_representation(indices=np.arange(50)), rtol=1e-5, atol=1e-6
    )
    td.model.DeepDE.setup_collection(collection, "cell_type")
    states = td.model.DeepDE(collection, rng=0)
    states.train(2, rng=0)
    assert states.get_latent_representation(indices=[0]).shape[0] == 1


def test_a_model_of_a_collection_is_saved_in_bounded_memory(collection, tmp_path, monkeypatch):
    """What is kept of its cells is what all of them in memory give, and they are not read into it at once."""
    whole, group = collection.to_adata().X.toarray().astype(float), np.random.default_rng(0).integers(3, size=N_CELLS)
    CountVAEModel.setup_collection(collection, batch_key="cell_type")
    model = CountVAEModel(collection, rng=0)
    model.train(1, rng=0)
    monkeypatch.setattr("sctandem._blocks._BLOCK", 32 * N_GENES)  # 256 cells
    take = _streamed.StreamedCounts.take
    most = []
    monkeypatch.setattr(_streamed.StreamedCounts, "take", lambda s, cells: (most.append(len(cells)), take(s, cells))[1])
    model.save(tmp_path / "model")
    assert 0 < max(most) <= 512
    sizes, depths = (np.asarray(model.memory_[name]) for name in ("sizes", "depths"))
    np.testing.assert_allclose(sizes @ depths[:, 0] / N_CELLS, np.log(whole.sum(1)).mean(), rtol=1e-6)
    latent, batch = model.get_latent_representation(), model._memory_batches()
    found, expected = group_totals(model.module, collection.counts, latent, batch, group)
    np.testing.assert_array_equal(found, [whole[group == number].sum(0) for number in range(3)])
    np.testing.assert_allclose(expected.sum(1), found.sum(1), rtol=1e-5)  # shares add up to 1


WEIGHTS = np.random.default_rng(3).permutation(np.repeat([2.3, 0.35, 0.0], N_CELLS // 3))


def loaders_of(collection, use):
    """Loaders with one seed over the cells on the disk, and over the same in memory."""
    memory = collection.to_adata()
    CountVAEModel.setup_collection(collection)
    CountVAEModel.setup_anndata(memory)
    for data in (collection, memory):
        loader = CountLoader(CountVAEModel(data, rng=0).adata_manager, batch_size=300, shuffle=True, rng=7)
        loader.weigh(WEIGHTS, use)
        loader._tables["cell"] = torch.arange(N_CELLS)
        yield loader


@pytest.mark.parametrize("use", ["sampler", "loss", "unbiased"])
def test_weighted_epochs_have_the_cells_and_weights_of_memory(collection, use):
    """One seed draws the same cells, as often, with the same weights in the loss, and each with its own counts."""
    whole, totals = collection.to_adata().X.toarray(), np.zeros(N_CELLS)
    ours, theirs = loaders_of(collection, use)
    for _ in range(5):
        found = [{name: [] for name in ("cell", "sample_weight")} for _ in range(2)]
        for kept, loader in zip(found, (ours, theirs), strict=True):
            for batch in loader:
                for name in kept:
                    kept[name].append(batch.get(name, batch["cell"]).numpy().ravel())
                if loader is ours:
                    np.testing.assert_array_equal(batch["X"].to_dense().numpy(), whole[batch["cell"].numpy()])
        here, there = ({n: np.concatenate(v) for n, v in kept.items()} for kept in found)
        assert len(here["cell"]) == N_CELLS
        for name in here:
            np.testing.assert_array_equal(np.sort(here[name]), np.sort(there[name]))
        totals += np.bincount(here["cell"], minlength=N_CELLS)
    expected = np.ones(N_CELLS) if use == "loss" else WEIGHTS / WEIGHTS.mean()
    assert np.abs(totals / 5 - expected).max() < 1
    for weight in np.unique(WEIGHTS):
        same = weight == WEIGHTS
        assert abs(totals[same].mean() / 5 - expected[same].mean()) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("use", ["sampler", "loss", "unbiased"])
def test_weighted_training_from_disk_equals_that_in_memory(collection, use):
    memory, bounds = collection.to_adata(), []
    for data in (memory, collection):
        (data if data is memory else data.adata).obs["weight"] = WEIGHTS
        if data is memory:
            CountVAEModel.setup_anndata(data)
        else:
            CountVAEModel.setup_collection(data)
        model = CountVAEModel(data, rng=0)
        model.train(15, batch_size=128, rng=0, sample_weight="weight", config=TrainConfig(weight_use=use))
        assert (WEIGHTS[model.train_indices] > 0).all()
        bounds.append(model.get_elbo(memory))
    assert abs(bounds[1] / bounds[0] - 1) < 0.01


def test_set_up_with_what_is_no_collection_is_refused(collection):
    with pytest.raises(TypeError, match="collection must be a Collection"):
        CountVAEModel.setup_collection(collection.to_adata([0, 1]))
    with pytest.raises(TypeError, match="layer"):
        CountVAEModel.setup_collection(collection, layer="counts")


def test_what_takes_no_collection_says_what_to_pass(collection):
    for setup in (lambda c: td.model.RSD.setup_anndata(c, "cell_type"), td.model.RegulatoryGraph.setup_anndata):
        with pytest.raises(
            TypeError,
            match=r"adata must be an AnnData, got Collection.*setup_collection.*collection\.to_adata\(query\)",
        ):
            setup(collection)
    for model in (td.model.TAPE, td.model.RegulatoryGraph):
        with pytest.raises(TypeError, match="Collection, not a MuData; a collection is counts of one modality"):
            model.setup_mudata(collection)


def test_query_by_words_and_genes(collection):
    found = collection.to_adata("cell_type == 'rare' and n_counts > 80", genes=[IDS[3], IDS[0]])
    expected = collection.obs[(collection.obs["cell_type"] == "rare") & (collection.obs["n_counts"] > 80)]
    assert found.n_obs == len(expected) > 0
    np.testing.assert_array_equal(
        found.X.toarray(), collection.to_adata().X[expected.index.to_numpy()][:, [3, 0]].toarray()
    )
    with pytest.raises(ValueError, match="cannot be understood"):
        collection.to_adata("nothing == 3")
    for numbers in ("n_counts + 1", "n_counts", "x = n_counts"):  # which were once taken for positions
        with pytest.raises(
            ValueError, match=f"query='{re.escape(numbers)}' does not say of each cell whether to take it"
        ):
            collection.to_adata(numbers)
    with pytest.raises(KeyError, match="NOSUCH"):
        collection.to_adata([0], genes=["NOSUCH"])
    with pytest.raises(TypeError, match="genes must be a list of names, got str: 'g1'"):
        collection.to_adata([0], genes="g1")


def test_annbatch_reads_the_folder_as_its_own(collection):
    annbatch = pytest.importorskip("annbatch", reason="annbatch: needs Python 3.12 and the extra 'massive'")
    import zarr

    theirs = annbatch.DatasetCollection(zarr.open_group(collection.path / "cells.zarr", mode="r"))
    assert not theirs.is_empty
    assert theirs.obs(["source_row"])["source_row"].tolist() == collection.obs["source_row"].tolist()
