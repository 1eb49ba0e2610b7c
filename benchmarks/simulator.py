"""The simulated multiome beside real ones: depth, sparsity, dispersion, peaks a gene; and how far simple scores see its links.

Writes `docs/_static/simulator_vs_real.png` and `benchmarks/results/simulator.json`.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import _results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mudata import MuData
    from scipy import sparse

NAME = "simulator"
FIGURE = Path(__file__).parents[1] / "docs" / "_static" / "simulator_vs_real.png"
#: Title, colour, file, annotation, and the least mean count at which a gene is taken into the comparison.
REAL = {
    "PBMC, 1000 cells, markers": ("#0072B2", "muon_pbmc_markers1000.h5mu", "hg38_genes_gencode43.bed", 0.0),
    "PBMC, 40 cells, all features": (
        "#009E73",
        "pbmc10k_multiome_40cells_fullfeatures.h5mu",
        "hg38_genes_gencode43.bed",
        0.05,
    ),
    "sci-CAR A549": ("#E69F00", "scicar_A549.h5mu", "hg19_genes.bed", 0.0),
}
SIMULATED = "simulated"
MODALITIES = {"rna": "RNA", "atac": "ATAC"}
REACH = 100_000
TEXT = """\
The simulated multiome at its defaults beside the real ones at hand. Of the PBMC with all features, the genes with a
mean of at least 0.05 are taken, and all peaks: the simulator draws genes that are expressed. The genes of sci-CAR and of the
markers are selections made by others.

![Depth, detection, variance and peaks per gene of the simulated and of the real multiomes](_static/simulator_vs_real.png)"""


def main(argv: list[str]) -> None:
    """Compare, draw, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    options = parser.parse_args(argv)
    folder = os.environ.get("SCTANDEM_DATA")
    if not folder:
        msg = "set SCTANDEM_DATA to the folder with the real data"
        raise SystemExit(msg)
    import sctandem as td

    simulated = td.datasets.simulate_multiome(rng=options.seed)
    td.pp.gene_windows(simulated)
    sets = {SIMULATED: ("black", simulated)}
    files = []
    for title, (colour, name, genes, least) in REAL.items():
        files += [Path(folder) / "multiome" / name, Path(folder) / "genome" / genes]
        sets[title] = (colour, _real(*files[-2:], least))
    _draw(sets)
    tables = [
        {"title": "Statistics", "caption": "Medians over cells, genes or peaks.", "rows": _statistics(sets)},
        {
            "title": "What simple scores know of the simulated links",
            "caption": "Average precision over all peak-gene pairs within 100 kb. The last two rows are told what each peak holds; "
            "the last one fits the strength of each rule to the counts, without seeing a link.",
            "rows": _scores(simulated),
        },
    ]
    document = {"title": "The simulator beside real data", "text": TEXT, "tables": tables}
    print(_results.write(NAME, document, seeds=[options.seed], data=files), FIGURE)


def _real(path: Path, genes: Path, least: float) -> MuData:
    """Read a real multiome with its windows; genes below the least mean are left out."""
    import sctandem as td
    from sctandem._compat import new_mudata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdata = td.io.read_multiome(path)
        expressed = _mean(mdata["rna"].X) > least
        mdata = new_mudata({"rna": mdata["rna"][:, expressed].copy(), "atac": mdata["atac"]})
        td.pp.gene_windows(mdata, genes)
    return mdata


