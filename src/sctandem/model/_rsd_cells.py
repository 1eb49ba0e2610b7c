"""Which cells make the reference of an RSD: those that have a type."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scvi import REGISTRY_KEYS

from sctandem._checks import listed
from sctandem._compat import ModelLayout
from sctandem.data._streamed import blocks_in_order
from sctandem.model.base._text_fields import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scipy import sparse

    from sctandem.model.base._manager import ModelManager

logger = logging.getLogger(__name__)

#: Cells that a type needs.
LEAST_CELLS = 10


class ReferenceCells(NamedTuple):
    """Cells with a type.

    Attributes
    ----------
    place
        Place of each cell of the object among them, -1 for one without a type, (cells,).
    types
        Type of each of them, from 0.
    donors
        Donor of each, from 0; -1 for one whose donor is not known, which says nothing of how donors differ.
    """

    place: np.ndarray
    types: np.ndarray
    donors: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """Which cells of the object they are, a mask."""
        return self.place >= 0

    def blocks(self, counts: sparse.csr_matrix) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Give their places and counts block by block; `counts` is of all cells."""
        for cells, block in blocks_in_order(counts):
            here = self.place[cells]
            if (here >= 0).all():
                yield here, block
            else:
                yield here[here >= 0], block[here >= 0]


def unlabeled_of(manager: ModelManager) -> str | None:
    """Return the word for what is not known; `None` for data that were registered before there was one."""
    value = manager.registry[ModelLayout().setup_args].get("unlabeled_category")
    return None if value is None else text_of(value)


def names_of(manager: ModelManager, key: str) -> list[str]:
    """Return the types or donors that are known, in order."""
    every = [str(name) for name in manager.get_state_registry(key).categorical_mapping]
    return [name for name in every if name != unlabeled_of(manager)]


def _known_codes(manager: ModelManager, key: str) -> np.ndarray:
    """Return codes among the known names; -1 for a cell that has none."""
    every = [str(name) for name in manager.get_state_registry(key).categorical_mapping]
    known = {name: code for code, name in enumerate(names_of(manager, key))}
    code = np.array([known.get(name, -1) for name in every], dtype=np.int64)
    return code[np.asarray(manager.get_from_registry(key)).ravel().astype(np.int64)]


def reference_cells(manager: ModelManager) -> ReferenceCells:
    """Find the cells with a type, and say in the log how many have none, and how many no donor.

    Raises
    ------
    ValueError
        When there are fewer than two types, or types with fewer than 10 cells.
    """
    key, types = (
        manager.registry[ModelLayout().setup_args]["cell_type_key"],
        names_of(manager, REGISTRY_KEYS.LABELS_KEY),
    )
    unlabeled = unlabeled_of(manager)
    type_ = _known_codes(manager, REGISTRY_KEYS.LABELS_KEY)
    kept = type_ >= 0
    if not kept.all():
        logger.info(
            "%d of %d cells are %r in adata.obs[%r]: they have no type, and are left out of the reference",
            int((~kept).sum()), len(kept), unlabeled, key,
        )  # fmt: skip
    _check_types(types, np.bincount(type_[kept], minlength=len(types)), key, unlabeled)
    donor = _known_codes(manager, REGISTRY_KEYS.BATCH_KEY)[kept]
    if missing := int((donor < 0).sum()):
        logger.info("%d cells of the reference are of no known donor: they say nothing of how donors differ", missing)
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    return ReferenceCells(place, type_[kept], donor)


def _check_types(types: list[str], cells: np.ndarray, key: str, unlabeled: str | None) -> None:
    """Check that there are types to tell apart, with cells enough."""
    if len(types) < 2:
        held = f"one type only ({types[0]!r})" if types else f"no type (all cells are {unlabeled!r})"
        msg = f"adata.obs[{key!r}] has {held}: there is nothing to tell apart."
        raise ValueError(msg)
    scarce = [f"{name} ({n})" for name, n in zip(types, cells, strict=True) if n < LEAST_CELLS]
    if scarce:
        way = (
            f"To leave them out, name them {unlabeled!r}: adata.obs[{key!r}] = adata.obs[{key!r}].astype(str).replace(names, {unlabeled!r}), "
            "in an AnnData as in collection.adata, and set up again"
            if unlabeled is not None
            else "Take them out"
        )
        msg = (
            f"types of the reference with fewer than {LEAST_CELLS} cells: {listed(scarce)}; it has {len(types)} types. {way}; or unite "
            "them with others; `.cat.remove_unused_categories()` takes out those without cells."
        )
        raise ValueError(msg)
