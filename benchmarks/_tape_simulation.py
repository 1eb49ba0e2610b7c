"""Links and held-out genes on simulated multiomes, whose regulation is known."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from benchmarks import _a549
from benchmarks.peers import GeneScore, TrainData
from benchmarks.peers._common import log1p_cp10k
from benchmarks.peers._embedding import lsi, unit_rows
from sctandem.kernels import pearson

if TYPE_CHECKING:
    from mudata import MuData

N_HELDOUT_CHROMOSOMES = 2
DECAYS = (1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5)
LEVELS = (0.05, 0.1, 0.2)
#: LSI components and nearest other cells that counts are smoothed over.
SMOOTHING_COMPONENTS, SMOOTHING_NEIGHBOURS = 30, 20


@dataclass(frozen=True)
class World:
    """A kind of simulation: its title, how it differs from the simulator's defaults, and how often each part is run."""

    title: str
    size: dict[str, int] = field(default_factory=dict)
    design: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=lambda: {"links": 3, "smoothed": 3, "genes": 3})


WORLDS = {
    # the ratios that have a target vary between simulations by a tenth of their size
    "default": World("defaults: 400 genes, 4,000 peaks", runs={"links": 10, "smoothed": 10, "genes": 3}),
    "wide": World("1,200 genes, 12,000 peaks", {"n_genes": 1200, "n_peaks": 12_000}),
    "no_grammar": World(
        "no grammar: 400 genes, 4,000 peaks", design={"grammar": False}, runs={"links": 3, "smoothed": 3}
    ),
}


def links(world: str, seed: int) -> dict[str, Any]:
    """Score how well every pair of gene and peak in a window is told to be a link."""
    mdata = simulate(world, seed)
    pairs = mdata.uns["gene_windows"]["pairs"]
    is_link = label(pairs, mdata.uns["truth"]["links"])
    distance = np.abs(pairs["distance"].to_numpy(dtype=np.float64))
    related = np.abs(correlations(mdata, pairs))
    scores = {"distance": -distance, "correlation": related}
    weighted = {decay: related * np.exp(-distance / decay) for decay in DECAYS}
    best = max(weighted, key=lambda decay: average_precision_score(is_link, weighted[decay]))
    scores["correlation_distance"] = weighted[best]
    start = time.perf_counter()
    found = tape_links(mdata, pairs, seed=seed)
    seconds = round(time.perf_counter() - start, 1)
    scores["tape"] = found["weight"].fillna(0.0).to_numpy()
    listed = {level: (found["fdr"] <= level).to_numpy() for level in LEVELS}
    return {
        "n_pairs": len(pairs),
        "n_links": int(is_link.sum()),
        "decay": best,
        "auprc": {name: float(average_precision_score(is_link, score)) for name, score in scores.items()},
        "auroc": {name: float(roc_auc_score(is_link, score)) for name, score in scores.items()},
        "listed": {str(level): [int(chosen.sum()), int(is_link[chosen].sum())] for level, chosen in listed.items()},
        "seconds_tape": seconds,
    }


def smoothed_links(world: str, seed: int) -> dict[str, Any]:
    """Score the pairs of the same simulation by the correlation of what is smoothed over similar cells: a peer on its own."""
    mdata = simulate(world, seed)
    pairs = mdata.uns["gene_windows"]["pairs"]
    is_link = label(pairs, mdata.uns["truth"]["links"])
    score = np.abs(correlations(mdata, pairs, over=neighbours(mdata, seed=seed)))
    return {
        "n_pairs": len(pairs),
        "n_links": int(is_link.sum()),
        "auprc": float(average_precision_score(is_link, score)),
        "auroc": float(roc_auc_score(is_link, score)),
    }


