"""One open source: AnnData or MuData in HDF5 or zarr, or the matrix of 10x."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from sctandem._checks import listed
from sctandem.data._sources import is_zarr, row_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sctandem.data._sources import Source

#: Modalities of expression, in the order in which they are looked for.
_EXPRESSION = ("rna", "gex", "RNA", "GEX", "Gene Expression")
_GENE_TYPES = ("Gene Expression", "gene expression", "gene", "Gene")
#: Columns of `var` that may hold Ensembl ids, symbols, and the kind of the feature.
_ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl", "Ensembl", "ensg", "feature_id", "id", "ENSEMBL")
_SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol", "name", "SYMBOL")
_TYPE_COLUMNS = ("feature_types", "feature_type")
#: Names that are places on a chromosome: peaks, not genes.
_PLACE = r"^[\w.]+[:\-_]\d+[\-_]\d+$"
_LOOKED_AT = 200


@dataclass
class SourceFile:
    """Counts, genes and metadata of an open source.

    Attributes
    ----------
    matrix
        Where the counts are; a group with `data`, `indices` and `indptr`, or an array of two dimensions.
    kind
        `"csr"`, `"csc"` or `"dense"`, cells being the rows.
    slot
        Its name in messages, such as ``layers["counts"]``.
    shape
        Cells and genes.
    genes
        Table with `name` (Ensembl id where there is one, else the name of the gene), `symbol` and `is_gene`.
    obs
        The group of the metadata, `None` for 10x.
    outer_obs
        The metadata of a MuData around it.
    names
        Names of the cells.
    """

    matrix: Any
    kind: str
    slot: str
    shape: tuple[int, int]
    genes: pd.DataFrame
    obs: Any
    outer_obs: Any
    names: np.ndarray

    def ranges(self, most_entries: int, most_rows: int) -> np.ndarray:
        """Cut the cells into blocks: first row of each, and the number of rows."""
        n_rows = self.shape[0]
        if self.kind == "csr":
            entries = np.asarray(self.matrix["indptr"][:], dtype=np.int64)
        else:
            per_row = self.shape[1] if self.kind == "dense" else max(1, self.matrix["data"].shape[0] // max(1, n_rows))
            entries = np.arange(n_rows + 1, dtype=np.int64) * per_row
        return row_ranges(entries, most_entries, most_rows)

    def n_entries(self) -> int:
        """Return how many entries are stored, at most."""
        return self.shape[0] * self.shape[1] if self.kind == "dense" else self.matrix["data"].shape[0]

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Read counts of some cells."""
        if self.kind == "dense":
            return sparse.csr_matrix(np.asarray(self.matrix[start:stop]))
        if self.kind == "csr":
            indptr = np.asarray(self.matrix["indptr"][start : stop + 1], dtype=np.int64)
            where = slice(int(indptr[0]), int(indptr[-1]))
            data, indices = np.asarray(self.matrix["data"][where]), np.asarray(self.matrix["indices"][where])
            if len(data) != len(indices) or len(data) != indptr[-1] - indptr[0] or np.any(np.diff(indptr) < 0):
                msg = f"{self.slot} is damaged: its rows do not fit its entries"
                raise ValueError(msg)
            if len(indices) and not (indices.min() >= 0 and indices.max() < self.shape[1]):
                msg = f"{self.slot} is damaged: it has entries outside its {self.shape[1]} genes"
                raise ValueError(msg)
            return sparse.csr_matrix((data, indices, indptr - indptr[0]), shape=(stop - start, self.shape[1]))
        return self._rows_of_columns(start, stop)

    def _rows_of_columns(self, start: int, stop: int) -> sparse.csr_matrix:
        """Read some rows of what is stored by columns: all of it is gone through, in pieces."""
        indptr = np.asarray(self.matrix["indptr"][:], dtype=np.int64)
        bounds = row_ranges(indptr, 1 << 22, len(indptr))
        parts = []
        for first, last in zip(bounds[:-1], bounds[1:], strict=True):
            where = slice(int(indptr[first]), int(indptr[last]))
            rows = np.asarray(self.matrix["indices"][where])
            keep = (rows >= start) & (rows < stop)
            columns = np.repeat(np.arange(first, last), np.diff(indptr[first : last + 1]))[keep]
            parts.append((np.asarray(self.matrix["data"][where])[keep], rows[keep] - start, columns))
        data, rows, columns = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return sparse.csr_matrix((data, (rows, columns)), shape=(stop - start, self.shape[1]))

    def column(self, name: str) -> pd.Series | None:
        """Read a column of the metadata as categories of text, in the order of the cells; `None` where there is none."""
        for group in (self.obs, self.outer_obs):
            found = _column(group, name)
            if found is None:
                continue
            if group is self.outer_obs:
                places = pd.Index(_names(group)).get_indexer(pd.Index(self.names))
                found = pd.Series(pd.Categorical(found)).reindex(places).reset_index(drop=True)
            return pd.Series(found)
        return None


