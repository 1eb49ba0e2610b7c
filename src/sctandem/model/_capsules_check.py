"""Labels that a CapsuleNet is to learn, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_key
from sctandem.data._streamed import obs_slot
from sctandem.model.base._text_fields import as_text, text_of

if TYPE_CHECKING:
    from anndata import AnnData


def check_labels(adata: AnnData, labels_key: str, unlabeled_category: str | int, *, trained: bool) -> None:
    """Check that there are labels to learn from; a trained model has learned them, and the cells at hand may have none."""
    obs = obs_slot(adata)
    column = check_key(adata.obs, labels_key, obs)
    slot = f"{obs}[{labels_key!r}]"
    if column.isna().any():
        msg = f"{slot} is missing for {int(column.isna().sum())} cells; name them {unlabeled_category!r}."
        raise ValueError(msg)
    names = as_text(column, slot).remove_unused_categories().categories
    given = [name for name in names if name != text_of(unlabeled_category)]
    if len(given) < 2 and not trained:
        msg = (
            f"{slot} has {len(given)} labels beside {unlabeled_category!r} (the cells without one); at least 2 are needed. "
            "Where no cell has a label, train without labels."
        )
        raise ValueError(msg)
