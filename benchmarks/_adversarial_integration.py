"""Batches hidden from a discriminator, beside scVI and scANVI, scored by scib-metrics."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import _scvi_models
from benchmarks._label_tasks import PCA, Cells
from benchmarks._labelled_sets import BATCH, BY_NAME, LABEL, path

if TYPE_CHECKING:
    from anndata import AnnData

TITLE = "Batches taken out of the states"
CAPTION = """\
scib-metrics at its defaults, not rescaled, on all cells; 2,000 variable genes. *Batch* and *bio* are its means of batch correction and of conservation of labels, *total*
0.4 batch + 0.6 bio; *isolated labels* is one of the latter. DeepDE, scVI and PCA see no labels; scANVI and CapsuleNet see those of all cells. One training each, at the defaults,
scVI and scANVI with the epochs that scvi-tools chooses. With `domain_adversarial` the states are also hidden from a discriminator."""
SEEDS = (0,)
SETS = ("mixology", "symphony")
SCVI, SCANVI = "scVI", "scANVI"
OWN, OWN_PLAIN = "DeepDE, domain_adversarial", "DeepDE"
OWN_LABELS, OWN_LABELS_PLAIN = "CapsuleNet, labels, domain_adversarial", "CapsuleNet, labels"
METHODS = ("PCA", SCVI, OWN_PLAIN, OWN, SCANVI, OWN_LABELS_PLAIN, OWN_LABELS)
#: Folder in which embeddings are kept and found again, where it is set.
KEPT = "SCTANDEM_EMBEDDINGS"

Row = dict[str, Any]


def measure(seed: int) -> list[Row]:
    """Embed and score each set."""
    return [row for name in SETS for row in measure_set(name, seed)]


def measure_set(name: str, seed: int) -> list[Row]:
    """Embed the cells of one set in every way, and score."""
    cells = Cells.read(name)
    folder = Path(os.environ[KEPT]) if os.environ.get(KEPT) else None
    found, seconds = {}, {}
    for method in METHODS:
        place = None if folder is None else folder / f"{name}-{method}-{seed}.npy"
        start = time.process_time()
        if place is not None and place.exists():
            found[method] = np.load(place)
            continue
        found[method] = _embedding(cells, method, seed)
        seconds[method] = round(time.process_time() - start, 1)
        if place is not None:
            np.save(place, found[method])
        print(name, method, seconds[method], flush=True)
    scores = _scores(cells, found)
    return [
        {"set": name, "name": method, "seed": seed, "processor_seconds": seconds.get(method)} | scores[method]
        for method in METHODS
    ]


def _embedding(cells: Cells, method: str, seed: int) -> np.ndarray:
    """Embed the cells by one method."""
    if method == "PCA":
        return cells.adata.obsm[PCA]
    counts = cells.counts()
    if method in (SCVI, SCANVI):
        return _peer(counts, method, seed)
    from sctandem.model import CapsuleNet, DeepDE

    hide = BATCH if method in (OWN, OWN_LABELS) else None
    if method in (OWN, OWN_PLAIN):
        DeepDE.setup_anndata(counts, BATCH)
        model = DeepDE(counts, rng=seed)
    else:
        options = {} if cells.depth is None else {"size_factor_key": cells.depth}
        CapsuleNet.setup_anndata(counts, labels_key=LABEL, batch_key=BATCH, **options)
        model = CapsuleNet(counts, rng=seed)
    model.train(rng=seed, progress=False, accelerator="cpu", domain_adversarial=hide)
    return model.get_latent_representation()


def _peer(counts: AnnData, method: str, seed: int) -> np.ndarray:
    """Embed by scVI, or by scANVI on top of it."""
    import scvi

    base = _scvi_models.make(counts, seed)
    _scvi_models.train(base)
    if method == SCVI:
        return base.get_latent_representation()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = scvi.model.SCANVI.from_scvi_model(base, "unknown", labels_key=LABEL, adata=counts)
    _scvi_models.train(model)
    return model.get_latent_representation()


def _scores(cells: Cells, found: dict[str, np.ndarray]) -> dict[str, Row]:
    """Score embeddings by scib-metrics."""
    from anndata import AnnData
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation

    obs = pd.DataFrame(
        {LABEL: pd.Categorical(cells.labels), BATCH: pd.Categorical(cells.batches)}, index=cells.adata.obs_names
    )
    adata = AnnData(
        cells.adata.X, obs=obs, obsm={method: np.asarray(z, dtype=np.float32) for method, z in found.items()}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judge = Benchmarker(
            adata,
            batch_key=BATCH,
            label_key=LABEL,
            embedding_obsm_keys=list(found),
            pre_integrated_embedding_obsm_key="PCA",
            bio_conservation_metrics=BioConservation(),
            batch_correction_metrics=BatchCorrection(),
            n_jobs=1,
            progress_bar=False,
        )
        judge.benchmark()
        table = judge.get_results(min_max_scale=False)
    table = table.drop(index="Metric Type").astype(float)
    return {
        method: {str(name).lower(): round(float(value), 4) for name, value in row.items()}
        for method, row in table.iterrows()
    }


def table(rows: list[Row]) -> list[Row]:
    """Give a row a set and method."""
    out = []
    for name in SETS:
        for method in METHODS:
            for row in rows:
                if (row["set"], row["name"]) == (name, method):
                    out.append(
                        {
                            "set": name,
                            "method": method,
                            "batch": row["batch correction"],
                            "bio": row["bio conservation"],
                            "total": row["total"],
                            "isolated labels": row["isolated labels"],
                            "iLISI": row["ilisi"],
                            "cLISI": row["clisi"],
                            "CPU s": row["processor_seconds"],
                        }
                    )
    return out


def targets(rows: list[Row]) -> list[Row]:
    """Compare with what was asked for."""
    by_key = {(row["set"], row["name"]): row for row in rows}
    out = []
    for name in SETS:
        if (name, OWN) not in by_key:
            continue
        for own, peer in ((OWN, SCVI), (OWN_LABELS, SCANVI)):
            for score in ("batch correction", "bio conservation", "isolated labels"):
                mine, theirs = by_key[name, own][score], by_key[name, peer][score]
                out.append(
                    {
                        "target": f"{name}: {score}, {own}, against {peer}",
                        "measured": f"{mine:.3f} against {theirs:.3f}",
                        "met": "yes" if mine >= theirs else "no",
                    }
                )
    return out


def data() -> list[Path]:
    """Files that are read."""
    return [path(BY_NAME[name]) for name in SETS]
