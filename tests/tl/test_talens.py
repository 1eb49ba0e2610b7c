"""Design of TALENs and their other places, on a small genome whose sites are known."""

import logging
import os
import shutil
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pyfaidx
import pytest
from matplotlib import pyplot as plt
from scipy import sparse

import sctandem as td
from sctandem.kernels._talens import RVD_COUNTS

DATA = Path(os.environ.get("SCTANDEM_DATA") or "/nonexistent")
COMPLEMENT = str.maketrans("ACGT", "TGCA")
CHROM = {"chr1": 4000, "chr2": 3000}
PEAKS = {"chr1:500-800": ("chr1", 500, 800), "far": ("chr1", 2000, 2300), "chr2:1000-1400": ("chr2", 1000, 1400)}
ALL = {"per_cut": None, "n_best": None}


def reverse_complement(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


@pytest.fixture
def genome():
    rng = np.random.default_rng(0)
    return {name: "".join(rng.choice(list("ACGT"), size=n)) for name, n in CHROM.items()}


@pytest.fixture
def fasta(genome, tmp_path):
    return write(tmp_path / "genome.fa", genome)


def write(path, genome):
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    return path


@pytest.fixture
def adata():
    """Three peaks; group a has the first open in 3 of 4 cells, group b the last in all cells."""
    counts = np.array([[2, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 3], [0, 0, 1]])
    peaks = pd.DataFrame(PEAKS.values(), columns=["chrom", "start", "end"], index=list(PEAKS))
    obs = pd.DataFrame({"cell_type": pd.Categorical(list("aaaabb"))}, index=[f"c{i}" for i in range(6)])
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=peaks)


@pytest.fixture
def genes():
    return pd.DataFrame({
        "chrom": ["chr1", "2"], "start": [600, 200], "end": [1500, 1200], "strand": ["+", "-"], "gene": ["G1", "G2"]
    })  # fmt: skip


def design(data, *args, **kwargs):
    td.tl.design_talens(data, *args, **kwargs)
    return td.get.talens(data)


# --- design -------------------------------------------------------------------------------------------------------------


def test_every_pair_of_a_region(adata, genome, fasta):
    """The whole table, rules off, against windows looked at one by one."""
    table = design(adata, "chr1:1,000-1,040", fasta, array=(12, 13), spacer=(14, 15), rules=ALL)
    bases = genome["chr1"]
    expected = set()
    for at in range(900, 1100):
        for left in (12, 13):
            for gap in (14, 15):
                for right in (12, 13):
                    last = at + left + gap + right
                    if bases[at - 1] == "T" and bases[last] == "A" and 1000 <= at + left + gap // 2 < 1040:
                        sites = bases[at : at + left], reverse_complement(bases[last - right : last])
                        rvds = [
                            " ".join({"A": "NI", "C": "HD", "G": "NN", "T": "NG"}[b] for b in site) for site in sites
                        ]
                        expected.add((at, last - 1, gap, *sites, *rvds))
    columns = ["left_start", "right_start", "spacer", "left_target", "right_target", "left_rvds", "right_rvds"]
    assert len(expected) > 20
    assert set(table[columns].itertuples(index=False, name=None)) == expected
    assert len(table) == len(expected) == adata.uns["talens"]["params"]["n_pairs"]
    assert table["pair"].tolist() == [f"TALEN{i + 1}" for i in range(len(table))]
    for row in table.head(5).itertuples():
        for side in ("left", "right"):
            rvds, site = getattr(row, f"{side}_rvds").split(), getattr(row, f"{side}_target")
            score = sum(
                -np.log(0.9 * RVD_COUNTS[rvd]["ACGT".index(base)] / sum(RVD_COUNTS[rvd]) + 0.025)
                for rvd, base in zip(rvds, site, strict=True)
            )
            assert getattr(row, f"{side}_score") == pytest.approx(score)


