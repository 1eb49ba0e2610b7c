from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

import sctandem as td
from sctandem._compat import new_mudata, read_h5mu
from sctandem.kernels._links import unexplained, unit_rows
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig


@pytest.fixture(scope="module")
def trained():
    mdata = td.datasets.simulate_multiome(250, 50, 500, rng=0)
    td.pp.gene_windows(mdata)
    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata, config=TAPEConfig(windows=WindowConfig(n_members=2, n_steps=20)))
    model.train(2, rng=0)
    return mdata, model


def test_every_pair_of_every_window_is_a_row_and_survives_a_file(trained, tmp_path):
    mdata, model = trained
    result = td.tl.peak_gene_links(mdata, model, copy=True)
    assert "tape_links" not in mdata.uns
    table = result.uns["tape_links"]["table"]
    pairs = mdata.uns["gene_windows"]["pairs"]
    rows = set(zip(table["peak"].astype(str), table["gene"].astype(str), table["distance"], strict=True))
    assert rows == set(zip(pairs["peak"].astype(str), pairs["gene"].astype(str), pairs["distance"], strict=True))
    assert (table["weight"] >= 0).all()
    assert set(table["sign"]) <= {-1, 1}
    known = table["fdr"].dropna()
    assert len(known) > 100
    assert known.is_monotonic_increasing
    assert (known >= table.loc[known.index, "pvalue"].min()).all()
    result.write_h5mu(tmp_path / "links.h5mu")
    back = read_h5mu(tmp_path / "links.h5mu").uns["tape_links"]["table"]
    np.testing.assert_allclose(back["weight"], table["weight"])
    assert back["gene"].astype(str).tolist() == table["gene"].astype(str).tolist()


def test_fdr_is_the_pvalue_adjusted_by_the_variance_expected_of_the_pair(trained):
    mdata, model = trained
    table = model.get_peak_gene_links(rng=0)
    kept = model.module.get_fitted()
    expected = (kept["pair_unseen"] * np.linalg.norm(kept["response"], axis=1)[kept["pair_peak"]]) ** 2
    names = [np.asarray(model.peak_names)[kept["pair_peak"]], np.asarray(model.gene_names)[kept["pair_gene"]]]
    expected = pd.Series(expected, pd.MultiIndex.from_arrays(names))
    tested = table["pvalue"].notna()
    assert tested.sum() > 100
    assert (table["fdr"].notna() == tested).all()
    pairs = table.loc[tested, ["peak", "gene"]].astype(str)
    weight = expected[list(pairs.itertuples(index=False, name=None))].to_numpy()
    weighted = np.minimum(table.loc[tested, "pvalue"] / np.maximum(weight / weight.mean(), 1e-12), 1)
    np.testing.assert_allclose(table.loc[tested, "fdr"], false_discovery_control(weighted), rtol=1e-5)
    assert not np.allclose(table.loc[tested, "fdr"], table.loc[tested, "pvalue"])


def test_windows_are_held_against_genes_of_other_chromosomes(trained):
    """The weights hold the agreements, which are those against all genes of other chromosomes and no others."""
    mdata, model = trained
    before = model.get_peak_gene_links(rng=0).set_index(["peak", "gene"])
    kept = model.module.get_fitted()
    tested = (model.module.learned.numpy() > 0) & (kept["tested"] > 0)
    on = mdata["rna"].var["chrom"].astype(str).to_numpy()
    assert pd.Series(on[tested]).value_counts().min() > 1  # a gene on its own chromosome would tell nothing
    peak, gene, weight = kept["pair_peak"], kept["pair_gene"], kept["pair_unseen"]
    direction = unit_rows(kept["response"])[peak]
    left, effect = unexplained(weight, kept["response"], kept["target"], peak=peak, gene=gene, known=tested)
    names = np.asarray(model.peak_names)[peak], np.asarray(model.gene_names)[gene]
    for pair in np.flatnonzero(tested[gene])[::40]:
        side = -1 if weight[pair] < 0 else 1
        null = side * unit_rows(left[tested & (on != on[gene[pair]])]) @ direction[pair]
        cosine = side * unit_rows((left[gene[pair]] + effect[pair])[None])[0] @ direction[pair]
        size = np.abs(kept["pair_weight"][pair]) * np.linalg.norm(kept["response"][peak[pair]])
        agreement = 2 * np.log(before.loc[(names[0][pair], names[1][pair]), "weight"] / size)
        assert agreement == pytest.approx((cosine - null.mean()) / null.std(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"model": "model"}, TypeError, "model must be a TAPE, got str: 'model'. None trains one"),
        ({"modalities": "rna"}, TypeError, "modalities must be a dictionary"),
        ({"modalities": {"rna": "gex"}}, KeyError, "no modality 'gex' for rna"),
        ({"rng": "seed"}, TypeError, "rng must be a seed"),
        ({"n_permutations": 0}, ValueError, "n_permutations"),
        ({"key_added": "a/b"}, ValueError, "without a slash"),
    ],
)
def test_wrong_arguments(trained, arguments, error, match):
    mdata, model = trained
    with pytest.raises(error, match=match):
        td.tl.peak_gene_links(mdata, **{"model": model, **arguments})
    assert "tape_links" not in mdata.uns


def test_an_object_without_the_features_is_refused(trained):
    mdata, model = trained
    other = td.datasets.simulate_multiome(60, 40, 400, rng=3)
    with pytest.raises(ValueError, match="lacks features of the model"):
        td.tl.peak_gene_links(other, model)
    assert "tape_links" not in other.uns


def test_without_a_model_one_is_trained_on_all_cells_of_a_copy(monkeypatch):
    small = TAPEConfig(windows=WindowConfig(n_members=2, n_steps=20))
    monkeypatch.setattr("sctandem.model._tape.TAPEConfig", lambda: small)  # the default
    mdata = td.datasets.simulate_multiome(120, 40, 400, rng=0)
    with pytest.raises(KeyError, match="gene_windows"):
        td.tl.peak_gene_links(mdata)
    td.pp.gene_windows(mdata)
    names = {"rna": "Gene Expression", "atac": "Peaks"}
    renamed = new_mudata({names[role]: mdata[role] for role in names})
    renamed.uns["gene_windows"] = mdata.uns["gene_windows"]
    td.tl.peak_gene_links(renamed, modalities=names, n_permutations=50, rng=3)
    assert set(renamed.uns) == {"gene_windows", "tape_links"}
    assert list(renamed.obs) == []
    assert all("_scvi_batch" not in adata.obs and not adata.uns for adata in renamed.mod.values())
    found = td.get.peak_gene_links(renamed)
    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata)
    model.train(train_size=1.0, rng=3)
    td.tl.peak_gene_links(mdata, model, n_permutations=50, rng=3)
    pd.testing.assert_frame_equal(found, td.get.peak_gene_links(mdata))


def test_the_seed_is_kept(trained):
    mdata, model = trained
    drawn = td.tl.peak_gene_links(mdata, model, n_permutations=20, copy=True).uns["tape_links"]
    again = td.tl.peak_gene_links(mdata, model, n_permutations=20, rng=drawn["params"]["seed"], copy=True)
    pd.testing.assert_frame_equal(again.uns["tape_links"]["table"], drawn["table"])
    other = td.tl.peak_gene_links(mdata, model, n_permutations=20, copy=True).uns["tape_links"]
    assert other["params"]["seed"] != drawn["params"]["seed"]
