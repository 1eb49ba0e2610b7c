"""What TAPE is told to read, and which cells it learns nothing from."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tape import SMALL, trained

from sctandem._compat import copy_mudata, new_mudata
from sctandem.model import TAPE

EMPTY = {"rna": [3, 4, 5], "atac": [5, 6, 7, 8]}


def emptied(mdata, *, stored):
    """Without the counts of some cells; zeros are stored in their place, or not."""
    for name, cells in EMPTY.items():
        matrix = mdata[name].X.tocsr().astype(np.float32)
        for cell in cells:
            matrix.data[matrix.indptr[cell] : matrix.indptr[cell + 1]] = 0
        if not stored:
            matrix.eliminate_zeros()
        mdata[name].X = matrix
    return mdata


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("setup", [{}, {"size_factor_key": "size"}])
def test_cells_without_counts_are_left_out(mdata, stored, setup, caplog):
    TAPE.setup_mudata(emptied(mdata, stored=stored), **setup)
    model = TAPE(mdata, config=SMALL)
    with caplog.at_level(logging.WARNING):
        model.train(2, train_size=1.0, rng=0, progress=False)
    out = sorted({*EMPTY["rna"], *EMPTY["atac"]})
    assert sorted(model.train_indices) == sorted(set(range(200)) - set(out))
    assert not set(model.train_cells_) & set(mdata.obs_names[out])
    assert len(model.train_cells_) == 200 - len(out)
    assert "mdata['rna']: 3 cells" in caplog.text
    assert "mdata['atac']: 4 cells" in caplog.text
    assert "are left out" in caplog.text


def test_cells_without_counts_enter_nothing(mdata):
    """Whatever genes cells without peaks express, and the other way round, the model is the same."""
    models = []
    for factor in (1, 7):
        changed = emptied(copy_mudata(mdata), stored=False)
        for name, other in (("rna", "atac"), ("atac", "rna")):
            matrix = changed[name].X.tolil()
            for cell in set(EMPTY[other]) - set(EMPTY[name]):
                matrix[cell] = factor * matrix[cell]
            changed[name].X = matrix.tocsr()
        models.append(trained(changed))
    first, second = (model.predict_expression().drop(index=mdata.obs_names[[3, 4]]) for model in models)
    np.testing.assert_array_equal(first, second)


def test_too_few_cells_with_counts(mdata):
    for name in ("rna", "atac"):
        matrix = mdata[name].X.tolil()
        matrix[9:] = 0
        mdata[name].X = matrix.tocsr()
    TAPE.setup_mudata(mdata)
    model = TAPE(mdata, config=SMALL)
    with pytest.raises(ValueError, match="training on cells with counts of genes and of peaks needs at least 10 cells"):
        model.train(2, rng=0, progress=False)
    assert not model.is_trained


def test_windows_of_another_name(mdata, tmp_path):
    expected = trained(copy_mudata(mdata)).predict_expression()
    windows = mdata.uns.pop("gene_windows")
    mdata.uns["wide"] = windows
    model = trained(mdata, windows_key="wide")
    np.testing.assert_array_equal(model.predict_expression(), expected)
    model.save(tmp_path / "m")
    other = new_mudata({name: mdata[name].copy() for name in ("rna", "atac")})
    other.uns["wide"] = windows
    loaded = TAPE.load(tmp_path / "m", other)
    assert loaded.setup_args["windows_key"] == "wide"
    loaded.train(3, rng=0, progress=False)
    np.testing.assert_array_equal(loaded.predict_expression(), expected)
    TAPE.setup_mudata(mdata, windows_key="narrow")
    with pytest.raises(
        KeyError, match=r"mdata\.uns has no 'narrow'; run `td\.pp\.gene_windows\(.*key_added='narrow'\)"
    ):
        TAPE(mdata, config=SMALL)


def test_sequence_features_of_another_name(mdata):
    atac, rng = mdata["atac"], np.random.default_rng(0)
    features = pd.DataFrame(rng.normal(size=(600, 4)).astype(np.float32), index=atac.var_names, columns=list("abcd"))
    atac.varm["dna"] = features
    plain = trained(copy_mudata(mdata)).predict_expression()
    named = trained(copy_mudata(mdata), sequence_key="dna").predict_expression()
    assert not np.allclose(plain, named)
    atac.varm["sequence"] = features  # the default is used when present
    np.testing.assert_array_equal(trained(copy_mudata(mdata)).predict_expression(), named)
    TAPE.setup_mudata(mdata, sequence_key="rna")
    with pytest.raises(KeyError, match=r"mdata\['atac'\]\.varm has no 'rna'; run `pp\.sequence_features"):
        TAPE(mdata, config=SMALL)


@pytest.mark.parametrize("name", ["kmers", "motifs"])
def test_words_and_motifs_are_read_as_a_sparse_matrix(mdata, name):
    counts = np.random.default_rng(0).poisson(0.4, (600, 30)).astype(np.int32)
    plain = trained(copy_mudata(mdata)).predict_expression()
    mdata["atac"].varm["dna"] = counts.astype(np.float32)
    dense = trained(copy_mudata(mdata), sequence_key="dna").predict_expression()
    mdata["atac"].varm[name] = sparse.csr_matrix(counts)
    read = trained(copy_mudata(mdata), sequence_key=name).predict_expression()
    np.testing.assert_allclose(read, dense, rtol=1e-4)
    assert not np.allclose(read, plain)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("kmers", r"pp\.nucleotide_spectrum\(mdata, fasta\)"),
        ("nucleotides", r"pp\.nucleotide_spectrum\(mdata, fasta\)"),
        ("motifs", r"pp\.nucleotide_spectrum\(mdata, fasta, motifs=\.\.\.\)"),
    ],
)
def test_what_writes_words_and_motifs_is_named(mdata, name, call):
    TAPE.setup_mudata(mdata, sequence_key=name)
    with pytest.raises(KeyError, match=rf"mdata\['atac'\]\.varm has no '{name}'; run `{call}` first"):
        TAPE(mdata, config=SMALL)


def test_too_many_words(mdata):
    mdata["atac"].varm["kmers"] = sparse.csr_matrix((600, 32_896), dtype=np.int32)
    TAPE.setup_mudata(mdata, sequence_key="kmers")
    with pytest.raises(ValueError, match=r"varm\['kmers'\] has 32896 columns, but TAPE reads at most 12000.*k=6"):
        TAPE(mdata, config=SMALL)


def test_stored_zeros_do_not_change_the_model(mdata):
    padded = copy_mudata(mdata)
    for adata in padded.mod.values():
        dense = adata.X.toarray()
        rows, columns = np.nonzero(dense >= 0)
        adata.X = sparse.csr_matrix((dense.ravel().astype(np.float32), (rows, columns)), shape=dense.shape)
    np.testing.assert_allclose(
        trained(padded).predict_expression(), trained(mdata).predict_expression(), rtol=1e-4, atol=1e-5
    )