def test_open_peaks_of_the_group_come_first(adata, fasta):
    targets = list(PEAKS)
    for group, order, shares in (
        ("a", ["chr1:500-800", "far", "chr2:1000-1400"], [0.75, 0.25, 0.25]),
        ("b", ["chr2:1000-1400", "chr1:500-800", "far"], [1.0, 0.0, 0.0]),
    ):
        table = design(adata, targets, fasta, group=("cell_type", group), rules={"n_best": 3})
        assert len(table) == 9
        assert dict(zip(table["target"], table["accessibility"], strict=True)) == dict(zip(order, shares, strict=True))
        assert table["target"].iloc[0] == order[0]
        assert table["accessibility"].is_monotonic_decreasing
        assert (table["peak"] == table["target"]).all()
    assert set(design(adata, targets, fasta)["accessibility"]) == {0.5, 1 / 6}


def test_order_within_a_peak(adata, fasta):
    table = design(adata, "chr1:500-800", fasta, rules=ALL)
    same = table[table["streubel"]]
    assert table["streubel"].is_monotonic_decreasing
    assert same["expected_places"].is_monotonic_increasing
    spread = design(adata, "chr1:500-800", fasta)
    assert spread["cut"].is_unique
    first = table.drop_duplicates("cut").head(50).drop(columns="pair").reset_index(drop=True)
    pd.testing.assert_frame_equal(spread.drop(columns="pair"), first)
    two = design(adata, "chr1:500-800", fasta, rules={"per_cut": 2, "n_best": None})
    assert two["cut"].value_counts().max() == 2


def test_rules(adata, fasta, genome, tmp_path):
    every = design(adata, "far", fasta, rules=ALL)
    strict = design(adata, "far", fasta, rules={**ALL, "guidelines": "streubel"})
    assert len(strict) == every["streubel"].sum() < len(every)
    specific = design(adata, "far", fasta, rules={**ALL, "guanine": "NH"})
    assert len(specific) == len(every)
    assert "NH" in specific["left_rvds"].iloc[0]
    assert not specific["left_rvds"].str.contains("NN").any()
    (tmp_path / "v.bed").write_text("1\t2100\t2101\n")  # named otherwise than in the data
    free = design(adata, "far", fasta, rules={**ALL, "avoid": tmp_path / "v.bed"})
    right_first = every["right_start"] + 1 - every["right_target"].str.len()
    left_end = every["left_start"] + every["left_target"].str.len()
    hit = ((every["left_start"] - 1 <= 2100) & (left_end > 2100)) | (
        (right_first <= 2100) & (every["right_start"] + 1 >= 2100)
    )
    assert 0 < hit.sum() < len(every)
    assert len(free) == (~hit).sum()
    assert adata.uns["talens"]["params"]["n_variants"] == 1


def test_targets_by_name(adata, fasta, genes):
    table = design(adata, ["G1", "G2", "far", "1:3000-3300"], fasta, genes=genes)
    ranges = table.groupby("target")["cut"].agg(["min", "max"])
    for target, low, high in (("G1", 100, 1101), ("G2", 699, 1700), ("far", 2000, 2300), ("1:3000-3300", 3000, 3300)):
        assert low <= ranges.loc[target, "min"] <= ranges.loc[target, "max"] < high
    assert table.groupby("target")["sequence"].first().to_dict() == {
        "G1": "chr1", "G2": "chr2", "far": "chr1", "1:3000-3300": "chr1"
    }  # fmt: skip
    outside = table[table["target"] == "1:3000-3300"]
    assert set(outside["peak"]) == {""}
    assert set(outside["accessibility"]) == {0.0}


def test_a_mudata_with_and_without_accessibility(adata, fasta, genes):
    rna = ad.AnnData(np.ones((6, 2), dtype=int), obs=adata.obs.copy(), var=genes.set_index("gene"))
    with_atac = mudata.MuData({"rna": rna, "peaks": adata})
    td.tl.design_talens(with_atac, ["far", "G1"], fasta, group=("cell_type", "a"), modalities={"atac": "peaks"})
    first = with_atac.uns["talens"]["table"]
    assert set(first["target"]) == {"far", "G1"}
    without = mudata.MuData({"rna": rna})
    table = design(without, ["G1", "chr1:2000-2300"], fasta)
    assert table["accessibility"].isna().all()
    with pytest.raises(ValueError, match="'far' is no peak"):
        td.tl.design_talens(without, "far", fasta)
    td.tl.talen_offtargets(without, fasta)
    assert "peak" not in td.get.talens(without, what="offtargets").columns
    plt.close(td.pl.talens(without))


