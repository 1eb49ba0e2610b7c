from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mixtures import TYPES, bulk, compositions, names, profiles, reference
from scipy import sparse

import sctandem as td
from sctandem.model import RSD
from sctandem.module import RSDConfig
from sctandem.tl import _train_model

ODD = ("CD4+/CD25 T Reg", "B cells", "x:y z")
OBSM = ["rsd_fractions", "rsd_low", "rsd_high", "rsd_rna"]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two epochs of a small network: what is tested here is what goes in and out."""
    original = RSD.train
    monkeypatch.setattr(RSD, "train", lambda self, rng=None: original(self, 2, rng=rng, progress=False))
    monkeypatch.setattr(RSD.__init__, "__kwdefaults__", {"config": RSDConfig(n_hidden=16), "rng": None})


@pytest.fixture(scope="module")
def shares():
    return profiles()


@pytest.fixture
def cells(shares):
    return reference(shares, depth=20_000)


@pytest.fixture
def samples(shares):
    return bulk(shares, compositions(8), platform=0.5, noise=0.03)


def model_of(cells: AnnData) -> RSD:
    RSD.setup_anndata(cells, "cell_type")
    model = RSD(cells, rng=0)
    model.train(rng=0)
    return model


def contents_of(adata: AnnData) -> dict:
    """All that a user can see."""
    found = {name: list(getattr(adata, name)) for name in ("obs", "var", "obsm", "varm", "layers", "uns")}
    return found | {"x": np.asarray(adata.X).copy().tobytes()}


def test_slots(samples, cells):
    td.tl.deconvolve(samples, cells, "cell_type", donor_key="donor", expression=True, rng=0)
    for name in OBSM:
        table = samples.obsm[name]
        assert list(table.columns) == list(TYPES)
        assert (table.dtypes == np.float64).all()
    np.testing.assert_allclose(samples.obsm["rsd_fractions"].sum(axis=1) + samples.obs["rsd_unknown"], 1)
    assert (
        samples.obs["rsd_unknown"].dtype == samples.obs["rsd_fit"].dtype == samples.var["rsd_platform"].dtype == float
    )
    assert samples.obsm["X_rsd"].dtype == np.float32
    assert samples.obsm["X_rsd"].shape == (8, 2)
    assert list(samples.varm["rsd_signature"].columns) == list(TYPES)
    assert (samples.varm["rsd_signature"].dtypes == np.float64).all()
    for name in TYPES:
        assert samples.layers[f"rsd_{name}"].dtype == np.float32
    params = samples.uns["rsd"]["params"]
    assert params["contents"] == dict.fromkeys(TYPES, 1.0)
    assert {name: params[name] for name in ("kind", "seed", "cell_type", "donor_key", "n_genes")} == {
        "kind": "tpm",
        "seed": 0,
        "cell_type": "cell_type",
        "donor_key": "donor",
        "n_genes": 300,
    }
    assert "layer" not in params


def test_result_is_that_of_the_model(samples, cells):
    td.tl.deconvolve(samples, cells.copy(), "cell_type", contents={"A1": 1, "B1": 2, "C1": 3}, rng=0)
    found = model_of(cells).deconvolve(samples, contents={"A1": 1, "B1": 2, "C1": 3}, rng=0)
    for name, table in (("fractions", found.fractions), ("low", found.low), ("high", found.high), ("rna", found.rna)):
        np.testing.assert_array_equal(samples.obsm[f"rsd_{name}"], table)
    np.testing.assert_array_equal(samples.varm["rsd_signature"], found.signature)
    np.testing.assert_array_equal(samples.obs["rsd_fit"], found.fit)
    assert np.sqrt(((found.rna - samples.obsm["true"]) ** 2).to_numpy().mean()) < 0.15


def test_a_trained_model_saves_the_training(samples, cells, monkeypatch):
    model = model_of(cells)
    monkeypatch.setattr(RSD, "train", lambda *_given, **_options: pytest.fail("trained again"))
    td.tl.deconvolve(samples, model, rng=0)
    np.testing.assert_array_equal(samples.obsm["rsd_fractions"], model.deconvolve(samples, rng=0).fractions)
    assert "cell_type" not in samples.uns["rsd"]["params"]
    for name in ("cell_type", "donor_key"):
        with pytest.raises(ValueError, match=f"{name}='donor' does not go with a trained RSD"):
            td.tl.deconvolve(samples, model, **{name: "donor"})


def test_the_embedding_keeps_distances_of_log_ratios(samples, cells):
    td.tl.deconvolve(samples, cells, "cell_type", rng=0)
    logs = np.log(samples.obsm["rsd_fractions"].to_numpy() + 1e-3)
    logs -= logs.mean(1, keepdims=True)
    embedded = samples.obsm["X_rsd"]
    for i, j in ((0, 1), (2, 7), (4, 5)):
        assert np.linalg.norm(embedded[i] - embedded[j]) == pytest.approx(np.linalg.norm(logs[i] - logs[j]), rel=1e-4)
    np.testing.assert_allclose(embedded.mean(0), 0, atol=1e-5)
    assert (np.diff(embedded.var(0)) <= 0).all()


def test_same_seed_same_result(samples, cells):
    first = td.tl.deconvolve(samples, cells, "cell_type", rng=3, copy=True)
    second = td.tl.deconvolve(samples, cells, "cell_type", rng=3, copy=True)
    drawn = td.tl.deconvolve(samples, cells, "cell_type", copy=True)
    again = td.tl.deconvolve(samples, cells, "cell_type", rng=drawn.uns["rsd"]["params"]["seed"], copy=True)
    for one, other in ((first, second), (drawn, again)):
        for name in OBSM:
            pd.testing.assert_frame_equal(one.obsm[name], other.obsm[name])
    assert not first.obsm["rsd_low"].equals(drawn.obsm["rsd_low"])


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_there_and_back(samples, shares, kind, tmp_path):
    cells = reference(shares, types=ODD)
    td.tl.deconvolve(samples, cells, "cell_type", donor_key="donor", expression=True, rng=0)
    del samples.obsm["true"]
    getattr(samples, f"write_{kind}")(tmp_path / "bulk")
    found = getattr(anndata, f"read_{kind}")(tmp_path / "bulk")
    types = ["B cells", "CD4+_CD25 T Reg", "x:y z"]
    for name in OBSM:
        assert list(found.obsm[name].columns) == types
        pd.testing.assert_frame_equal(found.obsm[name], samples.obsm[name], check_names=False)
    pd.testing.assert_frame_equal(found.varm["rsd_signature"], samples.varm["rsd_signature"], check_names=False)
    np.testing.assert_array_equal(found.obs["rsd_unknown"], samples.obs["rsd_unknown"])
    np.testing.assert_array_equal(found.obsm["X_rsd"], samples.obsm["X_rsd"])
    for name in types:
        np.testing.assert_array_equal(found.layers[f"rsd_{name}"], samples.layers[f"rsd_{name}"])
    params = found.uns["rsd"]["params"]
    assert params["contents"].keys() == set(types)
    assert params["contents"]["CD4+_CD25 T Reg"] == params["contents"]["B cells"] == 0.40
    td.tl.deconvolve(found, cells, "cell_type", donor_key="donor", rng=0)  # once more, on what was read
    np.testing.assert_array_equal(found.obsm["rsd_fractions"], samples.obsm["rsd_fractions"])


def test_types_that_differ_by_a_slash_only(samples, shares):
    before = contents_of(samples)
    with pytest.raises(ValueError, match="types have names that differ by a slash only"):
        td.tl.deconvolve(samples, reference(shares, types=("a/b", "a_b", "c")), "cell_type", rng=0)
    assert contents_of(samples) == before


def test_copy_and_names(samples, cells):
    before = contents_of(samples)
    found = td.tl.deconvolve(samples, cells, "cell_type", key_added="mine", rng=0, copy=True)
    assert contents_of(samples) == before
    assert "mine_fractions" in found.obsm
    assert "mine" in found.uns
    assert td.tl.deconvolve(samples, cells, "cell_type", key_added="mine", rng=0) is None
    pd.testing.assert_frame_equal(samples.obsm["mine_fractions"], found.obsm["mine_fractions"])
    assert not [name for name in [*samples.obsm, *samples.uns, *samples.obs] if "rsd" in name]


def test_layers_of_an_earlier_run_go(samples, cells, shares):
    td.tl.deconvolve(samples, reference(shares, types=ODD), "cell_type", expression=True, rng=0)
    td.tl.deconvolve(samples, cells, "cell_type", expression=True, rng=0)
    assert {name for name in samples.layers if name} == {f"rsd_{name}" for name in TYPES}
    td.tl.deconvolve(samples, cells, "cell_type", rng=0)
    assert not [name for name in samples.layers if name]


def test_reference_is_left_as_it_was(samples, cells):
    before = contents_of(cells), cells.X.copy()
    td.tl.deconvolve(samples, cells, "cell_type", donor_key="donor", rng=0)
    assert {name: value for name, value in contents_of(cells).items() if name != "x"} == {
        name: value for name, value in before[0].items() if name != "x"
    }
    assert (before[1] != cells.X).nnz == 0


@pytest.mark.parametrize("kind", ["csc", "dense", "view", "backed", "unused category"])
def test_references_of_all_kinds(samples, cells, kind, tmp_path):
    expected = td.tl.deconvolve(samples, cells, "cell_type", rng=0, copy=True).obsm["rsd_fractions"]
    given = cells.copy()
    if kind == "csc":
        given.X = sparse.csc_matrix(given.X)
    elif kind == "dense":
        given.X = given.X.toarray()
    elif kind == "view":
        given = anndata.concat([cells, cells], index_unique="-")[: cells.n_obs]
        assert given.is_view
    elif kind == "backed":
        given.write_h5ad(tmp_path / "cells.h5ad")
        given = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    else:
        given.obs["cell_type"] = pd.Categorical(given.obs["cell_type"], ["none", *TYPES])
    td.tl.deconvolve(samples, given, "cell_type", rng=0)
    pd.testing.assert_frame_equal(samples.obsm["rsd_fractions"], expected)
    if kind == "unused category":
        assert list(given.obs["cell_type"].cat.categories) == ["none", *TYPES]
    if kind == "backed":
        given.file.close()


def test_types_as_numbers(samples, shares):
    td.tl.deconvolve(samples, reference(shares, types=(2, 0, 1)), "cell_type", rng=0)
    assert list(samples.obsm["rsd_fractions"].columns) == ["0", "1", "2"]


@pytest.mark.parametrize("n_samples", [1, 2])
def test_few_samples(shares, cells, n_samples):
    adata = bulk(shares, compositions(n_samples))
    td.tl.deconvolve(adata, cells, "cell_type", expression=True, rng=0)
    assert np.isfinite(adata.obsm["rsd_fractions"]).all(axis=None)
    np.testing.assert_allclose(adata.obsm["rsd_rna"], adata.obsm["true"], atol=0.12)
    assert adata.obsm["X_rsd"].shape == (n_samples, min(n_samples, 2))
    if n_samples == 1:
        assert (adata.obsm["X_rsd"] == 0).all()


def test_a_layer(samples, cells):
    expected = td.tl.deconvolve(samples, cells, "cell_type", rng=0, copy=True).obsm["rsd_fractions"]
    samples.layers["tpm"], samples.X = samples.X.copy(), np.log1p(samples.X)
    td.tl.deconvolve(samples, cells, "cell_type", layer="tpm", rng=0)
    pd.testing.assert_frame_equal(samples.obsm["rsd_fractions"], expected)
    assert samples.uns["rsd"]["params"]["layer"] == "tpm"


@pytest.mark.filterwarnings("ignore:Setting element .* of view, initializing view as actual")
def test_a_view(samples, cells):
    expected = td.tl.deconvolve(samples[:6].copy(), cells, "cell_type", rng=0, copy=True).obsm["rsd_fractions"]
    view = samples[:6]
    found = td.tl.deconvolve(view, cells, "cell_type", rng=0, copy=True)
    pd.testing.assert_frame_equal(found.obsm["rsd_fractions"], expected)
    assert "rsd" not in samples.uns


def test_from_the_object(samples, cells):
    samples.td.tl.deconvolve(cells, "cell_type", rng=0)
    assert "rsd_fractions" in samples.obsm


def test_drivers_take_the_result(shares, cells):
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 8)
    rna = np.array([rng.dirichlet(30 * np.array([0.3 + 0.2 * g, 0.3, 0.4 - 0.2 * g])) for g in group])
    changed = np.argsort(shares[[0, 2]].max(0) / shares[1])[:12]
    factor = np.ones((16, 300))
    factor[np.ix_(group == 1, changed)] = 4
    rate = np.einsum("st,tg->sg", rna, shares) * factor
    adata = AnnData(rng.poisson(3e6 * rate * np.exp(0.1 * rng.standard_normal(rate.shape))).astype(float))
    adata.var_names, adata.obs_names = names(300), [f"s{i}" for i in range(16)]
    adata.obs["group"] = np.where(group, "case", "control")
    td.tl.deconvolve(adata, cells, "cell_type", contents=dict.fromkeys(TYPES, 1.0), rng=0)
    assert adata.uns["rsd"]["params"]["kind"] == "counts"
    td.tl.drivers(adata, "group", reference="control", n_permutations=100, rng=0)
    found = td.get.drivers(adata, max_q=0.05)
    true = {f"GENE{gene}" for gene in changed}
    assert len(true & set(found["gene"])) >= 9
    assert len(set(found["gene"]) - true) <= 1
    assert np.mean(["B1" in one.split(" | ") for one in found["candidates"]]) > 0.8


# --- errors -----------------------------------------------------------------------------------------------------------


def negative(samples, cells):
    samples.X[0, 0] = -1


def logs(samples, cells):
    samples.X = np.log1p(samples.X)


def zeros(samples, cells):
    samples.X[3] = 0


def other_genes(samples, cells):
    samples.var_names = [f"other{i}" for i in range(300)]


def normalised_cells(samples, cells):
    cells.X = cells.X.log1p()


def layered_cells(samples, cells):
    cells.layers["counts"] = cells.X.copy()
    cells.X = cells.X.log1p()


def missing_values(samples, cells):
    samples.X[2, 7] = np.nan


def barcodes_for_types(samples, cells):
    cells.obs["cell_type"] = [f"AAAC{i // 4}" for i in range(180)]


def few_cells(samples, cells):
    cells.obs["cell_type"] = ["rare"] * 5 + ["A1"] * 100 + ["B1"] * 75


def missing_type(samples, cells):
    cells.obs["cell_type"] = cells.obs["cell_type"].where(np.arange(180) > 2)


def unknown_type(samples, cells):
    cells.obs["cell_type"] = cells.obs["cell_type"].replace("B1", "unknown")


def nameless_type(samples, cells):
    cells.obs["cell_type"] = cells.obs["cell_type"].replace("B1", "")


def repeated_genes(samples, cells):
    cells.var_names = ["GENE1", *cells.var_names[1:]]


def no_cells(samples, cells):
    cells._inplace_subset_obs(np.zeros(cells.n_obs, dtype=bool))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (negative, "negative values"),
        (logs, "looks log-transformed"),
        (zeros, "all zeros: 's3'"),
        (other_genes, "0 genes in common"),
        (normalised_cells, r"reference\.X does not hold counts"),
        (layered_cells, r"reference\.X = reference\.layers\['counts'\]\.copy\(\)"),
        (missing_values, r"holds nan \(sample 's2', gene 'GENE7'\)"),
        (barcodes_for_types, r"'AAAC1 \(4\)'.* and 35 more; it has 45 types\."),
        (few_cells, r"fewer than 10 cells: 'rare \(5\)'; it has 3 types"),
        (missing_type, r"reference\.obs\['cell_type'\] is missing in 3 cells"),
        (unknown_type, "a type of the reference is called 'unknown', which is the name of the share"),
        (nameless_type, "a type of the reference is called ''"),
        (repeated_genes, r"reference\.var_names has 1 duplicated names: 'GENE1'"),
        (no_cells, "holds no cells"),
    ],
)
@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_nothing_is_written_on_an_error(samples, cells, change, message, monkeypatch):
    change(samples, cells)
    monkeypatch.setattr(RSD, "train", lambda *_given, **_options: pytest.fail("trained before this was seen"))
    before = contents_of(samples), list(cells.obs), list(cells.uns)
    with pytest.raises(ValueError, match=message):
        td.tl.deconvolve(samples, cells, "cell_type", rng=0)
    assert (contents_of(samples), list(cells.obs), list(cells.uns)) == before


def test_an_error_while_writing_would_come_before_the_first_slot(samples, cells, monkeypatch):
    before = contents_of(samples)
    monkeypatch.setattr(RSD, "train", lambda *_given, **_options: pytest.fail("trained before this was seen"))
    with pytest.raises(KeyError, match="contents lacks 'B1', 'C1'"):
        td.tl.deconvolve(samples, cells, "cell_type", contents={"A1": 1}, rng=0)
    assert contents_of(samples) == before


def test_bad_arguments(samples, cells):
    before = contents_of(samples)
    with pytest.raises(TypeError, match="reference must be an AnnData of single cells or a trained RSD, got DataFrame"):
        td.tl.deconvolve(samples, pd.DataFrame(), "cell_type")
    with pytest.raises(ValueError, match=r"cell_type is missing: .* it has 'cell_type', 'donor'"):
        td.tl.deconvolve(samples, cells)
    with pytest.raises(KeyError, match=r"reference\.obs has no column 'type'"):
        td.tl.deconvolve(samples, cells, "type")
    with pytest.raises(KeyError, match=r"reference\.obs has no column 'patient'"):
        td.tl.deconvolve(samples, cells, "cell_type", donor_key="patient")
    with pytest.raises(TypeError, match="cell_type must be a str"):
        td.tl.deconvolve(samples, cells, 3)
    with pytest.raises(KeyError, match=r"layers has no 'raw'"):
        td.tl.deconvolve(samples, cells, "cell_type", layer="raw")
    with pytest.raises(ValueError, match="kind='fpkm' is not known"):
        td.tl.deconvolve(samples, cells, "cell_type", kind="fpkm")
    with pytest.raises(ValueError, match="key_added='a/b' must be a name without a slash"):
        td.tl.deconvolve(samples, cells, "cell_type", key_added="a/b")
    with pytest.raises(TypeError, match="adata must be an AnnData"):
        td.tl.deconvolve(np.ones((3, 3)), cells, "cell_type")
    RSD.setup_anndata(cells, "cell_type")
    with pytest.raises(RuntimeError, match="this RSD is not trained"):
        td.tl.deconvolve(samples, RSD(cells))
    assert contents_of(samples) == before


def test_training_is_at_the_defaults(cells, monkeypatch):
    asked = []
    monkeypatch.setattr(RSD, "train", lambda _self, **options: asked.append(options))
    _train_model.train_rsd(cells, "cell_type", donor_key=None, seed=7)
    assert asked == [{"rng": 7}]
