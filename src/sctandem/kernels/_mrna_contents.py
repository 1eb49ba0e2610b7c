"""How much messenger RNA a cell of a type holds: bulk shares are of RNA, and cells are asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Content(NamedTuple):
    """Messenger RNA of a cell of one type, in units of a published table, and by which names the type goes."""

    name: str
    content: float
    pattern: re.Pattern[str]


def _content(name: str, content: float, pattern: str) -> Content:
    return Content(name, content, re.compile(pattern, re.IGNORECASE))


#: From flow-sorted cells by Racle et al., eLife 6, e26476 (2017), Supplementary table (B, T and NK cells, monocytes, neutrophils); the first
#: pattern that fits a name counts. Dendritic cells are not in that table: they are put with the monocytes, from which most of them come.
PUBLISHED: tuple[Content, ...] = (
    _content("neutrophils", 0.13, r"neutrophil|granulocyte"),
    _content("dendritic cells", 1.42, r"dendritic|(?<![a-z])[pmc]?dcs?(?![a-z])"),
    _content("monocytes", 1.42, r"mono(?!nuclear)|macrophage|(?<!\d)cd14(?!\d)|(?<!\d)cd16\+? ?mono|fcgr3a"),
    _content("NK cells", 0.44, r"(?<![a-z])nk(?![a-z])(?!\W*t\b)|natural killer|cd56"),
    _content("B cells", 0.40, r"(?<![a-z\d])b(?![a-z\d])|(?<![a-z])bcells?|cd19|cd20"),
    _content("T cells", 0.40, r"(?<![a-z\d])t(?![a-z\d])|(?<![a-z])tcells?|(?<!\d)cd[348](?!\d)|treg|(?<![a-z])th\d"),
)


def published_contents(types: Sequence[str]) -> dict[str, float]:
    """Look up the messenger RNA of a cell of each type by its name.

    Parameters
    ----------
    types
        Names of types, such as `"CD14+ Monocytes"`.

    Returns
    -------
    Of each type that the table knows its content.
    """
    found = {}
    for kind in types:
        for entry in PUBLISHED:
            if entry.pattern.search(str(kind).replace("_", " ")):
                found[str(kind)] = entry.content
                break
    return found
