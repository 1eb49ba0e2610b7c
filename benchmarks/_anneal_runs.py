"""What `benchmarks/anneal.py` runs: representations, annealing and its peers, and simulated cells for times."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._labelled_sets import BATCH, BY_NAME, LABEL, N_TOP_GENES, add_principal_components, read
from benchmarks._measure import peak_memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

PCA, VAE = "X_pca", "X_vae"
BIC_NUMBERS = (3, 5, 8, 10, 13, 16, 20)
#: Cells of the run before the clock starts: below 8,192 scanpy compares all pairs, and the search for neighbours that it uses
#: above would be compiled within the time that is measured.
N_WARM = 10_000


def represented(name: str, folder: Path | None = None) -> AnnData:
    """Give a labelled set as `labels_and_spaces`, from `folder` where it is kept there, else made and kept."""
    from anndata import AnnData

    kept = folder / f"{name}.npz" if folder else None
    if kept is None or not kept.exists():
        adata = labels_and_spaces(name)
        if kept is not None:
            labels = np.asarray(adata.obs[LABEL], dtype=str)  # of objects nothing is read back
            np.savez(kept, **{PCA: adata.obsm[PCA], VAE: adata.obsm[VAE], LABEL: labels})
        return adata
    with np.load(kept) as found:
        adata = AnnData(obsm={rep: found[rep] for rep in (PCA, VAE)})
        adata.obs[LABEL] = found[LABEL]
    return adata


def labels_and_spaces(name: str) -> AnnData:
    """Read a labelled set, with principal components and the latent space of a count VAE that knows the batches."""
    from sctandem.model.base import CountVAEModel

    adata = read(name)
    depth = BY_NAME[name].depth
    add_principal_components(adata, depth=depth)
    counts = adata[:, variable_genes(adata, depth)].copy()
    counts.X = counts.X.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        CountVAEModel.setup_anndata(counts, batch_key=BATCH if BATCH in adata.obs else None, size_factor_key=depth)
        model = CountVAEModel(counts, rng=0)
        model.train(rng=0, progress=False)
        adata.obsm[VAE] = model.get_latent_representation()
    return adata


def variable_genes(adata: AnnData, depth: str | None) -> np.ndarray:
    """Choose the variable genes that the principal components see."""
    import scanpy as sc

    work = adata.copy()
    if work.n_vars <= N_TOP_GENES or depth is not None:
        return np.ones(work.n_vars, dtype=bool)
    sc.pp.normalize_total(work, target_sum=1e4)
    sc.pp.log1p(work)
    sc.pp.highly_variable_genes(work, n_top_genes=N_TOP_GENES)
    return work.var["highly_variable"].to_numpy()


def annealed(adata: AnnData, rep: str, seed: int) -> np.ndarray:
    """Cluster by `tl.anneal` at its defaults."""
    import sctandem as td

    return td.tl.anneal(adata, rep, rng=seed, copy=True).obs["anneal"].to_numpy()


def leiden(adata: AnnData, rep: str, seed: int) -> np.ndarray:
    """Cluster by scanpy's neighbours and Leiden at resolution 1."""
    import scanpy as sc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work = sc.AnnData(obsm={rep: adata.obsm[rep]}, obs=adata.obs[[]])
        sc.pp.neighbors(work, use_rep=rep, random_state=seed)
        sc.tl.leiden(work, resolution=1.0, flavor="igraph", n_iterations=2, directed=False, random_state=seed)
    return work.obs["leiden"].to_numpy()


def k_means(adata: AnnData, rep: str, seed: int) -> np.ndarray:
    """Cluster by k-means that is told the number of types."""
    from sklearn.cluster import KMeans

    return KMeans(adata.obs[LABEL].nunique(), n_init=1, random_state=seed).fit_predict(adata.obsm[rep])


def mixture(adata: AnnData, rep: str, seed: int) -> np.ndarray:
    """Cluster by a mixture of normals that is told the number of types."""
    return _mixture(adata.obsm[rep], adata.obs[LABEL].nunique(), seed).predict(adata.obsm[rep])


