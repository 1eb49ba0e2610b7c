"""The messenger RNA of a cell of each type of a reference: given, published, or taken for equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sctandem._checks import check_positive, check_type, listed
from sctandem.kernels._mrna_contents import published_contents

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Standard deviation of the log of published contents: by as much do two tables differ in monocytes against T cells.
CONTENT_SD = 0.35


def cell_contents(types: Sequence[str], given: Mapping[str, float] | None) -> tuple[dict[str, float], float]:
    """Give the content of each type, and how sure its log is.

    Parameters
    ----------
    types
        Names of the types.
    given
        Contents by type, in any unit; `None` for those of the published table.

    Returns
    -------
    Contents in the order of the types, and the standard deviation of their logs: 0 where they were given or are all equal.

    Raises
    ------
    KeyError
        When `given` lacks a type.
    TypeError
        When it is no mapping.
    ValueError
        When a content is not above 0.
    """
    if given is not None:
        check_type(given, Mapping, "contents")
        given = {str(name): content for name, content in given.items()}
        missing = [name for name in types if name not in given]
        if missing:
            msg = f"contents lacks {listed(missing)}; it has {listed(list(given))}."
            raise KeyError(msg)
        for name in types:
            check_positive(given[name], f"contents[{name!r}]")
        return {name: float(given[name]) for name in types}, 0.0
    known = published_contents(types)
    if not known:
        return dict.fromkeys(types, 1.0), 0.0
    average = float(np.exp(np.mean(np.log(list(known.values())))))
    return {name: known.get(name, average) for name in types}, CONTENT_SD