def _mean(counts: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(counts.mean(0)).ravel()


def _moments(counts: sparse.csr_matrix) -> pd.DataFrame:
    """Mean, variance and share of the cells with a count, for each gene or peak."""
    exact = counts.astype(np.float64)
    mean = _mean(exact)
    variance = _mean(exact.multiply(exact).tocsr()) - mean**2
    detected = np.bincount(counts.indices[counts.data > 0], minlength=counts.shape[1]) / counts.shape[0]
    return pd.DataFrame({"mean": mean, "variance": variance, "detected": detected})


def _depth(counts: sparse.csr_matrix) -> np.ndarray:
    """Counts of each cell per gene or peak."""
    depth = np.asarray(counts.sum(1)).ravel() / counts.shape[1]
    return depth[depth > 0]


def _windows(mdata: MuData) -> tuple[np.ndarray, np.ndarray]:
    """Peaks a gene, and the distances of all pairs."""
    tables = mdata.uns["gene_windows"]
    return tables["genes"]["n_peaks"].to_numpy(), np.abs(tables["pairs"]["distance"].to_numpy())


def _statistics(sets: dict[str, tuple[str, MuData]]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for title, (_, mdata) in sets.items():
        for name, label in MODALITIES.items():
            counts = mdata[name].X
            moments, depth = _moments(counts), _depth(counts)
            well = moments[moments["mean"] > 0.1]
            excess = (well["variance"] - well["mean"]) / well["mean"] ** 2
            found = {
                "genes" if name == "rna" else "peaks": counts.shape[1],
                "counts per cell and feature": round(float(np.median(depth)), 3),
                "SD of log depth": round(float(np.log(depth).std()), 2),
                "share of non-zeros": round(counts.nnz / np.prod(counts.shape), 3),
                "(variance - mean) / mean^2": round(float(excess.median()), 2),
                "SD of log mean": round(float(np.log(moments["mean"][moments["mean"] > 0]).std()), 2),
                "share of even counts": round(float((counts.data % 2 == 0).mean()), 2),
            }
            for key, value in found.items():
                rows.setdefault(f"{label}: {key}", {"statistic": f"{label}: {key}"})[title] = value
        n_peaks, distance = _windows(mdata)
        key = "peaks per gene within 100 kb"
        rows.setdefault(key, {"statistic": key})[title] = float(np.median(n_peaks))
        key = "share of these within 10 kb"
        rows.setdefault(key, {"statistic": key})[title] = round(float((distance < 10_000).mean()), 2)
    return list(rows.values())


def _scores(mdata: MuData) -> list[dict[str, Any]]:
    """Average precision of scores that read no windows, and of the rules when they are told."""
    from sklearn.metrics import average_precision_score

    truth = mdata.uns["truth"]
    pairs = mdata.uns["gene_windows"]["pairs"].astype({"gene": str, "peak": str})
    linked = pd.MultiIndex.from_frame(pairs[["gene", "peak"]]).isin(
        pd.MultiIndex.from_frame(truth["links"][["gene", "peak"]])
    )
    scaled = {name: _standardised(mdata[name].X) for name in MODALITIES}
    gene, peak = (mdata[name].var_names.get_indexer(pairs[key]) for name, key in (("rna", "gene"), ("atac", "peak")))
    correlation = np.abs((scaled["rna"].T @ scaled["atac"] / mdata.n_obs)[gene, peak])
    distance = pairs["distance"].abs().to_numpy()
    table = truth["peaks"].iloc[peak]
    side = np.where(pairs["distance"] > 0, " downstream", " upstream").astype(object)
    by_role = pd.Series(linked).groupby(table["role"].astype(object).to_numpy() + side).transform("mean")
    order = np.where(_blocked(mdata, gene, peak), " blocked", "") + np.where(_helped(mdata, gene, peak), " helped", "")
    rules = table["tf"].astype(object).to_numpy() + side + order.astype(object)
    scores = {
        "share of pairs that are links": np.zeros(len(pairs)),
        "distance": -distance,
        "correlation": correlation,
        "correlation x exp(-distance / 50 kb)": correlation * np.exp(-distance / 50_000),
        "role of the peak and side of the gene, told": by_role,
        "factor, side, boundaries and neighbours, told; fitted to the counts": _fitted(
            scaled, gene, peak, distance, rules
        ),
    }
    return [
        {"score": name, "average precision": round(average_precision_score(linked, score), 3)}
        for name, score in scores.items()
    ]


def _standardised(counts: sparse.csr_matrix) -> np.ndarray:
    """Log counts per 10,000, each gene or peak with mean 0 and variance 1."""
    depth = np.maximum(np.asarray(counts.sum(1)).reshape(-1, 1), 1)
    values = np.log1p(counts.toarray() / depth * 1e4)
    return (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)


def _places(mdata: MuData, gene: np.ndarray, peak: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of all peaks, the start sites of the pairs' genes, and which pairs' peaks lie to the right of them."""
    middle = ((mdata["atac"].var["start"] + mdata["atac"].var["end"]) // 2).to_numpy()
    tss = mdata["rna"].var["tss"].to_numpy()[gene]
    return middle, tss, middle[peak] > tss


def _blocked(mdata: MuData, gene: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Whether a boundary lies between the gene and the peak: by brute force over boundaries."""
    middle, tss, _ = _places(mdata, gene, peak)
    chrom = mdata["atac"].var["chrom"].to_numpy()
    low, high = np.minimum(tss, middle[peak]), np.maximum(tss, middle[peak])
    found = np.zeros(gene.size, dtype=bool)
    for boundary in np.flatnonzero(mdata.uns["truth"]["peaks"]["role"] == "boundary"):
        here = (chrom[peak] == chrom[boundary]) & (peak != boundary)
        found |= here & (low < middle[boundary]) & (middle[boundary] < high)
    return found


def _helped(mdata: MuData, gene: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Whether the next peak on the side of the gene holds the helper of the peak's factor."""
    middle, tss, right = _places(mdata, gene, peak)
    truth = mdata.uns["truth"]
    factor = truth["peaks"]["tf"].to_numpy().astype(object)
    partner = pd.Series(factor[peak]).map(truth["tfs"]["partner"]).fillna("").to_numpy()
    toward = np.clip(np.where(right, peak - 1, peak + 1), 0, factor.size - 1)
    between = np.where(right, middle[toward] > tss, middle[toward] < tss) & (np.abs(middle[toward] - tss) < REACH)
    return (partner != "") & between & (factor[toward] == partner)


def _fitted(
    scaled: dict[str, np.ndarray], gene: np.ndarray, peak: np.ndarray, distance: np.ndarray, rules: np.ndarray
) -> np.ndarray:
    """Give each pair the strength of its rule: one coefficient for each, ridge over all genes and cells, peaks smoothed."""
    from sklearn.utils.extmath import randomized_svd

    u, singular, v = randomized_svd(scaled["atac"], 16, random_state=0)
    smooth = (u * singular) @ v
    codes, names = pd.factorize(rules)
    weight = np.exp(-distance / 80_000)
    gram, moment = np.zeros((len(names), len(names))), np.zeros(len(names))
    for index in np.unique(gene):
        here = np.flatnonzero(gene == index)
        drive = np.zeros((len(names), len(smooth)))
        np.add.at(drive, codes[here], (smooth[:, peak[here]] * weight[here]).T)
        gram += drive @ drive.T
        moment += drive @ scaled["rna"][:, index]
    ridge = 1e-3 * np.trace(gram) / len(names) * np.eye(len(names))
    return np.abs(np.linalg.solve(gram + ridge, moment))[codes] * weight


def _draw(sets: dict[str, tuple[str, MuData]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(13, 6.2), layout="constrained")
    for title, (colour, mdata) in reversed(sets.items()):
        front = {"color": colour, "label": title, "zorder": 3 if title == SIMULATED else 2}
        for row, name in enumerate(MODALITIES):
            counts = mdata[name].X
            moments = _moments(counts)
            _ecdf(axes[row, 0], _depth(counts), front)
            _trend(axes[row, 1], moments["mean"], moments["detected"], front)
            _trend(axes[row, 2], moments["mean"], moments["variance"], front)
        n_peaks, distance = _windows(mdata)
        _ecdf(axes[0, 3], n_peaks, front)
        bins = np.linspace(0, REACH, 21)
        share = np.histogram(distance, bins)[0] / distance.size
        axes[1, 3].plot((bins[:-1] + bins[1:]) / 2e3, share, **front)
    means = np.geomspace(0.01, 30, 50)
    for row, label in enumerate(MODALITIES.values()):
        what = "gene" if row == 0 else "peak"
        axes[row, 1].plot(means, 1 - np.exp(-means), color="0.6", linestyle=":", zorder=1)
        axes[row, 2].plot(means, means, color="0.6", linestyle=":", zorder=1)
        axes[row, 0].set(xscale="log", xlabel=f"{label} counts of a cell per {what}", ylabel="share of cells below")
        axes[row, 1].set(xscale="log", xlabel=f"mean of a {what}", ylabel="share of cells with a count")
        axes[row, 2].set(xscale="log", yscale="log", xlabel=f"mean of a {what}", ylabel="variance")
    axes[0, 3].set(xlabel="peaks within 100 kb of a gene", ylabel="share of genes below")
    axes[1, 3].set(xlabel="distance of a peak from the gene, kb", ylabel="share of the pairs", ylim=(0, None))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=4, frameon=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


def _ecdf(ax: Axes, values: np.ndarray, front: dict[str, Any]) -> None:
    ax.ecdf(values, **front)


def _trend(ax: Axes, mean: pd.Series, value: pd.Series, front: dict[str, Any]) -> None:
    """Draw the median and the middle 80 % in bins of the mean with at least five genes or peaks."""
    seen = (mean >= 0.01) & (value > 0)
    bins = pd.cut(np.log10(mean[seen]), np.arange(-2, 2, 0.2))
    grouped = value[seen].groupby(bins, observed=True)
    size = grouped.size()
    kept = size.index[size >= 5]
    middle = [10**interval.mid for interval in kept]
    low, median, high = (grouped.quantile(q)[kept] for q in (0.1, 0.5, 0.9))
    ax.plot(middle, median, marker="o", markersize=3, **front)
    ax.fill_between(middle, low, high, color=front["color"], alpha=0.12, linewidth=0, zorder=front["zorder"] - 1)
