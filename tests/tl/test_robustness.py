"""Robustness: a model with a closed form, invariances, slots, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.model.base import AttackConfig, CountVAEModel
from sctandem.module.base import CountVAEConfig

SMALL = AttackConfig(radii=(0.1, 1.0), n_steps=3, n_genes=(1, 2), dropout=(0.0, 1.0), depth=(1.0, 0.5))


@pytest.fixture(scope="module")
def adata():
    rng = np.random.default_rng(0)
    types = np.repeat([0, 1], 60)
    rates = rng.gamma(1.0, 2.0, (2, 25))
    adata = AnnData(sparse.csr_matrix(rng.poisson(rates[types]).astype(np.float32)))
    adata.obs["type"] = np.array(["a", "b"])[types]
    return adata


@pytest.fixture(scope="module")
def model(adata):
    CountVAEModel.setup_anndata(adata)
    model = CountVAEModel(adata, config=CountVAEConfig(n_hidden=16, n_latent=3), rng=0)
    model.train(20, rng=0, progress=False)
    return model


@pytest.fixture(scope="module")
def result(adata, model):
    td.tl.robustness(adata, model, "type", attacks=SMALL, rng=0)
    return adata.uns["robustness"]


def test_strengths_without_effect_change_nothing(result):
    table = result["table"].set_index(["attack", "strength"])
    for attack, strength in (("dropout", 0.0), ("depth", 1.0)):
        row = table.loc[(attack, strength)]
        assert row["accuracy"] == result["clean_accuracy"]
        assert row["kept"] == row["ari"] == 1


def test_a_model_without_any_counts_tells_one_class(result):
    row = result["table"].set_index(["attack", "strength"]).loc[("dropout", 1.0)]
    assert row["accuracy"] == pytest.approx(0.5)
    assert row["ari"] == pytest.approx(0, abs=1e-9)


def test_stronger_attacks_by_gradient_leave_less(result):
    for attack in ("pgd", "genes"):
        rows = result["table"][result["table"]["attack"] == attack]["accuracy"].to_numpy()
        assert (np.diff(rows) <= 0).all()
        assert rows[-1] < result["clean_accuracy"]


def test_one_number_is_the_mean_of_the_means(result):
    means = result["table"].groupby("attack")["accuracy"].mean()
    assert result["score"] == pytest.approx(means.mean())


def test_linear_model_falls_exactly_where_its_margin_says(adata, model, monkeypatch):
    """A reader that compares two genes: the class falls when the counts of one can be made larger than those of the other."""
    from sctandem.model.base._class_reader import ClassReader

    def scores(self, counts, batch):
        return torch.stack(
            [torch.log1p(1e4 * counts[:, 0] / counts.sum(1)), torch.log1p(1e4 * counts[:, 1] / counts.sum(1))], 1
        )

    monkeypatch.setattr(ClassReader, "scores", scores)
    counts = adata.X.toarray()
    logs = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))
    truth = np.where(logs[:, 0] >= logs[:, 1], "a", "b")
    work = adata.copy()
    work.obs["which"] = truth
    radius = 0.4
    attacks = AttackConfig(radii=(radius,), max_sd=100, n_steps=5, n_genes=(1,), dropout=(0.5,), depth=(0.5,))
    found = td.tl.robustness(work, model, "which", attacks=attacks, rng=0, copy=True).uns["robustness"]["table"]
    able = counts[:, :2] > 0
    reach = np.minimum(radius, logs[:, :2]) * able  # down to zero at most, and zeros stay
    margin = np.abs(logs[:, 0] - logs[:, 1])
    up = np.where(able, radius, 0)
    winner = np.where(truth == "a", 0, 1)
    rows = np.arange(len(counts))
    falls = margin < reach[rows, winner] + up[rows, 1 - winner]
    accuracy = found.set_index("attack").loc["pgd", "accuracy"]
    assert accuracy == pytest.approx(1 - falls.mean(), abs=0.03)  # depth is kept, which the margin leaves out
    assert 0.1 < falls.mean() < 0.9


def test_other_objects_get_no_trace_and_copy_leaves_the_object(adata, model):
    other = adata[::2].copy()
    for key in list(other.uns):
        del other.uns[key]
    before = list(other.obs), list(other.uns)
    copied = td.tl.robustness(other, model, "type", attacks=SMALL, rng=0, copy=True)
    assert (list(other.obs), list(other.uns)) == before
    assert "robustness" in copied.uns
    td.tl.robustness(other, model, attacks=SMALL, rng=0, key_added="own")
    assert other.uns["own"]["clean_accuracy"] == 1  # its own clusters are the truth


def test_same_seed_same_table_and_it_survives_a_file(adata, model, result, tmp_path):
    import anndata

    again = td.tl.robustness(adata, model, "type", attacks=SMALL, rng=0, copy=True)
    assert again.uns["robustness"]["table"].equals(result["table"])
    again.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert np.allclose(td.get.robustness(back)["accuracy"], result["table"]["accuracy"])


def test_bad_input(adata, model):
    with pytest.raises(KeyError, match="no column 'kind'"):
        td.tl.robustness(adata, model, "kind")
    with pytest.raises(ValueError, match="is not trained"):
        td.tl.robustness(adata, CountVAEModel(adata, rng=0), "type")
    with pytest.raises(ValueError, match="no network that reads counts"):
        td.tl.robustness(adata, object(), "type")
    with pytest.raises(ValueError, match="radii"):
        AttackConfig(radii=(0.0,))


@pytest.mark.parametrize("name", ["radii", "n_genes", "dropout", "depth"])
def test_strengths_begin_with_the_weakest_since_the_next_takes_over_what_it_finds(name):
    weak_first = {"radii": (0.1, 0.5), "n_genes": (1, 3), "dropout": (0.1, 0.5), "depth": (0.5, 0.1)}[name]
    assert getattr(AttackConfig(**{name: weak_first}), name) == weak_first
    told = f"does not begin with the weakest attack: give {weak_first}".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=f"{name}=.* {told}"):
        AttackConfig(**{name: weak_first[::-1]})
    with pytest.raises(ValueError, match=f"{name}=.* {told}"):
        AttackConfig(**{name: (*weak_first, weak_first[-1])})
    with pytest.raises(ValueError, match=rf"{name}=\(\) has no strength; it holds at least one"):
        AttackConfig(**{name: ()})
    with pytest.raises(TypeError, match=f"{name} must be a tuple or a list, got .*{name}=.value,."):
        AttackConfig(**{name: weak_first[0]})


def test_an_object_that_a_file_backs_gives_the_same(adata, model, result, tmp_path):
    import anndata

    held = adata.copy()
    held.uns = {}
    held.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    td.tl.robustness(backed, model, "type", attacks=SMALL, rng=0)
    assert backed.isbacked
    assert backed.uns["robustness"]["table"].equals(result["table"])
    td.tl.robustness(backed, model, "type", attacks=SMALL, max_cells=50, rng=0, key_added="some")
    some = td.tl.robustness(held, model, "type", attacks=SMALL, max_cells=50, rng=0, copy=True).uns["robustness"]
    assert backed.uns["some"]["table"].equals(some["table"])
    backed.file.close()


def test_plot_shows_every_strength(adata, result):
    figure = td.pl.robustness(adata)
    assert [ax.get_title() for ax in figure.axes] == [
        "Gradient attack",
        "Few genes changed",
        "Genes dropped",
        "Molecules lost",
    ]
    line = figure.axes[0].lines[0]
    rows = result["table"][result["table"]["attack"] == "pgd"]
    assert np.allclose(line.get_ydata(), [result["clean_accuracy"], *rows["accuracy"]])
    assert np.allclose(line.get_xdata(), [0, *rows["strength"]])
