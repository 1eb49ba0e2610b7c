"""Ways to label a query from a reference that others have: scANVI with scArches, neighbours, logistic regression."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._labelled_sets import BATCH, LABEL, N_COMPONENTS, N_TOP_GENES

if TYPE_CHECKING:
    from anndata import AnnData

    from benchmarks._transfer_data import Pair

UNKNOWN = "unknown"
N_NEIGHBOURS = 15
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}

#: Models by the name of the reference, the seed and the genes, with the seconds that they took.
_TRAINED: dict[tuple[str, int, tuple[str, ...]], tuple[Any, float]] = {}


def scanvi_scarches(pair: Pair, seed: int) -> dict[str, Any]:
    """Map by scANVI and scArches as their documentation does; genes that the query lacks are set to 0 by scvi-tools."""
    return _scarches(pair, variable(pair.reference), pair.query.copy(), seed)


def scanvi_scarches_shared(pair: Pair, seed: int) -> dict[str, Any]:
    """The same with the variable genes of those that the query has, so that none is set to 0: who trains it knows the query."""
    reference = variable(_shared(pair.reference, pair.query))
    return _scarches(pair, reference, pair.query[:, reference.var_names].copy(), seed)


def _scarches(pair: Pair, reference: AnnData, query: AnnData, seed: int) -> dict[str, Any]:
    """Train on the reference, once for all queries that take the same genes of it, and map the query."""
    import scvi

    key = pair.reference_name, seed, tuple(reference.var_names)
    if key not in _TRAINED:
        _TRAINED[key] = _trained_scanvi(reference, seed)
    labelled, seconds = _TRAINED[key]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.settings.seed = seed
        query.obs[LABEL] = UNKNOWN
        scvi.model.SCANVI.prepare_query_anndata(query, labelled)
        mapped = scvi.model.SCANVI.load_query_data(query, labelled)
        mapped.train(max_epochs=100, plan_kwargs={"weight_decay": 0.0}, check_val_every_n_epoch=10, **QUIET)
        soft = mapped.predict(soft=True)
    values = soft.to_numpy()
    return {
        "predicted": soft.columns.to_numpy().astype(str)[values.argmax(1)],
        "confidence": values.max(1),
        "seconds": {"reference": seconds, "query": round(time.perf_counter() - start, 1)},
    }


def _trained_scanvi(reference: AnnData, seed: int) -> tuple[Any, float]:
    """Train scVI and scANVI on a reference; give also the seconds that it took."""
    import scvi

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.settings.verbosity = 40
        scvi.settings.seed = seed
        scvi.model.SCVI.setup_anndata(reference, batch_key=BATCH)
        base = scvi.model.SCVI(
            reference,
            n_layers=2,
            encode_covariates=True,
            deeply_inject_covariates=False,
            use_layer_norm="both",
            use_batch_norm="none",
        )
        base.train(**QUIET)
        labelled = scvi.model.SCANVI.from_scvi_model(base, UNKNOWN, labels_key=LABEL)
        labelled.train(n_samples_per_label=100, **QUIET)
    return labelled, round(time.perf_counter() - start, 1)


def neighbours(pair: Pair, seed: int) -> dict[str, Any]:
    """Vote of the 15 nearest cells of the reference on its 30 principal components, of the variable genes that both have."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    start = time.perf_counter()
    genes = variable(_shared(pair.reference, pair.query)).var_names
    known, asked = (_logs(data[:, genes]).toarray() for data in _both(pair))
    axes = PCA(N_COMPONENTS, random_state=seed).fit(known)
    model = KNeighborsClassifier(N_NEIGHBOURS).fit(axes.transform(known), pair.reference.obs[LABEL])
    trained = time.perf_counter()
    return _answer(model, axes.transform(asked), start, trained)


def logistic_regression(pair: Pair, seed: int) -> dict[str, Any]:
    """Multinomial regression on log1p CP10k of all genes that both have; the penalty has the least log loss in threefold CV."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    from benchmarks._label_tasks import rotate

    start = time.perf_counter()
    known, asked = (_logs(data) for data in _both(pair))
    labels = pair.reference.obs[LABEL].to_numpy()
    turned, back = rotate(known)  # the same minimum in as many coordinates as there are cells
    losses = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for penalty in (1e-2, 1e-1, 1.0):
            split = StratifiedKFold(3, shuffle=True, random_state=seed)
            model = LogisticRegression(C=penalty, max_iter=300)
            found = cross_val_predict(model, turned, labels, cv=split, method="predict_proba")
            own = np.searchsorted(np.unique(labels), labels)
            losses[penalty] = -np.log(np.maximum(found[np.arange(len(own)), own], 1e-9)).mean()
        best = min(losses, key=losses.__getitem__)
        model = LogisticRegression(C=best, max_iter=300).fit(turned, labels)
    trained = time.perf_counter()
    return _answer(model, asked @ (known.T @ back), start, trained)


def _answer(model: Any, points: np.ndarray, start: float, trained: float) -> dict[str, Any]:
    values = model.predict_proba(np.asarray(points))
    seconds = {"reference": round(trained - start, 1), "query": round(time.perf_counter() - trained, 1)}
    return {"predicted": model.classes_[values.argmax(1)], "confidence": values.max(1), "seconds": seconds}


def variable(adata: AnnData) -> AnnData:
    """Give the counts of the variable genes."""
    from benchmarks._anneal_runs import variable_genes

    return adata[:, variable_genes(adata, None)].copy() if adata.n_vars > N_TOP_GENES else adata.copy()


def _both(pair: Pair) -> tuple[AnnData, AnnData]:
    return _shared(pair.reference, pair.query), _shared(pair.query, pair.reference)


def _shared(first: AnnData, other: AnnData) -> AnnData:
    """Give the genes that both have, in the order of their names."""
    return first[:, sorted(first.var_names.intersection(other.var_names))]


def _logs(adata: AnnData) -> Any:
    """Give log1p of counts per 10,000 of the genes at hand."""
    counts = adata.X.tocsr().astype(np.float64)
    return counts.multiply(1e4 / np.maximum(np.asarray(counts.sum(1)), 1)).tocsr().log1p()
