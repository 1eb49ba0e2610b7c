"""Ours beside simple answers: the tables of the demonstration."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from benchmarks import _demo_data, _tape_simulation, peers
from benchmarks.peers._common import log1p_cp10k
from sctandem.kernels import auroc, pearson, rmse

if TYPE_CHECKING:
    from collections.abc import Collection

    from mudata import MuData
    from scipy import sparse

    from sctandem.model import TAPE

COMPONENTS = (20, 50)
NEIGHBOURS = (10, 20, 50, 100, 200)
#: Of a terminal.
WIDTH = 80
LEVELS = (0.01, 0.05, 0.1, 0.2)
#: In the place of a number: the method needs the counts of the gene; the number would mislead.
NEEDS_COUNTS, NO_NUMBER = "-", "n/a"
MEASURES = PEARSON, RMSE, AUROC = "Pearson", "RMSE", "AUROC"
OURS, CEILING = "TAPE", "true rates (ceiling)"
DRAFT = "DRAFT: the numbers mean nothing"
NOT_SCORED = "not scored"
HIDDEN, LEARNED, ALL = "hidden in training", "learned from", "all genes"


@dataclass(frozen=True)
class Heldout:
    """Predictions of held-out cells by method, log1p of counts per 10,000, and what was measured."""

    truth: np.ndarray
    predicted: dict[str, np.ndarray]
    hidden: np.ndarray
    genes: pd.Index

    def scores(self, measure: str, *, hidden: bool) -> dict[str, np.ndarray]:
        """Give one score a gene for every method that has a prediction."""
        function = {"pearson": pearson, "rmse": rmse, "auroc": auroc}[measure]
        part = self.hidden == hidden
        # genes without a count in the held-out cells say nothing
        part &= np.ptp(self.truth, axis=0) > 0
        found = {}
        for name, values in self.predicted.items():
            if not np.isnan(values[:, part]).all():
                score = function(self.truth[:, part], values[:, part])
                found[name] = np.nan_to_num(score) if measure == "pearson" else score
        return found


def predict_heldout(mdata: MuData, model: TAPE, *, size_factor: str | None = None, seed: int = 0) -> Heldout:
    """Predict the cells that the model never saw, by the model and by what is simpler.

    The simple answers are tuned by cross-validation on the training cells. Where a method needs the counts of a gene and the
    gene was hidden, its prediction is missing.
    """
    heldout = mdata.obs["tape_heldout"].to_numpy(dtype=bool)
    train, test = np.flatnonzero(~heldout), np.flatnonzero(heldout)
    rna, atac = mdata["rna"], mdata["atac"]
    hidden = rna.var_names.isin(model.heldout_genes)
    data = _demo_data.train_data(mdata, train, size_factor=size_factor, hidden=model.heldout_genes)
    simple = (
        peers.MeanPerGene(),
        peers.NearestNeighbours(components=COMPONENTS, neighbours=NEIGHBOURS),
        peers.RidgeOnLSI(components=COMPONENTS),
    )
    predicted = {OURS: model.predict_expression(mdata[test].copy(), scale="log1p").to_numpy()}
    for peer in simple:
        values = peer.fit_predict(_without(data, hidden), atac.X[test], seed=seed).values
        predicted[peer.title] = np.full((len(test), rna.n_vars), np.nan, dtype=np.float32)
        predicted[peer.title][:, ~hidden] = values
    predicted[peers.GeneScore.title] = _gene_score(data, atac.X[test], hidden)
    if "true_rate" in rna.layers:
        rate = np.asarray(rna.layers["true_rate"][test])
        scale = 1.0 if size_factor is not None else rate.sum(axis=1) / rate[:, ~hidden].sum(axis=1)
        predicted[CEILING] = np.log1p(rate * np.reshape(scale, (-1, 1)))
    truth = log1p_cp10k(rna.X[test], _demo_data.library_size(mdata, size_factor, model.heldout_genes)[test])
    return Heldout(truth, predicted, hidden, rna.var_names)


def skill_table(heldout: Heldout) -> pd.DataFrame:
    """Compare the methods on held-out cells: first genes the model learned from, then genes it never saw."""
    rows: list[dict[str, Any]] = []
    for hidden in (False, True):
        if not (heldout.hidden == hidden).any():
            continue
        scores = {measure: heldout.scores(measure, hidden=hidden) for measure in ("pearson", "rmse", "auroc")}
        for name in heldout.predicted:
            learned = LEARNED if heldout.hidden.any() else ALL
            row = {"genes": HIDDEN if hidden else learned, "method": name}
            if name not in scores["pearson"]:
                rows.append(row | dict.fromkeys(MEASURES, NEEDS_COUNTS))
                continue
            error = float(np.sqrt(np.mean(scores["rmse"][name] ** 2)))
            rows.append(
                row
                | {
                    PEARSON: f"{scores['pearson'][name].mean():.3f}",
                    # the logarithm of a mean is not the mean of logarithms
                    RMSE: NO_NUMBER if name == CEILING else f"{error:.3f}",
                    AUROC: f"{np.nanmean(scores['auroc'][name]):.3f}",
                }
            )
    return pd.DataFrame(rows).set_index(["genes", "method"])


def note_on_rmse(skill: pd.DataFrame) -> str:
    """Say where the errors of ours are larger than those of something simpler."""
    behind = []
    for group, rows in skill[RMSE].groupby(level="genes", sort=False):
        errors = pd.to_numeric(rows.droplevel("genes"), errors="coerce").dropna()
        better = errors[errors < errors[OURS]].sort_values()
        where = "" if group == ALL else f", genes {group}"
        behind += [f"{name} ({error:.3f} against {errors[OURS]:.3f}{where})" for name, error in better.items()]
    return (
        f"By RMSE {OURS} loses to {'; '.join(behind)}."
        if behind
        else f"No simple answer has a smaller RMSE than {OURS}."
    )


def legend(skill: pd.DataFrame) -> list[str]:
    """Explain the columns of the table of skill, and what stands where there is no number."""
    said = [
        f"{PEARSON} and {AUROC} (of detection): means over genes. {RMSE}: over all values, in log1p of counts per 10,000."
    ]
    if (skill[PEARSON] == NEEDS_COUNTS).any():
        said.append(
            f"{NEEDS_COUNTS}: the method needs the counts of a gene, and those of hidden genes are not given to it."
        )
    if (skill[RMSE] == NO_NUMBER).any():
        said.append(
            f"{NO_NUMBER}: the true rates have no {RMSE} to compare with, since the logarithm of a mean is not the mean of "
            "logarithms."
        )
    return said


def legend_of_verdicts(mdata: MuData, hidden: Collection[str]) -> list[str]:
    """Say where the file counts verdicts in another way than the table."""
    verdicts = mdata["rna"].var["tape_verdict"]
    in_file = int((verdicts == NOT_SCORED).sum())
    aside = int((verdicts[verdicts.index.isin(list(hidden))] == NOT_SCORED).sum())
    if not aside:
        return []
    return [
        f"In var['tape_verdict'] of the file {in_file:,} genes are {NOT_SCORED!r}: {in_file - aside:,} as in the table, and the "
        f"{aside:,} hidden ones."
    ]


def link_scores(mdata: MuData, model: TAPE) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Score every pair of a gene and a peak in its window, and say which are true (simulations only).

    Genes that were hidden in training are left out. Correlations are over the training cells, those the model saw.
    """
    pairs = mdata.uns["gene_windows"]["pairs"]
    pairs = pairs[~pairs["gene"].isin(model.heldout_genes)]
    truth = _tape_simulation.label(pairs, mdata.uns["truth"]["links"])
    distance = np.abs(pairs["distance"].to_numpy(dtype=np.float64))
    train = np.flatnonzero(~mdata.obs["tape_heldout"].to_numpy(dtype=bool))
    related = np.abs(_tape_simulation.correlations(mdata[train].copy(), pairs))
    weighted = {decay: related * np.exp(-distance / decay) for decay in _tape_simulation.DECAYS}
    best = max(weighted, key=lambda decay: average_precision_score(truth, weighted[decay]))
    links = mdata.uns["tape_links"]["table"]
    weights = pd.Series(links["weight"].to_numpy(), index=_names(links))
    return truth, {
        OURS: weights.reindex(_names(pairs)).fillna(0.0).to_numpy(),
        "correlation x exp(-distance)": weighted[best],
        "peak-gene correlation": related,
        "distance": -distance,
    }


