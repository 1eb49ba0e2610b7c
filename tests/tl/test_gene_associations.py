from __future__ import annotations

import logging
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats

import sctandem as td

N_GENES, N_MODULE, N_OTHERS = 80, 12, 320
GENES = [f"g{i:02d}" for i in range(N_GENES)]


def cells(seed: int = 0, *, n_donors: int = 8, n_cells: int = 60) -> AnnData:
    """Two types; the first 12 genes follow a regulator in both conditions, the next 12 one that treatment silences; the last of 80 differ in type.

    Others, which are not looked at, tell the depth.
    """
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors), 2 * n_cells)
    kind = np.tile(["B", "T"], n_donors * n_cells)
    treated = donor % 2 == 1
    log = rng.normal(0.8, 0.6, N_GENES + N_OTHERS) + rng.normal(0, 0.2, (n_donors, N_GENES + N_OTHERS))[donor]
    log[np.ix_(kind == "T", np.arange(60, 80))] += 1.5
    sign = np.where(np.arange(N_MODULE) % 3 == 0, -1, 1)
    log[:, :N_MODULE] += np.outer(rng.normal(0, 0.6, len(donor)), sign)
    log[:, N_MODULE : 2 * N_MODULE] += np.outer(rng.normal(0, 0.6, len(donor)) * ~treated, np.ones(N_MODULE))
    log[:, : 2 * N_MODULE] += 0.7 * treated[:, None]
    depth = np.exp(rng.normal(0, 0.5, (len(donor), 1))) * np.where(treated, 1.5, 1.0)[:, None]
    counts = rng.poisson(np.exp(log) * depth * rng.gamma(4, 0.25, log.shape))
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.var_names = [*GENES, *(f"other{i}" for i in range(N_OTHERS))]
    adata.obs["donor"] = [f"d{i}" for i in donor]
    adata.obs["condition"] = np.where(treated, "treated", "control")
    adata.obs["type"] = kind
    return adata


