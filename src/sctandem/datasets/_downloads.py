from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from anndata import read_h5ad
from scipy import sparse

from sctandem._keys import SimulationKeys
from sctandem.datasets import _registry
from sctandem.io import read_multiome

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

KEYS = SimulationKeys()
_COLUMNS = ("title", "n_cells", "n_genes", "n_peaks", "assembly", "licence", "citation", "page", "checksum")


def list_datasets() -> pd.DataFrame:
    """List the data sets that can be fetched.

    Returns
    -------
    A table indexed by the name of the function that fetches it: title, n_cells, n_genes, n_peaks, assembly, licence,
    citation, page (where it was published), checksum (algorithm:value), size_mb (of the download), url, path (where
    it lies or will) and cached (whether it is there).

    Examples
    --------
    >>> import sctandem as td
    >>> td.datasets.list_datasets()["n_cells"].to_dict()
    {'pbmc_multiome_3k': 2711, 'pbmc_multiome_10k': 11898, 'kang2018': 24673}
    """
    entries = _registry.registry()
    table = pd.DataFrame(
        [{column: getattr(entry, column) for column in _COLUMNS} for entry in entries.values()], index=list(entries)
    )
    return table.assign(
        size_mb=[round(entry.size / 1e6, 1) for entry in entries.values()],
        url=[entry.urls[0] for entry in entries.values()],
        path=[str(entry.path) for entry in entries.values()],
        cached=[entry.path.is_file() for entry in entries.values()],
    )


def pbmc_multiome_3k(*, progress: bool = True) -> MuData:
    """Fetch 2,711 PBMC of a healthy donor, 10x Multiome.

    Parameters
    ----------
    progress
        Show the progress of the download (39 MB, once).

    Returns
    -------
    A MuData with 36,601 genes in `["rna"]` and 98,319 peaks in `["atac"]`, as :func:`sctandem.io.read_multiome` gives
    it; no cell types. GRCh38, Cell Ranger ARC 2.0.0; ATAC counts are cut sites.

    Raises
    ------
    ValueError
        When the checksum of the download is wrong.
    ConnectionError
        When it cannot be reached.

    Notes
    -----
    CC BY 4.0, 10x Genomics. The file is kept in the folder of :func:`set_cache_dir`.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.pbmc_multiome_3k()  # doctest: +SKIP
    """
    return read_multiome(_registry.fetch(_registry.registry()["pbmc_multiome_3k"], progress=progress))


def pbmc_multiome_10k(*, progress: bool = True) -> MuData:
    """Fetch 11,898 PBMC of a healthy donor, 10x Multiome.

    Parameters
    ----------
    progress
        Show the progress of the download (192 MB, once).

    Returns
    -------
    A MuData with 36,601 genes in `["rna"]` and 143,887 peaks in `["atac"]`, as :func:`sctandem.io.read_multiome` gives
    it; no cell types. GRCh38, Cell Ranger ARC 2.0.0; ATAC counts are cut sites.

    Raises
    ------
    ValueError
        When the checksum of the download is wrong.
    ConnectionError
        When it cannot be reached.

    Notes
    -----
    CC BY 4.0, 10x Genomics. The file is kept in the folder of :func:`set_cache_dir`.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.pbmc_multiome_10k()  # doctest: +SKIP
    """
    return read_multiome(_registry.fetch(_registry.registry()["pbmc_multiome_10k"], progress=progress))


def kang2018(*, progress: bool = True) -> AnnData:
    """Fetch 24,673 PBMC of eight lupus patients, control and stimulated with IFN-beta [Kang2018]_.

    Parameters
    ----------
    progress
        Show the progress of the download (38 MB, once).

    Returns
    -------
    An AnnData with 15,706 genes, counts in `X` (CSR), and in `obs` cell_type (8 types), donor (8 patients) and
    condition (control, stimulated), all categories, beside the columns of the deposit.

    Raises
    ------
    ValueError
        When the checksum of the download is wrong.
    ConnectionError
        When it cannot be reached.

    Notes
    -----
    GEO GSE96583, as the scverse project distributes it (doublets and untyped cells were removed before). The file is kept in the folder of :func:`set_cache_dir`.

    References
    ----------
    .. [Kang2018] Kang, H. M. et al. (2018). Multiplexed droplet single-cell RNA-sequencing using natural genetic
       variation. Nature Biotechnology 36, 89-94.

    Examples
    --------
    >>> import sctandem as td
    >>> adata = td.datasets.kang2018()  # doctest: +SKIP
    """
    adata = read_h5ad(_registry.fetch(_registry.registry()["kang2018"], progress=progress))
    adata.X = sparse.csr_matrix(adata.X)
    condition = adata.obs["label"].astype(str).map({"ctrl": "control", "stim": "stimulated"})
    adata.obs[KEYS.condition] = pd.Categorical(condition, ["control", "stimulated"])
    adata.obs[KEYS.donor] = pd.Categorical(adata.obs["replicate"].astype(str))
    adata.obs[KEYS.cell_type] = pd.Categorical(adata.obs["cell_type"].astype(str))
    return adata