def precision_table(scored: tuple[np.ndarray, dict[str, np.ndarray]]) -> pd.DataFrame:
    """Compare scores of links by their average precision."""
    truth, scores = scored
    found = {name: average_precision_score(truth, values) for name, values in scores.items()}
    rows = [(name, f"{value:.3f}", f"{value / found['distance']:.2f}") for name, value in found.items()]
    rows.append(("chance (share of true links)", f"{truth.mean():.3f}", ""))
    return pd.DataFrame(rows, columns=["score of a link", "average precision", "times distance"]).set_index(
        "score of a link"
    )


def link_counts(mdata: MuData) -> pd.DataFrame:
    """Count the links at levels of the false discovery rate; in simulations, say how many of them are true."""
    links = mdata.uns["tape_links"]["table"]
    truth = _tape_simulation.label(links, mdata.uns["truth"]["links"]) if "truth" in mdata.uns else None
    rows = []
    for level in LEVELS:
        kept = links["fdr"].to_numpy() <= level
        row = {"FDR at most": f"{level:g}", "links": int(kept.sum()), "genes": links.loc[kept, "gene"].nunique()}
        row["repressing"] = int((links.loc[kept, "sign"] < 0).sum())
        if truth is not None:
            row["true"] = f"{truth[kept].mean():.0%}" if kept.any() else ""
        rows.append(row)
    return pd.DataFrame(rows).set_index("FDR at most")


