"""Designs of samples from formulas, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Singular values below this part of the largest count as none.
_RANK = 1e-8


@dataclass(frozen=True, slots=True)
class Design:
    """A design of samples.

    Attributes
    ----------
    matrix
        Samples x columns.
    columns
        Their names.
    tested
        The column of each level that is compared with the reference, by level.
    """

    matrix: np.ndarray
    columns: list[str]
    tested: dict[str, int]


def formula_of(groupby: str, covariates: tuple[str, ...]) -> str:
    """Return the additive formula of covariates and the condition.

    Parameters
    ----------
    groupby
        The condition.
    covariates
        Columns of the table of samples.

    Returns
    -------
    Such as ``~ `batch` + `condition```.
    """
    return "~ " + " + ".join(f"`{name}`" for name in (*covariates, groupby))


def make_design(samples: pd.DataFrame, formula: str, groupby: str, reference: str) -> Design:
    """Lay out a design.

    Parameters
    ----------
    samples
        A row a sample; the condition is a categorical.
    formula
        In the notation of formulaic, such as ``~ batch + condition``, with an intercept and the condition as a term of its own.
    groupby
        Column of the condition.
    reference
        Level that the others are compared with.

    Returns
    -------
    The design, with the reference level of the condition as the baseline.

    Raises
    ------
    ValueError
        When the formula cannot be read, has no intercept or no such term, or the condition is confounded with the rest of it.
    """
    import pandas as pd
    from formulaic import model_matrix
    from formulaic.errors import FormulaicError

    table = samples.copy()
    levels = [str(level) for level in table[groupby].cat.categories if (table[groupby] == level).any()]
    ordered = [reference, *(level for level in levels if level != reference)]
    table[groupby] = pd.Categorical(table[groupby].astype(str), ordered)
    try:
        laid = model_matrix(formula, table)
    except (FormulaicError, KeyError, ValueError) as error:
        msg = f"design={formula!r} could not be laid out on the table of samples, which has {list(table.columns)}: {error}"
        raise ValueError(msg) from error
    columns = [str(name) for name in laid.columns]
    plain = [name.replace("`", "") for name in columns]
    tested = {level: f"{groupby}[T.{level}]" for level in ordered[1:]}
    missing = [name for name in tested.values() if name not in plain]
    if missing or "Intercept" not in plain:
        msg = (
            f"design={formula!r} gives the columns {plain}, among them no {missing or ['Intercept']}: it needs an intercept and "
            f"{groupby!r} as a term of its own, such as '~ batch + {groupby}'."
        )
        raise ValueError(msg)
    design = Design(
        np.asarray(laid, dtype=np.float64),
        plain,
        {level: plain.index(name) for level, name in tested.items()},
    )
    _check_rank(design, formula, groupby)
    return design


def _check_rank(design: Design, formula: str, groupby: str) -> None:
    """Refuse a design in which a comparison follows from the other columns, or in which columns repeat one another."""
    matrix = design.matrix
    tested = list(design.tested.values())
    others = np.delete(matrix, tested, axis=1)
    if _rank(others) + len(tested) > _rank(matrix):
        names = [name for i, name in enumerate(design.columns) if i not in tested and name != "Intercept"]
        msg = (
            f"design={formula!r} confounds {groupby!r} with {_culprits(design, names)}: given these columns every "
            f"sample's {groupby!r} is known, so that no effect of it can be told from theirs. Leave them out of the design, "
            f"or use samples in which they vary within the levels of {groupby!r}."
        )
        raise ValueError(msg)
    if _rank(matrix) < matrix.shape[1]:
        msg = f"design={formula!r} has columns that follow from one another: {design.columns}. Leave some of them out."
        raise ValueError(msg)
    free = len(matrix) - matrix.shape[1]
    if free < 1:
        msg = (
            f"design={formula!r} has {matrix.shape[1]} columns for {len(matrix)} samples: nothing is left to estimate the "
            "variance between samples from. Leave covariates out."
        )
        raise ValueError(msg)


def _culprits(design: Design, names: list[str]) -> list[str]:
    """Name the columns that carry the confounding."""
    tested = next(iter(design.tested.values()))
    wanted = design.matrix[:, tested]
    free = [i for i, name in enumerate(design.columns) if name in names]
    basis = design.matrix[:, [design.columns.index("Intercept"), *free]]
    weights = np.linalg.lstsq(basis, wanted, rcond=None)[0][1:]
    return [design.columns[i] for i, weight in zip(free, weights, strict=True) if abs(weight) > 1e-6] or names


def _rank(matrix: np.ndarray) -> int:
    """Give the rank."""
    if not matrix.shape[1]:
        return 0
    values = np.linalg.svd(matrix / np.maximum(np.abs(matrix).max(0), 1e-300), compute_uv=False)
    return int((values > _RANK * values[0]).sum())
