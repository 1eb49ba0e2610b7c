from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from sctandem.genome import match_chromosomes, parse_intervals, peak_coordinates


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("chr1:100-200", ("chr1", 100, 200)),
        ("chr1-100-200", ("chr1", 100, 200)),
        ("chr1_100_200", ("chr1", 100, 200)),
        ("chr1:1,000-2,000", ("chr1", 1000, 2000)),
        ("chrUn_GL000219v1-5-90", ("chrUn_GL000219v1", 5, 90)),
        ("GRCh38_chr1:100-200", ("GRCh38_chr1", 100, 200)),
        ("HLA-A*01:01-5-90", ("HLA-A*01:01", 5, 90)),
    ],
)
def test_names_of_peaks(name, parts):
    assert tuple(parse_intervals(pd.Index([name])).iloc[0]) == parts
    assert tuple(peak_coordinates(pd.DataFrame(index=[name])).iloc[0]) == parts


@pytest.mark.parametrize(
    "columns", [("chrom", "start", "end"), ("seqnames", "Start", "End"), ("chr", "chromStart", "stop")]
)
def test_columns_go_before_names(columns):
    table = pd.DataFrame([["chr2", 5, 9]], columns=list(columns), index=["chr1:1-2"])
    table[columns[0]] = table[columns[0]].astype("category")
    found = peak_coordinates(AnnData(np.ones((1, 1), dtype=np.float32), var=table))
    assert found.iloc[0].tolist() == ["chr2", 5, 9]
    assert found.index.tolist() == ["chr1:1-2"]
    assert found[["start", "end"]].dtypes.tolist() == [np.int64, np.int64]


def test_the_interval_of_cell_ranger():
    table = pd.DataFrame({"interval": ["chr3:5-9"]}, index=["peak"])
    assert peak_coordinates(table).iloc[0].tolist() == ["chr3", 5, 9]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["chr1:1-9", "peak_2", "peak_3"],
            "^peaks: 2 of 3 peaks have no coordinates in the names, the first is 'peak_2'",
        ),
        (["chr1:1-9", "chr1:5-3"], r"1 of 2 peaks have impossible .* 'chr1:5-3' \(chr1, start 5, end 3\)"),
        (["chr1:5-5"], "impossible coordinates in the names, the first is 'chr1:5-5'"),
    ],
)
def test_malformed_names_are_shown(names, said):
    with pytest.raises(ValueError, match=said):
        peak_coordinates(pd.DataFrame(index=names))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("chr1", -5, 9), "have impossible coordinates in the columns chrom, start, end, the first is 'peak'"),
        (("chr1", 1.5, 9), "impossible coordinates"),
        (("chr1", np.nan, 9), "have no coordinates in the columns chrom, start, end, the first is 'peak'"),
        (("chr1", "here", 9), "no coordinates"),
        ((None, 5, 9), "no coordinates"),
    ],
)
def test_malformed_columns_are_shown(row, said):
    with pytest.raises(ValueError, match=said):
        peak_coordinates(pd.DataFrame([row], columns=["chrom", "start", "end"], index=["peak"]))


@pytest.mark.parametrize(
    ("names", "reference", "matched"),
    [
        (["1", "X", "MT"], ["chr1", "chrX", "chrM"], {"1": "chr1", "X": "chrX", "MT": "chrM"}),
        (["chr1", "chrM"], ["1", "MT"], {"chr1": "1", "chrM": "MT"}),
        (["MT"], ["M"], {"MT": "M"}),
        (["M"], ["chrM", "chrMT"], {}),  # two readings
        (["1", "chr1"], ["chr1"], {"chr1": "chr1"}),  # the other one would be taken for it
        (["chr1", "Chr1"], ["1"], {}),
        (["1", "decoy"], ["chr1", "other"], {"1": "chr1"}),
        (["1"], ["2"], {}),
    ],
)
def test_chromosomes_are_matched_where_that_is_clear(names, reference, matched):
    assert match_chromosomes(names, reference) == matched


@pytest.mark.parametrize(
    "columns", [{"feature_types": "Gene Expression"}, {"gene_ids": ["ENSG1", "ENSG2"]}], ids=["types", "identifiers"]
)
def test_genes_with_an_interval_are_no_peaks(columns):
    genes = pd.DataFrame({"interval": ["chr1:10-20", "chr1:50-60"]}, index=["CD2", "MS4A1"]).assign(**columns)
    with pytest.raises(ValueError, match=r"The 2 features, the first is 'CD2', are genes, not peaks"):
        peak_coordinates(AnnData(np.ones((1, 2), dtype=np.float32), var=genes))
    peaks = genes.assign(**({"feature_types": "Peaks"} if "feature_types" in columns else {"gene_ids": "chr1:10-20"}))
    assert peak_coordinates(peaks)["start"].tolist() == [10, 50]
    assert len(peak_coordinates(genes.set_axis(["chr1:10-20", "chr1:50-60"]))) == 2
