"""The plug-in: `adata.td.*` and `mdata.td.*`.

The names are those of the sub-packages, with the object already in first place:
`mdata.td.tl.peak_gene_links(model)` is `td.tl.peak_gene_links(mdata, model)`. Nothing is written twice and nothing is imported
before it is used: what a group offers is the `__all__` of the sub-package.
"""

from __future__ import annotations

from importlib import import_module
from types import MethodType
from typing import TYPE_CHECKING

from anndata import AnnData, register_anndata_namespace
from mudata import MuData, register_mudata_namespace

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Name of the namespace on the objects.
NAMESPACE = "td"

#: Sub-packages whose functions take the object first, and what each does.
GROUPS = {"pp": "prepare", "tl": "run a method", "pl": "draw", "get": "read as tables"}


class FunctionGroup:
    """The functions of one sub-package, bound to one object.

    Parameters
    ----------
    data
        The object that the functions are called on.
    package
        Name of the sub-package, e.g. `"tl"`.
    """

    def __init__(self, data: AnnData | MuData, package: str) -> None:
        self._data = data
        self._package = package

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # also while being unpickled, when nothing is set yet
            raise AttributeError(name)
        return MethodType(getattr(import_module(f"sctandem.{self._package}"), name), self._data)

    def __dir__(self) -> list[str]:
        return list(import_module(f"sctandem.{self._package}").__all__)

    def __repr__(self) -> str:
        return f"sctandem.{self._package} on {type(self._data).__name__}: {', '.join(dir(self)) or 'nothing yet'}"


class Namespace:
    """What `adata.td` and `mdata.td` have in common: a `FunctionGroup` for each of `pp`, `tl`, `pl` and `get`.

    Parameters
    ----------
    data
        The object that the functions are called on.
    """

    def __init__(self, data: AnnData | MuData) -> None:
        self._data = data

    def __getattr__(self, name: str) -> FunctionGroup:
        if name not in GROUPS:
            groups = ", ".join(f"{group} ({what})" for group, what in GROUPS.items())
            msg = f"{NAMESPACE!r} has no group {name!r}; it has {groups}"
            raise AttributeError(msg)
        return FunctionGroup(self._data, name)

    def __dir__(self) -> list[str]:
        return list(GROUPS)

    def __repr__(self) -> str:
        return "\n".join(repr(getattr(self, group)) for group in GROUPS)


@register_anndata_namespace(NAMESPACE)
class AnnDataNamespace(Namespace):
    """The functions of sctandem on an AnnData: `adata.td.tl.<name>(...)` is `td.tl.<name>(adata, ...)`.

    Parameters
    ----------
    adata
        The object that the functions are called on.
    """

    def __init__(self, adata: AnnData) -> None:
        super().__init__(adata)


@register_mudata_namespace(NAMESPACE)
class MuDataNamespace(Namespace):
    """The functions of sctandem on a MuData: `mdata.td.tl.<name>(...)` is `td.tl.<name>(mdata, ...)`.

    Parameters
    ----------
    mdata
        The object that the functions are called on.
    """

    def __init__(self, mdata: MuData) -> None:
        super().__init__(mdata)
