"""What TAPE recovers of simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

import sctandem as td
from sctandem.kernels import pearson
from sctandem.model import TAPE
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig


def log_counts(adata) -> np.ndarray:
    counts = adata.X.toarray()
    return np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))


def skill(truth, prediction) -> float:
    return float(np.nan_to_num(pearson(truth, prediction)).mean())


def neighbours(mdata, train, test) -> np.ndarray:
    """Mean expression of the training cells nearest in LSI, for the best number of neighbours."""
    atac = log_counts(mdata["atac"])
    left, values, _ = np.linalg.svd(atac - atac[train].mean(0), full_matrices=False)
    cells, expression = left[:, :15] * values[:15], log_counts(mdata["rna"])
    order = NearestNeighbors(n_neighbors=50).fit(cells[train]).kneighbors(cells[test])[1]
    each = [expression[train][order[:, :k]].mean(1) for k in (5, 10, 20, 35, 50)]
    return max(each, key=lambda values: skill(expression[test], values))


@pytest.fixture(name="larger", scope="module")
def fixture_larger():
    """1,000 cells with 300 genes, a model that saw 80 % of them, and none of the genes of two chromosomes."""
    mdata = td.datasets.simulate_multiome(1000, 300, 3000, rng=3)
    td.pp.gene_windows(mdata)
    chromosome = mdata["rna"].var["chrom"].astype(str)
    held = chromosome.isin(sorted(chromosome.unique())[-2:]).to_numpy()
    mdata.obs["size"] = mdata["rna"].X.sum(axis=1).A1.astype(float)
    config = TAPEConfig(windows=WindowConfig(n_members=2))
    models = []
    for genes in ([], list(mdata["rna"].var_names[held])):
        TAPE.setup_mudata(mdata, size_factor_key="size")
        model = TAPE(mdata, heldout_genes=genes, config=config)
        model.train(rng=0, train_size=0.8, progress=False)
        models.append(model)
    return mdata, held, *models


@pytest.mark.slow
def test_heldout_cells_beat_the_mean_and_the_neighbours(larger):
    mdata, _, model, _ = larger
    train, test = model.train_indices, model.validation_indices
    truth = log_counts(mdata["rna"])[test]
    predicted = model.predict_expression(scale="log1p").to_numpy()[test]
    mean = log_counts(mdata["rna"])[train].mean(0)
    near = neighbours(mdata, train, test)
    assert skill(truth, predicted) > skill(truth, near) + 0.005
    errors = [np.sqrt(((truth - values) ** 2).mean()) for values in (predicted, near, mean)]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.slow
def test_links_beat_distance_and_correlation(larger):
    mdata, _, model, _ = larger
    links = model.get_peak_gene_links(rng=0)
    true = mdata.uns["truth"]["links"]
    known = set(zip(true["peak"].astype(str), true["gene"].astype(str), strict=True))
    label = np.array([pair in known for pair in zip(links["peak"].astype(str), links["gene"].astype(str), strict=True)])
    expression, access = (log_counts(mdata[name]) for name in ("rna", "atac"))
    peaks, genes = mdata["atac"].var_names.get_indexer(links["peak"]), mdata["rna"].var_names.get_indexer(links["gene"])
    related = np.abs(np.nan_to_num(pearson(expression[:, genes], access[:, peaks])))
    precision = average_precision_score(label, links["weight"])
    assert precision > 1.1 * average_precision_score(label, -links["distance"].abs())
    assert precision > 1.1 * average_precision_score(label, related)
    found = links["fdr"] < 0.1
    assert label[found].mean() > 2.5 * label.mean()


@pytest.mark.slow
def test_genes_of_heldout_chromosomes_beat_the_distance_weighted_score(larger):
    mdata, held, _, model = larger
    test = model.validation_indices
    truth = log_counts(mdata["rna"])[test][:, held]
    access, pairs = log_counts(mdata["atac"]), mdata.uns["gene_windows"]["pairs"]
    genes, peaks = (mdata[m].var_names.get_indexer(pairs[c]) for m, c in (("rna", "gene"), ("atac", "peak")))
    scores = []
    for decay in (1e3, 5e3, 2e4, 1e5):
        weight = np.exp(-np.abs(pairs["distance"].to_numpy()) / decay)
        score = np.zeros((300, 3000))
        score[genes, peaks] = weight
        scores.append(skill(truth, (access[test] @ score.T)[:, held]))
    assert skill(truth, model.predict_expression(scale="log1p").to_numpy()[test][:, held]) > max(scores) + 0.02
