"""Highly variable genes and principal components of a collection, each in one pass over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._check_arguments import received
from sctandem._checks import check_positive, check_type
from sctandem._progress import progress_bar
from sctandem.data._collection import Collection
from sctandem.kernels._streamed_moments import Components, GeneSums, Products, normalised, normalised_dispersions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scipy import sparse


_ROWS = 2048


def highly_variable_genes(collection: Collection, *, n_top: int = 2000, target_sum: float = 1e4) -> pd.DataFrame:
    """Find the genes that vary most against genes of like mean, in one pass.

    Parameters
    ----------
    collection
        An open one.
    n_top
        How many.
    target_sum
        Counts that every cell is scaled to.

    Returns
    -------
    Genes with `symbol`, `means` and `variances` of the scaled counts, `dispersions_norm`, and `highly_variable`: what
    :func:`scanpy.pp.highly_variable_genes` gives for ``flavor="seurat"`` on all cells in memory. The genes go to the next build
    (``genes=list(table.index[table["highly_variable"]])``) or to :func:`~sctandem.data.principal_components`.

    Raises
    ------
    ValueError
        When `n_top` is not an integer above 0, `target_sum` is not above 0, no gene varies, or files of the collection are damaged.
    TypeError
        When `collection` is none.

    Examples
    --------
    >>> import numpy as np, pandas as pd, tempfile
    >>> from pathlib import Path
    >>> from anndata import AnnData
    >>> import sctandem as td
    >>> folder = Path(tempfile.mkdtemp())
    >>> counts = np.random.default_rng(0).poisson(1.0, (100, 30)).astype("float32")
    >>> AnnData(counts, var=pd.DataFrame(index=[f"G{i}" for i in range(30)])).write_h5ad(folder / "a.h5ad")
    >>> collection = td.data.build_collection(folder / "a.h5ad", folder / "out", organism="human", rng=0)
    >>> int(td.data.highly_variable_genes(collection, n_top=5)["highly_variable"].sum())
    5
    """
    check_type(collection, Collection, "collection")
    check_positive(n_top, "n_top", whole=True)
    check_positive(target_sum, "target_sum")
    sums = GeneSums(collection.n_vars)
    for counts, totals in _parts(collection, "Highly variable genes"):
        sums.add(normalised(counts, totals, target_sum))
    means, variances = sums.moments()
    _check_varies(variances, target_sum)
    symbols = collection.genes["symbol"].to_numpy()
    table = pd.DataFrame({"symbol": symbols, "means": means, "variances": variances}, index=collection.genes.index)
    table["dispersions_norm"] = normalised_dispersions(means, variances)
    ranked = np.argsort(-np.nan_to_num(table["dispersions_norm"].to_numpy(), nan=-np.inf), kind="stable")
    table["highly_variable"] = np.isin(np.arange(len(table)), ranked[:n_top])
    return table


def principal_components(
    collection: Collection,
    *,
    n_components: int = 50,
    genes: Sequence[str] | None = None,
    target_sum: float = 1e4,
) -> Components:
    """Find the principal components of the logarithms of scaled counts, exactly, in one pass.

    Parameters
    ----------
    collection
        An open one.
    n_components
        How many.
    genes
        Which genes, by name or symbol; `None` for all. The memory, and most of the time, grow with the square of their number.
    target_sum
        Counts that every cell is scaled to.

    Returns
    -------
    Loadings, means, variances, and shares of the variance, in the order of `genes`. :func:`~sctandem.data.project` gives the
    places of the cells, in a second pass.

    Raises
    ------
    KeyError
        When a gene is not there.
    ValueError
        When there are fewer genes or cells than components, an argument is not above 0, no gene varies, or files of the collection are damaged.
    TypeError
        When `collection` is none, or `genes` is one text.

    Examples
    --------
    >>> import numpy as np, pandas as pd, tempfile
    >>> from pathlib import Path
    >>> from anndata import AnnData
    >>> import sctandem as td
    >>> folder = Path(tempfile.mkdtemp())
    >>> counts = np.random.default_rng(0).poisson(1.0, (100, 30)).astype("float32")
    >>> AnnData(counts, var=pd.DataFrame(index=[f"G{i}" for i in range(30)])).write_h5ad(folder / "a.h5ad")
    >>> collection = td.data.build_collection(folder / "a.h5ad", folder / "out", organism="human", rng=0)
    >>> found = td.data.principal_components(collection, n_components=3)
    >>> td.data.project(collection, found).shape
    (100, 3)
    """
    check_type(collection, Collection, "collection")
    check_positive(n_components, "n_components", whole=True)
    check_positive(target_sum, "target_sum")
    places = collection.gene_places(genes)
    if not n_components <= min(len(places), collection.n_obs - 1):
        msg = f"n_components={n_components}, but there are {len(places)} genes and {collection.n_obs} cells."
        raise ValueError(msg)
    sums = Products(len(places))
    for counts, totals in _parts(collection, "Principal components"):
        sums.add(normalised(counts, totals, target_sum)[:, places].log1p().toarray())
    found = sums.components(n_components)
    _check_varies(found.variances, target_sum)
    return found


def project(
    collection: Collection, components: Components, *, genes: Sequence[str] | None = None, target_sum: float = 1e4
) -> np.ndarray:
    """Give the places of all cells on principal components, in one pass.

    Parameters
    ----------
    collection
        An open one.
    components
        Of :func:`~sctandem.data.principal_components`.
    genes, target_sum
        As they were given there.

    Returns
    -------
    float32, cells x components.

    Raises
    ------
    TypeError
        When `components` are none, or hold what are no arrays of numbers.
    ValueError
        When `components` are of other genes, or hold NaN.
    """
    check_type(collection, Collection, "collection")
    check_type(components, Components, "components", hint="td.data.principal_components(collection) returns them.")
    check_positive(target_sum, "target_sum")
    places, parts = collection.gene_places(genes), []
    _check_components(components)
    if len(places) != len(components.means):
        msg = f"components are of {len(components.means)} genes, and {len(places)} are named by genes: give the same ones."
        raise ValueError(msg)
    origin = components.means @ components.loadings
    for counts, totals in _parts(collection, "Places of cells"):
        values = normalised(counts, totals, target_sum)[:, places].log1p()
        parts.append((values @ components.loadings - origin).astype(np.float32))
    return np.concatenate(parts)


def _check_varies(variances: np.ndarray, target_sum: float) -> None:
    """Raise where nothing varies: all cells are alike, or scaled to so little that single precision holds none of it."""
    if not (variances > 0).any():
        msg = f"no gene of collection varies between cells that are scaled to target_sum={target_sum}: nothing can be found in them."
        raise ValueError(msg)


def _check_components(components: Components) -> None:
    """Raise for loadings and means that do not belong together, or are no finite numbers."""
    loadings, means = components.loadings, components.means
    for name, array, n_dims in (("loadings", loadings, 2), ("means", means, 1)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or array.ndim != n_dims:
            msg = f"components.{name} must be an array of numbers of {n_dims} dimensions, got {received(array)}"
            raise TypeError(msg)
        if not np.isfinite(array).all():
            msg = f"components.{name} holds NaN or infinite values."
            raise ValueError(msg)
    if len(loadings) != len(means):
        msg = f"components.loadings are of {len(loadings)} genes, and components.means of {len(means)}."
        raise ValueError(msg)


def _parts(collection: Collection, what: str) -> Iterator[tuple[sparse.csr_matrix, np.ndarray]]:
    """Yield counts and sums of all cells, in the order of the disk."""
    totals = collection.obs["n_counts"].to_numpy()
    with progress_bar(collection.n_obs, what, unit="cell") as tick:
        for cells, counts in collection.counts.in_order(np.arange(collection.n_obs)):
            for start in range(0, len(cells), _ROWS):
                yield counts[start : start + _ROWS], totals[cells[start : start + _ROWS]]
            tick(len(cells))
