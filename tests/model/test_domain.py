"""`train(domain_adversarial=...)`: one argument for all models, and what it is for on simulated cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from anndata import AnnData
from models import CASES
from scipy import sparse
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from sctandem.model import CapsuleNet
from sctandem.model.base import CountVAEModel
from sctandem.train import DomainConfig, TrainConfig

WITH_STATES = ["CountVAEModel", "CapsuleNet", "DeepDE"]


def set_up(name):
    case = CASES[name]
    data = case.data()
    case.set_up(data)
    return data, case.make(data)


def trained(name, **options):
    model = set_up(name)[1]
    model.train(8, rng=0, progress=False, accelerator="cpu", **options)
    return model


@pytest.mark.parametrize("name", WITH_STATES)
def test_same_seed_same_model_and_another_than_without(name):
    first, again = (trained(name, domain_adversarial="batch") for _ in range(2))
    found = CASES[name].output(first)
    assert np.isfinite(found).all()
    assert np.array_equal(found, CASES[name].output(again))
    assert not np.allclose(first.get_latent_representation(), trained(name).get_latent_representation())
    assert np.isfinite(first.history["domain_adversarial_train"].to_numpy(dtype=float)).all()


@pytest.mark.parametrize("name", ["CountVAEModel", "CapsuleNet"])
def test_beside_moved_cells(name):
    model = trained(name, domain_adversarial="batch", adversarial="fgsm")
    assert {"domain_adversarial_train", "adversarial_train"} <= set(model.history)
    assert np.isfinite(model.get_latent_representation()).all()


def test_config_and_argument_are_one():
    by_argument = trained("CountVAEModel", domain_adversarial="batch")
    by_config = trained("CountVAEModel", config=TrainConfig(domain_adversarial="batch"))
    assert np.array_equal(by_argument.get_latent_representation(), by_config.get_latent_representation())


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (None, KeyError, "donor"),
        (["a"] * 149 + [None], ValueError, r"adata\.obs\['donor'\] is missing for 1 cells"),
        (["a"] * 150, ValueError, r"adata\.obs\['donor'\] has the one value 'a'.* at least 2"),
    ],
)
def test_bad_covariates(values, error, message):
    data, model = set_up("CountVAEModel")
    if values is not None:
        model.adata.obs["donor"] = values
    columns = list(model.adata.obs)
    with pytest.raises(error, match=message):
        model.train(1, progress=False, domain_adversarial="donor")
    assert list(model.adata.obs) == columns
    assert not model.is_trained_


def test_groups_that_are_not_there():
    with pytest.raises(KeyError, match="cell_type"):
        trained(
            "CountVAEModel", config=TrainConfig(domain_adversarial="batch", domain=DomainConfig(within="cell_type"))
        )


def test_a_query_refuses():
    data, model = set_up("CountVAEModel")
    model.train(2, rng=0, progress=False)
    fresh = data.copy()
    fresh.obs["batch"] = np.where(np.arange(fresh.n_obs) % 2, "new", "newer")
    query = CountVAEModel.load_query_data(fresh, model)
    with pytest.raises(ValueError, match=r"domain_adversarial='batch' trains all of a model, and this query"):
        query.train(1, progress=False, domain_adversarial="batch")


def integrated(seed):
    """Five types in two batches of uneven composition: "only" is in one of them, "rare" makes 3 %."""
    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c", "only", "rare"])
    shares = np.array([[0.5, 0.2, 0.12, 0.15, 0.03], [0.15, 0.5, 0.32, 0.0, 0.03]])
    batch = rng.integers(2, size=900)
    kind = np.array([rng.choice(5, p=shares[b]) for b in batch])
    logs = rng.normal(0, 1, 200) + (rng.random((5, 200)) < 0.2) * rng.normal(0, 1.3, (5, 200))
    shift = rng.normal(0, 0.35, (2, 200))
    own = rng.normal(0, 0.5, (2, 5, 200)) * (rng.random((2, 5, 200)) < 0.2)
    means = np.exp(logs[kind] + shift[batch] + own[batch, kind])
    depth = 900 * rng.lognormal(0, 0.4, 900) * np.array([1.0, 0.6])[batch]
    means *= (depth / means.sum(1))[:, None]
    adata = AnnData(sparse.csr_matrix(rng.poisson(rng.gamma(4, means / 4)).astype(np.float32)))
    adata.obs["type"], adata.obs["batch"] = names[kind], np.array(["x", "y"])[batch]
    return adata


def told(states, adata):
    """Tell batches within types by fresh neighbours of held-out cells: balanced accuracy."""
    out = []
    for kind in ("a", "b", "c"):
        inside = (adata.obs["type"] == kind).to_numpy()
        truth = adata.obs["batch"].to_numpy()[inside]
        guess = cross_val_predict(KNeighborsClassifier(15), states[inside], truth, cv=5)
        out.append(np.mean([(guess[truth == name] == name).mean() for name in "xy"]))
    return np.mean(out)


def kept(states, adata, kind=None, n=8):
    """Share of the nearest neighbours that are of the same type."""
    types = adata.obs["type"].to_numpy()
    near = NearestNeighbors(n_neighbors=n + 1).fit(states).kneighbors(states, return_distance=False)[:, 1:]
    same = (types[near] == types[:, None]).mean(1)
    return same.mean() if kind is None else same[types == kind].mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "within", "less"),
    [
        (CountVAEModel, None, 0.05),
        (CountVAEModel, "type", 0.15),
        (CapsuleNet, None, 0.0),  # its alignment hides most of it already
        (CapsuleNet, "type", 0.05),
    ],
)
def test_batches_are_hidden_and_types_kept(cls, within, less):
    adata = integrated(0)
    cls.setup_anndata(adata, batch_key="batch")
    found = {}
    for covariate in (None, "batch"):
        model = cls(adata, rng=0)
        config = model._train_config
        config = replace(config, domain_adversarial=covariate, domain=replace(config.domain, within=within))
        model.train(rng=0, progress=False, accelerator="cpu", config=config)
        states = model.get_latent_representation()
        found[covariate] = told(states, adata), *(kept(states, adata, kind) for kind in (None, "only", "rare"))
    plain, hidden = found[None], found["batch"]
    print(cls.__name__, within, np.round(plain, 3), np.round(hidden, 3))  # noqa: T201 - read where it fails
    assert hidden[0] < plain[0] - less
    assert all(after > before - 0.05 for before, after in zip(plain[1:], hidden[1:], strict=True))
