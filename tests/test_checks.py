from __future__ import annotations

import logging

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem import _blocks, _checks
from sctandem._check_files import readable
from sctandem._checks import (
    check_adata,
    check_option,
    check_path,
    check_positive,
    check_target,
    check_type,
    select_cells,
)
from sctandem._compat import new_mudata
from sctandem.model import CapsuleNet

COUNTS = np.array([[0, 2, 0, 0], [1, 0, 3, 0], [0, 0, 0, 0]], dtype=np.float32)


def forms(values: np.ndarray, tmp_path) -> dict[str, object]:
    """The same matrix in every form in which an AnnData may hold it."""
    made = {
        "csr": sparse.csr_matrix(values),
        "csc": sparse.csc_matrix(values),
        "csr_array": sparse.csr_array(values),
        "lil": sparse.lil_matrix(values),
        "dense": values,
        "fortran": np.asfortranarray(values),
        "view": AnnData(sparse.csr_matrix(values))[[0, 1, 2]].X,
        "dense view": AnnData(values)[[0, 1, 2]].X,
    }
    for name in ("csr", "csc", "dense"):
        path = tmp_path / f"{name}.h5ad"
        AnnData(made[name]).write_h5ad(path)
        made[f"backed {name}"] = anndata.read_h5ad(path, backed="r").X
    return made


@pytest.mark.parametrize("block", [1, 3, 1 << 22])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
def test_counts_pass_in_every_form(tmp_path, monkeypatch, dtype, block):
    monkeypatch.setattr(_blocks, "_BLOCK", block)
    for matrix in forms(COUNTS.astype(dtype), tmp_path).values():
        _checks.check_counts(matrix, "X")
    _checks.check_counts(COUNTS > 0, "X")
    _checks.check_counts(sparse.csr_matrix((3, 4)), "X")
    _checks.check_counts(np.zeros((0, 4)), "X")


@pytest.mark.parametrize("block", [1, 3, 1 << 22])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.5, r"does not hold counts \(for example 0.5\)"),
        (-1, r"contains negative values \(for example -1"),
        (np.nan, "contains NaN"),
        (np.inf, r"contains infinite values \(for example inf"),
        (2.0**100, r"holds numbers that no count reaches \(for example 1\.26765"),
    ],
)
def test_what_is_not_a_count_is_named_with_its_slot(tmp_path, monkeypatch, value, said, block):
    monkeypatch.setattr(_blocks, "_BLOCK", block)
    values = COUNTS.copy()
    values[2, 3] = value
    for form, matrix in forms(values, tmp_path).items():
        with pytest.raises(ValueError, match=r'^mdata\["rna"\]\.X ' + said):
            _checks.check_counts(matrix, 'mdata["rna"].X')
        assert form


def test_not_numbers_and_nothing_are_no_counts():
    with pytest.raises(ValueError, match="X has dtype complex128"):
        _checks.check_counts(COUNTS.astype(complex), "X")
    with pytest.raises(ValueError, match=r"X is empty \(None\)"):
        _checks.check_counts(None, "X")
    with pytest.raises(ValueError, match=r"negative values \(for example -1\)"):
        _checks.check_counts(-COUNTS.astype(int)[:2, :1], "X")


@pytest.mark.parametrize("block", [1, 3, 1 << 22])
def test_nonempty_in_every_form(tmp_path, monkeypatch, caplog, block):
    monkeypatch.setattr(_blocks, "_BLOCK", block)
    made = forms(COUNTS, tmp_path)
    with caplog.at_level(logging.WARNING, "sctandem"):
        for matrix in made.values():
            cells, features = _checks.nonempty(matrix, "X")
            np.testing.assert_array_equal(cells, COUNTS.sum(1) > 0)
            np.testing.assert_array_equal(features, COUNTS.sum(0) > 0)
    assert {record.getMessage() for record in caplog.records} == {
        "X: 1 cells and 1 features have no counts and are left out"
    }


def test_only_what_is_empty_is_named(caplog):
    _checks.nonempty(sparse.csr_matrix([[1, 0, 0], [2, 0, 3]]), "X")
    _checks.nonempty(sparse.csr_matrix([[1, 2], [0, 0]]), "Y")
    assert [record.getMessage() for record in caplog.records] == [
        "X: 1 features have no counts and are left out",
        "Y: 1 cells have no counts and are left out",
    ]


