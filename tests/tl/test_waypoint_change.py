from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import spearmanr

import sctandem as td
from sctandem.tl._waypoint_inputs import predicted_change

ENDS = {"left": "left_end", "right": "right_end"}
LAG = 0.15


def lagging(seed: int = 0, n: int = 600, noise: float = 0.3) -> tuple[AnnData, pd.DataFrame, np.ndarray]:
    """Two lineages of activities of 8 factors, and 60 genes that follow with a lag; with the edges, and what the genes are drawn to."""
    rng = np.random.default_rng(seed)
    steps = np.linspace(0, 1, 401)
    wave = rng.uniform(1, 2, 8) * np.sin(1.6 * np.pi * steps[:, None] + rng.uniform(0, 2 * np.pi, 8))
    aside = np.clip(steps - 0.4, 0, None)[:, None] / 0.6 * rng.normal(size=8) * 2.5
    activity = np.stack([wave + aside, wave - aside])
    weights = np.where(rng.random((8, 60)) < 0.25, rng.normal(size=(8, 60)), 0)
    aim = activity @ weights
    genes = np.empty_like(aim)
    genes[:, 0] = aim[:, 0]
    for i in range(1, len(steps)):
        genes[:, i] = genes[:, i - 1] + (aim[:, i] - genes[:, i - 1]) / (LAG * 400)
    side, at = rng.integers(2, size=n), rng.integers(401, size=n)
    side[:3], at[:3] = [0, 0, 1], [0, 400, 400]
    measured = np.concatenate([activity, genes], axis=2)[side, at]
    measured += noise * rng.normal(size=measured.shape)
    adata = AnnData(measured - measured.min())
    adata.obs_names = ["root", "left_end", "right_end", *(f"c{i}" for i in range(3, n))]
    adata.var_names = [*(f"TF{i}" for i in range(8)), *(f"G{i}" for i in range(60))]
    adata.obs["when"] = steps[at]
    adata.obs["kind"] = np.select([steps[at] < 0.4, side == 0], ["trunk", "left"], "right")
    centred = measured - measured.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    adata.obsm["X_pca"] = (left * scale)[:, :15]
    factor, target = np.nonzero(weights)
    edges = pd.DataFrame({"tf": adata.var_names[factor], "target": adata.var_names[8 + target]})
    drawn = np.concatenate([activity[side, at], aim[side, at]], axis=1)
    return adata, edges, drawn


