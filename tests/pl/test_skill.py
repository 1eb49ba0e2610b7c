from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import sctandem as td


def test_histogram_holds_every_scored_gene_once(mdata):
    ax = td.pl.expression_skill(mdata, bins=25)
    scores = mdata["rna"].var["tape_pearson"].dropna()
    heights = {}
    for container in ax.containers:
        for patch in container:
            left = round(patch.get_x(), 6)
            heights[left] = heights.get(left, 0) + patch.get_height()
    expected, _ = np.histogram(scores, bins=25, range=(min(scores.min(), 0), scores.max()))
    np.testing.assert_allclose([heights[left] for left in sorted(heights)], expected)
    median = [line for line in ax.lines if line.get_label().startswith("median")][0]
    assert median.get_xdata()[0] == pytest.approx(scores.median())


def test_shares_of_verdicts_count_all_genes(mdata):
    labels = [text.get_text() for text in td.pl.expression_skill(mdata).get_legend().get_texts()]
    counts = mdata["rna"].var["tape_verdict"].value_counts(sort=False)
    assert labels[:4] == [f"{verdict}: {n} ({100 * n / 120:.0f}%)" for verdict, n in counts.items()]


def test_no_verdicts_and_no_scored_gene(mdata):
    del mdata["rna"].var["tape_verdict"]
    labels = [text.get_text() for text in td.pl.expression_skill(mdata).get_legend().get_texts()]
    assert labels[:2] == ["not scored: 12 (10%)", "scored: 108 (90%)"]
    mdata["rna"].var["tape_pearson"] = np.nan
    assert [t.get_text() for t in td.pl.expression_skill(mdata).get_legend().get_texts()] == ["not scored: 120 (100%)"]


def test_programmes_are_ranked(mdata):
    ax = td.pl.programme_skill(mdata)
    table = td.get.programme_skill(mdata).sort_values("score_pearson", ascending=False)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [f"{p} ({n})" for p, n in zip(table.programme, table.n_genes, strict=True)]
    scores, genes = (np.asarray(ax.collections[i].get_offsets()) for i in (1, 2))
    np.testing.assert_allclose(scores[:, 0], table.score_pearson)
    np.testing.assert_allclose(genes[:, 0], table.pearson)
    assert ax.yaxis_inverted()
    best = to_hex(ax.collections[1].get_facecolor()[0])
    assert best == "#009e73"


def test_random_sets_are_the_reference_where_they_were_drawn(mdata):
    assert len(td.pl.programme_skill(mdata).collections) == 3
    table = mdata.uns["tape_programmes"]["table"]
    table["random_pearson"] = np.linspace(0.05, 0.2, len(table))
    ax = td.pl.programme_skill(mdata)
    ranked = table.sort_values("score_pearson", ascending=False)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in (*ax.get_legend().get_texts(), ax.xaxis.label)]
    assert all(box.x0 >= 0 and box.x1 <= ax.figure.bbox.x1 for box in boxes)
    np.testing.assert_allclose(np.asarray(ax.collections[3].get_offsets())[:, 0], ranked["random_pearson"])
    assert "score: random sets" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_many_programmes_show_the_best_and_the_worst(mdata):
    table = pd.DataFrame({"programme": [f"p{i}" for i in range(50)], "n_genes": 9, "pearson": 0.1, "verdict": "x"})
    mdata.uns["tape_programmes"]["table"] = table.assign(score_pearson=np.linspace(1, -0.5, 50))
    names = [label.get_text() for label in td.pl.programme_skill(mdata, n=5).get_yticklabels()]
    assert names == ["p0 (9)", "p1 (9)", "p2 (9)", "p48 (9)", "p49 (9)"]


def test_axes_that_are_given_are_drawn_on(mdata):
    _, (left, right) = plt.subplots(1, 2)
    assert td.pl.expression_skill(mdata, ax=left) is left
    assert td.pl.programme_skill(mdata, ax=right) is right


def test_bad_input(mdata):
    with pytest.raises(ValueError, match="bins=0 is not an integer between 1 and 1000"):
        td.pl.expression_skill(mdata, bins=0)
    with pytest.raises(ValueError, match="n=0 is not an integer above 0"):
        td.pl.programme_skill(mdata, n=0)
    with pytest.raises(KeyError, match="no column 'other_pearson'; run"):
        td.pl.expression_skill(mdata, key="other")
    with pytest.raises(KeyError, match="has no 'other'; run"):
        td.pl.programme_skill(mdata, key="other")
