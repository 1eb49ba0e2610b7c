"""The plain count VAE as a scvi-tools model, and with it what every model shares."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import scvi
import torch
from scvi.train import TrainRunner

from sctandem.data import CountLoader
from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAEConfig
from sctandem.train import CountDataSplitter, CountTrainingPlan, TrainConfig
from sctandem.train._loop import EpochLoop


def silhouette(latent, groups):
    from sklearn.metrics import silhouette_score

    return silhouette_score(latent, groups)


def weights(model):
    return torch.cat([p.detach().ravel() for p in model.module.parameters()])


def test_elbo_rises_and_history_tells_it(trained):
    history = trained.history
    assert {"elbo_train", "reconstruction_loss_train", "kl_local_train", "train_loss"} <= set(history)
    losses = history["elbo_train"]["elbo_train"].to_numpy()
    assert len(losses) == 30
    assert history["elbo_train"].index.name == "epoch"
    assert losses[-1] < losses[4] < losses[0]
    assert trained.is_trained


def test_split_is_kept(trained):
    train, validation = trained.train_indices, trained.validation_indices
    assert len(train) == 540
    assert sorted([*train, *validation, *trained.test_indices]) == list(range(600))


def test_latent_space_separates_the_types(trained):
    latent = trained.get_latent_representation()
    assert latent.shape == (600, 10)
    assert latent.dtype == np.float32
    assert silhouette(latent, trained.adata.obs["type"]) > 0.3
    assert silhouette(latent, trained.adata.obs["batch"]) < 0.05


def test_batch_size_and_indices_do_not_change_the_latent_space(trained):
    latent = trained.get_latent_representation()
    np.testing.assert_allclose(trained.get_latent_representation(batch_size=50), latent, rtol=1e-4, atol=1e-4)
    cells = np.array([5, 3, 99])
    np.testing.assert_allclose(trained.get_latent_representation(indices=cells), latent[cells], rtol=1e-4, atol=1e-4)


def test_another_object_with_the_same_genes(trained):
    other = trained.adata[100:160].copy()
    expected = trained.get_latent_representation()[100:160]
    np.testing.assert_allclose(trained.get_latent_representation(other), expected, rtol=1e-4, atol=1e-4)


def test_elbo_is_that_of_scvi_tools_formula(trained):
    torch.manual_seed(0)
    ours = trained.get_elbo(batch_size=600)
    torch.manual_seed(0)
    module, batch = trained.module, next(iter(CountLoader(trained.adata_manager, batch_size=600)))
    with torch.no_grad():
        outputs, generative, _ = module(batch)
        mean = module.shares(generative) * outputs["library"].exp()[:, None]
        distribution = scvi.distributions.NegativeBinomial(mu=mean, theta=module.log_theta.exp())
        kl = torch.distributions.kl_divergence(outputs["qz"], torch.distributions.Normal(0.0, 1.0)).sum(-1)
        expected = (distribution.log_prob(batch["X"].to_dense()).sum(-1) - kl).mean()
    assert ours == pytest.approx(float(expected), rel=1e-5)


def test_same_seed_same_model(adata):
    models = []
    for seed in (1, 1, 2):
        model = CountVAEModel(adata, rng=0)
        model.train(3, rng=seed, progress=False)
        models.append(model)
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert not torch.equal(weights(models[0]), weights(models[2]))
    assert models[0].history["elbo_train"].equals(models[1].history["elbo_train"])


def test_training_with_a_seed_leaves_the_global_state_alone(adata):
    model = CountVAEModel(adata, rng=0)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model.train(1, rng=1, progress=False)
    assert torch.equal(torch.rand(2), expected)


def test_without_a_seed_scvi_settings_count(adata):
    models = []
    for _ in range(2):
        scvi.settings.seed = 7
        model = CountVAEModel(adata)
        model.train(2, progress=False)
        models.append(model)
    assert torch.equal(weights(models[0]), weights(models[1]))


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_save_and_load(adata, tmp_path, likelihood):
    model = CountVAEModel(adata, config=CountVAEConfig(likelihood=likelihood, n_latent=4, n_layers=2), rng=0)
    model.train(2, rng=0, progress=False)
    model.save(tmp_path / "model", overwrite=True)
    loaded = CountVAEModel.load(tmp_path / "model", adata=adata, accelerator="cpu")
    assert loaded.module.config == model.module.config
    np.testing.assert_array_equal(loaded.get_latent_representation(), model.get_latent_representation())
    assert loaded.history["elbo_train"].equals(model.history["elbo_train"])


def test_training_goes_on_where_it_ended(adata):
    model = CountVAEModel(adata, rng=0)
    model.train(3, rng=0, progress=False)
    first = model.history["elbo_train"]["elbo_train"].to_numpy()
    model.train(2, rng=1, progress=False)
    assert list(model.history["elbo_train"].index) == [0, 1, 2, 3, 4]
    assert model.history["elbo_train"]["elbo_train"].iloc[-1] < first[0]


class Interrupting(CountTrainingPlan):
    """A user who presses Ctrl-C in the third epoch."""

    def step(self, batch):
        if self._step == 12:
            raise KeyboardInterrupt
        return super().step(batch)


def test_interruption_leaves_a_usable_model(adata, caplog, tmp_path):
    class Interrupted(CountVAEModel):
        _training_plan_cls = Interrupting

    Interrupted.setup_anndata(adata)
    model = Interrupted(adata, rng=0)
    with caplog.at_level(logging.WARNING, logger="sctandem"):
        model.train(50, rng=0, progress=False)
    assert "interrupted after 2 of 50 epochs" in caplog.text
    assert model.is_trained
    assert len(model.history["elbo_train"]) == 2
    assert not model.module.training
    assert np.isfinite(model.get_latent_representation()).all()
    model.save(tmp_path / "model")


def test_interruption_before_the_first_epoch_ends(adata):
    class Early(Interrupting):
        def step(self, batch):
            raise KeyboardInterrupt

    model = CountVAEModel(adata, rng=0)
    model._training_plan_cls = Early
    model.train(5, rng=0, progress=False)
    assert model.is_trained
    assert model.history == {}


def test_early_stopping_returns_to_the_best_epoch(adata, monkeypatch):
    config = TrainConfig(early_stopping=True, patience=3, schedule="constant", learning_rate=0.02, max_epochs=300)
    states, validate = [], EpochLoop._validate

    def remembered(self, loader):
        states.append({key: value.clone() for key, value in self.plan.module.state_dict().items()})
        return validate(self, loader)

    monkeypatch.setattr(EpochLoop, "_validate", remembered)
    model = CountVAEModel(adata, rng=0)
    model.train(config=config, rng=0, progress=False)
    losses = model.history["elbo_validation"]["elbo_validation"].to_numpy()
    assert len(losses) == len(states) < 300
    assert losses.argmin() == len(losses) - 1 - 3
    best, last = states[losses.argmin()], states[-1]
    found = model.module.state_dict()
    assert found.keys() == best.keys()
    assert all(torch.equal(found[key], best[key]) for key in best)
    assert not all(torch.equal(last[key], best[key]) for key in best)


def test_cells_kept_aside_are_not_trained_on(adata):
    """Whatever they express, training from the same start gives the same parameters to the last bit."""
    start = CountVAEModel(adata, rng=0).module.state_dict()  # the decoder starts at the gene shares of all cells

    def train():
        model = CountVAEModel(adata, rng=0)
        model.module.load_state_dict(start)
        model.train(3, train_size=0.8, rng=0, progress=False)
        return model

    before = train()
    counts = adata.X.tolil()
    counts[before.validation_indices] = 0
    counts[before.validation_indices, 3] = 70
    adata.X = counts.tocsr()
    after = train()
    np.testing.assert_array_equal(after.validation_indices, before.validation_indices)
    assert torch.equal(weights(after), weights(before))
    counts[before.train_indices[0], 3] += 70
    adata.X = counts.tocsr()
    assert not torch.equal(weights(train()), weights(before))


def test_a_loss_that_is_not_finite(adata):
    model = CountVAEModel(adata, rng=0)
    with torch.no_grad():
        model.module.log_theta[0] = float("nan")
    with pytest.raises(FloatingPointError, match="the loss became nan in epoch 1; lower the learning rate"):
        model.train(2, rng=0, progress=False)
    assert not model.is_trained


def test_untrained(adata):
    with pytest.raises(RuntimeError, match="[Tt]rain"):
        CountVAEModel(adata).get_latent_representation()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": -1}, "max_epochs=-1 is not an integer above 0"),
        ({"batch_size": 1}, "batch_size=1 is not an integer of at least 2"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is not a number above 0"),
        ({"train_size": 1.0, "early_stopping": True}, "leave no cells to validate on"),
    ],
)
def test_bad_settings(adata, options, message):
    with pytest.raises(ValueError, match=message):
        CountVAEModel(adata).train(**options)


@pytest.mark.filterwarnings("ignore:.*fewer than 3 cells.*:UserWarning")
def test_one_cell_to_train_on(adata):
    one = adata[:1].copy()
    CountVAEModel.setup_anndata(one)
    model = CountVAEModel(one)
    with pytest.raises(ValueError, match="training with train_size=0.9 needs at least 2 cells, but there is 1"):
        model.train(1)


def test_bad_architecture():
    with pytest.raises(ValueError, match="n_latent=0 is not an integer above 0"):
        CountVAEConfig(n_latent=0)
    with pytest.raises(ValueError, match="likelihood='poisson' is not known; choose one of 'nb', 'zinb'"):
        CountVAEConfig(likelihood="poisson")


def test_progress_bar(adata, capsys):
    CountVAEModel(adata, rng=0).train(2, rng=0, progress=True)
    assert "2/2" in capsys.readouterr().err
    CountVAEModel(adata, rng=0).train(2, rng=0, progress=False)
    assert capsys.readouterr().err == ""


STOCK = [
    "ignore:.*does not have many workers.*",
    "ignore:.*GPU available but not used.*",
    "ignore:.*The number of training batches.*",
    "ignore:.*lr_scheduler.step.*",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
]


@pytest.mark.filterwarnings(*STOCK)
def test_plan_runs_under_the_stock_runner(adata):
    class Stock(CountVAEModel):
        _train_runner_cls = TrainRunner

    Stock.setup_anndata(adata, batch_key="batch")
    model = Stock(adata, rng=0)
    model.train(6, rng=0, accelerator="cpu")
    losses = model.history["elbo_train"]["elbo_train"].astype(float).to_numpy()
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert model.get_latent_representation().shape == (600, 10)


@pytest.mark.filterwarnings(*STOCK)
def test_splitter_serves_stock_models(adata):
    class Fast(scvi.model.SCVI):
        _data_splitter_cls = CountDataSplitter

    def fit(cls):
        scvi.settings.seed = 0
        cls.setup_anndata(adata, batch_key="batch")
        model = cls(adata, gene_likelihood="nb")
        model.train(3, accelerator="cpu", enable_progress_bar=False)
        return model

    fast, stock = fit(Fast), fit(scvi.model.SCVI)
    np.testing.assert_array_equal(np.sort(fast.train_indices), np.sort(stock.train_indices))
    losses = [float(model.history["elbo_train"].iloc[-1, 0]) for model in (fast, stock)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_splits_are_seeded(adata):
    manager = CountVAEModel(adata).adata_manager
    splits = []
    for seed in (0, 0, 1):
        splitter = CountDataSplitter(manager, train_size=0.7, validation_size=0.2, batch_size=100, rng=seed)
        splitter.setup()
        splits.append((splitter.train_idx, splitter.val_idx, splitter.test_idx))
    assert [len(part) for part in splits[0]] == [420, 120, 60]
    assert all(np.array_equal(a, b) for a, b in zip(splits[0], splits[1], strict=True))
    assert not np.array_equal(splits[0][0], splits[2][0])


def test_size_factors_replace_the_totals(adata):
    adata.obs["size"] = 2 * np.asarray(adata.X.sum(1)).ravel()
    CountVAEModel.setup_anndata(adata, size_factor_key="size")
    model = CountVAEModel(adata, rng=0)
    batch = next(iter(CountLoader(model.adata_manager, batch_size=600)))
    library = model.module.inference(**model.module._get_inference_input(batch))["library"]
    np.testing.assert_allclose(library.numpy(), np.log(adata.obs["size"]), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings(*STOCK)
def test_as_good_as_scvi(adata):
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
    peer = scvi.model.SCVI(adata, gene_likelihood="nb")
    peer.train(60, accelerator="cpu", enable_progress_bar=False)
    CountVAEModel.setup_anndata(adata, batch_key="batch")
    ours = CountVAEModel(adata, rng=0)
    ours.train(60, rng=0, progress=False)
    types = adata.obs["type"]
    assert (
        silhouette(ours.get_latent_representation(), types) > silhouette(peer.get_latent_representation(), types) - 0.05
    )
    assert ours.get_elbo() > float(peer.get_elbo())


def test_warm_start_is_worth_an_epoch(adata):
    elbos = []
    for warm in (False, True):
        model = CountVAEModel(adata, rng=0)
        if warm:
            model.warm_start(rng=0)
        model.train(1, rng=0, progress=False)
        elbos.append(model.get_elbo())
    assert elbos[1] > elbos[0] + 1