def mixture_by_bic(adata: AnnData, rep: str, seed: int) -> np.ndarray:
    """Cluster by the mixture of normals with the lowest BIC."""
    points = adata.obsm[rep]
    fits = [_mixture(points, n, seed) for n in BIC_NUMBERS]
    return min(fits, key=lambda fit: fit.bic(points)).predict(points)


def _mixture(points: np.ndarray, n: int, seed: int) -> Any:
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(n, random_state=seed, reg_covar=1e-4, max_iter=50).fit(points)


METHODS: dict[str, Callable[[AnnData, str, int], np.ndarray]] = {
    "sctandem anneal": annealed,
    "Leiden(1.0)": leiden,
    "k-means, number told": k_means,
    "Gaussian mixture, number told": mixture,
    "Gaussian mixture by BIC": mixture_by_bic,
}


def scored(method: str, adata: AnnData, rep: str, seed: int) -> dict[str, Any]:
    """Cluster once; give the agreement with the labels."""
    start = time.perf_counter()
    found = METHODS[method](adata, rep, seed)
    seconds = time.perf_counter() - start
    return {"method": method, "representation": rep, "seed": seed, **agreements(adata, found), "seconds": seconds}


def agreements(adata: AnnData, found: np.ndarray) -> dict[str, Any]:
    """Give the number of clusters, and how far they agree with the labels."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    truth = adata.obs[LABEL].to_numpy()
    scores = {"ari": adjusted_rand_score(truth, found), "nmi": normalized_mutual_info_score(truth, found)}
    return {"clusters": len(np.unique(found)), **scores}


def simulated(n: int, d: int = 50, k: int = 15, seed: int = 0) -> AnnData:
    """Draw cells around means with uneven masses, as single-precision coordinates."""
    from anndata import AnnData

    rng = np.random.default_rng(seed)
    masses = np.geomspace(0.01, 0.3, k)
    kind = rng.choice(k, n, p=masses / masses.sum())
    means = (rng.normal(size=(k, d)) * 1.2).astype(np.float32)
    points = rng.standard_normal((n, d), dtype=np.float32)
    for start in range(0, n, 10_000):  # without a copy of the input, which would be counted as the method's
        points[start : start + 10_000] += means[kind[start : start + 10_000]]
    adata = AnnData(obsm={PCA: points})
    adata.obs[LABEL] = kind
    return adata


def timed(n: int, names: list[str]) -> dict[str, Any]:
    """Time methods on simulated cells, each after a run on fewer; with the peak of memory above what is held before."""
    small, large = simulated(N_WARM), simulated(n)
    found: dict[str, Any] = {"cells": n}
    for name in names:
        run = IN_PLACE[name]
        run(small.copy())
        before = held_memory_mb()
        start, cpu = time.perf_counter(), time.process_time()
        labels = run(large)
        found[name] = time.perf_counter() - start
        found[f"{name}, CPU s"] = time.process_time() - cpu
        found[f"{name}, peak MB above the input"] = peak_memory_mb() - before
        found[f"{name}, ARI"] = _agreement(large, labels)
    return found


def held_memory_mb() -> float:
    """Give the memory that this process holds now, in MB (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmRSS"))


def _agreement(adata: AnnData, labels: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(adata.obs[LABEL], labels))


def annealed_in_place(adata: AnnData) -> np.ndarray:
    """Run `tl.anneal`."""
    import sctandem as td

    td.tl.anneal(adata)
    return adata.obs["anneal"].to_numpy()


def leiden_in_place(adata: AnnData) -> np.ndarray:
    """Run scanpy's neighbours and Leiden."""
    return leiden(adata, PCA, 0)


IN_PLACE: dict[str, Callable[[AnnData], np.ndarray]] = {
    "sctandem anneal": annealed_in_place,
    "Leiden(1.0)": leiden_in_place,
}
