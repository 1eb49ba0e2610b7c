"""Which errors the documentation of a call names."""

from __future__ import annotations

from fault_calls import CALLS, documented
from fault_documented import errors_in

import sctandem as td


def test_what_a_docstring_says_is_raised():
    text = """One.

    Parameters
    ----------
    KeyError
        No error.

    Raises
    ------
    ValueError
        When it is wrong:
        KeyError is another.
    TypeError, SourceError
        Both.

    Notes
    -----
    OSError
    """
    assert errors_in(text) == {ValueError, TypeError, td.data.SourceError}
    assert errors_in("One.\n\nRaises\n------\nKeyError\n    At the end.") == {KeyError}
    assert errors_in("One.") == set()


def test_documentation_of_what_stands_behind_a_call():
    assert documented("get.similar") == (KeyError, TypeError, ValueError)
    assert set(documented("model.TAPE.train")) == set(documented("model.TAPE.made")) | errors_in(
        td.model.TAPE.train.__doc__
    )
    assert set(documented("model.TAPE.made")) == errors_in(td.model.TAPE.__doc__) | errors_in(
        td.model.TAPE.setup_mudata.__doc__
    )
    assert all(documented(name) for name in CALLS if name != "datasets.list_datasets")