def module_of(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    first, second = (table[name].str[1:].astype(int).to_numpy() // N_MODULE for name in ("gene_a", "gene_b"))
    return first, second


@pytest.fixture(scope="module")
def found():
    adata = cells()
    td.tl.differential_expression(adata, "condition", "donor", cell_types="type")
    td.tl.gene_associations(adata, GENES)
    return adata


def test_true_pairs_and_nothing_else(found):
    first, second = module_of(td.get.gene_associations(found))
    true = (first == second) & (first < 2)
    assert true.sum() > 0.9 * 2 * N_MODULE * (N_MODULE - 1) / 2
    assert (~true).sum() <= 0.07 * len(true)
    assert not ((first >= 5) & (second >= 5)).sum() > 3  # what only differs between types is not associated


def test_other_pairs_weigh_in(found):
    """q-values are those of Benjamini-Hochberg with weights: by hand, and more true pairs are found than with equal ones."""
    table = td.get.gene_associations(td.tl.gene_associations(found, GENES, fdr=1, copy=True))
    plain = stats.false_discovery_control(table["p_value"])
    first, second = module_of(table)
    true = (first == second) & (first < 2)
    weak = true & (plain > 1e-6)
    assert len(table) == N_GENES * (N_GENES - 1) // 2
    assert (table["q_value"][weak] < plain[weak]).mean() > 0.9
    assert (table["q_value"][~true] > plain[~true]).mean() > 0.7
    assert stats.pmean(table["q_value"] / plain, 1) > 0.5  # weights have a mean of 1


def test_signs_and_modules(found):
    table = td.get.gene_associations(found)
    first = table[(table["gene_a"] < "g12") & (table["gene_b"] < "g12")]
    against = (first["gene_a"].str[1:].astype(int) % 3 == 0) != (first["gene_b"].str[1:].astype(int) % 3 == 0)
    np.testing.assert_array_equal(first["association"] < 0, against)
    modules = found.uns["gene_associations"]["modules"].set_index("gene")
    assert set(modules["module"]) == {"M1", "M2"}
    for start in (0, N_MODULE):
        own = modules.loc[[f"g{i:02d}" for i in range(start, start + N_MODULE)], "module"]
        assert own.nunique() == 1
    assert modules["loading"].groupby(modules["module"]).sum().gt(0).all()


def test_only_the_silenced_module_changes(found):
    table = td.get.gene_associations(found)
    first, second = module_of(table)
    silenced, kept = (first == 1) & (second == 1), (first == 0) & (second == 0)
    assert (table["change_p_value"][silenced] < 0.05).mean() > 0.8
    assert (table["change"][silenced] < 0).all()
    # pairs of a module change together by chance; over seeds 0 to 11 the mean is 0.06
    assert (table["change_p_value"][kept] < 0.05).mean() < 0.3
    assert table["change"][kept].mean() == pytest.approx(0, abs=0.05)
    assert table["change"][silenced].mean() < -0.2
    p = table["change_p_value"].sort_values()
    by_hand = np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1].clip(upper=1)
    np.testing.assert_allclose(table["change_q_value"][p.index], by_hand)


def test_slots(found, tmp_path):
    table = td.get.gene_associations(found)
    assert table["p_value"].is_monotonic_increasing
    assert (table["q_value"] <= 0.05).all()
    assert table["correlation"].abs().max() <= 1
    matrix = found.varp["gene_associations"]
    assert matrix.dtype == np.float32
    assert matrix.nnz == 2 * len(table)
    assert (matrix != matrix.T).nnz == 0
    where = [found.var_names.get_indexer(table[name]) for name in ("gene_a", "gene_b")]
    np.testing.assert_allclose(np.asarray(matrix[where[0], where[1]]).ravel(), table["association"], rtol=1e-6)
    params = found.uns["gene_associations"]["params"]
    assert params["n_pairs"] == N_GENES * (N_GENES - 1) // 2
    assert params["contrast"] == "treated vs control"
    found.write_h5ad(tmp_path / "a.h5ad")
    read = anndata.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(td.get.gene_associations(read), table, check_dtype=False)
    assert (read.varp["gene_associations"] != matrix).nnz == 0


def test_genes_of_differential_expression_by_default(found):
    changed = set(td.get.de(found, q_value=0.05)["gene"])
    assert len(changed) > 10
    result = td.tl.gene_associations(found, copy=True)
    assert result.uns["gene_associations"]["params"]["n_genes"] == len(changed)
    table = td.get.gene_associations(result)
    assert set(table["gene_a"]) | set(table["gene_b"]) <= changed
    assert found.uns["gene_associations"]["params"]["n_genes"] == N_GENES  # a copy was asked for


def test_order_of_cells_and_storage_do_not_matter(found):
    adata = cells()[np.random.default_rng(0).permutation(960)].copy()
    adata.layers["counts"] = adata.X.toarray()
    adata.X = None
    td.tl.differential_expression(adata, "condition", "donor", cell_types="type", layer="counts")
    td.tl.gene_associations(adata, GENES)
    pd.testing.assert_frame_equal(
        td.get.gene_associations(adata), td.get.gene_associations(found), rtol=1e-4, atol=1e-6
    )


def test_weights_of_one_state_each_are_the_types(found):
    adata = cells()
    adata.obsm["weights"] = pd.get_dummies(adata.obs["type"], dtype=float)
    adata.uns["deepde"] = found.uns["deepde"]
    td.tl.gene_associations(adata, GENES, cell_types="weights")
    pd.testing.assert_frame_equal(td.get.gene_associations(adata), td.get.gene_associations(found))


def test_without_differential_expression_nothing_is_compared(found):
    adata = cells()
    td.tl.gene_associations(adata, GENES, sample_key="donor", cell_types="type")
    table, before = td.get.gene_associations(adata), td.get.gene_associations(found)
    assert table["change_p_value"].isna().all()
    np.testing.assert_allclose(table["p_value"], before["p_value"])
    # with types mixed up, what differs between them is associated
    td.tl.gene_associations(adata, GENES, sample_key="donor", key_added="mixed")
    first, second = module_of(td.get.gene_associations(adata, key="mixed"))
    assert ((first >= 5) & (second >= 5)).sum() > 100


def test_cells_without_a_type_are_left_out():
    adata = cells()
    adata.obs["only"] = adata.obs["type"].where(adata.obs["type"] == "T")
    part = adata[adata.obs["type"] == "T"].copy()
    for one in (adata, part):
        td.tl.gene_associations(one, GENES, sample_key="donor", cell_types="only")
    pd.testing.assert_frame_equal(td.get.gene_associations(adata), td.get.gene_associations(part))


def test_nothing_to_find_is_an_empty_table(tmp_path):
    rng = np.random.default_rng(0)
    adata = AnnData(rng.poisson(2.0, (300, 30)).astype(np.float32))
    adata.obs["donor"] = np.repeat(["a", "b", "c"], 100)
    td.tl.gene_associations(adata, list(adata.var_names), sample_key="donor")
    assert len(td.get.gene_associations(adata)) == 0
    assert adata.varp["gene_associations"].nnz == 0
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert len(td.get.gene_associations(read)) == 0
    with pytest.raises(ValueError, match="holds no pair"):
        td.pl.gene_associations(read)


def test_reading(found):
    table = td.get.gene_associations(found)
    of = td.get.gene_associations(found, "g01")
    assert len(of) > 5
    assert ((of["gene_a"] == "g01") | (of["gene_b"] == "g01")).all()
    assert set(td.get.gene_associations(found, module="M1")["module"]) == {"M1"}
    assert len(td.get.gene_associations(found, q_value=1e-8)) < len(table)
    with pytest.raises(KeyError, match="no pair with 'nope'; it holds"):
        td.get.gene_associations(found, "nope")
    with pytest.raises(ValueError, match="module='M9' is not in adata.uns.* which has 'M1', 'M2'"):
        td.get.gene_associations(found, module="M9")
    with pytest.raises(TypeError, match="gene must be an Iterable, got float: 0.05"):
        td.get.gene_associations(found, 0.05)
    with pytest.raises(ValueError, match="q_value=2 is not a number between 0 and 1"):
        td.get.gene_associations(found, q_value=2)


def test_errors(found):
    adata = cells()
    with pytest.raises(KeyError, match=r"adata.uns has no 'deepde'; run `[^`]*` first, or give genes= and sample_key="):
        td.tl.gene_associations(adata)
    with pytest.raises(KeyError, match="adata.obs has no column 'nope'"):
        td.tl.gene_associations(adata, ["g01", "g02", "g03"], sample_key="nope")
    with pytest.raises(KeyError, match="genes has 1 names that are not in adata.var_names, such as 'nope'"):
        td.tl.gene_associations(adata, ["g01", "nope", "g02"], sample_key="donor")
    with pytest.raises(ValueError, match="there are 2 genes, at least 3 are needed"):
        td.tl.gene_associations(adata, ["g01", "g02"], sample_key="donor")
    with pytest.raises(ValueError, match="cannot be compared: adata.uns\\['deepde'\\] is not there"):
        td.tl.gene_associations(adata, list(adata.var_names), sample_key="donor", contrast="a vs b")
    with pytest.raises(ValueError, match="contrast='a vs b' is not in adata.uns"):
        td.tl.gene_associations(found, contrast="a vs b")
    with pytest.raises(ValueError, match="fdr=2 is not a number between 0 and 1"):
        td.tl.gene_associations(found, fdr=2)
    adata.obs["own"] = adata.obs_names
    with pytest.raises(ValueError, match="no sample of adata.obs\\['own'\\] has 5 cells of a type"):
        td.tl.gene_associations(adata, list(adata.var_names), sample_key="own")
    adata.X = adata.X * 0.5
    with pytest.raises(ValueError, match="adata.X does not hold counts"):
        td.tl.gene_associations(adata, list(adata.var_names), sample_key="donor")
    with pytest.raises(ValueError, match="key_added='deepde' is the key of the differential expression"):
        td.tl.gene_associations(found, key_added="deepde")
    with pytest.raises(
        KeyError, match=r"adata.uns\['gene_associations'\]\['params'\] has no 'groupby'; run `td.tl.diff"
    ):
        td.tl.gene_associations(found, key="gene_associations", key_added="again")
    assert "gene_associations" not in adata.uns
    assert "gene_associations" not in adata.varp


def test_a_condition_without_cells_is_told(caplog):
    """Three conditions, and the types that are looked at hold no cells of one of them: nothing is compared, and the log says why."""
    adata = cells(n_donors=9, n_cells=20)
    adata.obs["condition"] = [("a", "b", "c")[int(donor[1:]) % 3] for donor in adata.obs["donor"]]
    td.tl.differential_expression(adata, "condition", "donor", cell_types="type")
    adata.obs["few"] = adata.obs["type"].where(adata.obs["condition"] != "c")
    with caplog.at_level(logging.WARNING, "sctandem"):
        td.tl.gene_associations(adata, GENES[:12], cell_types="few", contrast="c vs a")
    assert "not compared between conditions: the samples say nothing of contrast 'c vs a'" in caplog.text
    table = td.get.gene_associations(adata)
    assert len(table) > 20
    assert table["change"].isna().all()
    td.tl.gene_associations(adata, GENES[:12], cell_types="few", contrast="b vs a")
    assert td.get.gene_associations(adata)["change"].notna().all()


@pytest.mark.slow
def test_control_donors_differ_in_no_association(shared_data):
    """Splits of donors that were treated alike: the p-values of the change are those of chance."""
    adata = anndata.read_h5ad(shared_data / "rna" / "kang_ctrl_8donors_1287genes.h5ad")
    adata.X = sparse.csr_matrix(adata.X)
    genes = list(adata.var_names[np.argsort(-np.asarray(adata.X.sum(0)).ravel())[60:160]])
    donors = sorted(adata.obs["donor"].unique())
    for first in ([0, 1, 2, 3], [0, 2, 5, 7], [0, 3, 4, 6]):
        adata.obs["group"] = np.where(adata.obs["donor"].isin([donors[i] for i in first]), "x", "y")
        params = {"groupby": "group", "sample_key": "donor", "design": "~ `group`", "reference": "x"}
        row = {"gene": genes[0], "contrast": "y vs x", "q_value": 1.0, "p_value": 1.0}
        made_of = pd.DataFrame([{"contrast": "y vs x", "column": "group[T.y]", "weight": 1.0}])
        params |= {"cell_types": "cell_type"}
        adata.uns["deepde"] = {"params": params, "table": pd.DataFrame([row]), "contrasts": made_of}
        td.tl.gene_associations(adata, genes)
        table = td.get.gene_associations(adata)
        assert len(table) > 1000
        assert 0.02 < (table["change_p_value"] < 0.05).mean() < 0.09
        assert (table["change_q_value"] < 0.05).sum() <= 5


def test_a_result_without_its_contrasts_is_told(found):
    adata = cells(n_cells=5)
    adata.uns["deepde"] = {name: found.uns["deepde"][name] for name in ("params", "table")}
    with pytest.raises(KeyError, match=r"adata.uns\['deepde'\] has no 'contrasts'; run `td.tl.differential_expression"):
        td.tl.gene_associations(adata, GENES)


def test_genes_that_are_gone_since_the_differential_expression_are_told(found):
    first = td.get.de(found)["gene"].iloc[:3].tolist()
    adata = found[:, ~found.var_names.isin(first)].copy()
    with pytest.raises(ValueError, match=r"has not 3 of the genes of the differential expression"):
        td.tl.gene_associations(adata)


def test_names_that_are_numbers_are_found():
    adata = cells()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns of such names
        adata.var_names = pd.Index(np.arange(adata.n_vars))
    td.tl.differential_expression(adata, "condition", "donor", cell_types="type")
    td.tl.gene_associations(adata)
    again = cells()
    td.tl.differential_expression(again, "condition", "donor", cell_types="type")
    td.tl.gene_associations(again)
    by_number, by_name = (td.get.gene_associations(one) for one in (adata, again))
    renamed = {str(i): name for i, name in enumerate(again.var_names)}
    assert len(by_name) > 50
    assert by_number["gene_a"].map(renamed).tolist() == by_name["gene_a"].tolist()
