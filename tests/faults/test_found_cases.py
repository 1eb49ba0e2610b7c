"""What the drawn cases have found, each in its simplest form: an error that names the place, and nothing that floods or changes."""

from __future__ import annotations

import warnings

import fault_objects
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from fault_slots import fingerprint
from scipy import sparse

import sctandem as td
from sctandem._compat import copy_mudata
from sctandem.genome._talen_design import read_variants
from sctandem.get._values import as_groups
from sctandem.kernels._kmeans import kmeans
from sctandem.model import RSD, DeepDE, RegulatoryGraph, SequenceGAN
from sctandem.model.base._manager import marks_as_before


@pytest.fixture(scope="module")
def mdata():
    return td.datasets.simulate_multiome(60, 40, 300, rng=0)


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(">chr1\n" + "ACGT" * 100 + "\n")
    return path


def cells(n: int = 60, n_genes: int = 30) -> AnnData:
    adata = AnnData(np.random.default_rng(0).poisson(3.0, (n, n_genes)).astype(np.float32))
    adata.obs["type"], adata.obs["donor"] = "same", "d0"
    return adata


def result() -> AnnData:
    """Results that are drawn or read, as far as what is wrong here is looked at."""
    adata = cells(6)
    for name in ("rsd_fit", "rsd_unknown"):
        adata.obs[name] = 0.5
    shares = pd.DataFrame({"B": 0.5, "T": 0.5}, index=adata.obs_names)
    for name in ("fractions", "low", "high", "rna"):
        adata.obsm[f"rsd_{name}"] = shares
    return adata


@pytest.mark.parametrize("peaks", [np.nan, True, 3])
def test_names_of_peaks_that_are_none(mdata, peaks):
    with pytest.raises(TypeError, match="peaks must be a list of names, got"):
        td.tl.knockout(mdata, peaks)


def test_data_without_cells_have_no_openness(mdata, fasta):
    with pytest.raises(ValueError, match=r"openness of the peaks of adata needs at least 1 cells, but there are 0"):
        td.tl.design_talens(mdata["atac"][:0].copy(), "chr1:10-300", fasta)


def test_a_key_is_called_by_the_name_of_its_argument(mdata, fasta):
    with pytest.raises(TypeError, match="^key must be a str, got dict"):
        td.tl.talen_offtargets(mdata, fasta, key={})
    with pytest.raises(ValueError, match="^key='a/b' must be a name without a slash"):
        td.tl.talen_offtargets(mdata, fasta, key="a/b")


def test_columns_that_are_there_twice(mdata):
    genes = mdata["rna"].var[["chrom", "start", "end"]]
    for column in genes:
        twice, said = pd.concat([genes, genes[[column]]], axis=1), f"has several columns of one name: '{column}'"
        with pytest.raises(ValueError, match=f"^genes {said}"):
            td.genome.read_genes(twice)
        with pytest.raises(ValueError, match=f"^avoid {said}"):
            read_variants(twice)


def test_no_features_to_simulate():
    with pytest.raises(ValueError, match="adata has no features"):
        td.tl.simulate(cells(n_genes=0), 5)


def test_capsules_without_genes():
    with pytest.raises(ValueError, match="adata has no features"):
        td.pl.capsules(cells(n_genes=0))


@pytest.mark.parametrize("bins", [0, 10**9])
def test_bins_that_nobody_could_see(mdata, bins):
    with pytest.raises(ValueError, match=f"bins={bins} is not an integer between 1 and 1000"):
        td.pl.expression_skill(mdata, bins=bins)


@pytest.mark.parametrize("n_random", [0, 10**9])
def test_more_random_sets_than_memory_holds(mdata, n_random):
    with pytest.raises(ValueError, match=f"n_random={n_random} is not an integer between 1 and 100000"):
        td.tl.programme_skill(mdata, {"first": mdata["rna"].var_names[:5]}, n_random=n_random)


def test_more_cells_than_memory_holds():
    with pytest.raises(ValueError, match="n_cells=1000000000 is not an integer between 1 and 10000000"):
        td.datasets.simulate_multiome(10**9)


def test_arguments_of_figures_and_tables():
    with pytest.raises(ValueError, match=r"key=\[\] is empty: name one result or several"):
        td.pl.robustness(cells(), key=[])
    with pytest.raises(TypeError, match="sample must be a str, got list"):
        td.pl.deconvolution_fit(result(), ["s0"])
    with pytest.raises(TypeError, match="obs must be a list of names, got NoneType"):
        td.get.fractions(result(), None)


def test_a_table_is_no_multiome(mdata):
    with pytest.raises(TypeError, match="mdata is a DataFrame, not a MuData"):
        RegulatoryGraph.setup_mudata(mdata.obs)


@pytest.mark.parametrize(
    "load", [DeepDE.load, SequenceGAN.load, DeepDE.load_registry], ids=["model", "sequences", "registry"]
)
def test_a_folder_of_a_model_is_a_path(load):
    with pytest.raises(TypeError, match="dir_path must be a path to the folder of a model, got NoneType"):
        load(None)


