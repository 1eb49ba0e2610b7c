"""What newcomers give by mistake: the message names the slot, the value and what to do, and the object stays as it was."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem._check_arguments import listed, shown
from sctandem.get._values import as_groups
from sctandem.pl import _knockout as pl_knockout


@pytest.fixture(scope="module")
def mdata():
    return td.datasets.simulate_multiome(60, 40, 300, rng=0)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text(">chr1\n" + "ACGT" * 100 + "\n")
    return path


def slots(data) -> tuple[str, ...]:
    return tuple(str(sorted(map(str, getattr(data, name)))) for name in ("obs", "obsm", "varm", "uns", "var"))


def test_long_values_are_written_on_one_line(mdata):
    assert "\n" not in shown(mdata)
    assert "\n" not in shown(pd.DataFrame({"a": range(50)}))
    assert len(shown(mdata)) <= 80
    assert shown("text") == "'text'"


def test_none_among_options_is_no_text():
    assert listed([None, "cermak"]) == "None, 'cermak'"


@pytest.mark.parametrize("function", [td.tl.regulatory_graph, td.tl.differential_expression])
def test_swapped_arguments(mdata, function):
    with pytest.raises(TypeError, match=r"AnnData"):
        function(["G0001"], mdata, "donor") if function is td.tl.differential_expression else function(["G0001"], mdata)


def test_what_comes_first_is_named(mdata):
    with pytest.raises(TypeError, match=r"data must be an AnnData or a MuData, got list: \['G0001'\]"):
        td.tl.regulatory_graph(["G0001"], mdata)


def test_measurements_are_no_groups(mdata, fasta):
    slot = re.escape("mdata.obs['pseudotime']")
    with pytest.raises(ValueError, match=rf"{slot} holds numbers \(for example .*pd\.qcut\({slot}, 4\)"):
        td.tl.design_talens(mdata, "chr1:10-300", fasta, group=("pseudotime", "0.5"))
    with pytest.raises(ValueError, match=r"obs\['pseudotime'\] holds numbers"):
        td.tl.regulatory_graph(mdata, ["G0001"], groupby="pseudotime")
    with pytest.raises(ValueError, match=r"adata\.obs\['pseudotime'\] holds numbers"):
        td.tl.regulatory_graph(mdata["rna"], ["G0001"], groupby="pseudotime")


@pytest.mark.parametrize(
    "values",
    [[1.0, 2.0, np.nan], [1, 2, 1], ["a", "b", None], [True, False, True]],
    ids=["whole", "int", "text", "bool"],
)
def test_whole_numbers_and_texts_are_groups(values):
    groups = as_groups(pd.Series(values), "adata.obs['leiden']")
    assert groups.cat.categories.size == 2
    assert groups.isna().sum() == pd.isna(pd.Series(values)).sum()


def test_genes_are_no_peaks(mdata, fasta):
    rna, before = mdata["rna"], slots(mdata["rna"])
    tags = pd.DataFrame({"chrom": ["chr1"], "position": [5], "strand": ["+"], "count": [1]})
    for call in (
        lambda: td.tl.design_talens(rna, "chr1:10-300", fasta),
        lambda: td.pp.chipexo_sites(rna, tags, tf="CTCF"),
        lambda: td.pp.nucleotide_spectrum(rna, fasta),
    ):
        with pytest.raises(ValueError, match=r"adata has 40 genes among its 40 variables, the first is 'G0001'"):
            call()
    assert slots(rna) == before


def test_a_genome_in_the_place_of_targets(mdata, fasta):
    with pytest.raises(ValueError, match=r"is a file: targets come before the genome"):
        td.tl.design_talens(mdata, str(fasta), "chr1:10-300")


def test_rules_are_named(mdata, fasta):
    with pytest.raises(ValueError, match=r"rules has 'guidline', which is none of 'guanine'"):
        td.tl.design_talens(mdata, "chr1:10-300", fasta, rules={"guidline": "streubel"})
    with pytest.raises(ValueError, match=r"choose one of None, 'streubel', 'cermak'"):
        td.tl.design_talens(mdata, "chr1:10-300", fasta, rules={"guidelines": "strebel"})


def test_orders_need_a_folder(tmp_path):
    table = pd.DataFrame(
        {"pair": ["T1"], "left_rvds": ["NI"], "right_rvds": ["HD"], "left_target": ["A"], "right_target": ["C"]}
    )
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*absent'; make it first"):
        td.genome.write_talens(table, tmp_path / "absent" / "order.csv")
    assert not list(tmp_path.iterdir())


def test_regulators(mdata):
    rna = mdata["rna"]
    graph = td.tl.regulatory_graph
    with pytest.raises(TypeError, match=r"tfs must be a list of gene names.*got a DataFrame"):
        graph(rna, pd.DataFrame({"gene": ["G0001"]}))
    with pytest.raises(ValueError, match=r"tfs is empty"):
        graph(rna, [])
    with pytest.raises(ValueError, match=r"is the other way round"):
        graph(rna, {"TF01": "G0001"})
    with pytest.raises(ValueError, match=r"n_states=1 makes 1 groups of 60 cells"):
        graph(rna, ["G0001", "G0002"], None, n_states=1)
    constant = AnnData(np.ones((30, 2)), var=pd.DataFrame(index=["A", "B"]))
    with pytest.raises(ValueError, match=r"no regulator is left: 1 \('A'\) are the same in all cells\."):
        graph(constant, ["A"], None)


def test_motifs_of_other_names_are_shown(mdata):
    data = mdata.copy()
    data.uns = {}
    td.pp.gene_windows(data)
    atac = data["atac"]
    atac.varm["motifs"] = sparse.csr_matrix(np.ones((atac.n_vars, 1)))
    atac.uns["motifs"] = {"names": ["PU.1"]}
    with pytest.raises(ValueError, match=r"The sites are of 'PU\.1'.*tfs=\{gene: name of its motif\}"):
        td.tl.regulatory_graph(data, ["G0001"])


def test_edges_of_names_in_another_case():
    adata = AnnData(shape=(2, 3))
    table = pd.DataFrame({"tf": ["SPI1"], "target": ["LYZ"], "weight": [1.0], "fdr": [0.01]})
    adata.uns["regulatory_graph"] = {"table": table}
    with pytest.raises(ValueError, match=r"tf: 'spi1' have no edges.*Is it 'SPI1'\?"):
        td.get.regulatory_graph(adata, "spi1")
    with pytest.raises(TypeError, match=r"tf must be an Iterable, got float: 0.05.*fdr=<number>"):
        td.get.regulatory_graph(adata, 0.05)


def test_one_terminal_group_is_no_list(mdata):
    adata = AnnData(obs=mdata["rna"].obs.copy(), obsm={"X_pca": np.random.default_rng(0).random((60, 3))})
    before = slots(adata)
    with pytest.raises(TypeError, match=r"ends go into a list: terminal=\[\('cell_type', 'A1'\), \.\.\.\]"):
        td.tl.waypoints(adata, ("cell_type", "stem"), ("cell_type", "A1"))
    assert slots(adata) == before


def test_one_strand_twice(tmp_path):
    path = tmp_path / "plus.bedgraph"
    path.write_text("chr1\t5\t6\t3\n")
    with pytest.raises(ValueError, match=r"path and minus are the same file"):
        td.io.read_chipexo(path, path)


def test_genes_of_a_bulk_in_another_case():
    rng = np.random.default_rng(0)
    names = [f"Gene{i}" for i in range(150)]
    reference = AnnData(
        sparse.csr_matrix(rng.poisson(2.0, (40, 150))),
        obs=pd.DataFrame({"type": ["a", "b"] * 20}, index=[f"c{i}" for i in range(40)]),
        var=pd.DataFrame(index=names),
    )
    bulk = AnnData(rng.poisson(50.0, (3, 150)).astype(float), var=pd.DataFrame(index=[name.upper() for name in names]))
    with pytest.raises(ValueError, match=r"0 genes in common.*Without regard to case they would fit"):
        td.tl.deconvolve(bulk, reference, "type", rng=0)
    bulk.var_names = [f"other{i}" for i in range(150)]
    with pytest.raises(ValueError, match=r"0 genes in common.*Use the same kind of names"):
        td.tl.deconvolve(bulk, reference, "type", rng=0)
    assert "rsd" not in bulk.uns


def test_a_reference_with_modalities(mdata):
    with pytest.raises(TypeError, match=r"got MuData\. Name its expression: mdata\['rna'\]"):
        td.tl.deconvolve(AnnData(np.ones((2, 3))), mdata, "cell_type")


def test_nothing_to_draw(monkeypatch, mdata):
    table = pd.DataFrame(
        {"element": ["dull", "good"], "gene": ["G", "G"], "group": ["a", "a"], "log2fc": [np.nan, -1.0], "reason": ["too few counts of the peak", ""]}
    )  # fmt: skip

    def read(_, element=None, *, key):
        return table if element is None else table[table["element"] == element]

    monkeypatch.setattr(pl_knockout, "read_changes", read)
    with pytest.raises(ValueError, match=r"too few counts of the peak\. Something is for 'good': name one"):
        td.pl.knockout(mdata, "dull")