@contextmanager
def open_file(source: Source) -> Iterator[SourceFile]:
    """Open a source."""
    path = Path(source.path)
    if is_zarr(path):
        import zarr

        yield _of_group(zarr.open_group(path, mode="r"), source)
        return
    with h5py.File(path, "r") as file:
        if "matrix" in file or not any(name in file for name in ("X", "mod", "obs")):
            _check_none_asked(source)
            yield _of_tenx(file)
        else:
            yield _of_group(file, source)


def _of_group(group: Any, source: Source) -> SourceFile:
    """Read what an AnnData or MuData holds."""
    outer = None
    if "mod" in group:
        outer, modalities = group.get("obs"), sorted(group["mod"])  # a folder lists them in any order
        chosen = source.modality or next((name for name in _EXPRESSION if name in modalities), None)
        chosen = chosen or (modalities[0] if len(modalities) == 1 else None)
        if chosen is None or chosen not in modalities:
            msg = f"has no modality {chosen or 'rna'!r}; it has {listed(modalities)}: name one, `Source(path, modality=...)`"
            raise KeyError(msg)
        group = group["mod"][chosen]
    else:
        _check_none_asked(source)
    if "obs" not in group or "var" not in group:
        msg = f"is not an AnnData: it holds {listed(list(group))}"
        raise KeyError(msg)
    slot, matrix, var = _counts(group, source.layer)
    kind, shape = _form(matrix)
    names = _names(group["obs"])
    genes = _genes(var)
    if shape != (len(names), len(genes)):
        msg = f"{slot} is {shape[0]} x {shape[1]}, but there are {len(names)} cells and {len(genes)} genes"
        raise ValueError(msg)
    return SourceFile(matrix, kind, slot, shape, genes, group["obs"], outer, names)


def _check_none_asked(source: Source) -> None:
    """Raise where a modality is named of a file that holds none."""
    if source.modality is not None:
        msg = f"has no modality {source.modality!r}: it is no MuData and holds one table of counts, leave modality out"
        raise KeyError(msg)


def _counts(group: Any, layer: str | None) -> tuple[str, Any, Any]:
    """Find the counts: the layer that was named, or the first place that holds whole numbers."""
    places = [("X", group.get("X"), group["var"])]
    layers = group.get("layers") or {}
    if layer is not None:
        if layer != "X" and layer not in layers:
            msg = f"has no layer {layer!r}; it has {listed(list(layers))}"
            error = KeyError(msg)  # of what was asked for, not of the file
            error.add_note("Name one of these, or 'X', or no layer: the counts are then looked for.")
            raise error
        return places[0] if layer == "X" else (f"layers[{layer!r}]", layers[layer], group["var"])
    if "counts" in layers:
        places.append(("layers['counts']", layers["counts"], group["var"]))
    if "raw" in group and "X" in group["raw"]:
        places.append(("raw.X", group["raw"]["X"], group["raw"]["var"]))
    here = [place for place in places if place[1] is not None]
    for place in here:
        if _looks_like_counts(place[1]):
            return place
    others = [name for name in layers if name != "counts"]
    there = f"name the layer that does (it has {listed(others)})" if others else "and it has no other layer"
    msg = f"holds no counts (whole numbers, none below 0) in {', '.join(place[0] for place in here) or 'X'}: {there}"
    raise ValueError(msg)


def _looks_like_counts(matrix: Any) -> bool:
    """Whether the first entries are whole numbers; all are checked later."""
    kind, shape = _form(matrix)
    values = np.asarray(matrix[:_LOOKED_AT] if kind == "dense" else matrix["data"][: _LOOKED_AT * 50])
    with np.errstate(invalid="ignore"):
        return values.dtype.kind in "biuf" and bool((values == np.floor(values)).all() and (values >= 0).all())


