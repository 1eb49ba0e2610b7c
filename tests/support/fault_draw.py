"""What a malformed case asks of hypothesis: which argument, how it is spoiled, and where."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DataObject

T = TypeVar("T")
#: An order, or noise, is that of a seed: there are this many.
N_SEEDS = 1000


class Draw:
    """The answers of hypothesis, kept in words.

    Every answer shrinks: choices to the first option, chances to no, places and seeds to 0. So options are listed with
    the simplest first, and a failing case ends as one that names little.

    Attributes
    ----------
    words
        What was asked and answered, in order: equal words, equal case.
    malformed
        Whether anything is spoiled so that it is more than another form of valid data.
    """

    def __init__(self, data: DataObject) -> None:
        self._data = data
        self.words: list[str] = []
        self.malformed = False

    def __str__(self) -> str:
        return " ".join(self.words)

    def choice(self, what: str, options: Sequence[T]) -> T:
        """Choose one of the options."""
        option = self._data.draw(st.sampled_from(options), what)
        self.words.append(f"{what} {_word(option)}")
        return option

    def chance(self, what: str) -> bool:
        """Say whether; it is in the words only if so."""
        if drawn := self._data.draw(st.booleans(), what):
            self.words.append(what)
        return drawn

    def place(self, what: str, n: int) -> int:
        """Choose one of n places, of 0 to n - 1."""
        place = self._data.draw(st.integers(0, n - 1), what)
        self.words.append(f"{what} {place}")
        return place

    def generator(self, what: str) -> np.random.Generator:
        """Make what draws an order or noise: too many numbers to be drawn one by one."""
        return np.random.default_rng(self.place(f"{what} of seed", N_SEEDS))


def _word(option: Any) -> str:
    """Write an option on one short line that is the same in every run."""
    return re.sub(
        r"\s+", " ", re.sub(r" at 0x[0-9a-f]+", "", str(option) if isinstance(option, str) else repr(option))
    )[:80]
