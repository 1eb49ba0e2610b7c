"""Collections where models take an AnnData."""

from __future__ import annotations

import inspect
import re
from functools import wraps
from typing import TYPE_CHECKING, Any

from sctandem._checks import check_type
from sctandem.data import Collection
from sctandem.model.base._manager import check_set_up

if TYPE_CHECKING:
    from collections.abc import Callable


#: Arguments of `setup_anndata` that mean nothing for a collection: its counts are in `X`.
_NOT_OF_COLLECTIONS = ("layer", "source_registry")
#: What is said of errors of these and of the type, and what holds for a collection.
_RAISES = (
    ("KeyError\n    When the layer is not there.\n", ""),
    ("When the layer or a column is not there", "When a column is not there"),
    ("When `adata` is not an AnnData", "When `collection` is not a collection"),
)


class CollectionMixin:
    """Let a model take a collection where it takes an AnnData; its counts are then read from disk in blocks.

    A model with this mixin has the line ``setup_collection = collection_setup(setup_anndata)`` after its `setup_anndata`.
    """

    def __init__(self, data: Any = None) -> None:
        super().__init__(self._data_of(data))  # type: ignore[call-arg]

    @classmethod
    def _data_of(cls, data: Any) -> Any:
        """Return the AnnData of a collection that was set up, and other data as they are."""
        if not isinstance(data, Collection):
            return data
        managers = cls._setup_adata_manager_store  # type: ignore[attr-defined]
        check_set_up(data.adata, managers, f"{cls.__name__}.setup_collection", name="collection")
        return data.adata

    def _get_init_params(self, locals: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that a saved model is made with again, the data left out."""
        kept = {k: v for k, v in locals.items() if not isinstance(v, Collection)}
        return super()._get_init_params(kept)  # type: ignore[misc]

    def _validate_anndata(self, adata: Any = None, **options: Any) -> Any:
        """Check the data; a collection stands for its AnnData."""
        adata = adata.adata if isinstance(adata, Collection) else adata
        return super()._validate_anndata(adata, **options)  # type: ignore[misc]


def collection_setup(setup_anndata: Any, *, notes: str = "") -> Any:
    """Make the `setup_collection` of a model from its `setup_anndata`: the same arguments, with the same meaning.

    Parameters
    ----------
    setup_anndata
        The class method.
    notes
        What is read of a collection, for the docstring.

    Returns
    -------
    A class method, with the signature of the other and `collection` for `adata`.
    """
    setup: Callable[..., None] = setup_anndata.__func__

    @wraps(setup)
    def setup_collection(cls: Any, collection: Collection, *args: Any, **kwargs: Any) -> None:
        check_type(collection, Collection, "collection", hint="`td.data.open_collection` opens one.")
        accepted.bind(cls, collection, *args, **kwargs)
        cls.setup_anndata(collection.adata, *args, **kwargs)

    signature = inspect.signature(setup)
    parameters = [
        p.replace(name="collection", annotation=Collection) if p.name == "adata" else p
        for p in signature.parameters.values()
        if p.name not in _NOT_OF_COLLECTIONS
    ]
    accepted = signature.replace(parameters=parameters)
    setup_collection.__signature__ = accepted  # type: ignore[attr-defined]
    setup_collection.__annotations__ = {**setup.__annotations__, "collection": Collection}
    setup_collection.__annotations__.pop("adata", None)
    setup_collection.__name__ = "setup_collection"
    setup_collection.__qualname__ = setup.__qualname__.replace("setup_anndata", "setup_collection")
    setup_collection.__doc__ = _docstring(setup.__doc__ or "", notes)
    return classmethod(setup_collection)


def _docstring(text: str, notes: str) -> str:
    """Turn the docstring of `setup_anndata` into that of `setup_collection`, with notes at its end."""
    text = inspect.cleandoc(text)
    head, _, rest = text.partition("adata\n")
    described, _, rest = rest.partition("\n")
    text = f"{head}collection\n    A :class:`~sctandem.data.Collection`, opened by :func:`~sctandem.data.open_collection`; its counts stay on disk.\n{rest}"
    for name in _NOT_OF_COLLECTIONS:
        text = re.sub(rf"^{name}\n(?: +.*\n)+", "", text, flags=re.MULTILINE)
    for said, meant in _RAISES:
        text = text.replace(said, meant)
    text = text.replace("adata.obs", "collection.obs").replace("`adata", "`collection.adata")
    return f"{text.rstrip()}\n\nNotes\n-----\n{notes}\n" if notes else text
