"""Queries on references, the same tests for every model; each complaint of users of other packages has one that cites it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from anndata import AnnData
from models import CASES
from scipy import sparse

from sctandem.model import CapsuleNet
from sctandem.module.base._take_over import FeatureMap, chosen_pieces
from sctandem.train import TrainConfig

MAPS = ("CountVAEModel", "CapsuleNet", "DeepDE")


def state(model):
    return {key: value.clone() for key, value in model.module.state_dict().items()}


@pytest.fixture(name="reference", scope="module", params=MAPS)
def fixture_reference(request):
    return CASES[request.param].trained()


def query_of(reference, *, batch="a", n_genes=30):
    adata = reference.adata[:60, :n_genes].copy()
    found = AnnData(adata.X.copy(), var=adata.var[[]])
    found.obs_names = [f"query{i}" for i in range(60)]
    found.obs["batch"] = batch
    return found


def test_a_query_with_the_genes_and_batches_of_the_reference_is_read_as_it_reads_it(reference):
    query = query_of(reference)
    shuffled = query[:, np.random.default_rng(0).permutation(30)].copy()
    model = type(reference).load_query_data(shuffled, reference)
    assert list(model.adata.var_names) == list(reference.adata.var_names)
    np.testing.assert_array_equal(model.get_latent_representation(), reference.get_latent_representation(query))


def test_neither_query_nor_reference_is_changed(reference):
    # HLCA_reproducibility#1: is the reference updated by a query or not?
    query, before = query_of(reference, batch="new", n_genes=25), state(reference)
    columns, marks = list(query.obs), dict(query.uns)
    model = type(reference).load_query_data(query, reference)
    model.train(2, rng=0, progress=False)
    assert list(query.obs) == columns
    assert query.uns == marks
    for key, value in reference.module.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_only_what_was_named_is_trained_to_the_last_bit(reference):
    # scArches freezes by parts of the names of parameters, and its users set weight_decay=0 lest frozen columns move
    model = type(reference).load_query_data(query_of(reference, batch="new"), reference)
    pieces = chosen_pieces(model.module.parts(), ["new_batches"])
    before = state(model)
    model.train(3, rng=0, progress=False, config=TrainConfig(weight_decay=0.1, adam_eps=1e-8))
    names = {id(parameter): name for name, parameter in model.module.named_parameters()}
    masks = {names[key]: piece.entries for key, piece in pieces.items()}
    for key, value in model.module.state_dict().items():
        changed = value != before[key]
        if key in masks:
            assert changed.any(), key
            assert not changed[~masks[key]].any(), key
        else:
            assert not changed.any(), key


def test_everything_that_is_trained_belongs_to_a_part(reference):
    found = chosen_pieces(reference.module.parts(), list(reference.module.parts()))
    for name, parameter in reference.module.named_parameters():
        if not name.startswith("direct."):  # a regression that is set in closed form
            assert id(parameter) in found, name
            assert found[id(parameter)].entries is None, name


def test_other_parts_can_be_named_and_unknown_ones_are_refused(reference):
    cls, query = type(reference), query_of(reference, batch="new")
    model = cls.load_query_data(query, reference, trained=["decoder"])
    before = state(model)
    model.train(2, rng=0, progress=False)
    changed = {key for key, value in model.module.state_dict().items() if not torch.equal(value, before[key])}
    assert "log_theta" in changed
    assert not any(key.startswith(("encoder", "first", "primary")) for key in changed)
    with pytest.raises(ValueError, match="new_batches"):
        cls.load_query_data(query, reference, trained=["encoders"])
    with pytest.raises(TypeError, match="list of parts"):
        cls.load_query_data(query, reference, trained="decoder")
    frozen = cls.load_query_data(query, reference, trained=[])
    before = state(frozen)
    with pytest.raises(ValueError, match="nothing to train"):
        frozen.train(1, rng=0, progress=False)
    assert all(torch.equal(value, before[key]) for key, value in frozen.module.state_dict().items())
    assert frozen.is_trained


def test_a_saved_query_trains_what_it_may(reference, tmp_path):
    cls = type(reference)
    model = cls.load_query_data(query_of(reference, batch="new"), reference)
    model.save(tmp_path / "query", save_anndata=True)
    loaded = cls.load(tmp_path / "query")
    before = state(loaded)
    loaded.train(1, rng=0, progress=False)
    changed = {key for key, value in loaded.module.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert changed <= {"batch_effect", "sample_effect", "decoder.batch.weight"}


# --- what users of other packages complain of ------------------------------------------------------------------------


def test_genes_that_the_query_lacks_count_with_their_mean_and_not_as_zero(reference):
    # theislab/scarches#20 and #22: zero-padding is a bias
    absent = np.arange(25, 30)
    module, query = reference.module, type(reference).load_query_data(query_of(reference, n_genes=25), reference).module
    if isinstance(reference, CapsuleNet):
        first, small, means = module.first, query.first, module.centre_logs.mean(1)
    else:
        first, small, means = module.encoder.first, query.encoder.first, module.mean_logs
    logs = torch.rand(7, 30)
    filled = logs.clone()
    filled[:, absent] = means[absent]
    torch.testing.assert_close(small(logs[:, :25]), first(filled))
    zeros = logs.clone()
    zeros[:, absent] = 0
    assert (small(logs[:, :25]) - first(zeros)).abs().max() > 1e-3


def test_the_likelihood_of_a_query_is_that_of_its_genes_given_their_sum(reference):
    module, query = reference.module, type(reference).load_query_data(query_of(reference, n_genes=25), reference).module
    module.eval()
    latent = torch.randn(5, reference.get_latent_representation().shape[1])
    whole, part = module.latent_shares(latent), query.latent_shares(latent)
    torch.testing.assert_close(part, whole[:, :25] / whole[:, :25].sum(1, keepdim=True))


def test_genes_that_the_reference_does_not_know_are_ignored(reference):
    query = query_of(reference)
    other = AnnData(sparse.csr_matrix(np.full((60, 4), 50, dtype=np.float32)), obs=query.obs)
    other.var_names = [f"OTHER{i}" for i in range(4)]
    import anndata

    both = anndata.concat([other, query], axis=1)
    both.obs = query.obs
    np.testing.assert_array_equal(
        type(reference).load_query_data(both, reference).get_latent_representation(),
        reference.get_latent_representation(query),
    )


def test_names_of_another_kind_are_refused(reference):
    query = query_of(reference)
    query.var_names = [f"ENSG{i}" for i in range(30)]
    with pytest.raises(ValueError, match=r"holds 0 of the 30 features.*GENE0.*ENSG0"):
        type(reference).load_query_data(query, reference)


def test_batches_may_be_new_known_both_or_absent(reference):
    # scarches#251 (categories that do not match), scvi-tools #3879 (new rows of the embedding of batches)
    cls, query = type(reference), query_of(reference)
    query.obs["batch"] = np.repeat(["new", "b", "other"], 20)
    model = cls.load_query_data(query, reference)
    assert model.summary_stats.n_batch == 4
    del query.obs["batch"]
    lone = cls.load_query_data(query, reference)
    assert lone.summary_stats.n_batch == 3
    assert set(lone.adata.obs["batch"]) == {"query"}
    np.testing.assert_array_equal(state(lone)["n_known_batches"], 2)


def test_missing_batches_are_named(reference):
    # scvi-tools #3962: a crash on missing values of the batch
    query = query_of(reference)
    query.obs.loc[query.obs_names[:3], "batch"] = np.nan
    with pytest.raises(ValueError, match=r"adata.obs\['batch'\] is missing for 3 cells"):
        type(reference).load_query_data(query, reference)


def test_a_reference_is_read_from_a_folder_without_its_data(reference, tmp_path):
    # scvi-tools #3628: a model from the hub, with adata=None
    reference.save(tmp_path / "reference")
    cls, query = type(reference), query_of(reference, batch="new", n_genes=25)
    here, there = (cls.load_query_data(query, one) for one in (reference, tmp_path / "reference"))
    np.testing.assert_array_equal(here.get_latent_representation(), there.get_latent_representation())


def test_a_reference_that_is_none_is_refused(reference):
    cls = type(reference)
    with pytest.raises(TypeError, match="reference"):
        cls.load_query_data(query_of(reference), 3)
    untrained = CASES[cls.__name__]
    data = untrained.data()
    untrained.set_up(data)
    with pytest.raises(RuntimeError, match="not trained"):
        cls.load_query_data(query_of(reference), untrained.make(data))


@pytest.mark.parametrize("labels", [None, "known", "new"])
def test_labels_of_a_query_may_be_absent_known_or_new(labels, caplog):
    # theislab/scArches-reproducibility#8: a new cell type in the query is an error there
    data = CASES["CapsuleNet"].data()
    data.obs["label"] = np.where(np.arange(150) % 2, "one", "two")
    CapsuleNet.setup_anndata(data, labels_key="label", batch_key="batch")
    model = CASES["CapsuleNet"].make(data)
    model.train(2, rng=0, progress=False)
    query = query_of(model)
    if labels is not None:
        query.obs["label"] = "one" if labels == "known" else "three"
    with caplog.at_level(logging.WARNING):
        found = CapsuleNet.load_query_data(query, model)
    assert ("three" in caplog.text) == (labels == "new")
    assert found.label_names == ["one", "two"]
    np.testing.assert_allclose(found.predict(soft=True), model.predict(query_with_labels(query), soft=True), atol=1e-6)


@pytest.mark.parametrize("labels", [None, "new"])
def test_a_query_of_a_model_with_labels_is_trained(labels):
    # theislab/scarches#40: a RuntimeError in the training of the query; 129 cells leave one cell for the last minibatch
    data = CASES["CapsuleNet"].data()
    data.obs["label"] = np.where(np.arange(150) % 2, "one", "two")
    CapsuleNet.setup_anndata(data, labels_key="label", batch_key="batch")
    model = CASES["CapsuleNet"].make(data)
    model.train(2, rng=0, progress=False)
    query = AnnData(data.X[:129].copy(), var=data.var[[]])
    query.obs["batch"] = np.where(np.arange(129) < 128, "new", "lone")  # and a batch of one cell
    if labels is not None:
        query.obs["label"] = "three"
    found = CapsuleNet.load_query_data(query, model)
    found.train(2, batch_size=128, rng=0, progress=False)
    assert np.isfinite(found.predict(soft=True).to_numpy()).all()
    assert np.isfinite(found.history["reconstruction_loss_train"].to_numpy()).all()


def test_rows_of_new_batches_come_after_those_of_the_reference_which_stay(reference):
    # scvi-tools #3879: the embedding of batches of a query took the wrong rows
    query = query_of(reference)
    query.obs["batch"] = np.repeat(["a_new_one", "b", "a"], 20)  # in the order of the alphabet the new one is not last
    model = type(reference).load_query_data(query, reference)
    state_registry = model.adata_manager.get_state_registry("batch")
    assert list(state_registry.categorical_mapping) == ["a", "b", "a_new_one"]
    alone = type(reference).load_query_data(query[20:].copy(), reference)
    np.testing.assert_array_equal(model.get_latent_representation()[20:], alone.get_latent_representation())
    np.testing.assert_allclose(
        model.get_latent_representation()[20:],
        reference.get_latent_representation(with_batch(reference, query[20:])),
        atol=1e-6,
    )


def with_batch(reference, query):
    """The query as an object of the reference."""
    found = reference.adata[: query.n_obs].copy()
    found.X = query.X
    found.obs["batch"] = query.obs["batch"].to_numpy()
    return found


def query_with_labels(query):
    query = query.copy()
    query.obs["label"] = "one"
    return query


def test_a_convolution_reads_its_own_features_only():
    from sctandem.module import CapsuleConfig

    data = CASES["CapsuleNet"].data()
    CapsuleNet.setup_anndata(data, batch_key="batch")
    model = CapsuleNet(data, config=CapsuleConfig(n_hidden=8, n_programmes=4, d_pose=4, kernel_size=6), rng=0)
    model.train(1, rng=0, progress=False)
    assert CapsuleNet.load_query_data(query_of(model), model).adata.n_vars == 30
    with pytest.raises(ValueError, match="kernel_size"):
        CapsuleNet.load_query_data(query_of(model, n_genes=25), model)


@pytest.mark.parametrize("name", [name for name in CASES if name not in MAPS])
def test_models_that_do_not_map_say_what_to_do(name):
    cls = CASES[name].cls
    for call in (lambda: cls.load_query_data(None, 1), lambda: cls.partial_fit(cls.__new__(cls), 1)):
        with pytest.raises(NotImplementedError, match="model of all"):
            call()


def test_a_map_of_features_moves_rows_and_leaves_new_ones():
    features = FeatureMap(np.array([2, -1, 0]), 4)
    new = torch.zeros(3, 3)
    features.move(new, torch.arange(8.0).reshape(4, 2))
    np.testing.assert_array_equal(new, [[4, 5, 0], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(features.absent, [1, 3])
    assert not features.same


def test_a_query_is_not_trained_adversarially():
    case = CASES["CountVAEModel"]
    model = case.trained()
    query = case.cls.load_query_data(query_of(model), model)
    before = {name: value.clone() for name, value in query.module.state_dict().items()}
    with pytest.raises(ValueError, match="trains all of a model, and this query trains 'new_batches' alone"):
        query.train(1, progress=False, adversarial="fgsm")
    assert all(torch.equal(value, before[name]) for name, value in query.module.state_dict().items())
