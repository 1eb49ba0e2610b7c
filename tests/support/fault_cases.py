"""Malformed cases of one function, as many as are asked for: drawn by hypothesis, and shrunk where one fails."""

from __future__ import annotations

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from fault_draw import Draw
from fault_trial import TookTooLongError, run_case
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

#: The same cases in every run, and no files beside them.
SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def run_cases(name: str, n: int, folder: Path) -> set[str]:
    """Run `n` malformed cases of a function, or all where there are fewer; other forms of valid data are run beside.

    Parameters
    ----------
    name
        The function, as the table of calls names it.
    n
        How many cases.
    folder
        Where each case has a folder of its own while it runs.

    Returns
    -------
    The malformed cases in words.

    Raises
    ------
    AssertionError
        A case went wrong: the simplest that hypothesis finds with the same error from the same line.
    TookTooLongError
        A case hangs. This one is not made simpler: each attempt would take as long.
    """
    run = set()

    @seed(zlib.crc32(name.encode()))  # otherwise every function would be spoiled alike
    @settings(SETTINGS, max_examples=n)
    @given(st.data())
    def case(data: st.DataObject) -> None:
        draw = Draw(data)
        with TemporaryDirectory(dir=folder) as own:
            outcome = run_case(name, draw, Path(own))
        if outcome.problem == "hangs":
            raise TookTooLongError(outcome.case)
        if outcome.problem is not None:
            wrong = AssertionError(f"{outcome.case}: {outcome.problem}. {outcome.detail}")
            wrong.__context__ = outcome.error  # by which hypothesis tells one fault from another
            raise wrong
        if draw.words and not draw.malformed:
            reject()  # it was run, and is not counted: another is drawn
        run.add(str(draw))

    # hypothesis also draws numbers that it finds in the modules which happen to be loaded: cases would hang on the
    # tests that came before
    with patch.object(providers, "_get_local_constants", providers.Constants, create=True):
        case()
    return run
