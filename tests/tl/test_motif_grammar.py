from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse
from scipy.stats import false_discovery_control

import sctandem as td
from sctandem._compat import new_mudata

WIDTHS = np.array([7, 9, 11, 8, 10, 6, 12, 8])
N_PEAKS, N_OWN = 4000, 500


@pytest.fixture(scope="module")
def planted():
    """Two groups of cells; in peaks of the first: motifs 0, 1 together, 3 downstream of 2, 5 at 12 bp from 4."""
    rng = np.random.default_rng(0)
    width = rng.integers(300, 600, N_PEAKS)
    start = np.cumsum(width + 500)
    names = [f"chr1:{s}-{s + w}" for s, w in zip(start, width, strict=True)]
    own = rng.permutation(N_PEAKS) < N_OWN
    rate = rng.uniform(0.1, 0.4, WIDTHS.size) * (width / 450)[:, None] * np.where(own, 2.0, 1.0)[:, None]
    n = rng.poisson(rate)
    peak, motif = (np.repeat(x, n[np.nonzero(n)]) for x in np.nonzero(n))
    rows = [peak, motif, rng.integers(0, width[peak] - WIDTHS[motif]), rng.choice([-1, 1], peak.size)]
    extra = []
    for p in rng.choice(np.flatnonzero(own), (3, 150)):
        for number, each in enumerate(p):
            at, side, gap = rng.integers(80, width[each] - 110), rng.choice([-1, 1]), rng.integers(0, 50)
            extra.append([(each, 0, 20, 1), (each, 1, rng.integers(60, 200), 1)][number % 2])
            ahead = at + 11 + gap if side > 0 else at - 8 - gap
            extra.extend(
                [(each, 2, at, side), (each, 3, ahead, 1), (each, 0, 20, 1), (each, 1, 250, -1)] * (number < 60)
            )
            extra.extend([(each, 4, at, 1), (each, 5, at + 10 + 12, 1)] * (number >= 90))
    rows = [np.concatenate([x, y]) for x, y in zip(rows, np.array(extra).T, strict=True)]
    hits = pd.DataFrame(dict(zip(("peak", "motif", "start", "strand"), rows, strict=True)))
    hits = hits.astype({"peak": "int32", "motif": "int32", "start": "int32", "strand": "int8"})
    share = rng.beta(2, 5, N_PEAKS)
    first = np.arange(200) < 100
    chance = np.where(own & first[:, None], np.minimum(share * 2.5, 0.95), share)
    adata = AnnData(
        sparse.csr_matrix(rng.random((200, N_PEAKS)) < chance, dtype=np.float32), var=pd.DataFrame(index=names)
    )
    adata.obs["type"] = pd.Categorical(np.where(first, "one", "two"))
    adata.obs["share"] = rng.random(200)
    adata.varm["nucleotides"] = pd.DataFrame({"gc": rng.normal(0.5, 0.05, N_PEAKS)}, index=names)
    motifs = [f"M{i}" for i in range(WIDTHS.size)]
    table = pd.DataFrame({"motif": motifs, "width": WIDTHS})
    adata.uns["motifs"] = {"names": np.array(motifs, dtype=object), "table": table}
    adata.uns["motifs"]["hits"] = hits.assign(score=rng.gamma(2, size=len(hits)).astype("float32"))
    adata.uns["own"] = own
    return adata


@pytest.fixture(scope="module")
def grammar(planted):
    return td.tl.motif_grammar(planted, "type", rng=0, copy=True)


def test_planted_grammar_is_found_and_no_more(grammar):
    found = td.get.motif_grammar(grammar, "one", fdr=0.05)
    pairs = {
        test: set(zip(rows["motif_a"], rows["motif_b"], strict=True))
        for test, rows in found.groupby("test", observed=True)
    }
    assert ("M0", "M1") in pairs["cooccurrence"]
    assert ("M2", "M3") in pairs["order"]
    assert pairs["spacing"] == {("M4", "M5")}
    row = found[(found["test"] == "order") & (found["motif_a"] == "M2") & (found["motif_b"] == "M3")].iloc[0]
    assert row["effect"] > 0.5
    assert row["expected"] == row["n_peaks"] / 2
    gap = found[found["test"] == "spacing"].iloc[0]
    assert gap["spacing"] == 12
    assert gap["observed"] > 4 * gap["expected"]


