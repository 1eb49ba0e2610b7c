from __future__ import annotations

import re

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mixtures import bulk, compositions, names, profiles
from scipy import sparse

from sctandem.model._bulk import read_bulk, technical_genes

N_GENES = 300


@pytest.fixture
def samples() -> AnnData:
    """Whole counts of 5 samples."""
    adata = bulk(profiles(), compositions(5), platform=0.3)
    adata.X = np.round(adata.X)
    return adata


def genes(index: list[str], **columns) -> pd.DataFrame:
    return pd.DataFrame(columns, index=index)


def read(adata: AnnData, reference: pd.DataFrame | None = None, *, layer=None, kind=None):
    reference = genes(names(N_GENES)) if reference is None else reference
    return read_bulk(adata, reference, layer=layer, kind=kind)


# --- names ------------------------------------------------------------------------------------------------------------


def ensembl(n: int = N_GENES) -> list[str]:
    return [f"ENSG{i:011d}" for i in range(n)]


def test_genes_are_matched_by_name_in_any_order(samples):
    order = np.random.default_rng(0).permutation(N_GENES)
    found = read(samples, genes([names(N_GENES)[i] for i in order]))
    np.testing.assert_array_equal(found.here, order)
    np.testing.assert_array_equal(found.there, np.arange(N_GENES))
    np.testing.assert_array_equal(found.values, samples.X[:, order])


def test_identifiers_with_versions_are_those_of_a_column(samples):
    samples.var_names = [f"{name}.{i % 17 + 1}" for i, name in enumerate(ensembl())]
    reference = genes(names(N_GENES), gene_ids=[f"{name}.3" for name in ensembl()])
    found = read(samples, reference)
    np.testing.assert_array_equal(found.here, np.arange(N_GENES))
    np.testing.assert_array_equal(found.there, np.arange(N_GENES))


@pytest.mark.parametrize("kind", ["object", "category", "string"])
def test_symbols_are_those_of_a_column_of_the_bulk(samples, kind):
    symbols = pd.array(names(N_GENES)[:-1] + [None], dtype=kind)
    samples.var["symbol"] = pd.Series(symbols, index=samples.var_names)
    samples.var_names = [f"probe{i}" for i in range(N_GENES)]
    found = read(samples)
    np.testing.assert_array_equal(found.here, np.arange(N_GENES - 1))


def test_missing_names_are_no_gene_in_common(samples):
    samples.var["symbol"] = [*names(N_GENES)[:-40], *[None] * 20, *[np.nan] * 20]
    samples.var_names = [f"probe{i}" for i in range(N_GENES)]
    reference = genes(ensembl(), symbol=[None] * 20 + names(N_GENES)[20:])
    found = read(samples, reference)
    np.testing.assert_array_equal(found.here, np.arange(20, N_GENES - 40))
    np.testing.assert_array_equal(found.there, np.arange(20, N_GENES - 40))


def test_of_names_that_come_twice_in_the_reference_the_first_counts(samples):
    found = read(samples, genes(names(N_GENES) + names(50)))
    np.testing.assert_array_equal(found.there, np.arange(N_GENES))


def test_duplicated_genes_are_refused(samples):
    samples.var_names = ["A", "A", *names(N_GENES)[2:]]
    with pytest.raises(ValueError, match=r"bulk\.var_names has 1 duplicated names: 'A'"):
        read(samples)


def test_too_few_genes_in_common_show_both_sides(samples):
    reference = genes(names(99) + [f"other{i}" for i in range(300)], gene_id=ensembl(399))
    samples.var["symbol"] = [f"sym{i}" for i in range(N_GENES)]
    with pytest.raises(ValueError, match="have 99 genes in common; at least 100") as caught:
        read(samples, reference)
    text = str(caught.value)
    for shown in ("var_names: 'GENE0', 'GENE1', 'GENE2'", "var['symbol']: 'sym0'", "var['gene_id']: 'ENSG00000000000'"):
        assert shown in text
    assert len(read(samples, genes(names(100))).here) == 100


def test_genes_of_few_samples_and_technical_ones_are_matched_but_not_used(samples):
    samples.var_names = ["MT-CO1", "RPL13A", *names(N_GENES)[2:]]
    samples.X[:3, 10] = 0  # in 2 of 5 samples
    samples.X[:2, 11] = 0  # in 3 of 5
    found = read(samples, genes(list(samples.var_names)))
    assert len(found.here) == N_GENES
    np.testing.assert_array_equal(np.flatnonzero(~found.usable), [0, 1, 10])
    samples.X[:3, : N_GENES - 99] = 0
    with pytest.raises(ValueError, match="of 300 genes in common, 99 are seen in more than half"):
        read(samples, genes(list(samples.var_names)))


