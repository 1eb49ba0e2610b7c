from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

import sctandem as td
from sctandem.model import CapsuleNet
from sctandem.train import TrainConfig

SIZES = [180, 120, 60]
N_MARKERS = 8


def cells(seed: int = 0) -> AnnData:
    """Types of uneven size; type k has the marker genes Mk_0 to Mk_7, five times as frequent there as elsewhere."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    names = [f"M{k}_{i}" for k in range(len(SIZES)) for i in range(N_MARKERS)] + [f"G{i}" for i in range(36)]
    logs = np.tile(rng.normal(0, 0.5, len(names)), (len(SIZES), 1))
    for k in range(len(SIZES)):
        logs[k, N_MARKERS * k : N_MARKERS * (k + 1)] += np.log(5)
    shares = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    counts = rng.poisson(rng.lognormal(np.log(300), 0.3, len(kind))[:, None] * shares[kind])
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)), var=pd.DataFrame(index=names))
    adata.obs_names = [f"c{i}" for i in range(len(kind))]
    adata.obs["type"] = [f"type {k}" for k in kind]
    adata.obs["batch"] = np.where(rng.random(len(kind)) < 0.5, "a", "b")
    return adata


def slots(adata: AnnData) -> dict[str, list[str]]:
    return {name: list(getattr(adata, name)) for name in ("obs", "var", "obsm", "varm", "obsp", "layers", "uns")}


@pytest.fixture(scope="module", name="found")
def fixture_found() -> AnnData:
    """Capsules without labels; tests only read it."""
    adata = cells()
    td.tl.capsules(adata, rng=0)
    return adata


@pytest.fixture(scope="module", name="labelled")
def fixture_labelled() -> AnnData:
    """Capsules with labels: of types 0 and 1 half of the cells, of the others none, called unknown or missing."""
    adata = cells()
    rng = np.random.default_rng(1)
    given = adata.obs["type"].astype(object).mask(rng.random(adata.n_obs) < 0.5, "unknown")
    adata.obs["label"] = given.mask(adata.obs["type"] == "type 2", np.nan)
    td.tl.capsules(adata, "label", rng=0)
    return adata


@pytest.fixture(scope="module", name="model")
def fixture_model() -> CapsuleNet:
    """A trained model whose counts are in a layer, with batches; tests only read it."""
    adata = cells()
    adata.layers["counts"] = adata.X.copy()
    CapsuleNet.setup_anndata(adata, layer="counts", batch_key="batch")
    model = CapsuleNet(adata, rng=0)
    model.train(rng=0, progress=False)
    return model


def test_types_their_number_and_sizes_are_found(found):
    capsules = found.obs["capsules"]
    assert adjusted_rand_score(capsules, found.obs["type"]) > 0.97
    assert capsules.cat.categories.tolist() == ["0", "1", "2"]
    assert capsules.value_counts().loc[["0", "1", "2"]].tolist() == pytest.approx(SIZES, abs=3)


def test_slots_and_dtypes(found):
    n = sum(SIZES)
    latent, presence = found.obsm["X_capsules"], found.obsm["capsules_presence"]
    assert (latent.dtype, latent.shape[0]) == (np.float32, n)
    assert presence.shape == (n, 3)
    assert (presence.dtypes == np.float32).all()
    assert ((presence >= 0) & (presence < 1)).all(axis=None)
    assert (presence.idxmax(axis=1) == found.obs["capsules"].astype(str)).all()
    confidence = found.obs["capsules_confidence"]
    assert confidence.dtype == np.float64
    assert confidence.between(0, 1).all()
    coupling = found.uns["capsules"]["coupling"]
    assert coupling.columns.tolist() == ["0", "1", "2"]
    assert ((coupling >= 0) & (coupling <= 1)).all(axis=None)
    assert {"seed": 0, "trained": True, "n_died": 0}.items() <= found.uns["capsules"]["params"].items()
    assert not {"capsules_label", "capsules_label_confidence", "capsules_label_typicality"} & set(found.obs)


def test_no_other_trace(found):
    before, after = slots(cells()), slots(found)
    assert set(after["obs"]) - set(before["obs"]) == {"capsules", "capsules_confidence"}
    assert after["obsm"] == ["X_capsules", "capsules_presence"]
    assert (after["varm"], after["uns"]) == (["capsules_genes"], ["capsules"])
    assert (after["var"], after["layers"]) == (before["var"], before["layers"])


def test_gene_weights_find_the_markers(found):
    weights = found.varm["capsules_genes"]
    assert (weights.dtypes == np.float32).all()
    np.testing.assert_allclose(weights.mean(axis=1), 0, atol=1e-5)
    for capsule in weights:
        (kind,) = found.obs["type"][found.obs["capsules"] == capsule].mode()
        top = td.get.capsule_genes(found, capsule, n_genes=N_MARKERS)["gene"]
        assert set(top) == {f"M{kind[-1]}_{i}" for i in range(N_MARKERS)}


def test_gene_weights_are_fold_changes_of_shares(found):
    groups = found.obs["capsules"].to_numpy()
    sums = np.stack([np.asarray(found.X[groups == name].sum(0)).ravel() for name in ("0", "1", "2")], axis=1)
    logs = np.log(sums / sums.sum(0))
    expected = logs - logs.mean(1, keepdims=True)
    weights = found.varm["capsules_genes"].to_numpy()
    assert np.corrcoef(weights.ravel(), expected.ravel())[0, 1] > 0.95
    assert np.polyfit(expected.ravel(), weights.ravel(), 1)[0] == pytest.approx(1, abs=0.3)


def test_labels_spread_and_what_has_none_is_unknown(labelled):
    label, truth = labelled.obs["capsules_label"], labelled.obs["type"]
    assert label.cat.categories.tolist() == ["type 0", "type 1", "unknown"]
    new = truth == "type 2"
    assert (label[~new].astype(str) == truth[~new]).mean() > 0.95
    assert (label[new] == "unknown").mean() > 0.9
    confidence, typicality = labelled.obs["capsules_label_confidence"], labelled.obs["capsules_label_typicality"]
    assert confidence.dtype == typicality.dtype == np.float64
    assert confidence.between(0.5, 1).all()  # the likelier of two labels
    assert ((typicality < 0.01) == (label == "unknown")).all()
    assert adjusted_rand_score(labelled.obs["capsules"], truth) > 0.95
    assert labelled.uns["capsules"]["params"]["labels"] == "label"
    assert labelled.obs["label"].isna().sum() == new.sum()  # the labels given are as they were


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_round_trip(labelled, tmp_path, kind):
    adata = labelled.copy()
    adata.obs["label"] = adata.obs["label"].astype("category")
    path = tmp_path / f"a.{kind}"
    getattr(adata, f"write_{kind}")(path)
    read = getattr(anndata, f"read_{kind}")(path)
    for column in ("capsules", "capsules_label", "capsules_confidence", "capsules_label_typicality"):
        pd.testing.assert_series_equal(read.obs[column], labelled.obs[column])
    np.testing.assert_array_equal(read.obsm["X_capsules"], labelled.obsm["X_capsules"])
    for slot, name in (("obsm", "capsules_presence"), ("varm", "capsules_genes")):
        pd.testing.assert_frame_equal(getattr(read, slot)[name], getattr(labelled, slot)[name])
    pd.testing.assert_frame_equal(read.uns["capsules"]["coupling"], labelled.uns["capsules"]["coupling"])
    assert dict(read.uns["capsules"]["params"]) == labelled.uns["capsules"]["params"]


def test_number_seeds_copy_and_names(monkeypatch):
    monkeypatch.setattr(CapsuleNet, "_train_config", TrainConfig(max_epochs=6, batch_size=64, learning_rate=3e-3))
    adata = cells()[::2].copy()
    before, n_kept = slots(adata), len(CapsuleNet._setup_adata_manager_store)
    first, second, other = (
        td.tl.capsules(adata, n_capsules=2, key_added="two", rng=rng, copy=True)
        for rng in (3, np.random.default_rng(5), 4)
    )
    assert slots(adata) == before
    assert len(CapsuleNet._setup_adata_manager_store) == n_kept  # counts are not kept in memory
    assert first.obs["two"].nunique() == 2
    assert {"two_confidence", "two"} <= set(first.obs)
    assert {"X_two", "two_presence"} == set(first.obsm)
    assert first.uns["two"]["params"]["n_capsules"] == 2
    assert not np.array_equal(first.obsm["X_two"], other.obsm["X_two"])
    again = td.tl.capsules(adata, n_capsules=2, key_added="two", rng=second.uns["two"]["params"]["seed"], copy=True)
    np.testing.assert_array_equal(again.obsm["X_two"], second.obsm["X_two"])


def test_a_model_of_ones_own(model):
    adata = model.adata.copy()
    n_kept = len(CapsuleNet._setup_adata_manager_store), len(CapsuleNet._per_instance_manager_store[model.id])
    td.tl.capsules(adata, model=model)
    np.testing.assert_allclose(adata.obsm["X_capsules"], model.get_latent_representation(), rtol=1e-5, atol=1e-5)
    params = adata.uns["capsules"]["params"]
    assert {"trained": False, "layer": "counts", "batch_key": "batch"}.items() <= params.items()
    assert "seed" not in params
    assert n_kept == (
        len(CapsuleNet._setup_adata_manager_store),
        len(CapsuleNet._per_instance_manager_store[model.id]),
    )
    before = slots(model.adata)
    result = td.tl.capsules(model.adata, model=model, copy=True)
    assert slots(model.adata) == before
    np.testing.assert_array_equal(result.obsm["X_capsules"], model.get_latent_representation())


def test_a_model_on_genes_in_another_order_and_other_names(model):
    other = AnnData(model.adata.layers["counts"], obs=model.adata.obs[["batch"]].rename(columns={"batch": "lane"}))
    other.var_names, other.obs_names = model.adata.var_names, model.adata.obs_names
    other.layers["raw"] = other.X.copy()
    other = other[:, ::-1].copy()
    other.X = None
    td.tl.capsules(other, model=model, layer="raw", batch_key="lane")
    np.testing.assert_allclose(other.obsm["X_capsules"], model.get_latent_representation(), rtol=1e-4, atol=1e-4)
    expected = model.get_gene_weights()
    np.testing.assert_allclose(
        np.sort(other.varm["capsules_genes"].loc[expected.index], axis=1), np.sort(expected, axis=1), atol=1e-5
    )


def test_capsules_that_are_never_the_longest_are_dropped(model):
    everything = td.tl.capsules(model.adata, model=model, copy=True)
    names = everything.obs["capsules"].cat.categories
    # of the second only a few cells, so that it is the smaller one, or the last comes before it
    kept = np.flatnonzero((everything.obs["capsules"] == names[2]).to_numpy())
    some = np.flatnonzero((everything.obs["capsules"] == names[1]).to_numpy())[:10]
    part = model.adata[np.sort(np.concatenate([kept, some]))].copy()
    td.tl.capsules(part, model=model)
    assert part.uns["capsules"]["params"]["n_died"] == len(names) - 2
    assert part.obs["capsules"].value_counts().loc[["0", "1"]].tolist() == [len(kept), len(some)]
    assert list(part.obsm["capsules_presence"]) == list(part.varm["capsules_genes"]) == ["0", "1"]
    assert list(part.uns["capsules"]["coupling"]) == ["0", "1"]
    before = everything.varm["capsules_genes"]
    after = part.varm["capsules_genes"]
    np.testing.assert_allclose(after["0"] - after["1"], before[names[2]] - before[names[1]], atol=1e-5)
    np.testing.assert_allclose(after.mean(axis=1), 0, atol=1e-6)


def test_labels_of_an_earlier_call_go(labelled, model):
    adata = labelled.copy()
    adata.layers["counts"] = adata.X
    td.tl.capsules(adata, model=model)
    assert not [name for name in adata.obs if name.startswith("capsules_label")]


def test_a_model_reads_one_cell(model):
    one = model.adata[:1].copy()
    td.tl.capsules(one, model=model)
    assert one.obs["capsules"].tolist() == ["0"]
    np.testing.assert_allclose(one.obsm["X_capsules"], model.get_latent_representation()[:1], rtol=1e-4, atol=1e-4)


def changed(**columns) -> AnnData:
    adata = cells()[::4].copy()
    for name, value in columns.items():
        adata.obs[name] = value
    return adata


def with_counts(change) -> AnnData:
    adata = changed()
    adata.X = change(adata.X.toarray())
    return adata


@pytest.mark.parametrize(
    ("make", "arguments", "error", "match"),
    [
        (changed, {"labels": "none"}, KeyError, "no column 'none'; it has 'type', 'batch'"),
        (lambda: changed(label="unknown"), {"labels": "label"}, ValueError, "0 labels beside 'unknown'"),
        (
            lambda: changed(label=np.nan),
            {"labels": "label"},
            ValueError,
            "0 labels beside 'unknown'.*train without labels",
        ),
        (lambda: changed(capsules="a"), {"labels": "capsules"}, ValueError, "also the name of a result"),
        (changed, {"batch_key": "none"}, KeyError, "no column 'none'"),
        (lambda: changed(lane=np.nan), {"batch_key": "lane"}, ValueError, "'lane'.* is missing for 90 cells"),
        (changed, {"size_factor_key": "type"}, ValueError, "does not hold numbers"),
        (lambda: changed(depth=0.0), {"size_factor_key": "depth"}, ValueError, "90 values that are not finite and ab"),
        (changed, {"layer": "raw"}, KeyError, "no 'raw'"),
        (changed, {"layer": ["raw"]}, TypeError, "layer must be a str"),
        (changed, {"labels": ["type"]}, TypeError, "labels must be a str"),
        (lambda: changed(capsules="a"), {"batch_key": "capsules"}, ValueError, "batch_key='capsules' is also the name"),
        (
            lambda: changed(capsules_confidence=1.0),
            {"size_factor_key": "capsules_confidence"},
            ValueError,
            "is also the name of a result",
        ),
        (changed, {"n_capsules": 0}, ValueError, "n_capsules=0 is not"),
        (changed, {"n_capsules": 91}, ValueError, "n_capsules=91 is more than the 90 cells"),
        (changed, {"key_added": "a/b"}, ValueError, "without a slash"),
        (lambda: changed()[:1], {}, ValueError, "at least 10 cells, but there is 1"),
        (lambda: with_counts(np.log1p), {}, ValueError, "adata.X does not hold counts"),
        (lambda: with_counts(lambda x: -x), {}, ValueError, "adata.X contains negative values"),
        (
            lambda: with_counts(lambda x: np.vstack([0 * x[:1], x[1:]])),
            {},
            ValueError,
            "no counts in 1 cells, first in",
        ),
    ],
)
def test_errors_leave_the_object_as_it_was(make, arguments, error, match):
    adata = make()
    before = adata.copy()
    with pytest.raises(error, match=match):
        td.tl.capsules(adata, **arguments)
    assert slots(adata) == slots(before)
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def test_what_does_not_go_with_a_model(model):
    adata = model.adata[:50].copy()
    for name, value in (("labels", "type"), ("n_capsules", 3)):
        with pytest.raises(ValueError, match=f"{name}=.* does not go with a model"):
            td.tl.capsules(adata, model=model, **{name: value})
    with pytest.raises(ValueError, match=r"not the 60 features of the model: 5 of these are absent \('G0'"):
        td.tl.capsules(
            adata[:, [name for name in adata.var_names if name not in {f"G{i}" for i in range(5)}]], model=model
        )
    more = adata.copy()
    more.var_names = [*adata.var_names[1:], "other"]
    with pytest.raises(ValueError, match="1 others are there .'other'.. Genes that are absent are not made up"):
        td.tl.capsules(more, model=model)
    with pytest.raises(TypeError, match="model must be a CapsuleNet"):
        td.tl.capsules(adata, model="capsules")
    del adata.layers["counts"]
    with pytest.raises(KeyError, match="no 'counts'"):
        td.tl.capsules(adata, model=model)
    with pytest.raises(TypeError, match="adata must be an AnnData"):
        td.tl.capsules(adata.X)


def test_on_the_object(model):
    adata = model.adata.copy()
    adata.td.tl.capsules(model=model)
    assert adata.td.get.capsule_genes(0, n_genes=1)["capsule"].tolist() == ["0"]


def test_symbols_for_a_model_of_ids_are_told():
    rng = np.random.default_rng(0)
    ids = AnnData(rng.poisson(2.0, (60, 12)).astype(np.float32))
    ids.var_names = [f"ENSG{i:011d}" for i in range(12)]
    td.model.CapsuleNet.setup_anndata(ids)
    model = td.model.CapsuleNet(ids, rng=0)
    model.train(1, rng=0)
    symbols = ids.copy()
    symbols.var_names = [f"GENE{i}" for i in range(12)]
    with pytest.raises(ValueError, match="knows Ensembl identifiers, and these look like symbols: rename them first"):
        td.tl.capsules(symbols, model=model)
