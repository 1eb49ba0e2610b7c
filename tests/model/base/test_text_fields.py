"""Columns of categories of any type: read as text alike, in a reference and in a query, and nothing left behind by an error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from fault_slots import fingerprint
from models import CASES

import sctandem as td
from sctandem.model import CapsuleNet
from sctandem.model.base._manager import ModelManager
from sctandem.model.base._text_fields import as_text, text_of

MAPS = ("CountVAEModel", "CapsuleNet", "DeepDE")
#: What the batches "0" and "1" may be written as.
KINDS = {
    "text": lambda code: code.astype(str),
    "integers": lambda code: code,
    "floats": lambda code: code.astype(float),
    "categories of integers": pd.Categorical,
    "nullable integers": lambda code: pd.array(code, dtype="Int64"),
    "both": lambda code: np.array([str(c) if i % 2 else int(c) for i, c in enumerate(code)], dtype=object),
}


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_that_of_the_same_numbers(kind):
    code = np.random.default_rng(0).integers(0, 12, 100)
    found = as_text(pd.Series(KINDS[kind](code)), "obs")
    assert np.asarray(found).tolist() == code.astype(str).tolist()
    if kind not in {"text", "both"}:
        assert found.categories.tolist() == [str(i) for i in range(12)]  # in the order of the numbers


def test_gaps_stay_and_fractions_are_told_apart():
    assert pd.isna(as_text(pd.Series([1.0, np.nan, 1.5]), "obs")).tolist() == [False, True, False]
    assert [text_of(value) for value in (1.0, 1.5, np.float32(2), True, np.int8(3), "1.0")] == [
        "1", "1.5", "2", "True", "3", "1.0",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"adata\.obs\['a'\] holds values that name nothing, such as \[1, 2\]"):
        as_text(pd.Series([[1, 2], [3]]), "adata.obs['a']")


def reference(name, kind, **labels):
    case = CASES[name]
    adata = case.data()
    code = np.arange(150) % 2
    adata.obs["batch"] = KINDS[kind](code)
    if labels:
        adata.obs["type"] = labels["values"]
        CapsuleNet.setup_anndata(adata, batch_key="batch", labels_key="type", **labels.get("given", {}))
    else:
        case.set_up(adata)
    model = case.make(adata)
    model.train(2, rng=0, progress=False)
    return model


@pytest.fixture(name="references", scope="module")
def fixture_references():
    """Trained with the same batches, written as text and as integers."""
    return {(name, kind): reference(name, kind) for name in MAPS for kind in ("text", "integers")}


def cells(batch=None):
    adata = AnnData(CASES["CountVAEModel"].data()[:40].X.copy())
    adata.var_names = [f"GENE{i}" for i in range(30)]
    adata.obs_names = [f"query{i}" for i in range(40)]
    if batch is not None:
        adata.obs["batch"] = batch
    return adata


#: Batches of a query, and what they are named.
QUERIES = {
    "no column": (None, {"query"}),
    "new text": (["new"] * 40, {"new"}),
    "new integers": (np.full(40, 7), {"7"}),
    "known text": (["1"] * 40, set()),
    "known integers": (np.ones(40, dtype=np.int64), set()),
    "known floats": (np.ones(40), set()),
    "truth values": (np.arange(40) % 2 > 0, {"False", "True"}),
    "both": (np.array([1, "1", 0, "x"] * 10, dtype=object), {"x"}),
}


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("name", MAPS)
def test_a_batch_of_a_query_is_that_of_the_reference_however_it_is_written(references, name, query):
    # scvi-tools compares values by type: 1 and "1" do not match, and cannot be sorted beside each other
    batch, new = QUERIES[query]
    states = []
    for kind in ("text", "integers"):
        model = references[name, kind]
        found = type(model).load_query_data(cells(batch), model)
        mapping = list(found.adata_manager.get_state_registry("batch").categorical_mapping)
        assert mapping[:2] == ["0", "1"]
        assert set(mapping[2:]) == new
        states.append(found.get_latent_representation())
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("query", QUERIES)
def test_mapping_writes_the_same(references, query):
    batch, new = QUERIES[query]
    written = []
    for kind in ("text", "integers"):
        adata = cells(batch)
        td.tl.map_query(adata, references["CapsuleNet", kind], rng=0)
        assert set(adata.uns["mapped"]["moved"]) == new
        written.append(adata.obsm["X_mapped"])
    np.testing.assert_array_equal(*written)


@pytest.mark.parametrize("query", ["no column", "new text", "known integers", "known text", "both"])
@pytest.mark.parametrize("name", MAPS)
def test_learning_on(name, query):
    batch, new = QUERIES[query]
    states = []
    for kind in ("text", "integers"):
        model = reference(name, kind)
        model.partial_fit(cells(batch), rng=0, max_epochs=1, progress=False)
        assert set(model.adata.obs["batch"]) == {"0", "1"} | new
        states.append(model.get_latent_representation())
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("kind", KINDS)
def test_files_take_data_of_either_kind(references, name, kind, tmp_path):
    model = references[name, "integers"]
    model.save(tmp_path / "model")
    adata = model.adata.copy()
    adata.obs["batch"] = KINDS[kind](np.arange(150) % 2)
    again = type(model).load(tmp_path / "model", adata)
    np.testing.assert_array_equal(again.get_latent_representation(), model.get_latent_representation())


LABELS = np.arange(150) % 3


@pytest.mark.parametrize(
    ("values", "given", "names"),
    [
        (LABELS, {}, ["0", "1", "2"]),
        (pd.Categorical(LABELS), {}, ["0", "1", "2"]),
        (LABELS - 1, {"unlabeled_category": -1}, ["0", "1"]),
        (np.where(LABELS == 0, "unknown", LABELS.astype(object)), {}, ["1", "2"]),
        (LABELS > 0, {}, ["False", "True"]),
    ],
    ids=["integers", "categories", "a number for none", "mixed", "truth values"],
)
def test_labels_of_any_kind(values, given, names):
    """scvi-tools fails with integers, once it has written its codes."""
    model = reference("CapsuleNet", "integers", values=values, given=given)
    assert sorted(model.label_names) == names
    assert set(model.predict().cat.categories) == {*names, str(given.get("unlabeled_category", "unknown"))}
    as_words = reference("CapsuleNet", "text", values=np.asarray(values).astype(str), given={
        "unlabeled_category": str(given.get("unlabeled_category", "unknown"))
    })  # fmt: skip
    np.testing.assert_array_equal(model.get_latent_representation(), as_words.get_latent_representation())
    query = cells(np.zeros(40, dtype=np.int64))
    query.obs["type"] = np.asarray(values)[:40]
    model.partial_fit(query, rng=0, max_epochs=1, progress=False)
    assert sorted(model.label_names) == names


@pytest.mark.parametrize("was_set_up", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_after_an_error_the_object_is_as_it_was(name, was_set_up, monkeypatch):
    data = CASES[name].data()
    if was_set_up:
        CASES[name].set_up(data)
    parts = [data, *getattr(data, "mod", {}).values()]
    before = fingerprint(data), dict(data.uns), [list(part.obs) for part in parts]

    def fails(self):
        raise RuntimeError("late")  # noqa: EM101

    monkeypatch.setattr(ModelManager, "_assign_most_recent_manager_uuid", fails)
    for part in parts:  # codes are to be written anew
        for column in part.obs:
            if str(column).startswith("_scvi"):
                part.obs[column] = part.obs[column] + 1
    changed = [part.obs.copy() for part in parts]
    with pytest.raises(RuntimeError, match="late"):
        CASES[name].set_up(data)
    assert (dict(data.uns), [list(part.obs) for part in parts]) == before[1:]
    for part, table in zip(parts, changed, strict=True):
        pd.testing.assert_frame_equal(part.obs, table)


@pytest.mark.parametrize("name", CASES)
def test_a_view_is_refused_before_anything(name):
    data = CASES[name].data()
    view = data[: data.n_obs // 2]
    before = fingerprint(view)
    with pytest.raises(ValueError, match=r"data is a view of another .* `.data = .data\.copy\(\)`"):
        CASES[name].set_up(view)
    assert fingerprint(view) == before
