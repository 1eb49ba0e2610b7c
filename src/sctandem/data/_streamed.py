"""The counts of a collection: a matrix on disk that AnnData and the models take, read in blocks."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata.abc import CSRDataset
from scipy import sparse

from sctandem._ahead import ahead
from sctandem._blocks import as_csr
from sctandem._check_files import readable
from sctandem.data._annbatch import has_annbatch, shuffled_by_annbatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from scvi.data import AnnDataManager

#: Cells that lie next to one another and are read together; cells lie in random order.
BLOCK = 2048
#: Most cells, and entries, that are held at once and shuffled.
MOST_CELLS, MOST_ENTRIES = 16_384, 1 << 23


class StreamedCounts(CSRDataset):
    """Counts on disk, cells x genes, in shards; what is read of them is CSR, float32.

    Parameters
    ----------
    folders
        The shards.
    n_obs, n_entries
        Cells and counts above zero of each.
    n_vars
        Genes.
    gene_totals, cell_totals
        Sums over cells and over genes.
    """

    backend: Literal["zarr", "hdf5"] = "zarr"
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        folders: Sequence[Path],
        n_obs: Sequence[int],
        n_entries: Sequence[int],
        n_vars: int,
        *,
        gene_totals: np.ndarray,
        cell_totals: np.ndarray,
    ) -> None:
        self.folders = list(folders)
        self.starts = np.concatenate([[0], np.cumsum(np.asarray(n_obs, dtype=np.int64))]).astype(np.int64)
        self.shape = (int(self.starts[-1]), int(n_vars))
        self.n_entries = int(sum(n_entries))
        self._gene_totals, self._cell_totals = gene_totals, cell_totals
        self._arrays = lru_cache(maxsize=64)(self._open)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the files that are open."""
        return {name: value for name, value in vars(self).items() if name != "_arrays"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._arrays = lru_cache(maxsize=64)(self._open)

    def _open(self, shard: int) -> tuple[np.ndarray, Any, Any]:
        """Open the arrays of a shard; where its rows begin is read."""
        import zarr

        with readable(self.folders[shard], "a part of a collection", tree=True):
            group: Any = zarr.open_group(self.folders[shard], mode="r")["X"]
            indptr = group["indptr"][:]
            if indptr[0] or indptr[-1] != group["indices"].shape[0] or (np.diff(indptr) < 0).any():
                msg = "its rows do not follow one another"
                raise ValueError(msg)
            n_obs = int(self.starts[shard + 1] - self.starts[shard])
            if len(indptr) != n_obs + 1:
                msg = f"it has {len(indptr) - 1} rows for {n_obs} cells"
                raise ValueError(msg)
            return indptr, group["indices"], group["data"]

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        """Read cells that lie next to one another.

        Parameters
        ----------
        start, stop
            The first, and the one after the last.

        Returns
        -------
        Counts.
        """
        parts = []
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        for shard in range(max(first, 0), len(self.folders)):
            low, high = max(start, self.starts[shard]), min(stop, self.starts[shard + 1])
            if low >= high:
                if self.starts[shard] >= stop:
                    break
                continue
            indptr, indices, data = self._arrays(shard)
            indptr = indptr[low - self.starts[shard] : high - self.starts[shard] + 1]
            where = slice(int(indptr[0]), int(indptr[-1]))
            with readable(self.folders[shard], "a part of a collection", tree=True):
                rows = (data[where].astype(np.float32), indices[where], (indptr - indptr[0]).astype(np.int32))
                if len(rows[1]) and not (rows[1].min() >= 0 and rows[1].max() < self.shape[1]):
                    msg = f"it has entries outside its {self.shape[1]} genes"
                    raise ValueError(msg)
                parts.append(sparse.csr_matrix(rows, shape=(high - low, self.shape[1])))
        if not parts:
            return sparse.csr_matrix((0, self.shape[1]), dtype=np.float32)
        return parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csr")

    def row_lengths(self, start: int, stop: int) -> np.ndarray:
        """Return the number of entries of cells that lie next to one another, without reading these."""
        parts = []
        for shard in range(len(self.folders)):
            low, high = max(start, self.starts[shard]), min(stop, self.starts[shard + 1])
            if low < high:
                parts.append(np.diff(self._arrays(shard)[0][low - self.starts[shard] : high - self.starts[shard] + 1]))
        return np.concatenate(parts)

    def take(self, cells: np.ndarray) -> sparse.csr_matrix:
        """Read any cells, in the order given: blocks that hold some of them are read once."""
        cells = np.asarray(cells, dtype=np.int64)
        if not len(cells):
            return self.read(0, 0)
        if np.array_equal(cells, np.arange(cells[0], cells[0] + len(cells))):
            return self.read(int(cells[0]), int(cells[-1]) + 1)
        order = np.argsort(cells, kind="stable")
        ranked, parts = cells[order], []
        bounds = np.flatnonzero(np.r_[True, np.diff(ranked // BLOCK) > 0])
        for low, high in zip(bounds, [*bounds[1:], len(cells)], strict=True):
            first = int(ranked[low])
            parts.append(self.read(first, int(ranked[high - 1]) + 1)[ranked[low:high] - first])
        return sparse.vstack(parts, format="csr")[np.argsort(order)]

    def __getitem__(self, index: Any) -> Any:
        """Read some cells, and some of their genes."""
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        if isinstance(rows, (int, np.integer)):
            rows = slice(int(rows), int(rows) + 1 or None)
        if isinstance(rows, slice):  # not through a list of all cells: blocks of a large collection come this way
            found = self.take(np.arange(*rows.indices(self.shape[0])))
        else:
            found = self.take(np.arange(self.shape[0])[np.asarray(rows).ravel()])
        if isinstance(columns, slice) and columns == slice(None):
            return found
        return found[:, np.asarray(columns).ravel() if not isinstance(columns, slice) else columns]

    def to_memory(self) -> sparse.csr_matrix:
        """Read all cells."""
        return self.take(np.arange(self.shape[0]))

    def sum(self, axis: int | None = None) -> Any:
        """Return sums, which are known without reading: over cells (0), over genes (1) or over all."""
        if axis is None:
            return float(self._gene_totals.sum())
        return np.asarray(self._gene_totals if axis in (0, -2) else self._cell_totals)

    def blocks_at_once(self) -> int:
        """Return how many blocks are held at once."""
        entries = self.n_entries / max(1, self.shape[0]) * BLOCK
        return int(max(1, min(MOST_CELLS // BLOCK, MOST_ENTRIES // max(1.0, entries))))

    def shuffled(self, cells: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Yield all of some cells in a new random order, many at a time.

        Parameters
        ----------
        cells
            Positions; one that is there several times is yielded as often, close together, since its block is read once.
        rng
            Decides the order: blocks in random order, several at once, and the cells of these in random order. Since the cells
            lie in random order on the disk, blocks are samples of all of them.

        Yields
        ------
        Positions and counts of up to 16,384 cells. The next are read meanwhile.
        """
        times = np.bincount(cells, minlength=self.shape[0])
        times = times.astype(np.uint8 if times.max() < 256 else np.int32)  # kept for all of the epoch, a byte a cell
        step = self.blocks_at_once()
        if has_annbatch():
            parts = shuffled_by_annbatch(self.folders, times, rng, block=BLOCK, blocks_at_once=step)
            yield from ahead(lambda: next(parts, None))
            return
        there = np.maximum.reduceat(times, np.arange(0, self.shape[0], BLOCK)) > 0
        blocks = rng.permutation(np.flatnonzero(there))
        groups = [blocks[i : i + step] for i in range(0, len(blocks), step)]
        orders = rng.spawn(len(groups))

        def read(group: np.ndarray, order: np.random.Generator) -> tuple[np.ndarray, sparse.csr_matrix]:
            bounds = [(int(block) * BLOCK, min((int(block) + 1) * BLOCK, self.shape[0])) for block in group]
            found = [np.repeat(np.arange(low, high), times[low:high]) for low, high in bounds]
            shuffle = order.permutation(sum(map(len, found)))
            blocks = (
                rows if (times[low:high] == 1).all() else rows[cells - low]
                for cells, (low, high) in zip(found, bounds, strict=True)
                for rows in [self.read(low, high)]
            )
            lengths = np.concatenate(
                [self.row_lengths(low, high)[cells - low] for cells, (low, high) in zip(found, bounds, strict=True)]
            )
            return np.concatenate(found)[shuffle], _put_in_order(blocks, lengths, shuffle, self.shape[1])

        calls = zip(groups, orders, strict=True)
        yield from ahead(lambda: None if (call := next(calls, None)) is None else read(*call))

    def in_order(self, cells: np.ndarray) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Yield some cells in the order given, many at a time; the next are read meanwhile."""
        step = self.blocks_at_once() * BLOCK
        parts = (cells[i : i + step] for i in range(0, len(cells), step))
        yield from ahead(lambda: None if (part := next(parts, None)) is None else (part, self.take(part)))


def _put_in_order(
    blocks: Iterable[sparse.csr_matrix], lengths: np.ndarray, order: np.ndarray, n_vars: int
) -> sparse.csr_matrix:
    """Put rows that come in blocks where they belong at once: beside the result, one block is held.

    Parameters
    ----------
    blocks
        The rows, one block below the other.
    lengths
        Entries of each row.
    order
        For each row of the result, its place among those that come.
    n_vars
        Columns.

    Returns
    -------
    What stacking the blocks and taking the rows in that order gives.
    """
    indptr = np.concatenate([[0], np.cumsum(lengths[order])])
    indptr = indptr.astype(np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64)
    starts = np.empty(len(order), dtype=indptr.dtype)
    starts[order] = indptr[:-1]
    data, indices = np.empty(indptr[-1], dtype=np.float32), np.empty(indptr[-1], dtype=indptr.dtype)
    at = 0
    for rows in blocks:
        stop = at + rows.shape[0]
        places = np.repeat(starts[at:stop] - rows.indptr[:-1], np.diff(rows.indptr))
        places += np.arange(rows.nnz, dtype=places.dtype)
        data[places], indices[places] = rows.data, rows.indices
        at = stop
    return sparse.csr_matrix((data, indices, indptr), shape=(len(order), n_vars))


def by_blocks(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order cells by blocks in random order, so that a part of them lies in few blocks."""
    blocks, block = np.unique(cells // BLOCK, return_inverse=True)
    return cells[np.argsort(rng.permutation(len(blocks))[block], kind="stable")]


def cut_batches(
    parts: Iterator[tuple[np.ndarray, sparse.csr_matrix]], sizes: Sequence[int]
) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
    """Cut batches of given sizes from larger parts, across their borders.

    Parameters
    ----------
    parts
        Positions and counts.
    sizes
        Cells of each batch.

    Yields
    ------
    Positions and counts of each batch.
    """
    cells, rows, at = np.empty(0, dtype=np.int64), None, 0
    for size in sizes:
        taken: list[tuple[np.ndarray, sparse.csr_matrix]] = []
        missing = size
        while missing:
            if rows is None or at == len(cells):
                cells, rows = next(parts)
                at = 0
                continue
            stop = min(at + missing, len(cells))
            taken.append((cells[at:stop], _rows_between(rows, at, stop)))
            missing -= stop - at
            at = stop
        if len(taken) == 1:
            yield taken[0]
        else:
            yield np.concatenate([t[0] for t in taken]), sparse.vstack([t[1] for t in taken], format="csr")


def _rows_between(rows: sparse.csr_matrix, start: int, stop: int) -> sparse.csr_matrix:
    """Return rows that lie next to one another without a copy of their counts."""
    indptr = rows.indptr[start : stop + 1]
    where = slice(int(indptr[0]), int(indptr[-1]))
    return sparse.csr_matrix(
        (rows.data[where], rows.indices[where], indptr - indptr[0]), shape=(stop - start, rows.shape[1])
    )


def held_counts(matrix: Any) -> Any:
    """Return counts as the models keep them: those of a collection where they lie, others as CSR in memory.

    Parameters
    ----------
    matrix
        Cells x genes.

    Returns
    -------
    A matrix with `shape`, `sum(axis)`, and CSR for `matrix[cells]`.
    """
    return matrix if isinstance(matrix, StreamedCounts) else as_csr(matrix)


def blocks_in_order(matrix: Any) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
    """Yield the positions and counts of all cells: those of a collection block by block, others as one.

    Parameters
    ----------
    matrix
        Cells x genes, of any kind.

    Yields
    ------
    Positions, ascending, and CSR.
    """
    cells = np.arange(matrix.shape[0])
    if isinstance(matrix, StreamedCounts):
        yield from matrix.in_order(cells)
    else:
        yield cells, as_csr(matrix)


def streams_counts(manager: AnnDataManager) -> bool:
    """Whether any of the counts that a model registered lie on disk in a collection."""
    return _of_collection(manager.adata)


def obs_slot(data: Any) -> str:
    """Name in messages the metadata of the cells of an AnnData: who set a collection up has no ``adata``."""
    return "collection.adata.obs" if _of_collection(data) else "adata.obs"


def _of_collection(data: Any) -> bool:
    """Whether the counts of an object lie on disk in a collection; of a view they would be read for the question."""
    return not getattr(data, "is_view", False) and isinstance(getattr(data, "X", None), StreamedCounts)