def verdict_table(mdata: MuData, hidden: Collection[str] = ()) -> pd.DataFrame:
    """Count the genes by verdict; those hidden in training, which get none, are a row of their own."""
    verdicts = mdata["rna"].var["tape_verdict"]
    aside = verdicts.index.isin(list(hidden))
    counts = verdicts[~aside].value_counts(sort=False)
    if aside.any():
        counts = pd.concat([counts, pd.Series({HIDDEN: int(aside.sum())})])
    return pd.DataFrame({"genes": counts, "share": [f"{share:.0%}" for share in counts / counts.sum()]})


def write(tables: dict[str, pd.DataFrame], path: str, *, notes: list[str], draft: bool = False) -> None:
    """Write tables with their titles as text, and notes below them; a draft says first that it is one."""
    head = f"{DRAFT}; run it without --draft.\n\n" if draft else ""
    text = "\n\n".join(f"{title}\n\n{table.to_string()}" for title, table in tables.items())
    below = "\n\n".join(textwrap.fill(note, WIDTH) for note in notes)
    Path(path).write_text(f"{head}{text}\n\n{below}\n")


def _without(data: peers.TrainData, hidden: np.ndarray) -> peers.TrainData:
    """Take the hidden genes out of what a method sees."""
    return peers.TrainData(
        data.counts[:, ~hidden], data.atac, data.library_size, data.genes[~hidden], data.peaks, data.pairs
    )


def _gene_score(data: peers.TrainData, atac_test: sparse.csr_matrix, hidden: np.ndarray) -> np.ndarray:
    """Predict by the distance-weighted gene score: a line a gene, and one line of all genes for the hidden ones.

    The reach of the score for hidden genes is the one whose line explains most of the other genes.
    """
    peer = peers.GeneScore()
    pairs = data.pairs[data.pairs["gene"].isin(data.genes[~hidden])]
    seen = peers.TrainData(
        data.counts[:, ~hidden], data.atac, data.library_size, data.genes[~hidden], data.peaks, pairs
    )
    values = np.empty((atac_test.shape[0], len(data.genes)), dtype=np.float32)
    values[:, ~hidden] = peer.fit_predict(seen, atac_test, seed=0).values
    if hidden.any():
        expression = seen.rna
        best, line = -np.inf, None
        for length in peer.lengths:
            scores = peer.scores(data.atac, data, model="tss", length=length)
            skill = np.nan_to_num(pearson(expression, scores[:, ~hidden])).mean()
            if skill > best:
                slope, start = np.polyfit(scores[:, ~hidden].ravel(), expression.ravel(), 1)
                best, line = skill, (length, slope, start)
        length, slope, start = line
        values[:, hidden] = start + slope * peer.scores(atac_test, data, model="tss", length=length)[:, hidden]
    return values


def _names(table: pd.DataFrame) -> pd.MultiIndex:
    """Name the pairs."""
    return pd.MultiIndex.from_arrays([table["gene"].astype(str), table["peak"].astype(str)])