def _form(matrix: Any) -> tuple[str, tuple[int, int]]:
    """Return how a matrix is stored, and its shape."""
    if hasattr(matrix, "dtype"):
        if len(matrix.shape) != 2:
            msg = f"its counts have the shape {matrix.shape}, not cells x genes"
            raise ValueError(msg)
        return "dense", tuple(matrix.shape)
    attributes = dict(matrix.attrs)
    encoding = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))
    kind = "csr" if encoding.startswith("csr") else "csc" if encoding.startswith("csc") else None
    if kind is None:
        msg = f"its counts are stored as {encoding or 'something'!r}, which is not known"
        raise ValueError(msg)
    n_rows, n_columns = attributes["shape" if "shape" in attributes else "h5sparse_shape"]
    return kind, (int(n_rows), int(n_columns))


def _genes(var: Any) -> pd.DataFrame:
    """Read names, symbols and kinds of the features."""
    names = pd.Series(_names(var)).astype(str)
    here = set(_column_names(var))
    ids = next((column for column in _ID_COLUMNS if column in here), None)
    symbols = next((column for column in _SYMBOL_COLUMNS if column in here), None)
    types = next((column for column in _TYPE_COLUMNS if column in here), None)
    id_values = names if ids is None else pd.Series(_column(var, ids)).astype(str)
    symbol_values = names if symbols is None else pd.Series(_column(var, symbols)).astype(str)
    has_id = id_values.str.match(r"^ENS[A-Z]*G\d{6,}")
    is_gene = ~names.str.match(_PLACE).to_numpy()
    if types is not None:
        is_gene = pd.Series(_column(var, types)).astype(str).isin(_GENE_TYPES).to_numpy()
    return pd.DataFrame(
        {"name": id_values.where(has_id, names), "symbol": symbol_values, "is_gene": is_gene}
    ).reset_index(drop=True)


def _column_names(group: Any) -> list[str]:
    """Return the names of the columns of a stored table."""
    if group is None:
        return []
    if hasattr(group, "dtype"):
        return list(group.dtype.names or ())
    return [name for name in group if not name.startswith("_")]


def _column(group: Any, name: str) -> Any:
    """Read one column of a stored table; `None` where there is none."""
    if name not in _column_names(group):
        return None
    if hasattr(group, "dtype"):  # tables of anndata before 0.7
        values = group[name][:]
        return values.astype(str) if values.dtype.kind == "S" else values
    import anndata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what anndata has to say of old files
        values = anndata.io.read_elem(group[name])
        categories = group.get("__categories", {})
        if not isinstance(values, pd.Categorical) and name in categories:  # those of anndata 0.7
            return pd.Categorical.from_codes(values, [_decoded(v) for v in anndata.io.read_elem(categories[name])])
    return values


def _names(group: Any) -> np.ndarray:
    """Read the index of a stored table as text."""
    if hasattr(group, "dtype"):
        values = group[group.dtype.names[0]][:]
    else:
        import anndata

        values = anndata.io.read_elem(group[str(dict(group.attrs).get("_index", "_index"))])
    return np.array([_decoded(v) for v in np.asarray(values).tolist()], dtype=object)


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _of_tenx(file: Any) -> SourceFile:
    """Read what a matrix of 10x holds: stored by cells, as CSR is."""
    names = [name for name in file if isinstance(file[name], h5py.Group) and "indptr" in file[name]]
    if len(names) != 1:
        msg = f"is neither an AnnData nor a matrix of 10x: it holds {listed(list(file))}"
        raise KeyError(msg)
    group = file[names[0]]
    if "features" in group:
        ids, symbols = (_text(group["features"][key]) for key in ("id", "name"))
        is_gene = np.isin(_text(group["features"]["feature_type"]), _GENE_TYPES)
    else:
        ids, symbols = _text(group["genes"]), _text(group["gene_names"])
        is_gene = np.ones(len(ids), dtype=bool)
    genes = pd.DataFrame({"name": ids, "symbol": symbols, "is_gene": is_gene})
    n_genes, n_cells = (int(value) for value in group["shape"][:])
    return SourceFile(group, "csr", names[0], (n_cells, n_genes), genes, None, None, _text(group["barcodes"]))


def _text(dataset: Any) -> np.ndarray:
    return np.array([value.decode() for value in dataset[:]], dtype=object)
