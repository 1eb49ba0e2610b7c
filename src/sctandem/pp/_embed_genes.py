from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from sctandem._adversarial_keys import VectorKeys
from sctandem._blocks import as_csr, value_blocks
from sctandem._checks import (
    check_adata,
    check_counts,
    check_layer,
    check_positive,
    check_target,
    check_unique,
    layer_slot,
    working_copy,
)
from sctandem._random import draw_seed

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG


def embed_genes(
    adata: AnnData,
    *,
    n_dims: int = 50,
    layer: str | None = None,
    key_added: str = "gene_vectors",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Learn a vector for each gene from the cells that express it with others.

    Parameters
    ----------
    adata
        Holds counts.
    n_dims
        Dimensions of the vectors, fewer than cells and genes.
    layer
        Layer of the counts; `None` for `X`.
    key_added
        Name of the result.
    rng
        Seed of the start of the decomposition, whose result it changes in the last digits only; `None` draws one.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.varm[key_added]` : :class:`numpy.ndarray` (dtype ``float32``)
        Genes x dimensions, rows of length 1: the product of two is the cosine of the genes. Zeros for a gene without counts.
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When the layer is not there.
    ValueError
        When the counts are none, names of genes repeat, or `n_dims` is not below the numbers of cells and genes. Nothing is
        written then.
    TypeError
        When `adata` is not an AnnData.

    Notes
    -----
    Correspondence analysis of the square roots of the counts: what is left of neither the depth of cells nor the mean of genes.
    Linear in the stored counts. :func:`sctandem.get.similar` asks for neighbours, :func:`sctandem.io.write_vectors` keeps
    the vectors for other data.

    References
    ----------
    Hsu & Culhane, corral: single-cell RNA-seq dimension reduction, batch integration, and visualization with
    correspondence analysis, Scientific Reports 13 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> on = rng.integers(2, size=(300, 3)).repeat(4, axis=1)  # three programmes of four genes
    >>> adata = AnnData(rng.poisson(0.2 + 3 * on).astype("float32"))
    >>> td.pp.embed_genes(adata, n_dims=3, rng=0)
    >>> sorted(td.get.similar(adata, "0", n=3)["name"])
    ['1', '2', '3']
    """
    from sctandem.kernels._vectors import coexpression_vectors

    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    counts = check_layer(adata, layer, "adata")
    check_counts(counts, layer_slot("adata", layer))
    if not any(block.any() for block in value_blocks(counts)):
        msg = f"{layer_slot('adata', layer)} holds nothing but zeros: no genes are expressed together."
        raise ValueError(msg)
    check_unique(adata.var_names, "adata.var_names")
    check_positive(n_dims, "n_dims", whole=True)
    if n_dims >= min(adata.shape) - 1:
        msg = f"n_dims={n_dims} must be below the numbers of cells and genes less one: {min(adata.shape) - 1}."
        raise ValueError(msg)
    seed = draw_seed(rng)
    vectors = coexpression_vectors(as_csr(counts), n_dims, seed=seed)
    keys = VectorKeys(key_added)
    target = working_copy(adata, copy=copy)
    target.varm[keys.key] = np.ascontiguousarray(vectors)
    given = {"n_dims": n_dims, "seed": seed, "version": version("sctandem")} | (
        {} if layer is None else {"layer": layer}
    )
    target.uns[keys.key] = {keys.params: given}
    return target if copy else None
