from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mudata import MuData
from scipy.stats import spearmanr

import sctandem as td
from sctandem.tl._waypoints import _names

ENDS = {"left": "left_end", "right": "right_end"}


def y_cells(n: int = 450, seed: int = 0, noise: float = 0.02) -> AnnData:
    """A trunk and two arms of the same length; the tips have names."""
    rng = np.random.default_rng(seed)
    arm, x = rng.integers(3, size=n), rng.random(n)
    arm[:3], x[:3] = [0, 1, 2], 1.0
    points = np.zeros((n, 6))
    points[np.arange(n), arm] = x
    points += noise * rng.normal(size=points.shape)
    names = ["root", "left_end", "right_end", *(f"c{i}" for i in range(3, n))]
    kind = np.array(["trunk", "left", "right"])[arm]
    when = np.where(arm == 0, (1 - x) / 2, (1 + x) / 2)
    activity = pd.DataFrame(
        {"driver": np.select([arm == 1, arm == 2], [x, -x], 0), "clock": when, "noise": rng.normal(size=n)}, index=names
    )
    obs = pd.DataFrame({"kind": kind, "x": x, "when": when}, index=names)
    expression = AnnData(points[:, :3].copy(), obs=obs, obsm={"X_pca": points, "tf_activity": activity})
    expression.var_names = ["G0", "G1", "G2"]
    return expression


@pytest.fixture(scope="module")
def followed():
    adata = y_cells()
    td.tl.waypoints(adata, "root", ENDS, activity="tf_activity", rng=0)
    td.tl.waypoints(adata, "root", rng=0, key_added="found")
    return adata


def test_slots(followed):
    obs, uns = followed.obs, followed.uns["waypoints"]
    fates = followed.obsm["lineage_probabilities"]
    assert fates.columns.tolist() == ["left", "right"]
    np.testing.assert_allclose(fates.sum(axis=1), 1)
    assert obs["waypoints_pseudotime"].between(0, 1).all()
    logs = np.log(fates.to_numpy().clip(1e-300))
    np.testing.assert_allclose(obs["waypoints_entropy"], -(fates.to_numpy() * logs).sum(axis=1), atol=1e-12)
    assert obs["waypoints_branch"].cat.categories.tolist() == ["left | right", "left", "right"]
    assert uns["terminals"]["cell"].tolist() == ["left_end", "right_end"]
    assert uns["terminals"]["given"].all()
    assert uns["waypoints"].loc[uns["waypoints"]["role"] == "root", "cell"].tolist() == ["root"]
    assert set(uns["waypoints"]["cell"]) <= set(followed.obs_names)
    steps = uns["edges"].groupby("source")["probability"].sum()
    assert (steps <= 1 + 1e-9).all()
    assert steps.median() > 0.2
    assert uns["params"]["root"] == "root"
    assert uns["params"]["seed"] == 0
    assert followed.obsm["found_lineage_probabilities"].shape == (450, 2)


def test_a_tree_with_two_arms(followed):
    """On the arms P = (1 + 2x) / (2 + x), and pseudotime is x' along each lineage, weighted by its probability."""
    obs, fates = followed.obs, followed.obsm["lineage_probabilities"]
    trunk, left = obs["kind"] == "trunk", obs["kind"] == "left"
    np.testing.assert_allclose(fates.loc[trunk, "left"], 0.5, atol=0.15)
    x = obs.loc[left, "x"]
    np.testing.assert_allclose(fates.loc[left, "left"], (1 + 2 * x) / (2 + x), atol=0.12)
    assert spearmanr(obs["waypoints_pseudotime"], obs["when"])[0] > 0.97
    along = obs.loc[trunk, "when"]
    assert np.abs(obs.loc[trunk, "waypoints_pseudotime"] - along).max() < 0.15
    branch = followed.uns["waypoints"]["branches"]
    assert branch[["left", "right", "parent"]].to_numpy().tolist() == [["left", "right", ""]]
    assert branch["pseudotime"].iloc[0] == pytest.approx(0.5, abs=0.12)
    kind = np.where(trunk, "left | right", obs["kind"].astype(str))
    assert (kind == obs["waypoints_branch"].astype(str)).mean() > 0.9


def test_terminal_cells_are_found(followed):
    found = followed.uns["found"]["terminals"]
    assert set(followed.obs["kind"][found["cell"]]) == {"left", "right"}
    assert (followed.obs["x"][found["cell"]] > 0.9).all()
    assert found["length"].max() == 1
    assert found["lineage"].tolist() == found["cell"].tolist()
    assert spearmanr(followed.obs["found_pseudotime"], followed.obs["when"])[0] > 0.95
    # on a chain it rises nearly evenly
    trunk = followed.obs["kind"] == "trunk"
    assert np.corrcoef(followed.obs.loc[trunk, "found_pseudotime"], followed.obs.loc[trunk, "when"])[0, 1] > 0.98


