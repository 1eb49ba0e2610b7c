"""What a table of words says holds for other spellings of its words."""

from __future__ import annotations

import pandas as pd
import pytest

from sctandem.data._words import decide_words


def decided(words, table):
    found = pd.DataFrame([("cell_type", source, word, 10) for source, word in words])
    found.columns = ["column", "source", "word", "n_cells"]
    given = pd.DataFrame(table, columns=["column", "source", "word", "becomes"])
    out = decide_words(found, given)
    return list(zip(out["becomes"], out["status"], strict=True))


@pytest.mark.parametrize("word", ["T_Cell", "t cell", "T-cell", " T.CELL "])
def test_another_spelling_becomes_what_the_table_says(word):
    assert decided([("one", word)], [("cell_type", "", "T cell", "lymphocyte")]) == [("lymphocyte", "given")]


def test_the_spelling_itself_and_the_own_source_come_first():
    table = [
        ("cell_type", "", "t cell", "any"),
        ("cell_type", "", "T_Cell", "exact"),
        ("cell_type", "one", "t-cell", "own"),
    ]
    words = [("one", "T_Cell"), ("two", "T_Cell"), ("two", "T.Cell"), ("one", "T.Cell")]
    assert [becomes for becomes, _ in decided(words, table)] == ["own", "exact", "any", "own"]


def test_what_others_become_is_known_in_any_spelling():
    table = [("cell_type", "", "nk", "Natural killer")]
    assert decided([("one", "natural_killer")], table) == [("Natural killer", "known")]
