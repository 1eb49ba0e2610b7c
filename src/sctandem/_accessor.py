"""The plug-in: `adata.td.*` and `mdata.td.*`.

The names are those of the sub-packages, with the object already in first place:
`mdata.td.tl.peak_gene_links(model)` is `td.tl.peak_gene_links(mdata, model)`. Nothing is written twice and nothing is imported
before it is used or listed: what a group offers are the functions of the sub-package whose first parameter is annotated with
the class of the object.
"""

from __future__ import annotations

import inspect
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
        function = getattr(import_module(f"sctandem.{self._package}"), name)
        takes, given = _takes(function), self._kind
        if not takes:
            whole = f"sctandem.{self._package}.{name}"
            msg = f"`{whole}` takes no object in first place: call it by that name, not on {given}."
            raise AttributeError(msg)
        if given not in takes:
            msg = (
                f"`{NAMESPACE}.{self._package}.{name}` works on {' or '.join(takes)}, not on {given} like this one. "
                + _WAYS.get((given, takes[0]), "")
            ).rstrip()
            raise AttributeError(msg)
        return MethodType(function, self._data)

    @property
    def _kind(self) -> str:
        """Class of the object, as functions are annotated with it."""
        return "MuData" if isinstance(self._data, MuData) else "AnnData"

    def __dir__(self) -> list[str]:
        package = import_module(f"sctandem.{self._package}")
        return [name for name in package.__all__ if self._kind in _takes(getattr(package, name))]

    def __repr__(self) -> str:
        names = ", ".join(dir(self)) or "no function takes it; see the same group on a MuData"
        return f"sctandem.{self._package} on {type(self._data).__name__}: {names}"


#: What to do with an object of the first class where the second is needed.
_WAYS = {
    ("AnnData", "MuData"): "Put the modalities into one object: mudata.MuData({'rna': rna, 'atac': atac}).",
    ("MuData", "AnnData"): "Call it on one of the modalities: mdata['rna'].",
}


def _takes(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the classes that a function takes as its first argument, as it is annotated; both where it is not.

    None for a function that makes an object from files.
    """
    first = next(iter(inspect.signature(function).parameters.values()))
    annotation = first.annotation
    written = "" if annotation is first.empty else getattr(annotation, "__name__", str(annotation))
    named = tuple(part.strip(" '\"").rsplit(".")[-1] for part in written.split("|"))
    return tuple(name for name in named if name in {"AnnData", "MuData"}) if written else ("AnnData", "MuData")


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
