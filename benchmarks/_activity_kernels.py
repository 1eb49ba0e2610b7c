"""Gene activity by fixed rules from a fragment file, beside SnapATAC2 and muon on the same genes and cells."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.peers import _gene_activity as peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy import sparse

TITLE = "Fixed rules: the same counts as SnapATAC2 and muon"
CAPTION = (
    "1,000 cells of a 10x multiome of blood whose fragment file holds the surroundings of marker genes, and all 20,531 genes "
    "of GENCODE 43 (gene and 2 kb before it). r: Pearson correlation over all entries in which either is not zero; equal: share "
    "of these entries that are the same. Seconds are of processor time, reading the file included; SnapATAC2 reads it once into a file of "
    "its own, which is in its time, and leaves out the last base of a gene, where the entries that differ lie. "
    "The large matrix is made up: 4,200 peaks a cell, 300 to 900 bp wide, within some 100 kb of genes; GB: the most memory held beside it, results included."
)
#: Nothing here is random: more seeds are more measurements of the time.
SEEDS: tuple[int, ...] = (0, 1, 2)
TARGET_R = 0.999
UPSTREAM = 2000

FOLDER = Path(os.environ.get("SCTANDEM_DATA", "data"))
MULTIOME = FOLDER / "multiome" / "muon_pbmc_markers1000.h5mu"
FRAGMENTS = FOLDER / "multiome" / "muon_pbmc_markers1000_fragments.tsv.gz"
GENES = FOLDER / "genome" / "hg38_genes_gencode43.bed"

OURS = "sctandem, cut sites"
INSERTIONS, PAIRED, MUON = "SnapATAC2, insertions", "SnapATAC2, paired insertions (its default)", "muon, fragments"
#: A matrix of peaks of the size that is aimed at.
LARGE = {
    "gene_body": "sctandem, 10,000 cells x 100,000 peaks, gene body",
    "archr": "sctandem, 10,000 cells x 100,000 peaks, ArchR's weights",
}
MOST_SECONDS = 30
OURS_FRAGMENTS = "sctandem, fragments (pp.count_fragments)"


def data() -> list[Path]:
    """Give the files that are read."""
    return [MULTIOME, FRAGMENTS, FRAGMENTS.with_name(FRAGMENTS.name + ".tbi"), GENES]


def _timed(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, float]:
    start = time.process_time()
    value = function(*arguments, **options)
    return value, time.process_time() - start


def agreement(a: sparse.csr_matrix, b: sparse.csr_matrix) -> dict[str, float]:
    """Compare two matrices where either is not zero."""
    either = ((a != 0) + (b != 0)).tocsr()
    rows, columns = either.nonzero()
    x, y = (np.asarray(part.tocsr()[rows, columns], dtype=float).ravel() for part in (a, b))
    return {"r": float(np.corrcoef(x, y)[0, 1]), "equal": float((x == y).mean()), "n_entries": len(rows)}


def _ours(cells: pd.Index, **options: Any):
    from anndata import AnnData

    import sctandem as td

    held = AnnData(obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=["none"]))
    td.tl.gene_activity(held, GENES, fragments=FRAGMENTS, **options)
    return td.get.gene_activity(held)


def _scale(weights: str) -> tuple[float, float]:
    """Processor seconds of a large matrix of peaks, and the most memory held in GB above what there was before (in a process of its own)."""
    from anndata import AnnData
    from scipy import sparse

    import sctandem as td
    from benchmarks._measure import peak_memory_mb

    n_cells, n_peaks, n_drawn = 10_000, 100_000, 4_500
    rng = np.random.default_rng(0)
    genes = td.genome.read_genes(GENES)
    near = genes.sample(n_peaks, replace=True, random_state=0)
    start = np.maximum(near["tss"].to_numpy() + rng.normal(0, 100_000, n_peaks).astype(int), 0)
    place = {"chrom": near["chrom"].to_numpy(), "start": start, "end": start + rng.integers(300, 900, n_peaks)}
    edges = np.cumsum(rng.gamma(0.5, size=n_peaks))
    drawn = [np.unique(np.searchsorted(edges, edges[-1] * rng.random(n_drawn))) for _ in range(n_cells)]
    ends = np.r_[0, np.cumsum([len(cell) for cell in drawn])]
    found = np.concatenate(drawn).astype(np.int32)
    counts = sparse.csr_matrix(
        (rng.integers(1, 6, len(found)).astype(np.float32), found, ends), shape=(n_cells, n_peaks)
    )
    adata = AnnData(counts, var=pd.DataFrame(place, index=[f"p{i}" for i in range(n_peaks)]))
    td.tl.gene_activity(adata[:5].copy(), GENES, weights=weights)  # compiled
    before = peak_memory_mb()
    _, seconds = _timed(td.tl.gene_activity, adata, GENES, weights=weights)
    return seconds, (peak_memory_mb() - before) / 1e3


def measure(seed: int) -> list[dict[str, Any]]:
    """Count with everyone, and compare."""
    import sctandem as td
    from sctandem._compat import read_h5mu

    atac = read_h5mu(MULTIOME)["atac"]
    cells = atac.obs_names
    ours, _ = _timed(_ours, cells[:5])  # compiled once, not part of the time
    ours, seconds = _timed(_ours, cells)
    score, place = ours.layers["score"].astype(np.float64), ours.var
    table = ours.uns["gene_activity"]["table"]["counts"]
    rows: list[dict[str, Any]] = [
        {"name": OURS, "seconds": seconds, "kept": float(ours.X.sum()), "total": int(table.sum())}
    ]

    minus = (place["strand"] == "-").to_numpy()
    start = np.maximum(place["start"] - np.where(minus, 0, UPSTREAM), 0)
    regions = pd.DataFrame(
        {"chrom": place["chrom"], "start": start, "end": place["end"] + np.where(minus, UPSTREAM, 0)}
    )
    counted, seconds = _timed(td.pp.count_fragments, FRAGMENTS, regions, list(cells), counting="fragments")
    rows.append({"name": OURS_FRAGMENTS, "seconds": seconds, **agreement(score, counted.X.astype(np.float64))})

    if peers.installed("snapatac2"):
        sizes = {str(chrom): int(end) + 1_000_000 for chrom, end in place.groupby("chrom")["end"].max().items()}
        with tempfile.TemporaryDirectory() as folder:
            gtf = Path(folder) / "genes.gtf"
            peers.write_gtf(place, gtf)
            read, reading = _timed(peers.snapatac2_import, FRAGMENTS, list(cells), sizes)
            for name, strategy in ((INSERTIONS, "insertion"), (PAIRED, "paired-insertion")):
                found, seconds = _timed(peers.snapatac2_matrix, read, gtf, strategy, list(cells), place.index)
                rows.append({"name": name, "seconds": reading + seconds, **agreement(score, found)})
    if peers.installed("muon"):
        # muon asks the file once a gene: those without a fragment are left out, in its favour
        near = np.flatnonzero(np.asarray(counted.X.sum(0)).ravel() > 0)
        found, seconds = _timed(peers.muon_matrix, FRAGMENTS, list(cells), regions.iloc[near])
        rows.append({"name": MUON, "seconds": seconds, **agreement(counted.X[:, near].astype(np.float64), found)})
    from benchmarks._measure import measure as in_a_process

    for weights, name in LARGE.items():
        seconds, peak = in_a_process(_scale, weights).value
        rows.append({"name": name, "seconds": seconds, "peak_gb": peak})
    return [{"seed": seed, **row} for row in rows]


def _middle(rows: list[dict[str, Any]], name: str, column: str) -> float:
    values = [row[column] for row in rows if row["name"] == name and column in row]
    return float(np.median(values)) if values else float("nan")


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Make the table of the page."""
    against = {OURS_FRAGMENTS: OURS, INSERTIONS: OURS, PAIRED: OURS, MUON: OURS_FRAGMENTS}
    made = []
    for name in dict.fromkeys(row["name"] for row in rows):
        r, equal, peak = (_middle(rows, name, column) for column in ("r", "equal", "peak_gb"))
        made.append(
            {
                "method": name,
                "held against": against.get(name, ""),
                "r": "" if np.isnan(r) else f"{r:.5f}",
                "equal entries": "" if np.isnan(equal) else f"{100 * equal:.2f} %",
                "seconds": f"{_middle(rows, name, 'seconds'):.2f}",
                "GB": "" if np.isnan(peak) else f"{peak:.2f}",
            }
        )
    return made


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Say what was to be reached, and what was."""
    asked = (
        (INSERTIONS, "cut sites in genes and 2 kb before them equal SnapATAC2's (r > 0.999)"),
        (MUON, "fragments in the same intervals equal muon's (r > 0.999)"),
    )
    made = []
    for name, target in asked:
        r = _middle(rows, name, "r")
        met = "not measured" if np.isnan(r) else "yes" if r > TARGET_R else "no"
        made.append({"target": target, "measured": "" if np.isnan(r) else f"r = {r:.6f}", "met": met})
    slowest = float(
        np.max([_middle(rows, name, "seconds") for name in LARGE.values()])
    )  # not a number if one is missing
    met = "not measured" if np.isnan(slowest) else "yes" if slowest < MOST_SECONDS else "no"
    target = f"10,000 cells x 20,500 genes from 100,000 peaks in less than {MOST_SECONDS} s of processor time"
    made.append({"target": target, "measured": "" if np.isnan(slowest) else f"{slowest:.1f} s", "met": met})
    return made
