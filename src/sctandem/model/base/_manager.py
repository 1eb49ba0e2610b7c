"""How the data of a model are registered, and taken over from a saved model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
from scvi.data import AnnDataManager

from sctandem._checks import listed, object_name
from sctandem._compat import ModelLayout, import_printer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anndata import AnnData
    from mudata import MuData

import_printer()


def check_set_up(data: AnnData | MuData, managers: Mapping[str, AnnDataManager], setup: str) -> None:
    """Check that this very object was set up, and not one that it was copied or read from.

    Parameters
    ----------
    data
        The object.
    managers
        Those of the class of the model, by the mark that setting up leaves on the object.
    setup
        The method to call.

    Raises
    ------
    ValueError
        Says which of the two it is.
    """
    name = object_name(data)
    mark = data.uns.get(ModelLayout().data_ids[0])
    manager = managers.get(mark) if mark is not None else None
    if manager is not None and manager.adata is data:
        return
    if mark is None:
        msg = f"{name} was not set up: call `{setup}({name})` first."
    else:
        msg = (
            f"{name} is a copy of an object that was set up (or was read from a file, or set up for another model): call "
            f"`{setup}({name})` on it as well, with the same arguments."
        )
    raise ValueError(msg)


def forget_copied(data: AnnData | MuData, managers: Mapping[str, AnnDataManager]) -> None:
    """Take away the mark that a copy has of the object it was copied from: setting it up would take the manager from that.

    Parameters
    ----------
    data
        The object, about to be set up.
    managers
        Those of the class of the model, by the mark.
    """
    first, *others = ModelLayout().data_ids
    manager = managers.get(data.uns.get(first, ""))
    if manager is not None and manager.adata is not data:
        for mark in (first, *others):
            data.uns.pop(mark, None)


@contextmanager
def marks_as_before(data: AnnData | MuData) -> Iterator[None]:
    """Give the data back the marks that they had, or had not, where setting them up or what follows fails.

    Parameters
    ----------
    data
        The object, about to be set up.
    """
    marks = ModelLayout().data_ids
    before = {mark: data.uns[mark] for mark in marks if mark in data.uns}
    try:
        yield
    except BaseException:
        for mark in marks:
            data.uns.pop(mark, None)
        data.uns.update(before)
        raise


def given_categories(field: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """Return the column of a registered field and its categories; `None` where it has none, or no column was named.

    Parameters
    ----------
    field
        Its entry in the registry.
    """
    layout = ModelLayout()
    state = field[layout.field_state]
    column, known = state.get(layout.original_key), state.get(layout.categories)
    if column is None or known is None or column == field[layout.field_data].get("attr_key"):
        return None
    return column, list(known)


class ModelManager(AnnDataManager):
    """The manager of scvi-tools, for data that may lack what only training needs.

    With the registry of a saved model, categories are compared before anything is written, and what was registered then
    and is not there now stays known by the saved registry: names of genes, batches.
    """

    def register_fields(
        self, adata: AnnData | MuData, source_registry: dict[str, Any] | None = None, **transfer_kwargs: Any
    ) -> None:
        """Register the data; see :meth:`scvi.data.AnnDataManager.register_fields`."""
        saved = (source_registry or {}).get(ModelLayout().fields, {})
        for field in self.fields:
            if field.registry_key in saved and not transfer_kwargs.get("extend_categories"):
                self._check_categories(adata, field, saved[field.registry_key])
        super().register_fields(adata, source_registry, **transfer_kwargs)
        registered = self.registry[ModelLayout().fields]
        registered.update({key: saved[key] for key in self.absent(saved)})

    @property
    def is_transferred(self) -> bool:
        """Whether the data were registered as those of a saved model."""
        return self._source_registry is not None

    def absent(self, registered: dict[str, Any] | None = None) -> list[str]:
        """Return the registry keys of the saved model for which the data at hand hold nothing."""
        registered = self.registry[ModelLayout().fields] if registered is None else registered
        return [key for key in registered if key not in {field.registry_key for field in self.fields}]

    @staticmethod
    def _check_categories(adata: AnnData | MuData, field: Any, saved: dict[str, Any]) -> None:
        """Check that the model knows all categories of a column."""
        if (given := given_categories(saved)) is None:
            return
        column, known = given
        mod_key = getattr(field, "mod_key", None)
        table = (adata if mod_key is None else adata.mod[mod_key]).obs
        slot = "adata.obs" if mod_key is None else f"adata[{mod_key!r}].obs"
        if column not in table:  # scvi-tools says so
            return
        unknown = [value for value in pd.unique(table[column]) if value not in set(known)]
        if unknown:
            msg = (
                f"{slot}[{column!r}] has categories that the saved model does not know: {listed(unknown)}. It knows "
                f"{listed(known)}. Rename them where they are the same, or take these cells out."
            )
            raise ValueError(msg)