def test_stored_zeros_are_no_counts_and_nothing_at_all_is_an_error():
    stored = sparse.csr_matrix(COUNTS)
    stored.data[:] = 0
    with pytest.raises(ValueError, match=r"X \(3 x 4\) has no counts at all"):
        _checks.nonempty(stored, "X")


@pytest.fixture
def mdata():
    cells = pd.DataFrame(index=["a", "b", "c"])
    return new_mudata(
        {
            "gex": AnnData(COUNTS, obs=cells, var=pd.DataFrame(index=list("wxyz"))),
            "atac": AnnData(COUNTS, obs=cells, var=pd.DataFrame(index=list("pqrs"))),
        }
    )


def test_modalities(mdata):
    assert _checks.check_modalities(mdata, {"rna": "gex"}) == {"rna": "gex", "atac": "atac"}
    assert _checks.check_modalities(mdata, required=("atac",)) == {"atac": "atac"}
    with pytest.raises(KeyError, match=r"no modality 'rna' for rna; it has 'gex', 'atac'.*modalities=\{'rna'"):
        _checks.check_modalities(mdata)
    with pytest.raises(KeyError, match="no modality 'peaks' for atac"):
        _checks.check_modalities(mdata, {"rna": "gex", "atac": "peaks"})
    with pytest.raises(ValueError, match="has the roles 'adt', but only 'rna', 'atac'"):
        _checks.check_modalities(mdata, {"adt": "gex"})
    with pytest.raises(
        ValueError, match=r"'rna_layer', 'atac_layer', but .*: modalities=\{'rna': 'gex', 'atac': 'atac'\}\."
    ):
        _checks.check_modalities(mdata, {"rna_layer": "gex", "atac_layer": "atac"})
    for twice in ({"rna": "atac"}, {"rna": "gex", "atac": "gex"}):
        with pytest.raises(ValueError, match=r"gives one modality several roles; mdata has 'gex', 'atac'"):
            _checks.check_modalities(mdata, twice)


def test_where_there_are_counts(mdata, tmp_path):
    gex = mdata["gex"]
    gex.layers["counts"] = gex.X.copy()
    assert _checks.holds_counts(gex, None)
    assert _checks.holds_counts(gex, "missing")  # an error of its own
    gex.X = None
    assert not _checks.holds_counts(gex, None)
    assert _checks.holds_counts(gex, "counts")
    assert not _checks.holds_counts(gex, "missing")
    with pytest.raises(KeyError, match=r"gex\.layers has no 'tape'; run `f` first\. It has 'counts'\."):
        _checks.check_slot(gex.layers, "tape", "gex.layers", "f")
    mdata.write_h5mu(tmp_path / "m.h5mu")
    backed = mudata.read_h5mu(tmp_path / "m.h5mu", backed="r")
    assert not _checks.holds_counts(backed["gex"], None)
    backed.file.close()
    with pytest.raises(TypeError, match="mdata is an AnnData, not a MuData"):
        _checks.check_modalities(mdata["gex"])


def test_cells_in_another_order_and_other_cells_are_mended_as_the_message_says(mdata):
    _checks.check_same_cells(mdata, ["gex", "atac"])
    gex, atac = mdata["gex"], mdata["atac"]
    for cells, said in (
        (["c", "a", "b"], "the same cells in another order"),
        (["b", "c"], r"different cells \(3 and 2, 2 of them in both\)"),
    ):
        other = new_mudata({"gex": gex.copy(), "atac": atac[cells].copy()})
        with pytest.raises(ValueError, match=rf"mdata\['gex'\] and mdata\['atac'\] have {said}") as error:
            _checks.check_same_cells(other, ["gex", "atac"])
        advice = str(error.value).split("Align them: ")[1].replace("mudata.MuData(", "new_mudata(")
        names = {"mdata": other, "new_mudata": new_mudata}
        exec(advice, names)  # what the message tells the user to do
        _checks.check_same_cells(names["mdata"], ["gex", "atac"])
        assert sorted(names["mdata"]["gex"].obs_names) == sorted(cells)


