from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from anndata import AnnData
from mudata import MuData

from sctandem._checks import check_slot, check_type
from sctandem._chromatin_keys import GeneActivityKeys


def gene_activity(data: AnnData | MuData, *, key: str | None = None) -> AnnData:
    """Read the activities of genes as an AnnData of its own, ready for scanpy and for models of counts.

    Needs :func:`sctandem.tl.gene_activity`.

    Parameters
    ----------
    data
        The object.
    key
        The `key_added` of :func:`sctandem.tl.gene_activity`; by default its own.

    Returns
    -------
    Cells x genes, a copy: counts in ``X`` (CSR, int32), scores in ``layers["score"]`` (CSR, float32; learned ones an array), the genes with their
    places, ``n_sources``, ``coverage`` and ``diversity`` in ``var``, what is known of the cells in ``obs`` together with
    ``unassigned``, and the rest of the result in ``uns["gene_activity"]``.

    Raises
    ------
    KeyError
        When there is no such result.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> td.tl.gene_activity(mdata)
    >>> td.get.gene_activity(mdata).layers["score"].shape
    (50, 40)
    """
    if isinstance(data, MuData):
        return _from_modality(data, GeneActivityKeys().modality if key is None else key)
    check_type(data, AnnData, "data", hint="Or a MuData.")
    keys = GeneActivityKeys() if key is None else GeneActivityKeys(key)
    held = check_slot(data.uns, keys.key, "adata.uns", "td.tl.gene_activity(adata, genes)")
    if not isinstance(held, Mapping) or keys.genes not in held or keys.key not in data.obsm:
        msg = f"adata.uns[{keys.key!r}] is no result of td.tl.gene_activity, or its obsm[{keys.key!r}] is gone; run it again."
        raise KeyError(msg)
    if keys.left not in data.obs or keys.scores not in data.obsm:
        gone = f"obs[{keys.left!r}]" if keys.left not in data.obs else f"obsm[{keys.scores!r}]"
        msg = f"adata.{gone} of td.tl.gene_activity is gone; run it again."
        raise KeyError(msg)
    obs = data.obs.drop(columns=keys.left).assign(**{keys.unassigned: data.obs[keys.left]})
    rest = {name: value for name, value in held.items() if name != keys.genes}
    return AnnData(
        data.obsm[keys.key].copy(),
        obs=obs,
        var=held[keys.genes].copy(),
        layers={keys.score: data.obsm[keys.scores].copy()},
        uns={keys.mark: rest},
    )


def _from_modality(mdata: MuData, key: str) -> AnnData:
    """Copy the modality, with the columns of the peaks' cells and of the whole object."""
    keys = GeneActivityKeys(key)
    found = check_slot(mdata.mod, key, "mdata.mod", "td.tl.gene_activity(mdata)")
    if keys.mark not in found.uns:
        msg = f"mdata[{key!r}] is no result of td.tl.gene_activity."
        raise KeyError(msg)
    made = found.copy()
    source = found.uns[keys.mark][keys.params].get("atac")
    frames = [mdata.mod[source].obs] if source in mdata.mod else []
    parts, known = [made.obs], set(made.obs.columns)
    for frame in (*frames, mdata.obs):
        new = [column for column in frame.columns if column not in known]
        parts.insert(-1, frame.reindex(made.obs_names)[new])
        known.update(new)
    made.obs = pd.concat(parts, axis=1)
    return made