def test_copy_and_files(adata, fasta, tmp_path, genes):
    copied = td.tl.design_talens(adata, "far", fasta, genes=genes, key_added="mine", copy=True)
    assert not adata.uns
    second = td.tl.talen_offtargets(copied, fasta, genes, key="mine", copy=True)
    assert set(copied.uns["mine"]) == {"params", "table", "loci"}
    second.write(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    for what in ("table", "offtargets", "safety"):
        pd.testing.assert_frame_equal(
            td.get.talens(back, what=what, key="mine"), td.get.talens(second, what=what, key="mine"), check_dtype=False
        )


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the multiome and the genome in SCTANDEM_DATA")
def test_sites_of_a_real_genome(tmp_path):
    """What pyfaidx reads at the positions of the table is the targets."""
    genome = DATA / "genome" / "hg38_chr2_1-2333275.fa.gz"
    mdata = mudata.read(DATA / "multiome" / "pbmc10k_multiome_40cells_fullfeatures.h5mu")
    table = design(mdata, ["chr2:675385-678665", "TMEM18"], genome, genes=DATA / "genome" / "hg38_genes_gencode43.bed")
    own = shutil.copy(genome, tmp_path / "genome.fa.gz")  # pyfaidx writes its index beside the file
    chrom = pyfaidx.Fasta(str(own), as_raw=True, sequence_always_upper=True)["chr2"]
    assert set(table["peak"]) == {"chr2:675385-678665"}
    assert table["expected_places"].median() < 1
    for row in table.itertuples():
        left_end = row.left_start + len(row.left_target)
        whole = chrom[row.left_start - 1 : row.right_start + 2]
        assert whole == "T" + row.left_target + row.spacer_sequence + reverse_complement(row.right_target) + "A"
        assert row.cut == left_end + row.spacer // 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"targets": "nowhere"}, ValueError, "'nowhere' is no peak, no region .* There is no annotation of genes"),
        ({"targets": []}, ValueError, "targets must be names"),
        ({"targets": "chr1:900-800"}, ValueError, "must end after its start"),
        ({"targets": "chr3:100-300"}, ValueError, "no sequence 'chr3', where 'chr3:100-300' lies"),
        ({"targets": "chr1:3900-4100"}, ValueError, r"beyond the end of 'chr1' .*4000 bp"),
        ({"targets": "chr1:0-10"}, ValueError, "No pair of TALENs cuts in 'chr1:0-10': both halves need a T"),
        ({"targets": 5}, ValueError, "targets must be names of peaks or genes, .* got 5"),
        ({"array": (20, 15)}, ValueError, "reversed"),
        ({"array": (5, 15)}, ValueError, "between 10 and 35"),
        ({"spacer": (20, 15)}, ValueError, "reversed"),
        ({"rules": {"guanine": "NK"}}, ValueError, "choose one of 'NN', 'NH'"),
        ({"rules": {"gunaine": "NN"}}, ValueError, "rules has 'gunaine', which is none of"),
        ({"rules": {"n_best": 0}}, ValueError, "above 0"),
        ({"rules": "NH"}, TypeError, "rules must be a Mapping"),
        ({"group": "a"}, ValueError, "a column of obs and one of its groups"),
        ({"group": ("cell_type", "c")}, ValueError, "'c' is no group of 'cell_type'; it has 'a', 'b'"),
        ({"group": ("type", "c")}, KeyError, "no column 'type'"),
        ({"fasta": "none.fa"}, FileNotFoundError, "not a file"),
        ({"key_added": "a/b"}, ValueError, "slash"),
    ],
)
def test_bad_designs_write_nothing(adata, fasta, change, error, message):
    arguments = {"targets": "far", "fasta": fasta} | change
    with pytest.raises(error, match=message):
        td.tl.design_talens(adata, arguments.pop("targets"), arguments.pop("fasta"), **arguments)
    assert not adata.uns


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("ACG", "no T on its upper strand, and both halves need a T"),
        ("TCG", "no T on its lower strand"),
        ("N", "all its bases are N"),
    ],
)
def test_no_upstream_t_anywhere(adata, tmp_path, unit, message):
    path = write(tmp_path / "c.fa", {name: unit * n for name, n in CHROM.items()})
    with pytest.raises(ValueError, match=message):
        td.tl.design_talens(adata, "far", path)