def test_duplicated_names(mdata):
    with pytest.raises(ValueError, match=r"var_names has 2 duplicated names: 'a', 'b'. Call `X.var_names_make_unique"):
        _checks.check_unique(pd.Index(list("abacb")), "X.var_names")
    _checks.check_unique(pd.Index(list("abc")), "X.var_names")


def test_keys_layers_slots_and_options_list_what_there_is():
    adata = AnnData(COUNTS, obs=pd.DataFrame({"batch": list("xyz")}, index=list("abc")), layers={"counts": COUNTS})
    assert _checks.check_key(adata.obs, "batch", "adata.obs").tolist() == list("xyz")
    with pytest.raises(KeyError, match="adata.obs has no column 'donor'; it has 'batch'"):
        _checks.check_key(adata.obs, "donor", "adata.obs")
    assert _checks.check_layer(adata, None, "adata") is adata.X
    assert _checks.check_layer(adata, "counts", "adata") is adata.layers["counts"]
    with pytest.raises(KeyError, match="adata.layers has no 'raw'; it has 'counts'"):
        _checks.check_layer(adata, "raw", "adata")
    assert _checks.check_slot({"a": {"b": 1}}, "a", "uns", "tl.f(adata)") == {"b": 1}
    with pytest.raises(ValueError, match=r"uns\['a'\] is an int, not what `tl.f\(adata\)` writes; run it again"):
        _checks.check_slot({"a": 1}, "a", "uns", "tl.f(adata)")
    with pytest.raises(TypeError, match="key must be a str, got list"):
        _checks.check_slot({"a": {}}, ["a"], "uns", "tl.f(adata)")
    with pytest.raises(KeyError, match=r"uns has no 'b'; run `tl.f\(adata\)` first. It has 'a'"):
        _checks.check_slot({"a": 1}, "b", "uns", "tl.f(adata)")
    _checks.check_option("x", ["x", "y"], "how")
    with pytest.raises(ValueError, match="how='z' is not known; choose one of 'x', 'y'"):
        _checks.check_option("z", ["x", "y"], "how")
    with pytest.raises(ValueError, match="'0', '1'.*'9' and 20 more"):
        _checks.check_option("z", list(range(30)), "how")


@pytest.mark.parametrize("value", [-1, 1.5, np.nan, "1", None, True])
def test_numbers_out_of_bounds(value):
    with pytest.raises(ValueError, match=r"width=.* is not a number between 0 and 1\."):
        _checks.check_number(value, "width", high=1)
    with pytest.raises(ValueError, match=r"width=.* is not an integer of at least 2\."):
        _checks.check_number(value, "width", low=2, whole=True)


def test_numbers_within_bounds():
    for value in (0, 1, 0.5, np.float32(0.5), np.int64(1)):
        _checks.check_number(value, "width", high=1)
    _checks.check_positive(np.int32(3), "n", whole=True)
    for value in (0, -1, np.inf, np.nan, False):
        with pytest.raises(ValueError, match=r"n=.* is not a number above 0\."):
            _checks.check_positive(value, "n")
    with pytest.raises(ValueError, match=r"n=1.5 is not an integer above 0\."):
        _checks.check_positive(1.5, "n", whole=True)


def test_too_few_cells():
    _checks.check_n_cells(2, 2, "training", "adata")
    with pytest.raises(ValueError, match="training needs at least 2 cells, but there is 1 in adata"):
        _checks.check_n_cells(1, 2, "training", "adata")


def test_working_copy(mdata):
    assert _checks.working_copy(mdata, copy=False) is mdata
    copied = _checks.working_copy(mdata, copy=True)
    assert copied is not mdata
    assert copied["gex"].X is not mdata["gex"].X


def test_target_of_a_result(mdata, tmp_path):
    _checks.check_target(mdata, "name", copy=True)
    mdata["gex"].write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    _checks.check_target(backed, "name", copy=False)
    with pytest.raises(ValueError, match="copy=True needs the data in memory"):
        _checks.check_target(backed, "name", copy=True)
    with pytest.raises(ValueError, match="writing to a view needs the data in memory"):
        _checks.check_target(backed[:2], "name", copy=False)
    backed.file.close()
    with pytest.raises(ValueError, match="without a slash"):
        _checks.check_target(mdata, "a/b", copy=False)


