from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sctandem as td


@pytest.fixture
def fasta(tmp_path, rng):
    path = tmp_path / "genome.fa"
    sizes = {"chr1": 46_000, "chr2": 6_000, "chr3": 60}
    path.write_text("".join(f">{name}\n{''.join(rng.choice(list('ACGT'), n))}\n" for name, n in sizes.items()))
    return path


def test_the_table_of_the_kernel_is_written(make, fasta, contents, same):
    mdata = make()
    before = contents(mdata)
    copied = td.pp.sequence_features(mdata, fasta, k=2, key_added="dna", copy=True)
    same(before, contents(mdata))
    assert td.pp.sequence_features(mdata, fasta, k=2, key_added="dna") is None
    expected = td.genome.sequence_features(mdata["atac"].var, fasta, k=2)
    for written in (mdata, copied):
        pd.testing.assert_frame_equal(written["atac"].varm["dna"], expected)
        assert written["atac"].varm["dna"].dtypes.eq(np.float32).all()
        assert written["atac"].uns["dna"]["params"] == {"fasta": "genome.fa", "k": 2, "atac": "atac"}


@pytest.mark.parametrize("suffix", [".h5mu", ".zarr"])
def test_files_keep_it(make, fasta, reread, tmp_path, suffix):
    mdata = make()
    td.pp.sequence_features(mdata, fasta)
    again = reread(mdata, tmp_path / f"a{suffix}")
    pd.testing.assert_frame_equal(mdata["atac"].varm["sequence"], again["atac"].varm["sequence"])
    assert again["atac"].uns["sequence"]["params"]["k"] == 4


@pytest.mark.parametrize(
    ("peaks", "change", "error", "said"),
    [
        (["chr3:1-61"], {}, ValueError, "'chr3:1-61' ends at 61, beyond the end of 'chr3'"),
        (["chr4:1-61"], {}, ValueError, "no chromosome 'chr4'"),
        (["a"], {}, ValueError, "1 of 1 peaks have no coordinates"),
        (["chr1:1-9"], {"k": 9}, ValueError, "k=9 is not an integer between 1 and 6"),
        (["chr1:1-9"], {"fasta": "none.fa"}, FileNotFoundError, "fasta='none.fa' is not a file"),
        (["chr1:1-9"], {"key_added": "a/b"}, ValueError, "key_added='a/b' must be a name without a slash"),
        (["chr1:1-9"], {"key_added": 3}, TypeError, "key_added must be a str, got int: 3"),
        (["chr1:1-9"], {"modalities": {"atac": "x"}}, KeyError, "no modality 'x' for atac; it has 'rna', 'atac'"),
    ],
)
def test_bad_input_is_explained_and_changes_nothing(make, fasta, contents, same, peaks, change, error, said):
    mdata = make(peaks=peaks)
    before = contents(mdata)
    with pytest.raises(error, match=said):
        td.pp.sequence_features(mdata, **{"fasta": fasta, **change})
    same(before, contents(mdata))