def test_drivers(followed):
    table = td.get.waypoints(followed, "drivers").set_index("tf")
    assert table.index[0] == "driver"
    assert table.loc["driver", "effect"] > 0.5
    assert table.loc["driver", "correlation"] > 0.9
    assert table.loc["noise", "p_value"] > 0.05
    assert table.loc["clock", "p_value"] > 0.05
    assert (table["fdr"] >= table["p_value"]).all()
    assert followed.uns["found"]["drivers"].empty
    genes = td.tl.waypoints(followed, "root", ENDS, activity=["G1", "G2"], rng=0, copy=True)
    effect = td.get.waypoints(genes, "drivers").set_index("tf")["effect"]
    assert effect["G1"] > 0.3
    assert effect["G2"] < -0.3


def test_order_and_rotation_change_nothing(followed):
    rng = np.random.default_rng(5)
    order = rng.permutation(followed.n_obs)
    other = y_cells()[order].copy()
    other.obsm["X_pca"] = other.obsm["X_pca"] @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    td.tl.waypoints(other, "root", ENDS, rng=1)
    np.testing.assert_allclose(
        other.obsm["lineage_probabilities"], followed.obsm["lineage_probabilities"].iloc[order], atol=1e-3
    )
    np.testing.assert_allclose(
        other.obs["waypoints_pseudotime"], followed.obs["waypoints_pseudotime"].iloc[order], atol=1e-3
    )


def test_seeds_and_copies():
    adata = y_cells(300)
    before = adata.copy()
    first, second = (td.tl.waypoints(adata, "root", activity="tf_activity", rng=3, copy=True) for _ in range(2))
    pd.testing.assert_frame_equal(first.obs, second.obs)
    pd.testing.assert_frame_equal(first.uns["waypoints"]["drivers"], second.uns["waypoints"]["drivers"])
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert list(adata.uns) == []
    other = td.tl.waypoints(adata, "root", activity="tf_activity", rng=4, copy=True)
    pd.testing.assert_frame_equal(first.obs, other.obs)  # the seed is of the tests alone
    assert td.tl.waypoints(adata, "root") is None


def test_a_single_lineage():
    rng = np.random.default_rng(0)
    x = np.sort(rng.random(200))
    adata = AnnData(obsm={"X_pca": np.column_stack([x, 0.01 * rng.normal(size=200)])})
    td.tl.waypoints(adata, "0", rng=0)
    assert adata.uns["waypoints"]["branches"].empty
    assert adata.obsm["lineage_probabilities"].shape == (200, 1)
    assert (adata.obs["waypoints_entropy"] == 0).all()
    assert adata.obs["waypoints_branch"].nunique() == 1
    assert np.corrcoef(adata.obs["waypoints_pseudotime"], x)[0, 1] > 0.98
    td.tl.waypoints(adata, "0", ["199"], rng=0)
    assert np.corrcoef(adata.obs["waypoints_pseudotime"], x)[0, 1] > 0.97
    assert spearmanr(adata.obs["waypoints_pseudotime"], x)[0] > 0.99


def test_groups_as_root_and_ends():
    adata = y_cells()
    adata.obs["late"] = np.where(adata.obs["x"] > 0.9, adata.obs["kind"], "early")
    td.tl.waypoints(adata, ("late", "trunk"), [("late", "left"), ("late", "right")], rng=0)
    found = adata.uns["waypoints"]
    assert found["terminals"]["lineage"].tolist() == ["left", "right"]
    assert adata.obs["late"][found["terminals"]["cell"]].tolist() == ["left", "right"]
    assert adata.obs["late"][found["params"]["root"]] == "trunk"
    td.tl.waypoints(adata, ("kind", "trunk"), rng=0)
    assert "left" in adata.uns["waypoints"]["terminals"]["lineage"].tolist()


