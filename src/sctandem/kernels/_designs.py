"""Designs of samples from formulas."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Differences of the design between two levels that vary by less than this over samples are the same in all.
_SAME = 1e-9
#: Names in backticks.
_QUOTED = re.compile("`[^`]+`")


@dataclass(frozen=True, slots=True)
class Design:
    """A design of samples.

    Attributes
    ----------
    formula
        What it was made from.
    groupby
        The condition.
    matrix
        Samples x columns; columns may follow from one another.
    columns
        Their names.
    effects
        What a level of the condition changes in the columns against the reference, by level, (columns,); empty where that depends on
        the sample, since the condition interacts with something.
    """

    formula: str
    groupby: str
    matrix: np.ndarray
    columns: list[str]
    effects: dict[str, np.ndarray]

    def difference(self, level: str, other: str) -> np.ndarray:
        """Return the weights of the columns that make the difference between two levels of the condition.

        Raises
        ------
        ValueError
            When there is no one such difference.
        """
        if not self.effects:
            first = next((name for name in self.columns if self.groupby in name), self.columns[-1])
            msg = (
                f"design={self.formula!r} lets the effect of {self.groupby!r} depend on other columns, so that there is no one "
                f"difference between {level!r} and {other!r}. Say what is tested in the columns of the design, such as "
                f"contrasts={{'name': {{{first!r}: 1}}}}; the columns are {self.columns}."
            )
            raise ValueError(msg)
        weights = self.effects[level] - self.effects[other]
        if not np.any(weights):
            msg = (
                f"design={self.formula!r} does not tell {level!r} from {other!r}: it needs {self.groupby!r} as a term, such as "
                f"'~ batch + {self.groupby}'. Names of columns that are to be adjusted for go to covariates."
            )
            raise ValueError(msg)
        return weights


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

    Raises
    ------
    ValueError
        When a name has a backtick, which formulas cannot quote, or is `"1"` or `"."`, which mean something else there even if quoted.
    """
    unusable = [name for name in (*covariates, groupby) if "`" in name or name in ("1", ".")]
    if unusable:
        msg = f"columns called '1' or '.', or with a backtick in their name, cannot be in a design: rename {unusable}."
        raise ValueError(msg)
    return "~ " + " + ".join(f"`{name}`" for name in (*covariates, groupby))


def variables_of(formula: str) -> list[str]:
    """List the variables of a formula: the columns that it needs.

    Parameters
    ----------
    formula
        In the notation of formulaic.

    Returns
    -------
    Names, sorted.

    Raises
    ------
    ValueError
        When the formula cannot be read, has a left side or several parts, or calls what formulaic does not know.
    """
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        read = Formula(formula)
    except FormulaicError as error:
        bar = "|" in _QUOTED.sub("", formula)
        hint = (
            " There are no random effects: samples are the unit, and donors with several of them a term."
            if bar
            else " Names of columns that hold more than letters, digits, _ and . are written between backticks: `my donor`."
        )
        msg = f"design={formula!r} is not a formula that formulaic reads: {str(error).splitlines()[0]}{hint}"
        raise ValueError(msg) from error
    if hasattr(read, "lhs") or "|" in _QUOTED.sub("", formula):
        msg = f"design={formula!r} must have one side only, such as '~ batch + condition': what is explained are the counts."
        raise ValueError(msg)
    # not `required_variables`: it cuts names at dots (orig.ident), passes over columns that are called like a function of formulaic,
    # and does not look into what is standardised or expanded: scale(age), poly(age, 2)
    names: set[str] = set()
    for factor in (factor for term in read for factor in term.factors):
        how = factor.eval_method.value
        if how == "lookup":
            names.add(str(factor.expr))
        elif how == "python":
            names |= _names_in(factor.expr, formula)
    return sorted(names)


def _names_in(code: str, formula: str) -> set[str]:
    """List the columns that an expression of a formula needs."""
    from formulaic.transforms import TRANSFORMS

    quoted = [name.strip("`") for name in _QUOTED.findall(code)]
    try:
        nodes = list(ast.walk(ast.parse(_QUOTED.sub("np", code).strip(), mode="eval")))
    except SyntaxError as error:
        msg = f"design={formula!r} has {code!r}, which cannot be read: {error}"
        raise ValueError(msg) from error
    names = {node.id for node in nodes if isinstance(node, ast.Name)} - set(TRANSFORMS)
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    if called & names:
        msg = (
            f"design={formula!r} calls {sorted(called & names)}, which formulaic does not know. It knows `C`, `scale`, `center`, "
            "`log`, `poly` and others, and those of numpy as `np.sqrt`."
        )
        raise ValueError(msg)
    return names | set(quoted)


def make_design(samples: pd.DataFrame, formula: str, groupby: str, reference: str) -> Design:
    """Lay out a design.

    Parameters
    ----------
    samples
        A row a sample; the condition is a categorical.
    formula
        In the notation of formulaic, such as ``~ batch + condition``.
    groupby
        Column of the condition.
    reference
        Level that comes first.

    Returns
    -------
    The design. What two levels differ by is read off the rows that the same samples would have in either, whatever the coding.

    Raises
    ------
    ValueError
        When the formula cannot be laid out, or has no constant.
    """
    import pandas as pd
    from formulaic import model_matrix
    from formulaic.errors import FormulaicError

    table = samples.copy()
    ordered = [reference, *(str(level) for level in table[groupby].cat.categories if str(level) != reference)]
    table[groupby] = pd.Categorical(table[groupby].astype(str), ordered)
    levels = [pd.Categorical([level] * len(table), ordered) for level in ordered]
    try:
        with np.errstate(all="ignore"):  # what is not finite is told below
            laid: Any = model_matrix(formula, table, context={}, na_action="raise")
            again = [laid.model_spec.get_model_matrix(table.assign(**{groupby: one}), context={}) for one in levels]
    except (FormulaicError, ArithmeticError, KeyError, NameError, TypeError, ValueError) as error:
        msg = f"design={formula!r} could not be laid out on the table of samples, which has {list(table.columns)}: {error}"
        raise ValueError(msg) from error
    columns = [str(name).replace("`", "") for name in laid.columns]
    matrix, *rows = (np.asarray(one, dtype=np.float64) for one in (laid, *again))
    bad = [name for name, column in zip(columns, matrix.T, strict=True) if not np.isfinite(column).all()]
    if bad:
        msg = f"design={formula!r} gives columns with values that are not finite: {bad}. Was a logarithm of 0 taken?"
        raise ValueError(msg)
    if _far(matrix, np.ones(len(matrix))):
        msg = f"design={formula!r} gives the columns {columns}, without a constant: it needs an intercept."
        raise ValueError(msg)
    changes = [one - rows[0] for one in rows]
    fixed = all(np.abs(change - change[0]).max() < _SAME for change in changes)
    effects = {level: change[0] for level, change in zip(ordered, changes, strict=True)} if fixed else {}
    return Design(formula, groupby, matrix, columns, effects)


def _far(matrix: np.ndarray, values: np.ndarray) -> bool:
    """Whether values are no combination of the columns."""
    fitted = matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]
    return bool(np.abs(fitted - values).max() > 1e-6)