def test_peaks_of_the_group_are_those_that_open_in_it(grammar, planted):
    groups = grammar.uns["motif_grammar"]["groups"].set_index("group")
    assert groups.loc["one", "n_cells"] == 100
    assert 150 < groups.loc["one", "n_peaks"] <= 400  # a tenth of the peaks at most
    assert groups.loc["one", "n_background"] > 1000
    assert groups.loc["two", "n_peaks"] < 20
    assert set(td.get.motif_grammar(grammar)["group"]) == {"one"}


def test_fdr_is_adjusted_over_all_of_a_test(grammar):
    table = td.get.motif_grammar(grammar)
    for _, rows in table.groupby("test", observed=True):
        np.testing.assert_allclose(rows["fdr"], false_discovery_control(rows["pvalue"]))
        assert rows["pvalue"].is_monotonic_increasing
    assert (table.loc[table["test"] != "spacing", "spacing"] == -1).all()


def test_same_seed_same_table_and_a_file_gives_it_back(grammar, planted, tmp_path):
    again = td.tl.motif_grammar(planted, "type", rng=0, copy=True)
    table = grammar.uns["motif_grammar"]["table"]
    pd.testing.assert_frame_equal(table, again.uns["motif_grammar"]["table"])
    assert "motif_grammar" not in planted.uns
    grammar.write_h5ad(tmp_path / "grammar.h5ad")
    back = read_h5ad(tmp_path / "grammar.h5ad").uns["motif_grammar"]
    pd.testing.assert_frame_equal(back["table"], table)
    assert back["params"]["groupby"] == "type"


def test_formats_of_the_matrix_do_not_matter(planted, grammar, tmp_path):
    table = grammar.uns["motif_grammar"]["table"]
    for name, matrix in {"dense": planted.X.toarray(), "csc": planted.X.tocsc()}.items():
        other = planted.copy()
        other.X = matrix
        td.tl.motif_grammar(other, "type", rng=0)
        pd.testing.assert_frame_equal(other.uns["motif_grammar"]["table"], table)
        other.write_h5ad(tmp_path / f"{name}.h5ad")
        backed = read_h5ad(tmp_path / f"{name}.h5ad", backed="r")
        del backed.uns["motif_grammar"]
        td.tl.motif_grammar(backed, "type", rng=0)
        pd.testing.assert_frame_equal(backed.uns["motif_grammar"]["table"], table)
        backed.file.close()


def test_mudata_and_no_groups(planted):
    mdata = new_mudata({"peaks": planted.copy()})
    td.tl.motif_grammar(mdata, modalities={"atac": "peaks"}, key_added="all_peaks", rng=0)
    table = td.get.motif_grammar(mdata, modalities={"atac": "peaks"}, key="all_peaks")
    assert set(table["group"]) == {"all"}
    assert mdata["peaks"].uns["all_peaks"]["groups"]["n_background"].tolist() == [0]
    best = table[table["test"] == "spacing"].iloc[0]
    assert (best["motif_a"], best["motif_b"], best["spacing"]) == ("M4", "M5", 12)


def test_tests_without_rows_are_left_out_quietly(planted):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # pandas warns of empty tables put together
        got = td.tl.motif_grammar(planted, "type", min_peaks=250, rng=0, copy=True)
    table = td.get.motif_grammar(got)
    assert set(table["test"]) == {"cooccurrence"}
    assert table[["n_peaks", "observed", "spacing"]].dtypes.astype(str).tolist() == ["int64"] * 3


