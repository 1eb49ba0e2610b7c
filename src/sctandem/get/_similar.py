from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sctandem._adversarial_keys import VectorKeys
from sctandem._checks import check_adata, check_positive, check_slot, check_table, check_type, listed

if TYPE_CHECKING:
    from anndata import AnnData


def vectors(adata: AnnData, *, key: str = "gene_vectors") -> pd.DataFrame:
    """Read the vectors of genes or words.

    Needs :func:`sctandem.pp.embed_genes` or :func:`sctandem.pp.embed_kmers`.

    Parameters
    ----------
    adata
        The object; of a MuData its modality.
    key
        The `key_added` of the function, by default that of :func:`sctandem.pp.embed_genes`.

    Returns
    -------
    Genes or words x dimensions, float32.

    Raises
    ------
    KeyError
        When there are none under `key`.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (60, 20)).astype("float32"))
    >>> td.pp.embed_genes(adata, n_dims=5, rng=0)
    >>> td.get.vectors(adata).shape
    (20, 5)
    """
    check_adata(adata)
    keys = VectorKeys(key)
    function = f"sctandem.pp.embed_genes(adata, key_added={key!r})"
    found = check_slot(adata.uns, keys.key, "adata.uns", function)
    if keys.table in found:
        return check_table(found, keys.table, f"adata.uns[{key!r}]", function).copy()
    values = check_slot(adata.varm, keys.key, "adata.varm", function)
    return pd.DataFrame(values, index=adata.var_names, columns=[str(i) for i in range(values.shape[1])])


def similar(adata: AnnData, name: str, *, n: int = 10, key: str = "gene_vectors") -> pd.DataFrame:
    """Ask which genes or words are most like one.

    Needs :func:`sctandem.pp.embed_genes` or :func:`sctandem.pp.embed_kmers`.

    Parameters
    ----------
    adata
        The object; of a MuData its modality.
    name
        The gene, or the word (in the spelling of the table: of a word and its reverse complement the first in the alphabet).
    n
        How many.
    key
        The `key_added` of the function, by default that of :func:`sctandem.pp.embed_genes`.

    Returns
    -------
    A row a gene or word, the most similar first: ``name`` and ``cosine``.

    Raises
    ------
    KeyError
        When there are no vectors under `key`, or none of this name.
    ValueError
        When `n` is not an integer above 0.
    TypeError
        When `name` is not text.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (60, 20)).astype("float32"))
    >>> td.pp.embed_genes(adata, n_dims=5, rng=0)
    >>> len(td.get.similar(adata, "3", n=4))
    4
    """
    check_type(name, str, "name")
    check_positive(n, "n", whole=True)
    table = vectors(adata, key=key)
    if name not in table.index:
        msg = f"{key!r} has no vector of {name!r}; it has {listed(table.index, 5)}."
        raise KeyError(msg)
    values = table.to_numpy(dtype=float)
    length = (values**2).sum(1) ** 0.5
    cosine = values @ table.loc[name].to_numpy(dtype=float) / (length * length[table.index.get_loc(name)]).clip(1e-12)
    found = pd.Series(cosine, index=table.index).drop(name).sort_values(ascending=False, kind="stable")[:n]
    return pd.DataFrame({"name": found.index.astype(str), "cosine": found.to_numpy()})