def graph_of(measured: np.ndarray, predicted: np.ndarray, cells: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Give the parts of a regulatory graph that are read, each cell a state."""
    found = {"measured": measured, "predicted": predicted, "state": np.arange(len(measured)), "cells": np.array(cells)}
    return {"expression": found}


@pytest.fixture(scope="module")
def planted():
    adata, edges, drawn = lagging()
    td.tl.waypoints(adata, "root", ENDS, rng=0)
    return adata, edges, drawn


def test_what_genes_are_drawn_to_tells_the_direction(planted):
    adata, _, drawn = planted
    adata = adata.copy()
    adata.uns["regulatory_graph"] = graph_of(adata.X, drawn, list(adata.obs_names))
    td.tl.waypoints(adata, "root", ENDS, change="regulatory_graph", key_added="ahead", rng=0)
    params = adata.uns["ahead"]["params"]
    assert params["change"] == "regulatory_graph"
    assert params["agreement"] > 0.5
    assert spearmanr(adata.obs["ahead_pseudotime"], adata.obs["when"])[0] > 0.9
    fates = adata.obsm["ahead_lineage_probabilities"]
    for side in ("left", "right"):
        assert fates.loc[adata.obs["kind"] == side, side].mean() > 0.8
    given = td.tl.waypoints(adata, "root", ENDS, change=adata.uns["regulatory_graph"], rng=0, copy=True)
    pd.testing.assert_frame_equal(given.obsm["lineage_probabilities"], fates)  # the graph itself, as of a MuData
    order = np.random.default_rng(0).permutation(adata.n_obs)
    other = adata[order].copy()  # uns stays as it was
    td.tl.waypoints(other, "root", ENDS, change="regulatory_graph", key_added="ahead", rng=0)
    assert other.uns["ahead"]["params"]["agreement"] == pytest.approx(params["agreement"])
    known, changes = predicted_change(adata, "regulatory_graph")
    some, few = predicted_change(adata[order[:50]].copy(), "regulatory_graph")
    np.testing.assert_array_equal(some, known[order[:50]])
    np.testing.assert_array_equal(few, changes[order[:50]])


@pytest.mark.parametrize("kind", ["back", "noise"])
def test_a_change_that_leads_nowhere_directs_nothing(planted, kind):
    adata, _, drawn = planted
    rng = np.random.default_rng(1)
    predicted = {"back": 2 * adata.X - drawn, "noise": adata.X + rng.normal(size=adata.shape)}[kind]
    found = td.tl.waypoints(
        adata, "root", ENDS, change=graph_of(adata.X, predicted, list(adata.obs_names)), rng=0, copy=True
    )
    agreed = found.uns["waypoints"]["params"]["agreement"]
    assert agreed < (-0.5 if kind == "back" else 0.2)
    np.testing.assert_allclose(
        found.obsm["lineage_probabilities"], adata.obsm["lineage_probabilities"], atol=1e-9 if kind == "back" else 0.1
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_graph_that_was_learned_tells_the_direction(seed):
    """The direction in states is held against the true change, and lineages come with the factors that part them."""
    from sctandem.kernels._waypoint_change import pull

    adata, edges, _ = lagging(seed)
    td.tl.regulatory_graph(adata, list(adata.var_names[:8]), edges, rng=0)
    found = adata.uns["regulatory_graph"]["expression"]
    state = found["state"]
    ahead = pull(found["measured"], found["predicted"])
    means = pd.DataFrame(adata.obs[["when"]]).groupby(state)["when"].mean().to_numpy()
    kind = adata.obs["kind"].groupby(state).agg(lambda names: names.mode()[0]).to_numpy()
    forward = []
    for side in ("trunk", "left", "right"):
        on = np.flatnonzero(kind == side)
        # the true way on: the slope of measured expression over time among the states nearest in time on the same part
        for one in on:
            near = on[np.argsort(np.abs(means[on] - means[one]))[:8]]
            slope = (means[near] - means[near].mean()) @ found["measured"][near]
            forward.append(ahead[one] @ slope > 0)
    assert np.mean(forward) > 0.85
    td.tl.waypoints(adata, "root", ENDS, change="regulatory_graph", rng=0)
    assert adata.uns["waypoints"]["params"]["agreement"] > 0.5
    drivers = td.get.waypoints(adata, "drivers")
    assert adata.uns["waypoints"]["params"]["activity"] == "tf_activity"
    assert set(drivers["tf"]) == set(adata.var_names[:8])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("velocity", KeyError, "neither adata.layers nor adata.uns has 'velocity'.*change=mdata.uns"),
        (3, TypeError, "It names a layer or a regulatory graph"),
        ({"params": {}}, ValueError, "change is no regulatory graph"),
        ("other", ValueError, "adata.uns.'other'. is no regulatory graph"),
        (
            graph_of(np.ones((2, 3)), np.ones((2, 3)), ["root", "a"]),
            ValueError,
            "change knows nothing of 59 of 60 cells",
        ),
        (graph_of(np.ones((2, 3)), np.ones((2, 3)), ["root"] * 2), ValueError, "has 1 duplicated names: 'root'"),
        ("still", ValueError, "predicts no change at all"),
    ],
)
def test_bad_changes(change, error, message):
    adata = lagging(n=60)[0]
    adata.uns["other"] = [1]
    adata.uns["still"] = graph_of(np.ones((60, 3)), np.ones((60, 3)), list(adata.obs_names))
    with pytest.raises(error, match=message):
        td.tl.waypoints(adata, "root", ENDS, change=change)
    assert "waypoints" not in adata.uns