def test_counts_beside_the_hits_and_in_a_layer(planted, grammar):
    other = with_counts(planted)
    other.layers["counts"] = other.X.copy()
    other.X = other.X * 0.3
    td.tl.motif_grammar(other, "type", layer="counts", rng=0)
    pd.testing.assert_frame_equal(other.uns["motif_grammar"]["table"], grammar.uns["motif_grammar"]["table"])
    assert other.uns["motif_grammar"]["params"]["layer"] == "counts"


def test_groups_of_the_whole_object(planted, grammar):
    peaks = planted.copy()
    groups = peaks.obs.pop("type")
    mdata = new_mudata({"rna": AnnData(np.ones((200, 1)), obs=groups.to_frame()), "atac": peaks})
    with pytest.raises(
        KeyError, match=r"neither .* has a column 'type'; mdata\['rna'\].obs has it: mdata.obs\['type'\] ="
    ):
        td.tl.motif_grammar(mdata, "type", rng=0)
    mdata.obs["type"] = groups
    td.tl.motif_grammar(mdata, "type", rng=0)
    pd.testing.assert_frame_equal(mdata["atac"].uns["motif_grammar"]["table"], grammar.uns["motif_grammar"]["table"])
    with pytest.raises(
        KeyError, match=r"neither mdata\['atac'\].obs nor mdata.obs has a column 'none'; they have 'share'"
    ):
        td.tl.motif_grammar(mdata, "none", rng=0)


def test_nothing_to_test_is_an_empty_table(planted):
    """Groups with peaks in which no pair is frequent enough."""
    other = planted.copy()
    hits = other.uns["motifs"]["hits"]
    other.uns["motifs"]["hits"] = hits.groupby("motif").head(3).reset_index(drop=True)
    td.tl.motif_grammar(other, "type", rng=0, min_peaks=5)
    assert len(td.get.motif_grammar(other)) == 0


def without(adata, key):
    other = adata.copy()
    del other.uns["motifs"][key]
    return other


def changed(adata, **columns):
    other = adata.copy()
    other.uns["motifs"]["hits"] = other.uns["motifs"]["hits"].assign(**columns)
    return other


def with_counts(adata):
    """Add the table of counts that `pp.nucleotide_spectrum` writes beside the hits."""
    other, hits = adata.copy(), adata.uns["motifs"]["hits"]
    counts = sparse.coo_matrix((np.ones(len(hits), dtype=np.int32), (hits["peak"], hits["motif"])), (N_PEAKS, 8))
    other.varm["motifs"] = counts.tocsr()
    return other


def reordered(adata):
    return with_counts(adata)[:, np.random.default_rng(0).permutation(N_PEAKS)].copy()


def without_x(adata):
    other = adata.copy()
    other.X = None
    return other


def of_counts(adata, change):
    other = adata.copy()
    other.X = change(other.X.toarray())
    return other


def nothing_else(adata):
    other = adata.copy()
    del other.varm["nucleotides"]
    return other


