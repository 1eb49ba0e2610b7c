"""An opened collection."""

from __future__ import annotations

import re
import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._check_files import existing_file, readable
from sctandem._checks import check_path, listed, select_cells, texts
from sctandem._progress import progress_bar
from sctandem.data._manifest import check_sizes, faults, read_manifest, report_path
from sctandem.data._streamed import StreamedCounts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from anndata import AnnData
    from numpy.typing import ArrayLike


#: Columns of the reports that hold numbers.
_NUMBERS = (
    *("n_sources", "n_counts", "n_cells", "n_duplicates", "n_kept", "n_without_counts", "n_genes", "counts_left_out"),
    *("summed", "row", "kept_row"),
)


class Collection:
    """Cells of many sources on one axis of genes, on disk, in random order.

    Parameters
    ----------
    path
        The folder that :func:`~sctandem.data.build_collection` has written.

    Raises
    ------
    FileNotFoundError
        When there is no collection.
    ValueError
        When it is damaged, or of a newer format.
    TypeError
        When `path` is no path.

    Notes
    -----
    Every shard (`cells.zarr/dataset_0`, ...) is an AnnData in zarr, which :func:`anndata.io.read_zarr` reads; annbatch reads `cells.zarr`
    as one of its collections.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        check_path(path, "path")
        self.path = Path(path)
        self.manifest: dict[str, Any] = read_manifest(self.path)

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return int(self.manifest["n_obs"])

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return int(self.manifest["n_vars"])

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return self.n_obs, self.n_vars

    @cached_property
    def genes(self) -> pd.DataFrame:
        """Genes with `symbol`, `n_sources` that have it, `n_counts` and `n_cells` with a count."""
        table = self._report("genes")
        if len(table) != self.n_vars or not {"gene", "symbol", "n_counts"} <= set(table):
            msg = f"{report_path(self.path, 'genes')} is damaged: it is no table of {self.n_vars} genes."
            raise ValueError(msg)
        return table.set_index("gene")

    @property
    def mapping(self) -> pd.DataFrame:
        """What became of each gene of each source: `source`, `name` there, `gene` here (empty for none), `how`, and `summed`."""
        return self._report("mapping")

    @property
    def words(self) -> pd.DataFrame:
        """What became of each word of the metadata: `column`, `source`, `word`, `n_cells`, `becomes`, `status`."""
        return self._report("words")

    @property
    def duplicates(self) -> pd.DataFrame:
        """Cells left out because another source has them.

        `source` and `row`, and of the one that stays `kept_source`, `kept_row`; `filled` names the columns in which that one took the word
        of this one, having none, and `differs` those in which they have different words.
        """
        return self._report("duplicates")

    @property
    def sources(self) -> pd.DataFrame:
        """Each source with its `path`, `status`, where its counts were, numbers of cells, and the share of counts left out."""
        return self._report("sources")

    @cached_property
    def obs(self) -> pd.DataFrame:
        """Metadata of all cells, in the order of the disk: the declared columns, `source`, `source_row` and `n_counts`."""
        names = [*self.manifest["columns"], "source", "source_row", "n_counts"]
        columns: dict[str, np.ndarray] = {}
        words: dict[str, pd.Index] = {}
        check_sizes(self.path, self.manifest)  # zarr takes what is missing for zeros
        end = 0
        for shard in self.manifest["shards"]:
            start, end = end, end + shard["n_obs"]
            with readable(self.path / shard["name"], "a part of a collection", tree=True):
                table = self._group(shard["name"])["obs"]
                for name in names:
                    part = _read_elem(table[name])
                    if isinstance(part, pd.Categorical):
                        words.setdefault(name, part.categories)
                        part = part.codes
                    if len(part) != end - start:
                        msg = f"{name} has {len(part)} values for {end - start} cells"
                        raise ValueError(msg)
                    # into its place at once: all parts beside the whole are twice the memory
                    columns.setdefault(name, np.empty(self.n_obs, dtype=part.dtype))[start:end] = part
        whole = {
            name: pd.Categorical.from_codes(values, words[name]) if name in words else values
            for name, values in columns.items()
        }
        return pd.DataFrame(whole, index=pd.RangeIndex(self.n_obs), copy=False)

    @cached_property
    def counts(self) -> StreamedCounts:
        """The counts, read from disk when asked for: `collection.counts[100:200]` gives CSR, float32."""
        shards = self.manifest["shards"]
        return StreamedCounts(
            [self.path / shard["name"] for shard in shards],
            [shard["n_obs"] for shard in shards],
            [shard["n_entries"] for shard in shards],
            self.n_vars,
            gene_totals=self.genes["n_counts"].to_numpy(),
            cell_totals=self.obs["n_counts"].to_numpy(),
        )

    @cached_property
    def adata(self) -> AnnData:
        """An AnnData whose metadata are in memory and whose `X` stays on disk; what the models are set up with.

        Its cells are named by their positions, as numbers.
        """
        from anndata import AnnData

        # AnnData wants text for names when it is made, 60 bytes a cell of it; until then all have the same
        obs = self.obs.copy(deep=False)  # a frame over the same columns: of a million cells a copy would be felt
        obs.index = pd.Index(np.full(self.n_obs, "", dtype=object))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Observation names are not unique")
            adata = AnnData(self.counts, obs=obs, var=self.genes.rename_axis(None))
        adata.obs.index = pd.RangeIndex(self.n_obs)
        return adata

    def to_adata(self, query: str | ArrayLike | None = None, *, genes: Sequence[str] | None = None) -> AnnData:
        """Read some cells into memory.

        Parameters
        ----------
        query
            Which: an expression over the columns of `obs` as :meth:`pandas.DataFrame.query` takes it, such as
            ``"tissue == 'blood' and n_counts > 500"``, a mask, or positions. `None` for all.
        genes
            Which genes, by their names in the collection or by symbol; `None` for all.

        Returns
        -------
        Counts in `X` (CSR, float32), metadata in `obs`, whose names are those of the sources, genes in `var`.

        Raises
        ------
        ValueError
            When the expression cannot be understood.
        KeyError
            When a gene is not there.

        Warns
        -----
        UserWarning
            When the expression is true of no cell.
        """
        from anndata import AnnData

        cells = self._cells(query)
        counts, var = self.counts.take(cells), self.genes.rename_axis(None)
        if genes is not None:
            places = self.gene_places(genes)
            counts, var = counts[:, places], var.iloc[places]
        obs = self.obs.iloc[cells].set_axis(self._names(cells), axis=0)
        return AnnData(counts, obs=obs, var=var)

    def verify(self) -> list[str]:
        """Compare every file with its checksum.

        Returns
        -------
        What is wrong, in words; nothing for a collection that is as it was written.
        """
        total = sum(file["bytes"] for file in self.manifest["files"].values())
        with progress_bar(total, "Verifying", unit="B") as tick:
            return list(faults(self.path, self.manifest, tick))

    def _cells(self, query: Any) -> np.ndarray:
        """Return positions of the cells that are asked for."""
        if not isinstance(query, str):
            return select_cells(query, self.n_obs, "query")
        try:
            found = self.obs.eval(query, engine="python")
        except Exception as error:
            msg = f"query={query!r} cannot be understood ({error}); obs has the columns {listed(self.obs.columns)}."
            raise ValueError(msg) from error
        if not (isinstance(found, pd.Series) and found.dtype == bool):  # numbers would be taken for positions
            msg = f"query={query!r} does not say of each cell whether to take it; compare, as in 'n_counts > 500'."
            raise ValueError(msg)
        if not found.any():
            warnings.warn(f"query={query!r} is true of no cell{self._words_in(query)}.", stacklevel=3)
        return np.flatnonzero(found)

    def _words_in(self, query: str) -> str:
        """Say what words the columns have that an expression names."""
        named = [
            f"{name} has {listed(self.obs[name].cat.categories, 5)}"
            for name in self.obs
            if self.obs[name].dtype == "category" and re.search(rf"\b{re.escape(str(name))}\b", query)
        ]
        return ": " + "; ".join(named) if named else ""

    def gene_places(self, genes: Sequence[str] | None = None) -> np.ndarray:
        """Return the places of genes on the axis.

        Parameters
        ----------
        genes
            Names, or symbols that only one gene has; `None` for all.

        Returns
        -------
        Positions, in the order given.

        Raises
        ------
        KeyError
            When a gene is not there.
        TypeError
            When `genes` is one text, or holds something else than texts.
        """
        if genes is None:
            return np.arange(self.n_vars)
        wanted = pd.Index(texts(genes, "genes"))
        places = self.genes.index.get_indexer(wanted)
        symbols = self.genes["symbol"]
        unique = pd.Series(np.arange(len(symbols)), index=symbols)[~symbols.duplicated(keep=False).to_numpy()]
        places = np.where(places < 0, unique.reindex(wanted).fillna(-1).to_numpy(dtype=np.int64), places)
        if (places < 0).any():
            msg = f"genes names {listed(wanted[places < 0], 5)}, which the collection does not have."
            raise KeyError(msg)
        return places

    def _names(self, cells: np.ndarray) -> np.ndarray:
        """Read the names of some cells."""
        names = np.empty(len(cells), dtype=object)
        starts = self.counts.starts
        shard = np.searchsorted(starts, cells, side="right") - 1
        for number in np.unique(shard):
            where = shard == number
            name = self.manifest["shards"][number]["name"]
            with readable(self.path / name, "a part of a collection", tree=True):
                index = _read_elem(self._group(name)["obs/_index"])
            names[where] = np.asarray(index, dtype=object)[cells[where] - starts[number]]
        return names

    def _group(self, name: str) -> Any:
        import zarr

        return zarr.open_group(self.path / name, mode="r")

    def _report(self, name: str) -> pd.DataFrame:
        path = existing_file(report_path(self.path, name), "a report")
        with readable(path, "a report of a collection", tree=True):
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            return table.assign(**{column: _numbers(table[column]) for column in table if column in _NUMBERS})

    def __repr__(self) -> str:
        sources = self.sources
        read = int((sources["status"] == "read").sum())
        columns = ", ".join(self.manifest["columns"])
        return (
            f"Collection of {self.n_obs:,} cells x {self.n_vars:,} genes ({self.manifest['organism']}) from {read} of "
            f"{len(sources)} sources, in {len(self.manifest['shards'])} shards\n    obs: {columns}\n    path: {self.path}"
        )


def _numbers(text: pd.Series) -> pd.Series:
    """Turn text into numbers, whole ones where all are; empty text is missing."""
    values = pd.to_numeric(text)
    return values.astype("Int64") if values.isna().any() and (values.dropna() % 1 == 0).all() else values


def _read_elem(element: Any) -> Any:
    import anndata

    return anndata.io.read_elem(element)


def open_collection(path: str | PathLike[str]) -> Collection:
    """Open a collection that was built.

    Parameters
    ----------
    path
        The folder that :func:`~sctandem.data.build_collection` has written.

    Returns
    -------
    The collection; nothing but its manifest is read.

    Raises
    ------
    FileNotFoundError
        When there is none.
    ValueError
        When its manifest is damaged, or of a newer format.
    TypeError
        When `path` is no path.
    """
    return Collection(path)
