"""How the data of a model are registered, and taken over from a saved model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scvi.data import AnnDataManager

from sctandem._checks import check_n_cells, listed, object_name
from sctandem._compat import ModelLayout, import_printer
from sctandem.model.base._text_fields import complete_text, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anndata import AnnData
    from mudata import MuData

import_printer()


def check_set_up(
    data: AnnData | MuData, managers: Mapping[str, AnnDataManager], setup: str, *, name: str | None = None
) -> None:
    """Check that this very object was set up, and not one that it was copied or read from.

    Parameters
    ----------
    data
        The object.
    managers
        Those of the class of the model, by the mark that setting up leaves on the object.
    setup
        The method to call.
    name
        Of the object in messages; `None` for ``adata`` or ``mdata``.

    Raises
    ------
    ValueError
        Says which of the two it is.
    """
    name = name or object_name(data)
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
    """Give the data back the marks and codes that they had, or had not, where setting them up or what follows fails.

    Parameters
    ----------
    data
        The object, about to be set up.
    """
    marks = ModelLayout().data_ids
    before = {mark: data.uns[mark] for mark in marks if mark in data.uns}
    parts = [data, *getattr(data, "mod", {}).values()]
    codes = [part.obs[_codes_of(part)].copy() for part in parts]
    try:
        yield
    except BaseException:
        for mark in marks:
            if mark in before:
                data.uns[mark] = before[mark]
            else:
                data.uns.pop(mark, None)
        for part, kept in zip(parts, codes, strict=True):
            for name in _codes_of(part):
                if name in kept:
                    part.obs[name] = kept[name]
                else:
                    del part.obs[name]
        raise


def _codes_of(part: AnnData | MuData) -> list[str]:
    """Return the columns in which setting up writes codes."""
    return [name for name in part.obs if str(name).startswith(ModelLayout().code_prefix)]


def register(
    cls: Any,
    data: AnnData | MuData,
    fields: list[Any],
    setup_method_args: dict[str, Any],
    source_registry: dict[str, Any] | None,
) -> None:
    """Register data for a class of models; after an error they are as they were.

    Parameters
    ----------
    cls
        The class.
    data
        The object, checked.
    fields
        What is registered.
    setup_method_args
        Arguments of the set-up method, as `_get_setup_method_args` gives them.
    source_registry
        Registry of a saved model; `None` for none.

    Raises
    ------
    ValueError
        When the object is a view, which cannot be written to, or has no cells, or categories that the saved model does not know.
    """
    check_not_view(data)
    check_n_cells(data.n_obs, 1, cls.__name__, object_name(data))
    with marks_as_before(data):
        forget_copied(data, cls._setup_adata_manager_store)
        manager = ModelManager(fields=fields, setup_method_args=setup_method_args)
        manager.register_fields(data, source_registry)
        cls.register_manager(manager)


def check_not_view(data: AnnData | MuData) -> None:
    """Check that an object and its modalities can be written to.

    Raises
    ------
    ValueError
        Says which is a view, and what to do.
    """
    name = object_name(data)
    parts = {name: data, **{f"{name}[{key!r}]": part for key, part in getattr(data, "mod", {}).items()}}
    for slot, part in parts.items():
        if part.is_view:
            msg = (
                f"{slot} is a view of another object, and setting up writes to it: call `{name} = {name}.copy()` first."
            )
            raise ValueError(msg)


def given_categories(field: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """Return the column of a registered field and its categories, as text; `None` where it has none, or no column was named.

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
    return column, [text_of(value) for value in known]  # files of before hold numbers where the column did


class ModelManager(AnnDataManager):
    """The manager of scvi-tools, for data that may lack what only training needs.

    With the registry of a saved model, categories are compared before anything is written, and what was registered then
    and is not there now stays known by the saved registry: names of genes, batches.
    """

    def register_fields(
        self, adata: AnnData | MuData, source_registry: dict[str, Any] | None = None, **transfer_kwargs: Any
    ) -> None:
        """Register the data; see :meth:`scvi.data.AnnDataManager.register_fields`."""
        check_not_view(adata)
        saved = (source_registry or {}).get(ModelLayout().fields, {})
        for field in self.fields:
            if field.registry_key in saved and not transfer_kwargs.get("extend_categories"):
                self._check_categories(adata, field, saved[field.registry_key])
        with marks_as_before(adata):
            super().register_fields(adata, source_registry, **transfer_kwargs)
        registered = self.registry[ModelLayout().fields]
        registered.update({key: saved[key] for key in self.absent(saved)})

    def get_from_registry(self, registry_key: str) -> Any:
        """Return what was registered under a key: that of this manager, also where the data were set up for another model since.

        All models write their codes to the same columns of `obs`, so those that are there may be of the other one.
        """
        self.validate()
        return super().get_from_registry(registry_key)

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
        unknown = (
            complete_text(table[column], f"{slot}[{column!r}]").remove_unused_categories().categories.difference(known)
        )
        if len(unknown):
            msg = (
                f"{slot}[{column!r}] has categories that the saved model does not know: {listed(unknown)}. It knows "
                f"{listed(known)}. Rename them where they are the same, or take these cells out."
            )
            raise ValueError(msg)
