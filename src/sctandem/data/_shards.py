"""Second pass of a build: each bucket becomes a shard, its cells in random order, an AnnData in zarr."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem.data._copies import put_words
from sctandem.data._manifest import CELLS
from sctandem.data._stage import Unit, unit_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sctandem.data._copies import Filled
    from sctandem.data._plan import Plan

#: Entries in the smallest piece that is read at once.
CHUNK = 1 << 17


def units_of(plan: Plan, work: Path) -> list[tuple[int, Unit]]:
    """Return all units with the number of their source, in order."""
    return [
        (number, Unit(unit_folder(work, number, block)))
        for number, source in enumerate(plan.sources)
        for block in range(len(source.ranges) - 1)
    ]


def write_shards(
    plan: Plan,
    work: Path,
    seed: int,
    *,
    units: list[tuple[int, Unit]],
    duplicates: pd.DataFrame,
    filled: Filled,
    tick: Callable[[int], None],
) -> None:
    """Write every bucket as a shard; those that are there are not written again.

    Parameters
    ----------
    plan
        What is to be built.
    work
        Folder of the build.
    seed
        Of the order.
    units
        Those of the first pass.
    duplicates
        Cells to leave out.
    filled
        Words that cells take from those.
    tick
        Called with the number of cells after each shard.
    """
    import zarr

    dropped = {number: np.sort(rows["row"].to_numpy()) for number, rows in duplicates.groupby("source")}
    largest = max((unit.table["largest"] for _, unit in units), default=0)
    kind = np.uint16 if largest < 2**16 else np.int32
    for bucket in range(plan.n_buckets):
        target = work / "whole" / shard_name(bucket)
        if not target.is_dir():
            counts, table = _gather(plan, units, bucket, dropped=dropped, filled=filled, kind=kind)
            order = np.random.default_rng([seed, bucket]).permutation(counts.shape[0])
            _write_shard(plan, target, counts[order], table.iloc[order])
        tick(zarr.open_group(target, mode="r")["X/indptr"].shape[0] - 1)  # type: ignore[union-attr]


def shard_name(bucket: int) -> str:
    """Return where a shard lies in a collection; annbatch reads shards of such names in one group as one collection."""
    return f"{CELLS}/dataset_{bucket}"


def _gather(
    plan: Plan,
    units: list[tuple[int, Unit]],
    bucket: int,
    *,
    dropped: dict[Any, np.ndarray],
    filled: Filled,
    kind: type,
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Read the cells of a bucket from all units."""
    pieces: list[sparse.csr_matrix] = []
    names, columns = [], {key: [] for key in ("source", "source_row", "n_counts", *plan.settings.columns)}  # type: ignore[var-annotated]
    for number, unit in units:
        with unit.open() as file:
            start, stop = unit.read("starts", bucket, bucket + 2, file=file).tolist()
            if start == stop:
                continue
            indptr = unit.read("indptr", start, stop + 1, file=file)
            where = (int(indptr[0]), int(indptr[-1]))
            values, indices = (unit.read(name, *where, file=file) for name in ("values", "indices"))
            wanted = ["row", "n_counts", "name", *(f"code {column}" for column in plan.settings.columns)]
            read = {name: unit.read(name, start, stop, file=file) for name in wanted}
        piece = sparse.csr_matrix(
            (values.astype(kind), indices.astype(np.int32), indptr - indptr[0]), shape=(stop - start, len(plan.var))
        )
        keep = ~np.isin(read["row"], dropped[number]) if number in dropped else np.ones(stop - start, dtype=bool)
        pieces.append(piece if keep.all() else piece[keep])
        columns["source"].append(np.full(int(keep.sum()), number, dtype=np.int32))
        columns["source_row"].append(read["row"][keep])
        columns["n_counts"].append(read["n_counts"][keep])
        for column in plan.settings.columns:
            codes = put_words(read[f"code {column}"], read["row"], filled.get((number, column)))
            columns[column].append(codes[keep])
        prefix = plan.sources[number].name
        names += [f"{prefix}:{name.decode()}" for name in read["name"][keep].tolist()]
    if not pieces:
        pieces = [sparse.csr_matrix((0, len(plan.var)), dtype=kind)]
    joined: dict[str, Any] = {
        key: np.concatenate(parts) if parts else np.empty(0, dtype=np.int64) for key, parts in columns.items()
    }
    joined["source"] = pd.Categorical.from_codes(joined["source"], [source.name for source in plan.sources])
    for column, words in plan.categories.items():
        joined[column] = pd.Categorical.from_codes(joined[column], words)
    return sparse.vstack(pieces, format="csr"), pd.DataFrame(joined, index=pd.Index(names, dtype=object))


def _write_shard(plan: Plan, target: Path, counts: sparse.csr_matrix, table: pd.DataFrame) -> None:
    """Write an AnnData as zarr, whole or not at all; its entries lie in one file, in pieces."""
    import anndata
    import zarr
    from zarr.codecs import BloscCodec

    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(partial, mode="w", zarr_format=3)
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    matrix = group.create_group("X")
    matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(counts.shape)})
    pieces = {"data": counts.data, "indices": counts.indices.astype(np.int32), "indptr": counts.indptr.astype(np.int64)}
    for name, values in pieces.items():
        length = max(1, len(values))
        chunk = min(CHUNK, length)
        array = matrix.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(chunk,),
            shards=(-(-length // chunk) * chunk,),
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        )
        if len(values):
            array[:] = values
    var = plan.var.assign(
        n_counts=np.asarray(counts.sum(0, dtype=np.int64)).ravel(),
        n_cells=np.bincount(counts.indices, minlength=counts.shape[1]).astype(np.int64),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr says of text that its form in version 3 is not final
        anndata.io.write_elem(group, "obs", table)
        anndata.io.write_elem(group, "var", var)
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            anndata.io.write_elem(group, name, {})
    partial.rename(target)
