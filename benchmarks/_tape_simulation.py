"""Links and held-out genes on simulated multiomes, whose regulation is known."""

from __future__ import annotations

import time
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks import _a549
from benchmarks._measure import measure
from benchmarks.peers import GeneScore, TrainData
from benchmarks.peers._common import log1p_cp10k
from sctandem.kernels import pearson

if TYPE_CHECKING:
    import pandas as pd
    from mudata import MuData

N_HELDOUT_CHROMOSOMES = 2
DECAYS = (1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5)
LINK_TITLES = {
    "distance": "distance",
    "correlation": "peak-gene correlation",
    "correlation_distance": "correlation x exp(-distance)",
    "tape": "TAPE",
}
GENE_TITLES = {"gene_score": "distance-weighted gene score", "tape": "TAPE", "true_rate": "true rates (ceiling)"}
LINKS_CAPTION = (
    "Regulating pairs among all pairs of a gene and a peak within 100 kb, pooled over genes. The decay of correlation x distance is "
    "the one that gives the highest AUPRC. 2,000 cells, 400 genes and 4,000 peaks; mean over simulations."
)
GENES_CAPTION = (
    f"The genes of the last {N_HELDOUT_CHROMOSOMES} chromosomes were hidden from training; Pearson over test cells of log1p CP10k, mean over these "
    "genes. The model and the decay of the gene score are chosen on the other genes."
)


def run(seeds: range) -> dict[str, Any]:
    """Run both parts on one simulation a seed, each in a process of its own."""
    with_tape = find_spec("sctandem.model._tape") is not None
    found: dict[str, list[dict[str, Any]]] = {"links": [], "genes": []}
    for seed in seeds:
        for part, function in (("links", links), ("genes", heldout_genes)):
            measured = measure(function, seed, with_tape)
            found[part].append({"seed": seed, **measured.value, "peak_mb": round(measured.peak_mb, 1)})
            print(f"simulation {seed}, {part}: {found[part][-1]}", flush=True)
    return {**found, "tables": tables(found)}


def links(seed: int, with_tape: bool) -> dict[str, Any]:  # noqa: FBT001 - called by position through a process
    """Score how well every pair of gene and peak in a window is told to be a link."""
    mdata = simulate(seed)
    pairs = mdata.uns["gene_windows"]["pairs"]
    is_link = label(pairs, mdata.uns["truth"]["links"])
    distance = np.abs(pairs["distance"].to_numpy(dtype=np.float64))
    related = np.abs(correlations(mdata, pairs))
    scores = {"distance": -distance, "correlation": related}
    weighted = {decay: related * np.exp(-distance / decay) for decay in DECAYS}
    best = max(weighted, key=lambda decay: average_precision_score(is_link, weighted[decay]))
    scores["correlation_distance"] = weighted[best]
    seconds = {}
    if with_tape:
        start = time.perf_counter()
        scores["tape"] = tape_links(mdata, pairs, seed=seed)
        seconds["tape"] = round(time.perf_counter() - start, 1)
    return {
        "n_pairs": len(pairs),
        "n_links": int(is_link.sum()),
        "decay": best,
        "auprc": {name: float(average_precision_score(is_link, score)) for name, score in scores.items()},
        "auroc": {name: float(roc_auc_score(is_link, score)) for name, score in scores.items()},
        "seconds": seconds,
    }


def heldout_genes(seed: int, with_tape: bool) -> dict[str, Any]:  # noqa: FBT001 - called by position through a process
    """Predict genes of chromosomes that were hidden from training, in test cells."""
    mdata = simulate(seed)
    split = _a549.split(mdata.n_obs, seed)
    rna = mdata["rna"]
    chromosomes = rna.var["chrom"].astype(str)
    hidden = chromosomes.isin(sorted(chromosomes.unique())[-N_HELDOUT_CHROMOSOMES:]).to_numpy()
    test = log1p_cp10k(rna.X[split.test], _library_size(mdata)[split.test])[:, hidden]
    predicted = {"gene_score": gene_scores(mdata, split.train, hidden)[np.ix_(split.test, hidden)]}
    if with_tape:
        predicted["tape"] = tape_genes(mdata, split, hidden, seed=seed)
    predicted["true_rate"] = np.log1p(rna.layers["true_rate"][split.test][:, hidden])
    skills = {name: float(np.nan_to_num(pearson(test, values)).mean()) for name, values in predicted.items()}
    return {"n_genes": int(hidden.sum()), "n_test": split.test.size, "pearson": skills}


def simulate(seed: int) -> MuData:
    """Draw one simulation at the simulator's defaults, with its windows."""
    import sctandem as td

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdata = td.datasets.simulate_multiome(rng=seed)
        td.pp.gene_windows(mdata, upstream=_a549.WINDOW, downstream=_a549.WINDOW)
    return mdata