@pytest.mark.parametrize(
    ("make", "arguments", "error", "match"),
    [
        (lambda a: without(a, "hits"), {}, KeyError, "hits"),
        (nothing_else, {}, KeyError, "nucleotides.*run `td.pp.nucleotide_spectrum"),
        (lambda a: changed(a, peak=np.int32(N_PEAKS)), {}, ValueError, f"the peak {N_PEAKS}, but there are {N_PEAKS}"),
        (lambda a: changed(a, motif=np.int32(-1)), {}, ValueError, "the motif -1"),
        (lambda a: a, {"groupby": "missing"}, KeyError, "no column 'missing'"),
        (lambda a: a, {"top_share": 0.9}, ValueError, "top_share"),
        (lambda a: a, {"max_spacing": 0}, ValueError, "max_spacing"),
        (lambda a: a, {"groupby": "type", "min_peaks": 4000}, ValueError, "no group has 4000 peaks"),
        (lambda a: a, {"key_added": "a/b"}, ValueError, "slash"),
        (lambda a: a[a.obs["type"] == "one"].copy(), {"groupby": "type"}, ValueError, "has 1 group"),
        (lambda a: 3, {}, TypeError, "must be an AnnData of peaks or a MuData, got int"),
        (lambda a: a, {"groupby": ["type"]}, TypeError, "groupby must be a str, got list"),
        (lambda a: a, {"groupby": "share"}, ValueError, r"groupby='share' holds measurements .*pd.cut"),
        (lambda a: a, {"modalities": {"atac": "atac"}}, ValueError, "names modalities of a MuData"),
        (lambda a: a, {"layer": "counts"}, KeyError, "layers has no 'counts'"),
        (without_x, {}, ValueError, r"adata.X is empty \(None\)"),
        (lambda a: of_counts(a, lambda x: x * 0), {}, ValueError, "has no counts at all"),
        (lambda a: of_counts(a, lambda x: x - 0.1), {}, ValueError, "contains negative values"),
        (lambda a: a[:0].copy(), {}, ValueError, "has no counts at all"),
        (reordered, {}, ValueError, "do not agree: peaks were left out or put into another order"),
    ],
)
def test_errors_name_what_is_wrong_and_leave_nothing_behind(planted, make, arguments, error, match):
    data = make(planted)
    with pytest.raises(error, match=match):
        td.tl.motif_grammar(data, **arguments)
    if isinstance(data, AnnData):
        assert "motif_grammar" not in data.uns


def test_get_names_what_is_there(grammar):
    with pytest.raises(ValueError, match="'one'"):
        td.get.motif_grammar(grammar, "three")
    n_peaks = grammar.uns["motif_grammar"]["groups"].set_index("group").loc["two", "n_peaks"]
    with pytest.raises(
        ValueError, match=rf"no tests for the group 'two': it has {n_peaks} peaks of its own \(at least 20"
    ):
        td.pl.motif_grammar(grammar, "two")  # a group of cells, but with too few peaks
    with pytest.raises(ValueError, match="'cooccurrence'"):
        td.get.motif_grammar(grammar, test="distance")
    with pytest.raises(KeyError, match="motif_grammar"):
        td.get.motif_grammar(AnnData(np.ones((2, 2))))


def test_plot_marks_what_was_found(grammar):
    ax = td.pl.motif_grammar(grammar, "one", n_motifs=8)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert set(names) == {f"M{i}" for i in range(8)}
    words = {tuple(map(round, text.get_position())): text.get_text() for text in ax.texts}
    i, j = sorted((names.index("M4"), names.index("M5")))
    assert words[j, i].startswith("12")
    i, j = names.index("M2"), names.index("M3")
    assert ("<" if i < j else "^") in words[max(i, j), min(i, j)]  # M2 is the upstream one
    dots = {tuple(map(round, xy)) for xy in ax.collections[0].get_offsets()}
    i, j = sorted((names.index("M0"), names.index("M1")))
    assert (i, j) in dots
    assert td.pl.motif_grammar(grammar).get_title(loc="left") == "one"
    assert "FDR ≤ 0.05" in ax.get_xlabel()  # what a dot is; below, where the squares leave no room for it


@pytest.mark.parametrize(("n", "inside"), [(8, False), (9, True)])
def test_plot_puts_its_words_where_there_is_room(n, inside):
    rows = [
        {"group": "B", "motif_a": f"M{i}", "motif_b": f"M{j}", "test": "cooccurrence", "effect": 1.0, "spacing": -1}
        for i in range(n)
        for j in range(i)
    ]
    adata = AnnData(shape=(2, 3))
    adata.uns["motif_grammar"] = {"table": pd.DataFrame(rows).assign(pvalue=0.01, fdr=0.02)}
    ax = td.pl.motif_grammar(adata)
    assert len(ax.get_yticklabels()) == n
    assert any("FDR ≤ 0.05" in text.get_text() for text in ax.texts) == inside
    assert ("FDR ≤ 0.05" in ax.get_xlabel()) != inside