def test_a_sequence_shorter_than_a_pair(adata, tmp_path):
    path = write(tmp_path / "c.fa", {"chr1": "TACGATTACA", "chr2": "ACGT"})
    with pytest.raises(ValueError, match="it has 10 bp, and the shortest pair needs 47"):
        td.tl.design_talens(adata, "chr1:2-9", path)


def test_gene_names_that_come_close(adata, fasta, genes):
    with pytest.raises(ValueError, match=r"'g1' is no peak.* Is it 'G1'\?"):
        td.tl.design_talens(adata, "g1", fasta, genes=genes)


# --- how specific arrays are -------------------------------------------------------------------------------------------


def test_expected_places_are_those_of_random_sequence(adata, fasta, tmp_path):
    table = design(adata, "far", fasta, array=(12, 13), rules=ALL)
    rng = np.random.default_rng(1)
    bases = np.array(list("ACGT"))[rng.choice(4, p=[0.295, 0.205, 0.205, 0.295], size=2_000_000)]
    path = write(tmp_path / "random.fa", {"r": "".join(bases)})
    for row in table.nlargest(3, "expected_places").itertuples():
        expected = row.expected_places * 2e6 / 1e9
        n = td.genome.scan_talens(path, (row.left_rvds, row.right_rvds)).attrs["n_found"]
        assert expected > 100
        assert n == pytest.approx(expected, rel=0.3)


# --- other places ------------------------------------------------------------------------------------------------------


def test_planted_places(adata, genome, tmp_path, genes, caplog):
    """A second copy with two mismatches in an exon, and one of the left half facing itself in a peak of chr2."""
    gtf = tmp_path / "a.gtf"
    gtf.write_text(
        'chr1\tx\tgene\t601\t1500\t.\t+\t.\tgene_name "G1"; gene_id "G1";\n'
        'chr1\tx\texon\t1301\t1500\t.\t+\t.\tgene_name "G1"; gene_id "G1";\n'
        '2\tx\tgene\t201\t1200\t.\t-\t.\tgene_name "G2"; gene_id "G2";\n'
    )
    fasta = write(tmp_path / "a.fa", genome)
    pair = design(adata, "far", fasta, array=(16, 18)).iloc[0]
    left, right = pair["left_target"], pair["right_target"]
    changed = "".join(
        {"A": "C", "C": "A", "G": "T", "T": "C"}[base] if at in {7, 9} else base for at, base in enumerate(left)
    )
    gap = "G" * 18
    plant = {
        ("chr1", 1350): "T" + changed + gap + reverse_complement(right) + "A",
        ("chr2", 1085): "T" + left + gap + reverse_complement(left) + "A",
    }
    planted = dict(genome)
    for (name, at), site in plant.items():
        planted[name] = planted[name][:at] + site + planted[name][at + len(site) :]
    fasta = write(tmp_path / "b.fa", planted)
    td.tl.talen_offtargets(adata, fasta, gtf, groupby="cell_type")
    places = td.get.talens(adata, what="offtargets")
    assert places["on_target"].tolist() == [True] + [False] * (len(places) - 1)
    assert (
        places.loc[0, ["sequence", "left_start", "right_start"]].tolist()
        == pair[["sequence", "left_start", "right_start"]].tolist()
    )
    assert places.loc[0, ["mismatches", "relative_score"]].tolist() == [0, pytest.approx(1.0)]
    assert places["relative_score"].iloc[1:].is_monotonic_increasing
    copy = places[places["left_start"] == 1351].iloc[0]
    assert copy[["left", "right", "mismatches", "place", "gene"]].tolist() == ["RVD1", "RVD2", 2, "exon", "G1"]
    assert copy["cut"] == 1351 + len(left) + 9
    assert copy["distance"] == copy["cut"] - 600
    homo = places[(places["left_start"] == 1086) & (places["sequence"] == "chr2")].iloc[0]
    assert homo[["left", "right", "mismatches", "peak"]].tolist() == ["RVD1", "RVD1", 0, "chr2:1000-1400"]
    assert homo[["open_a", "open_b"]].tolist() == [0.25, 1.0]
    assert homo[["place", "gene"]].tolist() == ["promoter", "G2"]
    assert homo["distance"] == 1199 - homo["cut"]
    safety = td.get.talens(adata, "TALEN1", what="safety").set_index("item")
    value = safety["value"]
    assert value["target found"] == 1
    assert value["other places"] == len(places) - 1
    assert value["no mismatch"] == 1
    assert value["near-perfect"] == 2
    assert value["homodimers"] == (places["left"].astype(str) == places["right"].astype(str)).sum()
    assert value["places in exon"] == (places["place"] == "exon").sum()
    assert value["places open in b"] == (places["open_b"] >= 0.05).sum()
    assert value["best score open in b"] == pytest.approx(1.0)
    assert "chr2" in safety.loc["best score open in b", "detail"]
    assert "no clinical advice" in safety.loc["use", "detail"]
    assert len(safety.loc["not modelled"]) > 3
    assert not caplog.records