def label(pairs: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Say of every pair whether it is a true link."""
    true = set(zip(truth["gene"].astype(str), truth["peak"].astype(str), strict=True))
    candidates = zip(pairs["gene"].astype(str), pairs["peak"].astype(str), strict=True)
    return np.fromiter((pair in true for pair in candidates), dtype=bool, count=len(pairs))


def correlations(mdata: MuData, pairs: pd.DataFrame) -> np.ndarray:
    """Give the Pearson correlation over cells of log expression and log accessibility of every pair."""
    rna, atac = mdata["rna"], mdata["atac"]
    expression = _standardised(log1p_cp10k(rna.X, _library_size(mdata)))
    access = _standardised(log1p_cp10k(atac.X, np.asarray(atac.X.sum(axis=1)).ravel()))
    genes, peaks = rna.var_names.get_indexer(pairs["gene"]), atac.var_names.get_indexer(pairs["peak"])
    return (expression.T @ access / mdata.n_obs)[genes, peaks]


def tape_links(mdata: MuData, pairs: pd.DataFrame, *, seed: int) -> np.ndarray:
    """Train TAPE on all cells, and give the weight of every pair; a pair that is not listed weighs nothing."""
    import sctandem as td

    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata)
    model.train(train_size=1.0, rng=seed, progress=False)
    td.tl.peak_gene_links(mdata, model, rng=seed)
    table = mdata.uns["tape_links"]["table"]
    weights = table.set_index(["gene", "peak"])["weight"]
    weights.index = weights.index.set_levels([level.astype(str) for level in weights.index.levels])
    wanted = list(zip(pairs["gene"].astype(str), pairs["peak"].astype(str), strict=True))
    return weights.reindex(wanted).fillna(0.0).to_numpy(dtype=np.float64)


def tape_genes(mdata: MuData, split: _a549.Split, hidden: np.ndarray, *, seed: int) -> np.ndarray:
    """Train TAPE on the training cells without the hidden genes, and predict these in the test cells."""
    from sctandem.model import TAPE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of mudata, on every copy
        train, test = mdata[split.train].copy(), mdata[split.test].copy()
    TAPE.setup_mudata(train)
    model = TAPE(train, heldout_genes=list(mdata["rna"].var_names[hidden]))
    model.train(train_size=1.0, rng=seed, progress=False)
    return np.asarray(model.predict_expression(test, scale="log1p"))[:, hidden]


def gene_scores(mdata: MuData, train: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Score all genes in all cells, the weights chosen for the best mean Pearson of the visible genes in training cells."""
    rna, atac = mdata["rna"], mdata["atac"]
    pairs = mdata.uns["gene_windows"]["pairs"]
    lengths = (rna.var["end"] - rna.var["start"]).reindex(pairs["gene"].astype(str)).to_numpy()
    library = _library_size(mdata)
    data = TrainData(rna.X, atac.X, library, rna.var_names, atac.var_names, pairs.assign(gene_length=lengths))
    visible = log1p_cp10k(rna.X[train], library[train])[:, ~hidden]
    peer = GeneScore()
    best, chosen = -np.inf, None
    for model in ("tss", "body"):
        for length in peer.lengths:
            scores = peer.scores(atac.X, data, model=model, length=length)
            skill = np.nan_to_num(pearson(visible, scores[np.ix_(train, ~hidden)])).mean()
            if skill > best:
                best, chosen = skill, scores
    return chosen


def tables(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Give the tables of both parts."""
    link_rows = []
    for name, title in LINK_TITLES.items():
        rows = [row for row in found["links"] if name in row["auprc"]]
        if rows:
            row = {"score": title, "simulations": str(len(rows))}
            row |= {measure.upper(): _spread([r[measure][name] for r in rows]) for measure in ("auprc", "auroc")}
            link_rows.append(
                row | {"AUPRC / distance": _spread([r["auprc"][name] / r["auprc"]["distance"] for r in rows])}
            )
    share = np.mean([row["n_links"] / row["n_pairs"] for row in found["links"]])
    gene_rows = []
    for name, title in GENE_TITLES.items():
        values = [row["pearson"][name] for row in found["genes"] if name in row["pearson"]]
        if values:
            gene_rows.append({"method": title, "simulations": str(len(values)), "Pearson a gene": _spread(values)})
    return [
        {
            "title": "Links in simulations",
            "caption": f"{LINKS_CAPTION} {share:.1%} of the pairs are links.",
            "rows": link_rows,
        },
        {"title": "Held-out genes in simulations", "caption": GENES_CAPTION, "rows": gene_rows},
    ]


def _library_size(mdata: MuData) -> np.ndarray:
    return np.asarray(mdata["rna"].X.sum(axis=1)).ravel()


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0, dtype=np.float64)
    return centred / np.maximum(np.sqrt(np.mean(centred**2, axis=0)), 1e-12)


def _spread(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