def test_tables_and_columns_of_numbers():
    table = pd.DataFrame({"n": [1, 2], "text": ["x", None], "mixed": [1, "2"]})
    assert _checks.check_table({"t": table}, "t", "uns['a']", "f()", ["n"]) is table
    with pytest.raises(ValueError, match=r"uns\['a'\]\['t'\] is an int, not the table that `f\(\)` writes"):
        _checks.check_table({"t": 3}, "t", "uns['a']", "f()")
    with pytest.raises(KeyError, match="has no column 'z'; it has 'n', 'text', 'mixed'"):
        _checks.check_table({"t": table}, "t", "uns['a']", "f()", ["n", "z"])
    with pytest.raises(ValueError, match="has the column 'text' of"):
        _checks.numeric_table({"t": table}, "t", "obsm", "f()")
    assert _checks.numeric_column(table, "n", "obs").tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"obs\['mixed'\] has 1 values that are no numbers \(the first: '2'\)"):
        _checks.numeric_column(table, "mixed", "obs")
    _checks.check_frame(table, ["n"], "genes", whole=["n"])
    with pytest.raises(ValueError, match=r"genes\['mixed'\] has 1 values that are no whole numbers \(the first: '2'\)"):
        _checks.check_frame(table, ["n"], "genes", whole=["mixed"])
    with pytest.raises(ValueError, match="genes has several columns of one name: 'n'"):
        _checks.check_frame(pd.concat([table, table[["n"]]], axis=1), ["n"], "genes")
    with pytest.raises(TypeError, match="genes must be a DataFrame, got list"):
        _checks.check_frame([], ["n"], "genes")


def test_damaged_files_are_named():
    with (
        pytest.raises(ValueError, match="'a.gtf' cannot be read as a text file: it is damaged"),
        readable("a.gtf", "a text file"),
    ):
        b"\xff".decode()
    with pytest.raises(KeyError, match="mine"), readable("a.gtf", "a text file"):
        raise KeyError("mine")  # noqa: EM101
    with pytest.raises(ValueError, match="'a.h5' cannot be read as a file"), readable("a.h5", "a file", tree=True):
        raise KeyError("theirs")  # noqa: EM101


@pytest.fixture(name="net", scope="module")
def fixture_net():
    adata = AnnData(np.random.default_rng(0).poisson(1.0, (30, 12)).astype("float32"))
    CapsuleNet.setup_anndata(adata)
    return CapsuleNet(adata, rng=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (check_adata, r"^adata must be an AnnData, got CapsuleNet\. Tables of samples"),
        (lambda net: check_type(net, str, "key"), "^key must be a str, got CapsuleNet$"),
        (lambda net: check_target(net, "x", copy=False), "^data must be an AnnData or a MuData, got CapsuleNet$"),
        (lambda net: check_path(net, "path"), "^path must be a path to a file, got CapsuleNet$"),
        (lambda net: check_option(net, ("a", "b"), "form"), "^form=CapsuleNet is not known; choose one of 'a', 'b'"),
        (lambda net: check_positive(net, "n"), "^n=CapsuleNet is not a number above 0"),
        (lambda net: select_cells(net, 3), "^indices must be positions of cells, or a mask, got CapsuleNet$"),
        (lambda net: td.pp.count_fragments(net, net), "CapsuleNet$"),
    ],
)
def test_a_model_in_the_place_of_something_else_is_told_by_its_class(net, call, message, capsys):
    """Models of scvi-tools print a table where others say what they are."""
    with pytest.raises((TypeError, ValueError), match=message):
        call(net)
    assert capsys.readouterr() == ("", "")


def test_a_mudata_in_the_place_of_its_modality():
    mdata = new_mudata(
        {"rna": AnnData(COUNTS.copy()), "atac": AnnData(COUNTS[:, :3].copy(), var=pd.DataFrame(index=list("abc")))}
    )
    with pytest.raises(
        TypeError,
        match=r"^adata must be an AnnData, got a MuData: pass one .*\('rna', 'atac'\), such as mdata\['rna'\]\.$",
    ):
        check_adata(mdata)
