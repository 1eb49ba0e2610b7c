"""Cells of a collection in random order, read by annbatch where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def has_annbatch() -> bool:
    """Whether annbatch is installed (extra `massive`; it needs Python 3.12)."""
    return find_spec("annbatch") is not None


def shuffled_by_annbatch(
    folders: Sequence[Path], times: np.ndarray, rng: np.random.Generator, *, block: int, blocks_at_once: int
) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
    """Yield all of some cells in a new random order, many at a time.

    Parameters
    ----------
    folders
        The shards.
    times
        int, (cells,): how often to yield each.
    rng
        Decides the order.
    block, blocks_at_once
        Cells that are read together, and how many such blocks are shuffled at once.

    Yields
    ------
    Positions and counts, float32.
    """
    import anndata
    import zarr
    from annbatch import Loader

    loader = Loader(
        chunk_size=block,
        preload_nchunks=blocks_at_once,
        batch_size=block * blocks_at_once,
        shuffle=True,
        return_index=True,
        preload_to_gpu=False,
        rng=rng,
    )
    loader.add_datasets([anndata.io.sparse_dataset(zarr.open_group(folder, mode="r")["X"]) for folder in folders])
    for batch in loader:
        cells, rows = np.asarray(batch["index"], dtype=np.int64), batch["X"]
        wanted = times[cells]
        if not (wanted == 1).all():
            keep = rng.permutation(np.repeat(np.arange(len(cells)), wanted))
            cells, rows = cells[keep], rows[keep]
        if len(cells):
            yield cells, sparse.csr_matrix(rows, dtype=np.float32)
