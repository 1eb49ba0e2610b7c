"""Columns of categories, registered as text: 1 of one object and "1" of another are the same batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scvi.data.fields import CategoricalObsField, LabelsWithUnlabeledObsField, MuDataWrapper

from sctandem._checks import check_complete

if TYPE_CHECKING:
    from anndata import AnnData


def text_of(value: Any) -> str:
    """Write a category as text; a whole number alike, whether it was read as an integer or, beside gaps, as a float."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def as_text(column: pd.Series, slot: str) -> pd.Categorical:
    """Return a column as categories of text, in the order that they have; a gap stays one.

    Parameters
    ----------
    column
        Text, numbers, truth values, categories of these, or a mixture.
    slot
        Its name in messages.

    Returns
    -------
    The categories; values that are written alike are one.

    Raises
    ------
    ValueError
        When the column holds what is no name, such as lists.
    """
    try:
        given = column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column)
    except (TypeError, ValueError) as error:
        msg = f"{slot} holds values that name nothing, such as {column.iloc[0]!r:.60}: make it a column of text."
        raise ValueError(msg) from error
    written = [text_of(value) for value in given.categories]
    names = list(dict.fromkeys(written))
    place = np.append(pd.Index(names).get_indexer(written), -1)  # the last is that of gaps, whose code is -1
    return pd.Categorical.from_codes(place[given.codes], pd.Index(names, dtype=object))


def complete_text(column: pd.Series, slot: str) -> pd.Categorical:
    """Return a column as categories of text.

    Parameters
    ----------
    column, slot
        As in `as_text`.

    Returns
    -------
    The categories.

    Raises
    ------
    ValueError
        When the column has gaps, or holds what is no name.
    """
    return as_text(check_complete(column, slot), slot)


class _AsText:
    """Lets a field of scvi-tools read the text of its column; the column stays what it is."""

    CATEGORICAL_MAPPING_KEY: str
    is_default: bool
    _original_attr_key: str
    attr_key: str

    def register_field(self, adata: AnnData) -> dict:
        """Register the column."""
        if self.is_default:
            return super().register_field(adata)  # type: ignore[misc] # of the field beside it
        text = self._text(adata)
        state = super().register_field(text)  # type: ignore[misc]
        adata.obs[self.attr_key] = text.obs[self.attr_key].to_numpy()
        return state

    def transfer_field(self, state_registry: dict, adata_target: AnnData, **options: Any) -> dict:
        """Register the column by the categories of another object."""
        if self.is_default:
            return super().transfer_field(state_registry, adata_target, **options)  # type: ignore[misc]
        known = [text_of(value) for value in state_registry[self.CATEGORICAL_MAPPING_KEY]]
        text = self._text(adata_target)
        state = super().transfer_field(  # type: ignore[misc]
            {**state_registry, self.CATEGORICAL_MAPPING_KEY: np.array(known, dtype=object)}, text, **options
        )
        adata_target.obs[self.attr_key] = text.obs[self.attr_key].to_numpy()
        return state

    def _text(self, adata: AnnData) -> Any:
        """Return what scvi-tools reads of an object: its table, with this column alone."""
        key = self._original_attr_key
        if key not in adata.obs:
            msg = f"adata.obs has no column {key!r}, which the model was set up with."
            raise KeyError(msg)
        return SimpleNamespace(obs=pd.DataFrame({key: complete_text(adata.obs[key], f"adata.obs[{key!r}]")}))


class TextObsField(_AsText, CategoricalObsField):
    """A column of `obs` with categories, as text."""


class TextLabelsField(_AsText, LabelsWithUnlabeledObsField):
    """A column of `obs` with labels, as text, one of which is that of cells without a label."""


MuDataTextObsField = MuDataWrapper(TextObsField)
