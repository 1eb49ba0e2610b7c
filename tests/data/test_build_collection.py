"""From scattered files to one collection: every count where it belongs, and nothing dropped silently."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scattered
from anndata import AnnData
from scattered import IDS, SYMBOLS, build_small

import sctandem as td


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    truth = scattered.sources(folder / "in")
    before = scattered.hashes(folder / "in")
    collection = build_small(folder / "in", folder / "out")
    assert scattered.hashes(folder / "in") == before  # sources are only read
    return collection, truth


def dense(adata: AnnData) -> pd.DataFrame:
    """Counts of a source under Ensembl ids without versions."""
    values = adata.X.toarray() if hasattr(adata.X, "toarray") else np.asarray(adata.X)
    names = pd.Index(adata.var_names.str.replace(r"\.\d+$", "", regex=True)).map(
        lambda n: dict(zip(SYMBOLS, IDS, strict=True)).get(n, n)
    )
    return pd.DataFrame(values, columns=names)


def test_every_count_is_where_it_belongs(built):
    collection, truth = built
    found = collection.to_adata()
    assert sorted(collection.genes.index) == sorted(IDS)
    for name, source in truth.items():
        here = found[found.obs["source"] == name]
        expected = dense(source).reindex(columns=found.var_names, fill_value=0).to_numpy()
        np.testing.assert_array_equal(here.X.toarray(), expected[here.obs["source_row"].to_numpy()])
        names = [str(n).split(":", 1)[1].removesuffix("-1") for n in here.obs_names]
        assert names == [n.removesuffix("-1") for n in source.obs_names[here.obs["source_row"].to_numpy()]]


def test_a_cell_in_two_sources_with_different_genes_is_kept_once(built):
    collection, _ = built
    left_out = collection.duplicates.sort_values("row")
    assert (left_out["source"] == "b").all()
    assert left_out["row"].tolist() == list(range(20))
    assert left_out["kept_row"].tolist() == list(range(30, 50))
    assert collection.n_obs == 150 + 40 + 50 + 40


def test_same_barcode_with_other_counts_is_another_cell(tmp_path):
    first, second = (AnnData(scattered.counts(30, seed), var=pd.DataFrame(index=IDS)) for seed in (0, 1))
    for name, adata in (("x", first), ("y", second)):
        adata.obs_names = scattered.barcodes(30, 3)
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    assert td.data.build_collection(tmp_path, tmp_path / "out", organism="human", rng=0).n_obs == 60


def test_each_gene_of_each_source_is_accounted_for(built):
    collection, truth = built
    mapping = collection.mapping
    assert mapping.groupby("source").size().to_dict() == {"a": 400, "b": 300, "c": 400, "d": 401}
    assert mapping.loc[mapping["gene"] == "", "how"].tolist() == ["left out: not a gene"]
    of_b = mapping[mapping["source"] == "b"].set_index("name")
    assert (of_b["gene"] == of_b.index.map(dict(zip(SYMBOLS, IDS, strict=True)))).all()
    assert set(of_b["how"]) == {"symbol with one id"}
    outside = collection.sources.set_index("source")["counts_left_out"]
    d = truth["d"].X.sum()
    np.testing.assert_allclose(outside["d"], 40 / (d + 40))  # one feature that is no gene, once a cell
    assert outside[["a", "b", "c"]].tolist() == [0, 0, 0]


def test_genes_that_come_to_one_place_are_added_up(tmp_path):
    values = scattered.counts(20, 0, 3)
    var = pd.DataFrame(index=["ENSG00000000001.1", "ENSG00000000001.2", "ENSG00000000002"])
    AnnData(values, var=var).write_h5ad(tmp_path / "x.h5ad")
    found = td.data.build_collection(tmp_path / "x.h5ad", tmp_path / "out", organism="human", rng=0)
    read = found.to_adata()
    expected = np.column_stack([values[:, 0] + values[:, 1], values[:, 2]])
    np.testing.assert_array_equal(read.X.toarray(), expected[read.obs["source_row"]])
    assert found.mapping["summed"].tolist() == [2, 2, 1]


def test_gene_totals_and_genes_of_shards(built):
    collection, _ = built
    matrix = collection.to_adata().X.toarray()
    np.testing.assert_array_equal(collection.genes["n_counts"], matrix.sum(0))
    np.testing.assert_array_equal(collection.genes["n_cells"], (matrix > 0).sum(0))
    np.testing.assert_array_equal(collection.obs["n_counts"], matrix.sum(1))


def test_intersection_and_a_list_of_genes(tmp_path):
    truth = scattered.sources(tmp_path / "in")
    shared = set(truth["b"].var_names)
    both = build_small(tmp_path / "in", tmp_path / "both", genes="intersection")
    assert set(both.genes["symbol"]) == shared
    assert (both.genes["n_sources"] == 4).all()
    assert "left out: not among the genes asked for" in set(both.mapping["how"])
    asked = build_small(tmp_path / "in", tmp_path / "asked", genes=["G7", f"{IDS[2]}.4", "NOSUCH"])
    assert list(asked.genes.index) == [IDS[6], IDS[2], "NOSUCH"]
    assert asked.genes["n_sources"].iloc[2] == 0


def test_a_symbol_with_several_ids_stays_a_symbol_unless_the_user_knows(tmp_path):
    var = pd.DataFrame({"symbol": ["TWIN", "TWIN", "ONE"]}, index=IDS[:3])
    AnnData(scattered.counts(10, 0, 3), var=var).write_h5ad(tmp_path / "ids.h5ad")
    AnnData(scattered.counts(10, 1, 2), var=pd.DataFrame(index=["TWIN", "ONE"])).write_h5ad(tmp_path / "symbols.h5ad")
    files = [tmp_path / "ids.h5ad", tmp_path / "symbols.h5ad"]
    found = td.data.build_collection(files, tmp_path / "one", organism="human", rng=0)
    assert "symbol with several ids, kept as a symbol" in set(found.mapping["how"])
    assert list(found.genes.index) == [*IDS[:3], "TWIN"]
    table = pd.DataFrame({"id": [IDS[1]], "symbol": ["TWIN"]})
    known = td.data.build_collection(files, tmp_path / "two", organism="human", gene_names=table, rng=0)
    assert list(known.genes.index) == IDS[:3]


def test_words_are_made_alike_by_table_and_by_spelling_and_listed(built, tmp_path):
    collection, _ = built
    words = collection.words.set_index(["source", "column", "word"])
    assert words.loc[("b", "cell_type", "t_cell"), ["becomes", "status"]].tolist() == ["T cell", "spelling"]
    assert words.loc[("b", "cell_type", "NK"), "status"] == "new"
    assert words.loc[("a", "donor", "d1"), "becomes"] == "a: d1"  # donors of two sources are two people
    assert words.loc[("c", "cell_type", ""), ["becomes", "status"]].tolist() == ["unknown", "missing"]
    scattered.sources(tmp_path / "in")
    edited = pd.DataFrame(
        {"column": ["cell_type", "donor"], "word": ["NK", "d1"], "becomes": ["natural killer", "Ann"]}
    )
    again = build_small(tmp_path / "in", tmp_path / "out", words=edited)
    assert set(again.obs["cell_type"]) == {"T cell", "B cell", "natural killer", "unknown"}
    assert set(again.obs["donor"]) == {"Ann", "unknown"}
    assert set(again.words.loc[again.words["status"] == "given", "word"]) == {"NK", "d1"}
    table = collection.words  # given back as it is, it changes nothing
    same = build_small(tmp_path / "in", tmp_path / "same", words=table)
    pd.testing.assert_frame_equal(same.obs, collection.obs)
    assert set(same.words["status"]) == {"given"}


def test_cells_lie_in_random_order(tmp_path):
    n = 6000
    AnnData(scattered.counts(n, 0, 50), var=pd.DataFrame(index=IDS[:50])).write_h5ad(tmp_path / "x.h5ad")
    from sctandem.data import _build_collection
    from sctandem.data._plan import Settings
    from sctandem.data._sources import find_sources

    settings = Settings("human", "union", {}, block_entries=20_000, block_cells=500)
    build = {"skip_broken": False, "resume": False}
    found = _build_collection.build(find_sources(tmp_path / "x.h5ad"), tmp_path / "out", settings, rng=0, **build)
    rows = found.obs["source_row"].to_numpy()
    assert sorted(rows) == list(range(n))
    assert len(found.manifest["shards"]) > 3
    # of n numbers in random order the rank correlation with the place has the deviation 1 / sqrt(n)
    assert abs(np.corrcoef(rows, np.arange(n))[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(rows[1:], rows[:-1])[0, 1]) < 4 / np.sqrt(n)
    # parts of the disk hold equal parts of the source, as a hypergeometric draw has them
    early = (rows < n // 2).reshape(10, -1).mean(1)
    assert np.abs(early - 0.5).max() < 4 * 0.5 / np.sqrt(n // 10)


def test_anndata_reads_a_shard(built):
    collection, _ = built
    shard = anndata.read_zarr(collection.path / "cells.zarr" / "dataset_0")
    assert shard.X.format == "csr"
    np.testing.assert_array_equal(shard.X.toarray(), collection.counts[: shard.n_obs].toarray())
    assert shard.obs["cell_type"].tolist() == collection.obs["cell_type"][: shard.n_obs].tolist()
    lazy = anndata.io.sparse_dataset(
        __import__("zarr").open_group(collection.path / "cells.zarr" / "dataset_0", mode="r")["X"]
    )
    np.testing.assert_array_equal(lazy[3:5].toarray(), shard.X[3:5].toarray())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param("negative", "negative values", marks=pytest.mark.slow),
        pytest.param("fractions", "holds no counts", marks=pytest.mark.slow),
        ("late fraction", "does not hold counts"),
        pytest.param("not a file", "broken.h5ad", marks=pytest.mark.slow),
        pytest.param("mouse", "another organism", marks=pytest.mark.slow),
        pytest.param("truncated", "broken.h5ad", marks=pytest.mark.slow),
    ],
)
def test_a_broken_source_is_named_and_the_rest_goes_on_when_asked(tmp_path, fault, message):
    scattered.sources(tmp_path / "in")
    path, values = tmp_path / "in" / "broken.h5ad", scattered.counts(300, 9)
    names = [f"ENSMUSG{i:011d}" for i in range(400)] if fault == "mouse" else [*IDS[:399], "ONLYHERE"]
    values[200, 3] = {"negative": -1, "late fraction": 0.5}.get(fault, 0)
    if fault == "fractions":
        values += 0.5
    AnnData(values, var=pd.DataFrame(index=names)).write_h5ad(path)
    if fault == "not a file":
        path.write_text("no HDF5")
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-200_000])
    with pytest.raises(td.data.SourceError, match=message) as raised:
        build_small(tmp_path / "in", tmp_path / "out")
    assert "broken.h5ad" in str(raised.value)
    assert not (tmp_path / "out").exists()
    rest = build_small(tmp_path / "in", tmp_path / "rest", skip_broken=True)
    status = rest.sources.set_index("source")["status"]
    assert status["broken"].startswith("broken: ")
    assert message in status["broken"]
    assert set(rest.obs["source"].unique()) == {"a", "b", "c", "d"}
    assert "ONLYHERE" not in rest.genes.index
    without = tmp_path / "without"
    (tmp_path / "in" / "broken.h5ad").unlink()
    clean = build_small(tmp_path / "in", without)
    assert {k: v for k, v in clean.manifest["files"].items() if "sources" not in k} == {
        k: v for k, v in rest.manifest["files"].items() if "sources" not in k
    }


def test_counts_are_found_in_layers_and_raw(tmp_path):
    values = scattered.counts(30, 0)
    logged = AnnData(np.log1p(values), var=pd.DataFrame(index=IDS))
    logged.layers["counts"] = values
    logged.write_h5ad(tmp_path / "layer.h5ad")
    raw = AnnData(values, var=pd.DataFrame(index=IDS))
    raw.raw = raw.copy()
    raw.X = np.log1p(values)
    raw.obs_names = [f"x{i}" for i in range(30)]
    raw.write_h5ad(tmp_path / "raw.h5ad")
    found = td.data.build_collection(tmp_path, tmp_path / "out", organism="human", rng=0)
    assert found.sources["counts"].tolist() == ["layers['counts']", "raw.X"]
    assert found.genes["n_counts"].sum() == values.sum() * (found.n_obs // 30)


def test_a_source_may_be_told_about(tmp_path):
    truth = scattered.sources(tmp_path / "in")
    source = td.data.Source(tmp_path / "in" / "c.zarr", name="gut", obs={"tissue": "gut"})
    found = td.data.build_collection(source, tmp_path / "out", organism="human", rng=0)
    assert set(found.obs["tissue"]) == {"gut"}
    assert set(found.obs["source"]) == {"gut"}
    assert found.n_obs == truth["c"].n_obs


def test_arguments_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.h5ad"):
        td.data.build_collection(tmp_path / "nowhere.h5ad", tmp_path / "out", organism="human")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no \.h5ad"):
        td.data.build_collection(tmp_path / "empty", tmp_path / "out", organism="human")
    scattered.sources(tmp_path / "in")
    for organism in ("humann", "Zebrafsh"):
        with pytest.raises(ValueError, match="is not known; did you mean '(human|zebrafish)'"):
            td.data.build_collection(tmp_path / "in", tmp_path / "out", organism=organism)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="genes='both'"):
        td.data.build_collection(tmp_path / "in", tmp_path / "out", organism="human", genes="both")
    with pytest.raises(ValueError, match="more than once"):
        td.data.build_collection([tmp_path / "in", tmp_path / "in" / "a.h5ad"], tmp_path / "out", organism="human")
    with pytest.raises(ValueError, match="words lacks the columns 'becomes'"):
        td.data.build_collection(
            tmp_path / "in", tmp_path / "out", organism="human", words=pd.DataFrame({"column": [], "word": []})
        )
    for wrong, error, message in (
        ({"sources": None}, TypeError, "sources must be a path, a Source or a list of them, got NoneType"),
        ({"sources": AnnData(np.ones((2, 2)))}, TypeError, "got AnnData: write it to a file first"),
        (
            {"sources": td.data.Source(tmp_path / "in" / "a.h5ad", obs={"zz": "q"})},
            ValueError,
            "Source 'a' says words for 'zz'",
        ),
        ({"genes": None}, TypeError, "genes must be a list of names, got NoneType"),
        ({"genes": [3]}, TypeError, "each of genes must be a str, got int: 3"),
        ({"genes": []}, ValueError, "genes is an empty list"),
        ({"obs": {"_index": "a"}}, ValueError, "obs names the column '_index'"),
        ({"obs": {"": "a"}}, ValueError, "obs names the column ''"),
        ({"obs": {"x": 3}}, TypeError, r"obs\['x'\] must be a list of names, got int: 3"),
        ({"organism": 3}, TypeError, "organism must be a str"),
    ):
        with pytest.raises(error, match=message):
            td.data.build_collection(
                **{"sources": tmp_path / "in", "out": tmp_path / "out", "organism": "human"} | wrong
            )
        assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
    with pytest.raises(ValueError, match="none of 'NOSUCH'"):
        td.data.build_collection(tmp_path / "in", tmp_path / "out", organism="human", genes=["NOSUCH"])
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="already exists"):
        td.data.build_collection(tmp_path / "in", tmp_path / "out", organism="human")


def test_organisms_whose_ids_are_not_known_are_told(tmp_path):
    scattered.sources(tmp_path / "in")
    with pytest.warns(UserWarning, match="organism='martian' is not one of 'human', 'mouse'"):
        td.data.build_collection(tmp_path / "in" / "a.h5ad", tmp_path / "out", organism="martian", rng=0)


def test_real_files_share_cells(shared_data, tmp_path):
    """The three sets of Kang et al. were cut from the same cells, with different genes and names."""
    names = ["kang_ctrl_8donors_1287genes", "kang_harmony_ctrl1000_stim1000"]
    files = [shared_data / "rna" / f"{name}.h5ad" for name in names]
    found = td.data.build_collection(files, tmp_path / "out", organism="human", rng=0)
    first, second = (anndata.read_h5ad(file) for file in files)
    letters = second.obs_names.str.extract(r"([ACGT]{14})")[0].to_numpy()
    known = set(first.obs_names.str[:14])
    control = (second.obs["condition"] == "ctrl").to_numpy()
    expected = {i for i in np.flatnonzero(control) if letters[i] in known}
    found_rows = set(found.duplicates["row"])
    # a barcode of the control lane that both have is one cell; those that differ do so in counts of shared genes
    assert found_rows <= expected
    assert len(found_rows) > 0.9 * len(expected)


def test_old_layouts_of_columns_are_read(tmp_path):
    """Files of anndata 0.7 keep categories in a group of their own."""
    adata = AnnData(scattered.counts(20, 0), var=pd.DataFrame(index=IDS))
    adata.write_h5ad(tmp_path / "old.h5ad")
    with h5py.File(tmp_path / "old.h5ad", "r+") as file:
        file["obs/cell_type"] = np.array([0, 1] * 10, dtype=np.int8)
        file["obs/__categories/cell_type"] = np.array(["T", "B"], dtype="S")
    found = td.data.build_collection(tmp_path / "old.h5ad", tmp_path / "out", organism="human", rng=0)
    assert found.obs["cell_type"].value_counts().to_dict() == {"B": 10, "T": 10}
