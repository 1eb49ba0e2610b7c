from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from chipexo import simulate_chipexo

import sctandem as td

NAMES = ["chr1:100-600", "chr1:500-900", "chr2:100-600", "chr9:1-50"]
SITES = pd.DataFrame(
    {"chrom": ["chr1", "chr1", "chr1", "chr2"], "position": [100, 550, 600, 700], "score": [3.0, 5.0, 4.0, 9.0]}
)


@pytest.fixture
def peaks():
    return AnnData(np.ones((2, 4), dtype=np.float32), var=pd.DataFrame(index=NAMES))


@pytest.fixture(scope="module")
def simulated():
    return simulate_chipexo(n_sites=60, size=300_000, chroms=("chr1", "chr2"), background=5)


@pytest.fixture
def wide(simulated):
    names = [f"{c}:{s}-{s + 500}" for c in ("chr1", "chr2") for s in range(0, 300_000, 1000)]
    return AnnData(np.ones((2, len(names)), dtype=np.float32), var=pd.DataFrame(index=names))


def test_a_peak_has_the_score_of_its_best_site(peaks):
    assert td.pp.chipexo_sites(peaks, tf="CTCF", sites=SITES) is None
    evidence = peaks.varm["chipexo"]
    assert evidence["CTCF"].tolist() == [5, 5, 0, 0]  # 550 lies in both, 600 past the end of the first
    assert evidence["CTCF"].dtype == np.float32
    table = peaks.uns["chipexo"]["sites"]
    assert table["peak"].astype(object).where(table["peak"].notna(), None).tolist() == [
        *(NAMES[0], NAMES[0], NAMES[1]),
        None,
    ]
    assert table["tf"].tolist() == ["CTCF"] * 4
    assert table["pvalue"].isna().all()
    params = peaks.uns["chipexo"]["params"]["CTCF"]
    assert params == {"score": "score", "n_sites": 4, "n_sites_in_peaks": 3, "n_peaks": 2}


def test_called_sites_are_those_of_the_genome_function(wide, simulated):
    td.pp.chipexo_sites(wide, simulated.tags, tf="A")
    found = td.genome.call_chipexo_sites(simulated.tags)
    table = wide.uns["chipexo"]["sites"]
    assert table["position"].tolist() == found.sites["position"].tolist()
    assert wide.uns["chipexo"]["params"]["A"]["footprint"] == found.params["footprint"]
    for name, score in wide.varm["chipexo"]["A"].items():
        chrom, start = name.split("-")[0].split(":")
        here = found.sites[
            (found.sites["chrom"] == chrom) & found.sites["position"].between(int(start), int(start) + 499)
        ]
        assert score == np.float32(here["score"].max() if len(here) else 0)
    assert (wide.varm["chipexo"]["A"] > 0).sum() > 10
    residual = wide.uns["chipexo"]["residual"]
    assert residual["chrom"].tolist() == ["chr1", "chr2", "total"]
    assert residual["n_sites"].iloc[2] == len(found.sites)
    taken = td.pp.chipexo_sites(wide, tf="A", sites=found, copy=True)
    for slot in ("sites", "residual", "profile"):
        pd.testing.assert_frame_equal(taken.uns["chipexo"][slot], wide.uns["chipexo"][slot])


def test_factors_add_up_and_replace_themselves(wide, simulated):
    td.pp.chipexo_sites(wide, simulated.tags, tf="A")
    once = wide.copy()
    td.pp.chipexo_sites(wide, tf="B", sites=SITES)
    assert list(wide.varm["chipexo"]) == ["A", "B"]
    td.pp.chipexo_sites(wide, simulated.tags, tf="A", footprint=32)
    assert set(wide.varm["chipexo"]) == {"A", "B"}
    np.testing.assert_array_equal(wide.varm["chipexo"]["A"], once.varm["chipexo"]["A"])
    table = wide.uns["chipexo"]["sites"]
    assert (table["tf"] == "A").sum() == len(once.uns["chipexo"]["sites"])
    assert (table["tf"] == "B").sum() == 4
    assert len(wide.uns["chipexo"]["residual"]) == 3
    assert set(wide.uns["chipexo"]["profile"]["tf"]) == {"A"}
    assert set(wide.uns["chipexo"]["params"]) == {"A", "B"}


def test_written_and_read_it_goes_on(wide, simulated, tmp_path):
    td.pp.chipexo_sites(wide, simulated.tags, tf="A")
    td.pp.chipexo_sites(wide, tf="B", sites=SITES)
    wide.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    for slot in ("sites", "residual", "profile"):
        # words of a category are text or objects, as the file and pandas have it
        tables = again.uns["chipexo"][slot], wide.uns["chipexo"][slot]
        assert [kind.name for kind in tables[0].dtypes] == [kind.name for kind in tables[1].dtypes]
        pd.testing.assert_frame_equal(
            *(table.astype(dict.fromkeys(table.select_dtypes("category"), object)) for table in tables)
        )
    td.pp.chipexo_sites(again, simulated.tags, tf="C")
    np.testing.assert_array_equal(again.varm["chipexo"]["C"], again.varm["chipexo"]["A"])