def test_a_target_that_is_not_there_is_told(adata, fasta, genome, tmp_path, caplog):
    design(adata, "far", fasta)
    other = write(tmp_path / "other.fa", {"chr1": genome["chr2"]})
    with caplog.at_level(logging.WARNING):
        td.tl.talen_offtargets(adata, other, n_pairs=2)
    assert "the site of TALEN1 was not found again in other.fa" in caplog.text
    assert set(td.get.talens(adata, what="safety")["pair"]) == {"TALEN1", "TALEN2"}


def test_places_need_a_design_and_leave_it_on_errors(adata, fasta):
    with pytest.raises(KeyError, match=r"uns has no 'talens'; run `sctandem.tl.design_talens"):
        td.tl.talen_offtargets(adata, fasta)
    design(adata, "far", fasta)
    before = set(adata.uns["talens"])
    for change, error, message in (
        ({"spacer": (30, 15)}, ValueError, "reversed"),
        ({"n_pairs": 0}, ValueError, "above 0"),
        ({"groupby": "type"}, KeyError, "no column 'type'"),
    ):
        with pytest.raises(error, match=message):
            td.tl.talen_offtargets(adata, fasta, **change)
    assert set(adata.uns["talens"]) == before
    with pytest.raises(KeyError, match="no 'offtargets'"):
        td.get.talens(adata, what="offtargets")
    with pytest.raises(KeyError, match="no pair 'TALEN99'"):
        td.get.talens(adata, "TALEN99")
    with pytest.raises(ValueError, match="what='all' is not known"):
        td.get.talens(adata, what="all")


# --- plot --------------------------------------------------------------------------------------------------------------


def test_plot(adata, fasta, genes):
    table = design(adata, ["far", "G1"], fasta, genes=genes, spacer=(15, 16))
    pair = table[table["target"] == "G1"].iloc[-1]
    figure = td.pl.talens(adata, pair["pair"])
    top, bottom = figure.axes
    texts = [text.get_text() for text in top.texts + bottom.texts]
    assert {pair["pair"], "G1", f"spacer {pair['spacer']} bp"} <= set(texts)
    letters = {
        round(text.get_position()[0]): text.get_text().upper()
        for text in bottom.texts
        if text.get_position()[1] == 0.16
    }
    upper = "".join(letters[at] for at in sorted(letters))
    assert upper == "T" + pair["left_target"] + pair["spacer_sequence"] + reverse_complement(pair["right_target"]) + "A"
    repeats = [text.get_text() for text in bottom.texts if text.get_rotation() == 90]
    assert repeats == [*pair["left_rvds"].split(), *pair["right_rvds"].split()]
    assert top.get_xlim() == (100 - 2000, 1101 + 2000)
    plt.close(figure)
    figure = td.pl.talens(adata, context=300)
    assert table["pair"].iloc[0] in {text.get_text() for text in figure.axes[0].texts}
    plt.close(figure)
    with pytest.raises(KeyError, match="no pair 'TALEN0'"):
        td.pl.talens(adata, "TALEN0")
