from __future__ import annotations

import bioframe
import numpy as np
import pandas as pd
import pytest

from sctandem.genome import gene_loci, gene_tss, read_genes, window_pairs


def random_genome(rng: np.random.Generator, n_genes: int, n_peaks: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Genes and peaks thrown onto two short chromosomes."""
    tss = pd.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr2"], n_genes),
            "tss": rng.integers(0, 20_000, n_genes),
            "strand": rng.choice(["+", "-"], n_genes),
        }
    )
    start = rng.integers(0, 20_000, n_peaks)
    width = rng.integers(1, 900, n_peaks)
    peaks = pd.DataFrame({"chrom": rng.choice(["chr1", "chr2", "chr3"], n_peaks), "start": start, "end": start + width})
    return tss, peaks


@pytest.mark.parametrize(("upstream", "downstream"), [(1500, 400), (0, 700), (700, 0), (50_000, 50_000)])
def test_equal_to_the_definition_written_out(rng, upstream, downstream):
    tss, peaks = random_genome(rng, 60, 150)
    expected = []
    for g, gene in tss.iterrows():
        for p, peak in peaks.iterrows():
            distance = ((peak.start + peak.end) // 2 - gene.tss) * (1 if gene.strand == "+" else -1)
            if gene.chrom == peak.chrom and -upstream <= distance <= downstream:
                expected.append((g, distance, p, peak.end - peak.start))
    found = window_pairs(tss, peaks, upstream=upstream, downstream=downstream)
    assert [tuple(row) for row in found[["gene", "distance", "peak", "width"]].to_numpy()] == sorted(expected)
    assert found.dtypes.eq(np.int64).all()


def test_the_nearest_peak_is_bioframes_closest(rng):
    tss, peaks = random_genome(rng, 80, 300)
    peaks = peaks.assign(end=peaks.start + 1)
    found = window_pairs(tss, peaks, upstream=100_000, downstream=100_000)
    nearest = found.distance.abs().groupby(found.gene).min()
    points = pd.DataFrame({"chrom": tss.chrom, "start": tss.tss, "end": tss.tss + 1})
    closest = bioframe.closest(points, peaks, return_index=True).sort_values("index")
    gap = closest["distance"].astype(int).to_numpy()
    # bioframe counts the bases between two points: none for the same base and for its neighbour
    np.testing.assert_array_equal(np.maximum(nearest.to_numpy() - 1, 0), gap)


def test_mirrored_genome_gives_the_same_windows(rng):
    tss, peaks = random_genome(rng, 60, 150)
    peaks = peaks.assign(end=peaks.start + 2 * ((peaks.end - peaks.start) // 2) + 1)  # odd widths have a middle base
    length = 30_000
    other_tss = tss.assign(tss=length - 1 - tss.tss, strand=tss.strand.map({"+": "-", "-": "+"}))
    other_peaks = peaks.assign(start=length - peaks.end, end=length - peaks.start)
    ours, theirs = (
        window_pairs(t, p, upstream=2000, downstream=500) for t, p in ((tss, peaks), (other_tss, other_peaks))
    )
    pd.testing.assert_frame_equal(*(x.sort_values(["gene", "peak"], ignore_index=True) for x in (ours, theirs)))


def test_shuffled_peaks_give_the_same_windows(rng):
    tss, peaks = random_genome(rng, 60, 150)
    order = rng.permutation(len(peaks))
    found = window_pairs(tss, peaks.iloc[order].reset_index(drop=True), upstream=2000)
    found["peak"] = order[found["peak"]]
    plain = window_pairs(tss, peaks, upstream=2000)
    pd.testing.assert_frame_equal(
        *(x.sort_values(["gene", "distance", "peak"], ignore_index=True) for x in (found, plain))
    )


def test_no_peak_in_reach(rng):
    tss, peaks = random_genome(rng, 5, 9)
    assert window_pairs(tss, peaks.assign(chrom="chr9")).shape == (0, 4)


def test_a_gene_reaches_over_the_rows_of_its_locus():
    rows = pd.DataFrame(
        {
            "chrom": ["chr1", "chr1", "chr1", "chr2", "chr1"],
            "start": [500, 100, 2_000_000, 10, 50],
            "end": [900, 800, 2_000_500, 90, 60],
            "strand": ["-", "-", "-", "-", "+"],
            "gene": ["A", "A", "A", "A", "B"],
        }
    )
    found = gene_loci(read_genes(rows))
    assert found.loc["A"].tolist() == ["chr1", 100, 900, 899, "-"]
    assert found.loc["B"].tolist() == ["chr1", 50, 60, 50, "+"]
    pd.testing.assert_frame_equal(gene_tss(read_genes(rows)), found[["chrom", "tss", "strand"]])
