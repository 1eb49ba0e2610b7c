"""Lazy names for packages: nothing is imported before it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def attach(
    package: str, names: Mapping[str, str | None]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make the lazy `__getattr__`, the `__dir__` and the `__all__` of a package.

    Parameters
    ----------
    package
        The `__name__` of the package.
    names
        Public name -> relative module that defines it (`"._gene_windows"`), or `None` for a sub-module of that name.

    Returns
    -------
    `__getattr__`, `__dir__` and the sorted `__all__`, to be assigned in this order.

    Examples
    --------
    >>> from sctandem._lazy import attach
    >>> get, names, public = attach("collections", {"abc": None})
    >>> public
    ['abc']
    >>> get("abc").__name__
    'collections.abc'
    """
    public = sorted(names)

    def get(name: str) -> Any:
        if name not in names:
            msg = f"module {package!r} has no attribute {name!r}; it offers {', '.join(public) or 'nothing'}"
            raise AttributeError(msg)
        where = names[name]
        value = import_module(f"{package}.{name}") if where is None else getattr(import_module(where, package), name)
        # kept in the package, so that the next access does not come here; importlib binds sub-modules by itself
        setattr(sys.modules[package], name, value)
        return value

    def listing() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return get, listing, public