def test_given_sites_with_tags_have_a_profile(wide, simulated):
    td.pp.chipexo_sites(wide, [simulated.tags, simulated.tags], tf="A", sites=simulated.sites)
    profile = wide.uns["chipexo"]["profile"].set_index("offset")
    assert profile["plus"].idxmax() in {-17, -16, -15}
    assert profile["plus"].sum() > 15  # of both replicates
    assert len(wide.uns["chipexo"]["residual"]) == 0


def test_chromosomes_are_named_as_in_the_peaks(peaks, caplog):
    td.pp.chipexo_sites(peaks, tf="X", sites=SITES.assign(chrom=["1", "1", "1", "2"]))
    assert peaks.varm["chipexo"]["X"].tolist() == [5, 5, 0, 0]
    assert peaks.uns["chipexo"]["sites"]["chrom"].tolist() == ["chr1", "chr1", "chr1", "chr2"]
    assert "renamed as in the peaks" in caplog.text


def test_sites_outside_of_all_peaks_are_kept(peaks, caplog):
    td.pp.chipexo_sites(peaks, tf="X", sites=pd.DataFrame({"chrom": ["chr1"], "position": [5000]}))
    assert peaks.varm["chipexo"]["X"].sum() == 0
    assert len(peaks.uns["chipexo"]["sites"]) == 1
    assert "none of the 1 sites of X lies in a peak" in caplog.text


def test_no_sites_at_all(wide):
    tags = pd.DataFrame({"chrom": "chr1", "position": [10, 40], "strand": ["+", "-"]})
    td.pp.chipexo_sites(wide, tags, tf="X", footprint=30)
    assert wide.varm["chipexo"]["X"].sum() == 0
    assert len(wide.uns["chipexo"]["sites"]) == 0
    td.pp.chipexo_sites(wide, tf="Y", sites=SITES)
    assert len(wide.uns["chipexo"]["sites"]) == 4


def test_a_mudata_has_it_on_its_accessibility(peaks):
    from sctandem._compat import new_mudata

    mdata = new_mudata({"acc": peaks, "rna": AnnData(np.ones((2, 3), dtype=np.float32))})
    copied = td.pp.chipexo_sites(mdata, tf="X", sites=SITES, modalities={"atac": "acc"}, key_added="exo", copy=True)
    assert copied["acc"].varm["exo"]["X"].tolist() == [5, 5, 0, 0]
    assert "exo" not in mdata["acc"].varm
    assert "exo" not in mdata["acc"].uns
    with pytest.raises(KeyError, match="no modality 'atac'"):
        td.pp.chipexo_sites(mdata, tf="X", sites=SITES)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tf": "X"}, ValueError, "Give tags"),
        ({"tf": "A/B", "sites": SITES}, ValueError, "without a slash"),
        ({"tf": "", "sites": SITES}, ValueError, "without a slash"),
        ({"tf": 3, "sites": SITES}, TypeError, "tf must be a str"),
        ({"tf": "X", "sites": SITES.assign(chrom="scaffold")}, ValueError, "share no chromosome: .*'scaffold'"),
        ({"tf": "X", "sites": "no.bed"}, FileNotFoundError, "is not a file"),
        ({"tf": "X", "sites": SITES.assign(position=-1)}, ValueError, "impossible coordinates"),
        ({"tf": "X", "sites": SITES, "key_added": "a/b"}, ValueError, "key_added='a/b'"),
    ],
)
def test_bad_input_leaves_the_object_alone(peaks, options, error, message):
    td.pp.chipexo_sites(peaks, tf="Z", sites=SITES)
    before = peaks.copy()
    with pytest.raises(error, match=message):
        td.pp.chipexo_sites(peaks, **options)
    pd.testing.assert_frame_equal(peaks.varm["chipexo"], before.varm["chipexo"])
    assert set(peaks.uns) == {"chipexo"}
    pd.testing.assert_frame_equal(peaks.uns["chipexo"]["sites"], before.uns["chipexo"]["sites"])


def test_unstranded_tags_leave_the_object_alone(peaks, simulated):
    with pytest.raises(ValueError, match="on the \\+ strand"):
        td.pp.chipexo_sites(peaks, simulated.tags.assign(strand="+"), tf="X")
    with pytest.raises(ValueError, match="on the \\+ strand"):
        td.pp.chipexo_sites(peaks, simulated.tags.assign(strand="+"), tf="X", sites=SITES)
    assert not len(peaks.uns)
    assert not len(peaks.varm)


def test_slots_of_others_are_not_overwritten(peaks):
    peaks.varm["chipexo"] = np.ones((4, 2))
    with pytest.raises(ValueError, match="that pp.chipexo_sites has not written"):
        td.pp.chipexo_sites(peaks, tf="X", sites=SITES)
    with pytest.raises(ValueError, match="has no peaks"):
        td.pp.chipexo_sites(AnnData(np.ones((2, 0), dtype=np.float32)), tf="X", sites=SITES)
    with pytest.raises(TypeError, match="adata must be an AnnData"):
        td.pp.chipexo_sites(SITES, tf="X", sites=SITES)