def test_change_points_to_a_lineage(followed):
    adata = y_cells()
    ahead = np.zeros(adata.shape)
    ahead[:, 0], ahead[:, 1] = -1, 1
    adata.layers["change"] = ahead
    adata.layers["other"] = ahead[:, [0, 2, 1]]
    td.tl.waypoints(adata, "root", ENDS, change="change", rng=0)
    trunk = adata.obs["kind"] == "trunk"
    assert adata.obsm["lineage_probabilities"].loc[trunk, "left"].mean() > 0.8
    pd.testing.assert_series_equal(adata.obs["waypoints_pseudotime"], followed.obs["waypoints_pseudotime"], atol=0.15)
    adata.layers["change"][:, 2] = np.nan  # a gene without a prediction
    td.tl.waypoints(adata, "root", ENDS, change="change", rng=0)
    assert adata.obsm["lineage_probabilities"].loc[trunk, "left"].mean() > 0.8
    td.tl.waypoints(adata, "root", ENDS, change="other", rng=0)
    assert adata.obsm["lineage_probabilities"].loc[trunk, "left"].mean() < 0.2


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_round_trip(followed, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    getattr(followed, f"write_{kind}")(path)
    read = getattr(anndata, f"read_{kind}")(path)
    for key in ("waypoints", "found"):
        for table in ("waypoints", "edges", "terminals", "branches"):
            pd.testing.assert_frame_equal(
                td.get.waypoints(read, table, key=key), td.get.waypoints(followed, table, key=key), check_dtype=False
            )
    assert td.get.lineages(read).columns.tolist() == ["pseudotime", "branch", "entropy", "left", "right"]
    np.testing.assert_allclose(td.get.lineages(read)["left"], td.get.lineages(followed)["left"])


def broken(change: str) -> AnnData:
    adata = y_cells(60)
    if change == "nan":
        adata.obsm["X_pca"][4, 0] = np.nan
    if change == "apart":
        adata = y_cells(450)
        adata.obsm["X_pca"][np.asarray(adata.obs["kind"] == "left"), 5] += 1000
    if change == "same":
        adata.obsm["X_pca"][:] = 1
    if change == "few":
        adata = adata[:10].copy()
    if change == "twice":
        adata.obs_names = ["root", "left_end", *["c"] * 58]
    if change == "activity":
        adata.obsm["tf_activity"].iloc[0, 0] = np.inf
    if change == "still":
        adata.layers["change"] = np.zeros(adata.shape)
    return adata


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize(
    ("change", "root", "options", "error", "message"),
    [
        ("", "nobody", {}, KeyError, "root='nobody' is no cell: .*'kind'"),
        ("", ("kind", "stem"), {}, ValueError, "no cell has 'stem' in adata.obs.'kind'., which has"),
        ("", ("type", "stem"), {}, KeyError, "has no column 'type'"),
        ("", 3, {}, TypeError, "root=3 is neither the name of a cell nor"),
        ("", "root", {"terminal": ["nobody"]}, KeyError, "terminal='nobody' is no cell"),
        ("", "root", {"terminal": "left_end"}, TypeError, "terminal='left_end' is neither a list"),
        ("", "root", {"terminal": []}, ValueError, "terminal is empty"),
        ("", "root", {"terminal": ["left_end", "left_end"]}, ValueError, "a lineage twice"),
        ("", "root", {"terminal": ["root"]}, ValueError, "'root' ends at cell 'root', which is the root already"),
        (
            "",
            "root",
            {"terminal": {"a": "c5", "b": "c5"}},
            ValueError,
            "'b' ends at cell 'c5', which is the end of 'a'",
        ),
        ("", "root", {"terminal": {"T | NK": "c1", "B": "c2"}}, ValueError, "joins lineages in the result"),
        ("", "root", {"terminal": {"T/NK": "c1", "T_NK": "c2"}}, ValueError, "a lineage twice"),
        ("", "root", {"use_rep": "X_umap"}, KeyError, "adata.obsm has no 'X_umap'; it has"),
        ("", "root", {"n_waypoints": 5}, ValueError, "n_waypoints"),
        ("", "root", {"activity": "tfs"}, KeyError, "adata.obsm has no 'tfs'"),
        ("", "root", {"activity": ["G0", "MYC"]}, KeyError, "'MYC'.*not in adata.var_names"),
        ("", "root", {"activity": []}, KeyError, "no genes at all"),
        ("", "root", {"change": "velocity"}, KeyError, "neither adata.layers nor adata.uns has 'velocity'"),
        ("", "root", {"key_added": "a/b"}, ValueError, "a/b"),
        ("still", "root", {"change": "change"}, ValueError, "predicts no change at all"),
        (
            "activity",
            "root",
            {"activity": "tf_activity"},
            ValueError,
            "has NaN or infinite values; leave those factors",
        ),
        ("nan", "root", {}, ValueError, "NaN or infinite values in 1 cells, first in 'c4'"),
        ("same", "root", {}, ValueError, "does not vary between cells"),
        ("few", "root", {}, ValueError, "20"),
        ("twice", "root", {}, ValueError, "duplicated names"),
        ("apart", "root", {}, ValueError, "cannot be reached from the root over 30 nearest.* 2 parts"),
    ],
)
def test_bad_input(change, root, options, error, message):
    adata = broken(change)
    before = adata.copy()
    with pytest.raises(error, match=message):
        td.tl.waypoints(adata, root, **options)
    assert list(adata.uns) == list(before.uns)
    assert adata.obs.columns.equals(before.obs.columns)
    assert set(adata.obsm) == set(before.obsm)


def test_a_mudata_is_refused():
    with pytest.raises(TypeError, match="MuData"):
        td.tl.waypoints(MuData({"rna": y_cells(30)}), "root")


def test_get(followed):
    assert td.get.waypoints(followed, "drivers", fdr=0.05)["fdr"].le(0.05).all()
    with pytest.raises(ValueError, match="table='tree'"):
        td.get.waypoints(followed, "tree")
    with pytest.raises(ValueError, match="no false discovery rates"):
        td.get.waypoints(followed, "branches", fdr=0.05)
    with pytest.raises(KeyError, match="td.tl.waypoints"):
        td.get.waypoints(followed, key="other")
    with pytest.raises(KeyError, match="td.tl.waypoints"):
        td.get.lineages(followed, key="other")


def test_lineages_that_are_found_have_names_that_files_hold():
    adata = AnnData(obs=pd.DataFrame({"kind": ["stem", "T/NK", "T/NK", "B | plasma"]}, index=list("abcd")))
    assert _names(adata, ("kind", "stem"), np.array([1, 2, 3])) == ["T_NK", "T_NK (2)", "B_plasma"]
