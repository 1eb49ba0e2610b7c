"""Ways to spoil a collection that is open: its metadata, which are in memory, and its files, which are read later."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from fault_arrays import ODD_NAMES

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_draw import Draw

    Spoiler = Callable[[Any, Draw, Path], Any]


def _column(collection: Any, draw: Draw, change: Callable[[pd.Series], Any]) -> Any:
    """Change one column of the metadata, or all."""
    obs = collection.adata.obs
    names = list(obs.columns)
    if not draw.chance("in all columns"):
        names = [draw.choice("in column", names)]
    for name in names:
        obs[name] = change(obs[name])
    return collection


def _without_column(collection: Any, draw: Draw) -> Any:
    del collection.adata.obs[draw.choice("namely", list(collection.adata.obs.columns))]
    return collection


def _some_missing(collection: Any, draw: Draw) -> Any:
    def change(column: pd.Series) -> Any:
        return column.astype(object).where(draw.generator("places").random(len(column)) < 0.8, None)

    return _column(collection, draw, change)


def _file(collection: Any, draw: Draw, folder: Path, change: Callable[[Path], Any]) -> Any:
    """Open a copy, and spoil a file of its counts."""
    new = folder / "collection"
    shutil.copytree(collection.path, new)
    opened = td.data.open_collection(new)
    shards = [new / shard["name"] for shard in opened.manifest["shards"]]
    files = sorted(file for shard in shards for file in shard.rglob("*") if file.is_file())
    change(files[draw.place("file", len(files))])
    return opened


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


COLLECTION: dict[str, Spoiler] = {
    "not a collection": lambda c, d, _: d.choice(
        "but", [None, 3, "text", {}, [], np.ones((2, 2)), object(), AnnData(np.ones((3, 2))), c.path, c.adata]
    ),
    "column missing": lambda c, d, _: _without_column(c, d),
    "column with missing": lambda c, d, _: _some_missing(c, d),
    "column all missing": lambda c, d, _: _column(c, d, lambda s: np.full(len(s), np.nan)),
    "column of one value": lambda c, d, _: _column(c, d, lambda s: "same"),
    "column unique": lambda c, d, _: _column(c, d, lambda s: [f"v{i}" for i in range(len(s))]),
    "column as codes": lambda c, d, _: _column(c, d, lambda s: pd.factorize(s)[0]),
    "column boolean": lambda c, d, _: _column(c, d, lambda s: pd.factorize(s)[0] > 0),
    "column of odd words": lambda c, d, _: _column(c, d, lambda s: [ODD_NAMES[i % 2] for i in pd.factorize(s)[0]]),
    "column of lists": lambda c, d, _: _column(c, d, lambda s: pd.Series([[1, 2]] * len(s), index=s.index)),
    "file gone": lambda c, d, folder: _file(c, d, folder, lambda file: file.unlink()),
    "file empty": lambda c, d, folder: _file(c, d, folder, lambda file: file.write_bytes(b"")),
    "file cut": lambda c, d, folder: _file(c, d, folder, _cut),
    "file of noise": lambda c, d, folder: _file(
        c, d, folder, lambda file: file.write_bytes(d.generator("noise").bytes(500))
    ),
}
