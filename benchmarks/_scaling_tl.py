"""How the functions of `td.tl` that take cells are called; models are trained beforehand, on the smallest set."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import sctandem as td
from benchmarks import _scaling_data as data
from benchmarks import _scaling_model as models

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData
    from mudata import MuData

N_STATES = 100


def _with_net(folder: Path, n: int) -> tuple[AnnData, Any]:
    return data.cells(folder, n), models.trained("CapsuleNet", folder, data.SIZES[0])


def _with_tape(folder: Path, n: int) -> tuple[MuData, Any]:
    return data.multiome(folder, n), models.trained("TAPE", folder, data.SIZES[0])


def _predicted(folder: Path, n: int) -> MuData:
    mdata, model = _with_tape(folder, n)
    td.tl.predict_expression(mdata, model, rng=0)
    return mdata


def _query(folder: Path, n: int) -> tuple[AnnData, Any]:
    adata, model = _with_net(folder, n)
    adata.obs["batch"] = "new"  # the model knows the others
    return adata, model


def _bulk_with_reference(folder: Path, n: int) -> tuple[AnnData, AnnData]:
    from anndata import AnnData

    reference = data.cells(folder, n)
    codes = reference.obs["cell_type"].astype("category").cat.codes.to_numpy()
    profiles = np.stack([np.asarray(reference.X[codes == c].mean(axis=0)).ravel() for c in range(codes.max() + 1)])
    shares = np.random.default_rng(0).dirichlet(np.full(len(profiles), 2.0), 10)
    bulk = AnnData(np.round(1e5 * shares @ profiles).astype(np.float32))
    bulk.var_names, bulk.obs_names = reference.var_names, [f"sample{i}" for i in range(10)]
    return bulk, reference


def _with_search(folder: Path, n: int) -> AnnData:
    _compile_search()
    return data.cells(folder, n)


@cache
def _compile_search() -> None:
    """Compile the search of neighbours that only the largest size needs: that is done once in a process as well."""
    from pynndescent import NNDescent

    points = np.random.default_rng(0).normal(size=(5_000, data.N_DIMENSIONS)).astype(np.float32)
    NNDescent(points, n_neighbors=31, random_state=0)


def _tested(folder: Path, n: int) -> AnnData:
    adata = data.cells(folder, n)
    _test(adata)
    return adata


def _test(adata: AnnData) -> None:
    # each donor is of one condition only where it is made so
    donor = adata.obs["donor"].astype(str)
    adata.obs["sample"] = donor + "_" + adata.obs["condition"].astype(str)
    td.tl.differential_expression(adata, "condition", "sample", cell_types="cell_type", rng=0)


def _simulate(adata: AnnData) -> None:
    from sctandem.module import GeneratorConfig

    td.tl.simulate(adata, 1_000, "cell_type", config=GeneratorConfig(max_epochs=2), rng=0, progress=False)


def _regulate(mdata: MuData) -> None:
    td.tl.regulatory_graph(mdata, data.FACTORS, groupby="cell_type", prior=None, n_states=N_STATES, rng=0)


def _close(mdata: MuData) -> None:
    td.tl.knockout(mdata, str(mdata["atac"].var_names[5]), settings={"n_members": 0}, rng=0)


def _score_programmes(mdata: MuData) -> None:
    td.tl.programme_skill(mdata, {"first": list(mdata["rna"].var_names[:12])}, n_random=100, rng=0)


CALLS = {
    "tl.anneal": (data.cells, lambda adata: td.tl.anneal(adata, n_clusters=6, rng=0)),
    "tl.capsules": (_with_net, lambda given: td.tl.capsules(given[0], model=given[1], rng=0)),
    "tl.deconvolve": (
        _bulk_with_reference,
        lambda given: td.tl.deconvolve(given[0], given[1], "cell_type", donor_key="donor", kind="counts", rng=0),
    ),
    "tl.differential_expression": (data.cells, _test),
    "tl.gene_activity": (data.multiome, td.tl.gene_activity),
    "tl.gene_associations": (
        _tested,
        lambda adata: td.tl.gene_associations(adata, list(adata.var_names[:50]), sample_key="sample", fdr=1.0),
    ),
    "tl.gene_function": (data.multiome, td.tl.gene_function),
    "tl.knockout": (data.multiome, _close),
    "tl.map_query": (_query, lambda given: td.tl.map_query(given[0], given[1], rng=0)),
    "tl.motif_grammar": (data.multiome, lambda mdata: td.tl.motif_grammar(mdata, "cell_type", rng=0)),
    "tl.peak_gene_links": (_with_tape, lambda given: td.tl.peak_gene_links(*given, n_permutations=100, rng=0)),
    "tl.predict_expression": (_with_tape, lambda given: td.tl.predict_expression(*given, rng=0)),
    "tl.programme_skill": (_predicted, _score_programmes),
    "tl.regulatory_graph": (data.multiome, _regulate),
    "tl.robustness": (_with_net, lambda given: td.tl.robustness(given[0], given[1], "cell_type", rng=0)),
    "tl.sequence_deviations": (data.multiome, td.tl.sequence_deviations),
    "tl.simulate": (data.cells, _simulate),
    "tl.waypoints": (_with_search, lambda adata: td.tl.waypoints(adata, str(adata.obs_names[0]), rng=0)),
}

NOT_MEASURED = {
    "tl.design_talens": "reads a genome around given peaks, not cells",
    "tl.drivers": "takes bulk samples, not cells",
    "tl.talen_offtargets": "scans a genome, not cells",
}
