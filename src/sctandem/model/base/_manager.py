"""How the data of a model are registered, and taken over from a saved model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from scvi.data import AnnDataManager

from sctandem._checks import listed
from sctandem._compat import ModelLayout, import_printer

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

import_printer()


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
        layout = ModelLayout()
        known = saved[layout.field_state].get(layout.categories)
        column = saved[layout.field_state].get(layout.original_key)
        if known is None or column is None or column == saved[layout.field_data].get("attr_key"):
            return
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
