"""How the functions of `td.data` that take cells are called."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import sctandem as td
from benchmarks import _scaling_data as data

if TYPE_CHECKING:
    from pathlib import Path

N_COMPONENTS = 20


def _fresh(folder: Path, n: int) -> tuple[Path, Path]:
    out = folder / f"built_{n}"
    shutil.rmtree(out, ignore_errors=True)
    return data.source(folder, n), out


def _columns(folder: Path, n: int) -> Any:
    return data.cells(folder, n).X.tocsc()


def _path(folder: Path, n: int) -> Path:
    data.collection(folder, n)
    return folder / f"collection_{n}"


def _with_components(folder: Path, n: int) -> tuple[Any, Any]:
    small = data.collection(folder, data.SIZES[0])
    return data.collection(folder, n), td.data.principal_components(small, n_components=N_COMPONENTS)


CALLS = {
    "data.as_csr": (_columns, td.data.as_csr),
    "data.build_collection": (_fresh, lambda given: td.data.build_collection(*given, organism="human", rng=0)),
    "data.highly_variable_genes": (
        data.collection,
        lambda collection: td.data.highly_variable_genes(collection, n_top=100),
    ),
    "data.open_collection": (_path, td.data.open_collection),
    "data.principal_components": (
        data.collection,
        lambda collection: td.data.principal_components(collection, n_components=N_COMPONENTS),
    ),
    "data.project": (_with_components, lambda given: td.data.project(*given)),
}

NOT_MEASURED = {
    "data.Collection": "what `data.open_collection` returns",
    "data.CountLoader": "gives the batches of a model, and is measured within its training",
    "data.Source": "names a file, and reads nothing",
    "data.SourceError": "an error",
}