def test_technical_genes():
    technical = [
        "RPS6",
        "RPL13A",
        "RPS27A",
        "RPS4Y1",
        "RPLP0",
        "RPSA",
        "MT-ND1",
        "HBA1",
        "HBB",
        "MALAT1",
        "mt-Co1",
        "Rpl3",
    ]
    others = ["RPS6KA1", "RPS6KB2", "RPN1", "HBP1", "HBEGF", "MT1X", "MTOR", "CD3E", "RPRD1A", ""]
    np.testing.assert_array_equal(technical_genes(genes(technical + others)), [True] * 12 + [False] * 10)
    by_column = genes(ensembl(22), symbol=technical + others)
    np.testing.assert_array_equal(technical_genes(by_column), [True] * 12 + [False] * 10)


# --- values -----------------------------------------------------------------------------------------------------------


def test_kind_is_told_by_whole_numbers(samples):
    assert read(samples).kind == "counts"
    assert read(samples, kind="tpm").kind == "tpm"
    samples.X = samples.X.astype(np.int64)
    assert read(samples).kind == "counts"
    samples.X = samples.X * 1.1
    assert read(samples).kind == "tpm"
    with pytest.raises(ValueError, match=r"kind='counts', but bulk\.X holds fractions: round"):
        read(samples, kind="counts")
    with pytest.raises(ValueError, match="kind='fpkm' is not known; choose one of 'counts', 'tpm'"):
        read(samples, kind="fpkm")


@pytest.mark.parametrize(("change", "undo"), [(np.log1p, "np.expm1"), (lambda x: np.log2(x + 1), "np.exp2")])
def test_logs_are_refused_with_advice(samples, change, undo):
    samples.X = change(samples.X)
    with pytest.raises(ValueError, match=rf"bulk\.X looks log-transformed \(largest value .*{re.escape(undo)}"):
        read(samples)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"bulk\.X holds nan \(sample 's1', gene 'GENE3'\): fill in or take out"),
        (np.inf, r"bulk\.X holds inf \(sample 's1'"),
        (-2.0, r"bulk\.X holds negative values \(-2\): they look like logs"),
    ],
)
def test_bad_values(samples, value, message):
    samples.X[1, 3] = value
    with pytest.raises(ValueError, match=message):
        read(samples)


def test_samples_of_zeros(samples):
    samples.X[[1, 4]] = 0
    with pytest.raises(ValueError, match=r"2 samples of bulk\.X are all zeros: 's1', 's4'\. Take them out"):
        read(samples)


def test_samples_of_zeros_in_the_genes_that_are_used(samples):
    """What such a sample has is of genes that the reference lacks."""
    samples.X[2, :200] = 0
    with pytest.raises(ValueError, match=r"1 samples of bulk\.X, in the genes that are used, are all zeros: 's2'"):
        read(samples, genes(names(200)))


@pytest.mark.parametrize(("rows", "columns"), [(0, 300), (5, 0)])
def test_nothing_at_all(samples, rows, columns):
    with pytest.raises(ValueError, match=f"holds {rows} samples x {columns} genes: there is nothing"):
        read(samples[:rows, :columns].copy())


def test_no_numbers():
    adata = AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=names(3)))
    with pytest.raises(ValueError, match=r"bulk\.X is empty \(None\)"):
        read(adata)
    with pytest.raises(TypeError, match="must be a"):
        read(np.ones((3, 3)))


@pytest.mark.parametrize("kind", ["csr", "csc", "float32", "view", "layer", "backed", "backed csr", "backed csc"])
def test_all_kinds_of_matrices_are_read_alike(samples, kind, tmp_path):
    expected, given, layer = read(samples), samples, None
    if "cs" in kind:
        given.X = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[kind.removeprefix("backed ")](given.X)
    if kind == "float32":
        given.X = given.X.astype(np.float32)
    elif kind == "view":
        twice = anndata.concat([samples, samples], index_unique="-")
        given = twice[:5]
        assert given.is_view
    elif kind == "layer":
        given.layers["raw"], given.X, layer = given.X, np.log1p(given.X), "raw"
    elif "backed" in kind:
        given.write_h5ad(tmp_path / "bulk.h5ad")
        given = anndata.read_h5ad(tmp_path / "bulk.h5ad", backed="r")
    before = given.X if kind == "float32" else None
    found = read(given, layer=layer)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.values.dtype == np.float64
    assert found.kind == expected.kind
    if before is not None:
        assert given.X is before
    if "backed" in kind:
        given.file.close()


def test_missing_layer(samples):
    with pytest.raises(KeyError, match=r"bulk\.layers has no 'raw'; it has none"):
        read(samples, layer="raw")
