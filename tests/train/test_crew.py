"""Several processes train as one does: each cell once, gradients of the joined batch, one model."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import numpy as np
import pytest
import scattered
import torch
from models import CASES
from scattered import build_small
from two_processes import FOLDER, Rates, Watched, steps

import sctandem as td
from sctandem.data import CountLoader, _streamed
from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAEConfig
from sctandem.train import CountTrainingPlan, TrainConfig, _crew, _worker
from sctandem.train._checkpoint import Checkpoint, TrainingPart
from sctandem.train._crew import run_in_processes
from sctandem.train._loop import EpochLoop


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    path = tmp_path_factory.mktemp("crew")
    scattered.sources(path / "in")
    build_small(path / "in", path / "out")
    return td.data.open_collection(path / "out")


def data_of(kind, collection):
    data = collection if kind == "collection" else collection.to_adata()
    (CountVAEModel.setup_collection if kind == "collection" else CountVAEModel.setup_anndata)(data)
    return CountVAEModel(data, config=CountVAEConfig(n_hidden=16, n_latent=4), rng=0)


def loader_of(model, **options):
    options = {"batch_size": 50, "shuffle": True, "rng": 3, **options}
    cells = {"cell": torch.arange(model.adata.n_obs)[:, None]}
    return CountLoader(model.adata_manager, entries=cells, **options)


def cells_of(loader):
    return [batch["cell"].numpy().ravel() for batch in loader]


@pytest.mark.parametrize("kind", ["memory", "collection"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_shares_hold_each_cell_once_an_epoch(collection, monkeypatch, kind, size, shuffle):
    monkeypatch.setattr(_streamed, "BLOCK", 16)
    model = data_of(kind, collection)
    some = np.random.default_rng(0).permutation(model.adata.n_obs)[:201]
    loaders = [loader_of(model, indices=some, shuffle=shuffle) for _ in range(size)]
    for rank, loader in enumerate(loaders):
        loader.divide(rank, size)
    before = None
    for _ in range(3):
        found = [cells_of(loader) for loader in loaders]
        assert len({len(batches) for batches in found}) == 1
        np.testing.assert_array_equal(np.sort(np.concatenate([c for batches in found for c in batches])), np.sort(some))
        for number in range(len(loaders[0])):
            sizes = [len(batches[number]) for batches in found]
            np.testing.assert_allclose([each.share(number) for each in loaders], size * np.array(sizes) / sum(sizes))
            assert max(sizes) - min(sizes) <= 1
        first = np.concatenate(found[0])
        assert before is None or np.array_equal(before, first) == (not shuffle)
        before = first


def test_shares_in_memory_make_up_the_batches_of_one_loader(collection):
    model = data_of("memory", collection)
    weights = np.random.default_rng(0).uniform(0, 4, model.adata.n_obs)
    for weighed in (False, True):
        loaders = [loader_of(model) for _ in range(3)]
        for rank, loader in enumerate(loaders):
            if weighed:
                loader.weigh(weights)
            if rank:
                loader.divide(rank - 1, 2)
        for whole, one, other in zip(*map(cells_of, loaders), strict=True):
            np.testing.assert_array_equal(whole, np.concatenate([one, other]))


def watched(kind, collection, folder, monkeypatch, n_processes):
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    model = data_of(kind, collection)
    plan = Watched(Rates(model.adata.n_vars), config=TrainConfig(learning_rate=1e-3))
    loop = EpochLoop(
        plan,
        loader_of(model),
        None,
        max_epochs=2,
        n_cells=model.adata.n_obs,
        device=torch.device("cpu"),
        part=TrainingPart(),
    )
    if n_processes == 1:
        loop.begin()
        loop.run(progress=False)
    else:
        run_in_processes(loop, n_processes, progress=False)
    return loop, model.adata.n_obs


def gradient_of(model, cells, weight):
    """The gradient of a batch, by one process."""
    module = Rates(model.adata.n_vars)
    module.weight.data = torch.from_numpy(weight).clone()
    module(loader_of(model).take(cells))[2].loss.backward()
    return module.weight.grad.numpy()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "collection"])
def test_two_processes_see_each_cell_once_and_descend_the_joined_batch(collection, tmp_path, monkeypatch, kind):
    loop, n_obs = watched(kind, collection, tmp_path / "two", monkeypatch, 2)
    first, second = steps(tmp_path / "two", 0), steps(tmp_path / "two", 1)
    n_batches = len(loop.loader)
    assert len(first) == len(second) == 2 * n_batches
    assert loop.is_finished
    for epoch in range(2):
        window = slice(epoch * n_batches, (epoch + 1) * n_batches)
        seen = np.concatenate([step["cells"] for step in [*first[window], *second[window]]])
        np.testing.assert_array_equal(np.sort(seen), np.arange(n_obs))
    model, weight = data_of(kind, collection), Rates(collection.n_vars).weight.detach().numpy()
    for one, other in zip(first, second, strict=True):
        joined = np.concatenate([one["cells"], other["cells"]])
        expected = gradient_of(model, joined, weight)
        np.testing.assert_allclose(one["gradient"], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(one["gradient"], other["gradient"])
        np.testing.assert_array_equal(one["weight"], other["weight"])
        weight = one["weight"]
    np.testing.assert_array_equal(loop.plan.module.weight.detach().numpy(), weight)
    if kind == "memory":  # the same batches in the same order
        alone, _ = watched(kind, collection, tmp_path / "one", monkeypatch, 1)
        np.testing.assert_allclose(weight, alone.plan.module.weight.detach().numpy(), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            [row["train_loss"] for row in loop.rows], [row["train_loss"] for row in alone.rows], rtol=1e-9
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "collection"])
def test_model_of_two_processes_is_as_good_as_that_of_one(collection, tmp_path, kind):
    found = {}
    for devices in (1, 2):
        model = data_of(kind, collection)
        options = {"batch_size": 64, "train_size": 0.8, "config": TrainConfig(validate_every=1), "rng": 0}
        model.train(6, devices=devices, progress=False, checkpoint=tmp_path / "c", **options)
        assert model.is_trained
        assert not (tmp_path / "c").exists()
        found[devices] = model
    for name in ("train_loss", "elbo_validation"):
        one, two = (found[devices].history[name].to_numpy() for devices in (1, 2))
        np.testing.assert_allclose(two[-1], one[-1], rtol=0.01)
        assert len(one) == len(two) == 6
    np.testing.assert_array_equal(found[1].train_indices, found[2].train_indices)
    assert found[2].get_latent_representation().shape == (collection.n_obs, 4)


@pytest.mark.slow
def test_loss_that_is_not_finite_is_told_as_by_one_process(collection):
    with pytest.raises(FloatingPointError, match="the loss became nan in epoch 1; lower the learning rate"):
        data_of("memory", collection).train(2, learning_rate=1e30, devices=2, rng=0, progress=False)


def test_only_a_checkpoint_that_could_not_be_written_is_told_as_one(tmp_path):
    kept = Checkpoint(tmp_path / "run.ckpt", {}, seed=0)
    loop = SimpleNamespace(part=kept.part(0))
    folder = tmp_path / "job"
    folder.mkdir()
    lost = FileNotFoundError(errno.ENOENT, "No such file", "shard")
    _worker.tell(folder, lost, str(lost))
    with pytest.raises(RuntimeError, match="training on 2 processes failed: FileNotFoundError: .*shard"):
        _crew._fail(folder, 2, loop)
    assert kept.fault is None
    _worker.tell(folder, OSError(), "No space left on device", errno.ENOSPC)
    _crew._fail(folder, 2, loop)
    assert kept.fault is not None
    assert kept.fault.errno == errno.ENOSPC


@pytest.mark.parametrize("name", ["TAPE", "RSD", "RegulatoryGraph"])
def test_models_that_one_process_trains_say_why(name):
    case = CASES[name]
    data = case.data()
    case.set_up(data)
    with pytest.raises(ValueError, match=f"devices=2: one process trains {name}, since (it|most) .*; leave it out"):
        case.make(data).train(2, devices=2)


def test_too_few_cells_for_so_many_processes(collection):
    model = data_of("memory", collection)
    with pytest.raises(ValueError, match="devices=40 leave 1 cells of a batch for a process; each needs 2"):
        model.train(2, batch_size=64, devices=40, progress=False)
    with pytest.raises(ValueError, match="devices=2: one process trains with domain_adversarial='batch'"):
        model.train(2, domain_adversarial="batch", devices=2)
    with pytest.raises(ValueError, match="devices=0"):
        model.train(2, devices=0)


def test_one_process_needs_no_share():
    assert CountTrainingPlan(Rates(3)).share == 1.0
