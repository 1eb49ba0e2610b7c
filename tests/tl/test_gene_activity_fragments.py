"""Gene activity from cut sites, against loops over the fragments and the peaks of the same cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sctandem as td
from sctandem._compat import read_h5mu

pysam = pytest.importorskip("pysam")

if TYPE_CHECKING:
    from pathlib import Path

CELLS = [f"AAC{i}-1" for i in range(6)]


def write(fragments: pd.DataFrame, folder: Path) -> str:
    path = folder / "fragments.tsv"
    fragments.sort_values(["chrom", "start"]).to_csv(path, sep="\t", header=False, index=False)
    return pysam.tabix_index(str(path), preset="bed", force=True)


def random_fragments(rng, n=3000, size=300_000) -> pd.DataFrame:
    start = rng.integers(0, size, n)
    return pd.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr2", "chrX"], n),
            "start": start,
            "end": start + rng.integers(1, 700, n),
            "barcode": rng.choice([*CELLS, "OTHER-1"], n),
            "n": rng.integers(1, 5, n),
        }
    )


def random_genes(rng, n=20, size=300_000) -> pd.DataFrame:
    start = rng.integers(0, size, n)
    return pd.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr2", "chr7"], n),
            "start": start,
            "end": start + rng.integers(200, 30_000, n),
            "strand": rng.choice(["+", "-"], n),
        },
        index=[f"g{i}" for i in range(n)],
    )


def cells(names=CELLS) -> AnnData:
    return AnnData(obs=pd.DataFrame(index=names), var=pd.DataFrame(index=["no peak"]))


def sites(fragments: pd.DataFrame) -> pd.DataFrame:
    kept = fragments[fragments["barcode"].isin(CELLS)]
    both = [kept.assign(site=kept["start"]), kept.assign(site=kept["end"] - 1)]
    return pd.concat(both, ignore_index=True)


@pytest.mark.parametrize("seed", range(3))
def test_gene_body_is_that_of_a_loop(seed, tmp_path):
    rng = np.random.default_rng(seed)
    fragments, genes = random_fragments(rng), random_genes(rng)
    adata = cells()
    td.tl.gene_activity(adata, genes, fragments=write(fragments, tmp_path))
    found = td.get.gene_activity(adata)
    assert found.var_names.tolist() == genes.index.tolist()
    minus = (genes["strand"] == "-").to_numpy()
    low = (genes["start"] - np.where(minus, 0, 2000)).to_numpy()
    high = (genes["end"] + np.where(minus, 2000, 0)).to_numpy()
    tss = np.where(minus, genes["end"] - 1, genes["start"])
    scores, counts = np.zeros((2, len(CELLS), len(genes)))
    left = np.zeros(len(CELLS))
    for row in sites(fragments).itertuples():
        at = CELLS.index(row.barcode)
        into = np.flatnonzero((genes["chrom"] == row.chrom).to_numpy() & (low <= row.site) & (row.site < high))
        scores[at, into] += 1
        if len(into):
            counts[at, min(into, key=lambda g: (abs(tss[g] - row.site), g))] += 1
        else:
            left[at] += 1
    np.testing.assert_array_equal(found.layers["score"].toarray(), scores)
    np.testing.assert_array_equal(found.X.toarray(), counts)
    np.testing.assert_array_equal(found.obs["unassigned"], left)
    table = found.uns["gene_activity"]["table"]
    assert table["counts"].sum() == 2 * fragments["barcode"].isin(CELLS).sum()
    assert table.loc["distal", "counts"] == 0
    assert "weights" not in found.uns["gene_activity"]


@pytest.mark.parametrize("seed", range(3))
def test_archr_is_that_of_a_loop(seed, tmp_path):
    """As the R code goes, gene by gene: positions from 1, both ends included; sites in tiles of 500, at most 4 in a cell."""
    rng = np.random.default_rng(seed)
    fragments, genes = random_fragments(rng), random_genes(rng)
    # some tiles with more than 4 cuts of one cell
    fragments = pd.concat([fragments, fragments.iloc[np.repeat(np.arange(60), 4)]], ignore_index=True)
    adata = cells()
    td.tl.gene_activity(adata, genes, fragments=write(fragments, tmp_path), weights="archr")
    found = td.get.gene_activity(adata)
    cut = sites(fragments)
    tiles = cut.assign(tile=(cut["site"] + 1) // 500 * 500).groupby(["chrom", "tile", "barcode"]).size()
    assert (tiles > 4).sum() > 20
    start = np.where(genes["strand"] == "+", genes["start"] + 1 - 5000, genes["start"] + 1)
    end = np.where(genes["strand"] == "-", genes["end"] + 5000, genes["end"])
    m = 1 / (end - start + 1)
    factor = 1 + m * 4 / (m.max() - m.min())
    raw = np.zeros((len(CELLS), len(genes)))
    for chrom in genes["chrom"].unique():
        on = np.flatnonzero(genes["chrom"] == chrom)
        on = on[np.lexsort((end[on], start[on]))]
        for at, g in enumerate(on):
            before = end[on[at - 1]] + 500 if at else 1
            after = start[on[at + 1]] - 500 if at + 1 < len(on) else end[g] + 100_000
            low = min(start[g] - 1000, max(before, start[g] - 100_000))
            high = max(end[g] + 1000, min(after, end[g] + 100_000))
            for (c, tile, barcode), n in tiles.items():
                if c == chrom and tile <= high and tile + 499 >= low:
                    gap = max(0, start[g] - (tile + 499) - 1, tile - end[g] - 1)
                    raw[CELLS.index(barcode), g] += min(n, 4) * (math.exp(-gap / 5000) + math.exp(-1)) * factor[g]
    expected = raw / raw.sum(1, keepdims=True) * 1e4
    np.testing.assert_allclose(found.layers["score"].toarray(), expected, rtol=1e-5)
    total = sites(fragments).groupby("barcode").size().reindex(CELLS)
    np.testing.assert_array_equal(np.asarray(found.X.sum(1)).ravel() + found.obs["unassigned"], total)
    assert found.X.sum() > 0.5 * total.sum()


@pytest.mark.parametrize("weights", ["gene_body", "archr"])
def test_order_of_cells_and_genes_and_blocks(weights, tmp_path, rng, monkeypatch):
    fragments, genes = random_fragments(rng), random_genes(rng)
    path = write(fragments, tmp_path)
    first, second = cells(), cells([*CELLS[::-1], "NOBODY-1"])
    td.tl.gene_activity(first, genes, fragments=path, weights=weights)
    monkeypatch.setattr("sctandem._blocks._BLOCK", 1)
    td.tl.gene_activity(second, genes.iloc[::-1], fragments=path, weights=weights)
    first, second = td.get.gene_activity(first), td.get.gene_activity(second)
    assert second.X.has_sorted_indices
    assert second.layers["score"].has_sorted_indices
    assert second[-1].X.sum() == second[-1].layers["score"].sum() == second.obs["unassigned"].iloc[-1] == 0
    second = second[first.obs_names, first.var_names].copy()
    np.testing.assert_array_equal(first.X.toarray(), second.X.toarray())
    np.testing.assert_allclose(first.layers["score"].toarray(), second.layers["score"].toarray(), rtol=1e-6)
    np.testing.assert_array_equal(first.obs["unassigned"], second.obs["unassigned"])


def test_genes_of_the_expression_and_chromosomes_named_otherwise(tmp_path, rng, caplog):
    from sctandem._compat import new_mudata

    fragments, genes = random_fragments(rng), random_genes(rng)
    path = write(fragments, tmp_path)
    rna = AnnData(obs=pd.DataFrame(index=CELLS), var=genes.assign(chrom=genes["chrom"].str.removeprefix("chr")))
    mdata = new_mudata({"rna": rna, "atac": cells()})
    td.tl.gene_activity(mdata, fragments=path)
    assert "renamed" in caplog.text
    adata = cells()
    td.tl.gene_activity(adata, genes, fragments=path)
    np.testing.assert_array_equal(mdata["activity"].X.toarray(), adata.obsm["gene_activity"].toarray())


def test_what_is_refused(tmp_path, rng):
    fragments, genes = random_fragments(rng), random_genes(rng)
    path = write(fragments, tmp_path)
    with pytest.raises(
        ValueError, match=r"None of the 2 barcodes of cells has a fragment .* named like 'AAC0', 'AAC1', those of"
    ):
        td.tl.gene_activity(cells(["AAC0", "AAC1"]), genes, fragments=path)
    with pytest.raises(ValueError, match="Genes and fragments share no chromosome"):
        td.tl.gene_activity(cells(), genes.assign(chrom="chr9"), fragments=path)
    with pytest.raises(ValueError, match="lies at one of the 20 genes: all activities would be"):
        td.tl.gene_activity(cells(), genes.assign(start=5_000_000, end=5_000_100), fragments=path)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        td.tl.gene_activity(cells(), genes, fragments=tmp_path / "none.tsv.gz")
    with pytest.raises(TypeError, match="fragments must be a path"):
        td.tl.gene_activity(cells(), genes, fragments=3)
    with pytest.raises(ValueError, match="weights='learned' weighs peaks"):
        td.tl.gene_activity(cells(), genes, fragments=path, weights="learned")
    adata = cells()
    with pytest.raises(ValueError, match="weights='learned'"):
        td.tl.gene_activity(adata, genes, fragments=path, weights="learned")
    assert not adata.obsm
    assert not adata.uns


def test_few_cells_in_the_file_are_warned_of(tmp_path, rng, caplog):
    path, genes = write(random_fragments(rng), tmp_path), random_genes(rng)
    td.tl.gene_activity(cells([*CELLS, "other"]), genes, fragments=path)
    assert "cells" not in caplog.text
    td.tl.gene_activity(cells([CELLS[0], "no1", "no2", "no3"]), genes, fragments=path)
    assert "1 of 4 cells (25 %) have fragments in the file; without: 'no1', 'no2', 'no3'" in caplog.text


def test_real_fragments(shared_data):
    mdata = read_h5mu(shared_data / "multiome" / "muon_pbmc_markers1000.h5mu")
    genes = shared_data / "genome" / "hg38_genes_gencode43.bed"
    file = shared_data / "multiome" / "muon_pbmc_markers1000_fragments.tsv.gz"
    td.tl.gene_activity(mdata, genes, fragments=file)
    found = td.get.gene_activity(mdata)
    place = found.var
    minus = (place["strand"] == "-").to_numpy()
    regions = pd.DataFrame(
        {
            "chrom": place["chrom"],
            "start": np.maximum(place["start"] - np.where(minus, 0, 2000), 0),
            "end": place["end"] + np.where(minus, 2000, 0),
        }
    )
    counted = td.pp.count_fragments(file, regions, mdata["atac"].obs_names.tolist())
    assert abs(found.layers["score"] - counted.X).nnz == 0
    assert found.X.sum() + found.obs["unassigned"].sum() == 2 * counted.obs["n_fragments"].sum()
    # B cells cut CD79A, and T cells CD2, more often than the others do
    kind = mdata["atac"].obs["cell_type_markers"].astype(str).to_numpy()
    mean = found.to_df()[["CD79A", "CD2"]].groupby(kind).mean()
    assert mean["CD79A"].idxmax() == "B"
    assert mean["CD2"].idxmax() in {"CD4 T", "CD8 T", "NK"}