def heldout_genes(world: str, seed: int) -> dict[str, Any]:
    """Predict genes of chromosomes that were hidden from training, in test cells."""
    mdata = simulate(world, seed)
    split = _a549.split(mdata.n_obs, seed)
    rna = mdata["rna"]
    chromosomes = rna.var["chrom"].astype(str)
    hidden = chromosomes.isin(sorted(chromosomes.unique())[-N_HELDOUT_CHROMOSOMES:]).to_numpy()
    test = log1p_cp10k(rna.X[split.test], _library_size(mdata)[split.test])[:, hidden]
    predicted = {
        "gene_score": gene_scores(mdata, split.train, hidden)[np.ix_(split.test, hidden)],
        "tape": tape_genes(mdata, split, hidden, seed=seed),
        "true_rate": np.log1p(rna.layers["true_rate"][split.test][:, hidden]),
    }
    skills = {name: float(np.nan_to_num(pearson(test, values)).mean()) for name, values in predicted.items()}
    return {"n_genes": int(hidden.sum()), "n_test": split.test.size, "pearson": skills}


PARTS = {"links": links, "smoothed": smoothed_links, "genes": heldout_genes}


def simulate(world: str, seed: int) -> MuData:
    """Draw one simulation of a world, with its windows."""
    import sctandem as td

    design = td.datasets.SimulationDesign(**WORLDS[world].design)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdata = td.datasets.simulate_multiome(**WORLDS[world].size, design=design, rng=seed)
        td.pp.gene_windows(mdata, upstream=_a549.WINDOW, downstream=_a549.WINDOW)
    return mdata


def label(pairs: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Say of every pair whether it is a true link."""
    true = set(zip(truth["gene"].astype(str), truth["peak"].astype(str), strict=True))
    candidates = zip(pairs["gene"].astype(str), pairs["peak"].astype(str), strict=True)
    return np.fromiter((pair in true for pair in candidates), dtype=bool, count=len(pairs))


def correlations(mdata: MuData, pairs: pd.DataFrame, *, over: np.ndarray | None = None) -> np.ndarray:
    """Give the Pearson correlation over cells of log expression and log accessibility of every pair.

    `over` lists for every cell the cells whose mean takes the place of its own values, in both modalities.
    """
    rna, atac = mdata["rna"], mdata["atac"]
    expression = log1p_cp10k(rna.X, _library_size(mdata))
    access = log1p_cp10k(atac.X, np.asarray(atac.X.sum(axis=1)).ravel())
    if over is not None:
        expression, access = (
            np.stack([values[cells].mean(axis=0) for cells in over]) for values in (expression, access)
        )
    genes, peaks = rna.var_names.get_indexer(pairs["gene"]), atac.var_names.get_indexer(pairs["peak"])
    return (_standardised(expression).T @ _standardised(access) / mdata.n_obs)[genes, peaks]


def neighbours(mdata: MuData, *, seed: int) -> np.ndarray:
    """Give every cell and the cells nearest to it by the cosine of LSI components, the first left out: it is the depth."""
    embedding = unit_rows(lsi(mdata["atac"].X, "TF-IDF", seed=seed, n_components=SMOOTHING_COMPONENTS)[:, 1:])
    nearest = NearestNeighbors(n_neighbors=SMOOTHING_NEIGHBOURS).fit(embedding).kneighbors(return_distance=False)
    return np.column_stack([np.arange(mdata.n_obs), nearest])


def tape_links(mdata: MuData, pairs: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Train TAPE on all cells, and give weight and FDR of every pair; a pair that is not listed has none."""
    import sctandem as td

    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata)
    model.train(train_size=1.0, rng=seed, progress=False)
    td.tl.peak_gene_links(mdata, model, rng=seed)
    table = td.get.peak_gene_links(mdata).astype({"gene": str, "peak": str}).set_index(["gene", "peak"])
    wanted = pd.MultiIndex.from_frame(pairs[["gene", "peak"]].astype(str))
    return table[["weight", "fdr"]].reindex(wanted)


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


def _library_size(mdata: MuData) -> np.ndarray:
    return np.asarray(mdata["rna"].X.sum(axis=1)).ravel()


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0, dtype=np.float64)
    return centred / np.maximum(np.sqrt(np.mean(centred**2, axis=0)), 1e-12)