def test_damaged_data_of_a_model_are_named(tmp_path):
    adata = cells()
    DeepDE.setup_anndata(adata, "donor")
    model = DeepDE(adata)
    model.is_trained = True
    model.save(tmp_path / "model", save_anndata=True)
    file = tmp_path / "model" / "adata.h5ad"
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(
        ValueError, match=r"adata\.h5ad' cannot be read as the data that were saved with the model: it is damaged"
    ):
        DeepDE.load(tmp_path / "model", accelerator="cpu")
    with pytest.raises(TypeError, match="adata must be an AnnData or a MuData, got ndarray"):
        DeepDE.load(tmp_path / "model", np.ones((3, 3)), accelerator="cpu")


def test_models_need_cells():
    adata = cells(0)
    with pytest.raises(ValueError, match="DeepDE needs at least 1 cells, but there are 0"):
        DeepDE.setup_anndata(adata, "donor")
    assert not adata.uns
    assert list(adata.obs) == ["type", "donor"]


def test_a_reference_of_one_type_is_named_by_its_column():
    adata = cells()
    RSD.setup_anndata(adata, "type")
    with pytest.raises(ValueError, match=r"adata.obs\['type'\] has one type only \('same'\)"):
        RSD(adata)


def test_early_stopping_is_yes_or_no():
    adata = cells()
    adata.obs["donor"] = ["d0", "d1"] * 30
    DeepDE.setup_anndata(adata, "donor")
    with pytest.raises(TypeError, match="early_stopping must be a bool, got dict"):
        DeepDE(adata).train(1, early_stopping={}, progress=False)


def test_more_cells_at_a_time_than_memory_holds():
    adata = cells()
    adata.obs["donor"], adata.obs["type"] = ["d0", "d1"] * 30, ["a"] * 30 + ["b"] * 30
    adata.X[:30, :15] *= 9
    RSD.setup_anndata(adata, "type")
    with pytest.raises(ValueError, match="batch_size=1000000000 is not an integer between 2 and 100000"):
        RSD(adata).train(1, batch_size=10**9, progress=False)
    DeepDE.setup_anndata(adata, "donor")
    model = DeepDE(adata)
    model.is_trained = True
    with pytest.raises(ValueError, match="n_replay=1000000000 is not an integer between 1 and 1000000"):
        model.partial_fit(adata, n_replay=10**9)


def test_a_number_and_its_text_are_one_group():
    groups = as_groups(pd.Series([1, "1", 2, None, "2"], dtype=object), "adata.obs['leiden']")
    assert list(groups.cat.categories) == ["1", "2"]
    assert groups.cat.codes.tolist() == [0, 0, 1, -1, 1]


def test_marks_keep_their_place():
    adata = cells()
    DeepDE.setup_anndata(adata, "donor")
    adata.uns["later"] = 1
    before, order = fingerprint(adata), list(adata.uns)

    def fails():
        with marks_as_before(adata):
            adata.uns["nothing"]

    with pytest.raises(KeyError, match="nothing"):
        fails()
    assert list(adata.uns) == order
    assert fingerprint(adata) == before


def test_points_that_coincide_are_clustered_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        centres, cluster = kmeans(
            np.repeat([[0.0, 0.0], [5.0, 5.0]], 20, axis=0), 8, n_steps=5, rng=np.random.default_rng(0)
        )
    np.testing.assert_allclose(centres[cluster[[0, -1]]], [[0, 0], [5, 5]])
    assert len(np.unique(cluster)) == 2


@pytest.mark.parametrize("matrix", [pd.DataFrame({"a": [1.0]}), np.ones((1, 2, 3)), sparse.csr_matrix([[1j]])])
def test_what_is_no_matrix_of_numbers(matrix):
    with pytest.raises(TypeError, match="^matrix must be a matrix of numbers, cells x features, got"):
        td.data.as_csr(matrix)


def test_components_that_do_not_belong_together():
    collection = fault_objects.collection()
    whole = td.data.principal_components(collection, n_components=2)
    for wrong, error, said in (
        (
            {"loadings": whole.loadings[:3]},
            ValueError,
            r"components\.loadings are of 3 genes, and components\.means of 40",
        ),
        ({"loadings": "text"}, TypeError, r"components\.loadings must be an array of numbers of 2 dimensions, got str"),
        ({"means": whole.means[:, None]}, TypeError, r"components\.means must be an array of numbers of 1 dimensions"),
        ({"means": whole.means * np.nan}, ValueError, r"components\.means holds NaN"),
    ):
        with pytest.raises(error, match=said):
            td.data.project(collection, whole._replace(**wrong))


def test_genes_without_counts_have_no_vectors():
    adata = cells()
    adata.X[:] = 0
    with pytest.raises(ValueError, match=r"^adata\.X holds nothing but zeros"):
        td.pp.embed_genes(adata, n_dims=2, rng=0)


def test_a_new_modality_leaves_the_columns_of_cells_as_they_were(mdata):
    """Of itself, mudata writes floats that happen to be whole as integers when a modality comes."""
    mdata = copy_mudata(mdata)
    mdata.obs["group"], mdata.obs["share"] = np.arange(60) % 3.0, np.linspace(0, 1, 60)
    before = mdata.obs.copy()
    td.tl.gene_activity(mdata)
    assert "activity" in mdata.mod
    pd.testing.assert_frame_equal(mdata.obs[before.columns], before)
