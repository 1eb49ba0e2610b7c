from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sctandem.kernels._contrasts import Contrast, independent_columns, lay_out
from sctandem.kernels._designs import Design, formula_of, make_design, variables_of


def table(**columns) -> pd.DataFrame:
    made = pd.DataFrame(columns)
    made["condition"] = pd.Categorical(made["condition"])
    return made


EIGHT = table(
    condition=list("abababab"),
    batch=["x", "x", "x", "x", "y", "y", "y", "y"],
    donor=["1", "1", "2", "2", "3", "3", "4", "4"],
    age=[31.0, 31.0, 45.0, 45.0, 27.0, 27.0, 52.0, 52.0],
)


def test_plain_columns():
    design = make_design(EIGHT, formula_of("condition", ("batch",)), "condition", "a")
    assert design.columns == ["Intercept", "batch[T.y]", "condition[T.b]"]
    np.testing.assert_array_equal(design.matrix[:, 2], [0, 1, 0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(design.difference("b", "a"), [0, 0, 1])
    turned = make_design(EIGHT, "~ condition", "condition", "b")
    assert turned.columns == ["Intercept", "condition[T.a]"]


@pytest.mark.parametrize(
    "formula",
    [
        "~ condition",
        "~ C(condition)",
        "~ C(condition, contr.sum) + age",
        "~ 0 + condition",
        "~ 0 + batch + condition",
        "~ scale(age) + condition",
        "~ batch * age + C(condition)",
    ],
)
def test_any_coding_estimates_the_same_difference(formula):
    """The weights of the columns times the coefficients of a fit are the difference of the means of the two levels: the design is balanced."""
    value = np.random.default_rng(0).normal(size=8)
    design = make_design(EIGHT, formula, "condition", "a")
    coefficients = np.linalg.lstsq(design.matrix, value, rcond=None)[0]
    wanted = value[1::2].mean() - value[::2].mean()
    assert design.difference("b", "a") @ coefficients == pytest.approx(wanted)
    assert design.difference("a", "b") @ coefficients == pytest.approx(-wanted)


@pytest.mark.parametrize("formula", ["~ batch * condition", "~ condition + condition:age", "~ batch + batch:condition"])
def test_an_interaction_has_no_one_difference(formula):
    design = make_design(EIGHT, formula, "condition", "a")
    with pytest.raises(ValueError, match="lets the effect of 'condition' depend on other columns.*Say what is tested"):
        design.difference("b", "a")


def told(design: Design, weights: np.ndarray) -> bool:
    both = np.linalg.matrix_rank(np.vstack([design.matrix, weights]))
    return both == np.linalg.matrix_rank(design.matrix)


def test_what_can_be_told_is_what_lies_in_the_rows():
    """Random designs of too few dimensions against the rank of the rows with and without the contrast."""
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(60):
        matrix = rng.integers(-1, 2, (9, 4)) @ rng.integers(-1, 2, (4, 6)) * 10.0 ** rng.integers(-2, 3, 6)
        weights = rng.normal(size=9) @ matrix if rng.random() < 0.5 else rng.normal(size=6) * (rng.random(6) < 0.5)
        if not np.any(weights):
            continue
        design = Design("~", "condition", matrix, [f"c{i}" for i in range(6)], {})
        layout = lay_out(design, np.ones(9, dtype=bool), [Contrast("one", weights, ("a", "b"))])
        assert ("one" in layout.weights) == told(design, weights)
        assert np.linalg.matrix_rank(layout.matrix) == layout.matrix.shape[1] == np.linalg.matrix_rank(matrix)
        seen.append("one" in layout.weights)
        if seen[-1]:
            value = rng.normal(size=9)
            best = np.linalg.lstsq(matrix / np.abs(matrix).max(0).clip(1e-9), value, rcond=None)[0]
            expected = weights @ (best / np.abs(matrix).max(0).clip(1e-9))
            turned, column = layout.turned("one")
            assert np.linalg.lstsq(turned, value, rcond=None)[0][column] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert 10 < sum(seen) < len(seen) - 10


def test_independent_columns_keep_the_first():
    matrix = np.array([[1.0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]])
    assert independent_columns(matrix, np.zeros(0, dtype=int)).tolist() == [0, 1, 3]
    assert independent_columns(matrix, np.array([2])).tolist() == [0, 2, 3]


def test_donors_within_batches_are_no_confounding():
    design = make_design(EIGHT, "~ batch + donor + condition", "condition", "a")
    one = [Contrast("b vs a", design.difference("b", "a"), ("b", "a"))]
    layout = lay_out(design, np.ones(8, dtype=bool), one)
    assert layout.matrix.shape[1] == 5  # the constant, three donors and the condition
    without = make_design(EIGHT, "~ donor + condition", "condition", "a")
    both = np.column_stack([layout.matrix, without.matrix])
    assert np.linalg.matrix_rank(both) == 5


def test_samples_behind_and_samples_alone():
    design = make_design(table(condition=list("aabbcc")), "~ condition", "condition", "a")
    b = Contrast("b", design.difference("b", "a"))
    layout = lay_out(design, np.ones(6, dtype=bool), [b])
    assert layout.samples_behind("b").tolist() == [True, True, True, True, False, False]
    alone = lay_out(design, np.array([True, True, True, False, True, True]), [b])
    assert alone.faults == {"b": "contrast 'b' rests on a single sample, which says nothing of how samples vary."}
    absent = lay_out(design, np.array([True, True, False, False, True, True]), [b])
    assert "the samples say nothing of contrast 'b'" in absent.faults["b"]


def test_faults():
    confounded = table(condition=list("aabb"), batch=list("xxyy"))
    design = make_design(confounded, "~ batch + condition", "condition", "a")
    layout = lay_out(design, np.ones(4, dtype=bool), [Contrast("b", design.difference("b", "a"), ("b", "a"))])
    assert "confounds 'condition' with ['batch[T.y]']" in layout.faults["b"]
    design = make_design(EIGHT, "~ donor + condition", "condition", "a")
    one = [Contrast("b", design.difference("b", "a"), ("b", "a"))]
    assert not lay_out(design, np.ones(8, dtype=bool), one).faults
    with pytest.raises(ValueError, match="has 5 columns for 5 samples: nothing is left"):
        lay_out(design, np.array([True, True, True, False, True, False, True, False]), one)


def test_variables():
    assert variables_of("~ scale(age) + np.log(dose) + C(batch, contr.sum) + `my sex` + condition") == [
        "age",
        "batch",
        "condition",
        "dose",
        "my sex",
    ]


def test_columns_called_like_functions_are_columns():
    assert variables_of("~ log + `scale` + condition") == ["condition", "log", "scale"]
    named = EIGHT.rename(columns={"age": "log"})
    design = make_design(named, formula_of("condition", ("log",)), "condition", "a")
    np.testing.assert_array_equal(design.matrix[:, 1], EIGHT["age"])
    with pytest.raises(ValueError, match=r"rename \['a`b'\]"):
        formula_of("condition", ("a`b",))


@pytest.mark.parametrize("name", ["orig.ident", "1.5", "lane|run", "0", "my sex", "a:b", "np"])
def test_columns_of_any_name_are_columns(name):
    formula = formula_of("condition", (name,))
    assert set(variables_of(formula)) == {"condition", name}
    design = make_design(EIGHT.rename(columns={"age": name}), formula, "condition", "a")
    np.testing.assert_array_equal(design.matrix[:, 1], EIGHT["age"])


@pytest.mark.parametrize("name", ["1", "."])
def test_names_that_formulas_read_as_something_else_are_refused(name):
    """In formulaic "1" is the intercept even in backticks, so that such a covariate would be left out unsaid."""
    with pytest.raises(ValueError, match="called '1' or '.', or with a backtick in their name, cannot be in a design"):
        formula_of("condition", (name,))


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        ("~ batch + (", "is not a formula that formulaic reads"),
        ("y ~ condition", "must have one side only"),
        ("~ condition | batch", "must have one side only"),
        ("~ condition + (1 | donor)", "There are no random effects: samples are the unit"),
        ("~ logit(age) + condition", r"calls \['logit'\], which formulaic does not know"),
    ],
)
def test_formulas_that_cannot_be_read(formula, match):
    with pytest.raises(ValueError, match=match):
        variables_of(formula)


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        ("~ np.log(age - 27) + condition", r"not finite: \['np.log\(age - 27\)'\]"),
        ("~ np.log(age - 31) + condition", "could not be laid out.*contains null values"),
        ("~ 0 + age", "without a constant: it needs an intercept"),
        ("~ np.nope(age) + condition", "could not be laid out"),
        ("~ sex + condition", "could not be laid out"),
        ("~ samples + condition", "could not be laid out"),  # a name in the code that reads the formula
    ],
)
def test_formulas_that_cannot_be_laid_out(formula, match):
    with pytest.raises(ValueError, match=match):
        make_design(EIGHT, formula, "condition", "a")
