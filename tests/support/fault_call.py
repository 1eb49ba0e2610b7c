"""One call of a public function or method, with valid arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


#: Stands for a path that a case writes to.
OUT = object()


@dataclass(frozen=True)
class Call:
    """One public function and its valid arguments.

    Attributes
    ----------
    arguments
        From the name of the argument to what makes it, or the value itself.
    fixed
        Arguments that no case touches: they bound the work, or say where to write.
    costly
        Whether a valid call takes more than about half a second: fewer cases are drawn.
    function
        What is called; `None` for the function of that name.
    writes
        Keys under which it writes, beside its `key_added`.
    blank
        Numbers of what it gives that may all be missing, as its documentation says, each with what the arguments are then.
    few
        What may be empty, or be there in fewer than half of the places, of a valid call, each with the reason.
    outputs
        Arguments that say where it writes: no file there is watched.
    """

    arguments: dict[str, Any]
    fixed: dict[str, Any]
    costly: bool = False
    function: Callable[..., Any] | None = None
    writes: tuple[str, ...] = ()
    blank: Mapping[str, Callable[[dict[str, Any]], bool]] = field(default_factory=dict)
    few: dict[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    def build(self) -> dict[str, Any]:
        """Make the arguments anew."""
        return {name: value() if callable(value) else value for name, value in self.arguments.items()}

    def build_fixed(self, folder: Path) -> dict[str, Any]:
        """Make the fixed arguments, of which `OUT` lies in a folder."""
        return {name: folder / "out" if value is OUT else value for name, value in self.fixed.items()}


def call(
    *,
    fixed: dict[str, Any] | None = None,
    costly: bool = False,
    function: Callable[..., Any] | None = None,
    writes: tuple[str, ...] = (),
    blank: Mapping[str, Callable[[dict[str, Any]], bool]] | None = None,
    few: dict[str, str] | None = None,
    outputs: tuple[str, ...] = (),
    **arguments: Any,
) -> Call:
    """Make a call of the arguments that a case may spoil, and of what it leaves alone."""
    return Call(arguments, fixed or {}, costly, function, writes, blank or {}, few or {}, outputs)
