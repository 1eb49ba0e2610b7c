from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata import AnnData

from sctandem._bulk_keys import RSDKeys
from sctandem._checks import check_adata, check_key, check_target, check_type, check_unique, listed, working_copy
from sctandem._keys import UNKNOWN
from sctandem._random import draw_seed
from sctandem.tl._train_model import train_rsd

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from sctandem._random import RNG
    from sctandem.model import RSD
    from sctandem.model._deconvolution import Deconvolution


def deconvolve(  # noqa: PLR0913 - two objects are described
    adata: AnnData,
    reference: AnnData | RSD,
    cell_type: str | None = None,
    *,
    donor_key: str | None = None,
    kind: Literal["counts", "tpm"] | None = None,
    layer: str | None = None,
    contents: Mapping[str, float] | None = None,
    expression: bool = False,
    key_added: str = "rsd",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    """Take bulk RNA-seq apart into the cell types of a single-cell reference.

    Parameters
    ----------
    adata
        The bulk, samples x genes: counts or TPM on the linear scale. Samples of one platform belong together.
    reference
        Single cells with raw counts in `X`; or a trained :class:`~sctandem.model.RSD`, which saves its training.
    cell_type
        Column of ``reference.obs`` with the type; not with a model.
    donor_key
        Column of ``reference.obs`` with the donor or sample: how donors differ is then learned. `None` for none, or with a model.
    kind
        Whether the bulk holds ``"counts"`` or ``"tpm"``; `None` takes whole numbers for counts, and says so in ``params``.
    layer
        Layer of the bulk; `None` for `X`.
    contents
        Messenger RNA of a cell of each type, in any unit: bulk tells shares of RNA, and cells are asked for. `None` looks types of blood up in
        a published table by name; see Notes.
    expression
        Whether to write what each type expresses in each sample, a layer a type.
    key_added
        Name of the result.
    rng
        Seed of the training and of the intervals; `None` draws one. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.obsm["<key_added>_fractions"]` : :class:`pandas.DataFrame` (dtype ``float64``)
        Share of cells of each type, samples x types; rows add up to 1 - unknown.
    `adata.obsm["<key_added>_low"]`, `adata.obsm["<key_added>_high"]` : :class:`pandas.DataFrame` (dtype ``float64``)
        Ends of their intervals of 90 %.
    `adata.obsm["<key_added>_rna"]` : :class:`pandas.DataFrame` (dtype ``float64``)
        Share of RNA of each type.
    `adata.obs["<key_added>_unknown"]` : :class:`pandas.Series` (dtype ``float64``)
        Share of cells of no type of the reference; 0 without evidence, see Notes.
    `adata.obs["<key_added>_fit"]` : :class:`pandas.Series` (dtype ``float64``)
        Correlation of measured and fitted log expression over the genes that tell types apart.
    `adata.obsm["X_<key_added>"]` : :class:`numpy.ndarray` (dtype ``float32``)
        Centred log ratios of the shares, rotated to their principal components: an embedding for neighbours, clusters and plots.
    `adata.varm["<key_added>_signature"]` : :class:`pandas.DataFrame` (dtype ``float64``)
        Expected counts per million of each type on the platform of the bulk, genes x types; NaN where the reference lacks the gene.
    `adata.var["<key_added>_platform"]` : :class:`pandas.Series` (dtype ``float64``)
        Natural log of the factor of each gene, bulk against reference; NaN where the reference lacks it.
    `adata.layers["<key_added>_<type>"]` : :class:`numpy.ndarray` (dtype ``float32``)
        With `expression` only: expected counts per million of a type in each sample.
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with: ``kind``, ``layer``, ``contents`` that were assumed, ``seed``, ``n_genes`` in common, ``version``.

    Raises
    ------
    KeyError
        When a column, a layer or a content is not there; lists what is.
    ValueError
        For a bulk that is genes x samples, negative, missing, log-transformed or all zeros in a sample, names of genes that repeat, fewer than 100 genes in
        common, a reference that holds no counts, types with fewer than 10 cells or a type called ``"unknown"``. Nothing is written then.
    TypeError
        When `adata` is no AnnData, or `reference` neither an AnnData nor an RSD.

    Notes
    -----
    The published table [Racle17]_ holds B, T and NK cells, monocytes and neutrophils; dendritic cells are put with the monocytes. Types that it
    does not know are taken for average, and without any that it knows all are equal. It is for bulk of extracted RNA: for sums of UMI
    counts give the mean counts of a cell of each type instead, without ribosomal and mitochondrial genes. A slash in the name of a type,
    which files cannot hold, becomes an underscore. Types that are missing from the reference go to their nearest relatives, and to
    ``unknown`` only where at least six samples give strong evidence; it is no substitute for a complete reference. Cost: with 10 types, on
    one core, 25 seconds of training where as many genes as are read tell types apart (2,000), and 6 seconds for 100 samples; fewer genes
    take less in proportion. Memory: 0.8 GB with 100 samples, 10 types and 15,000 genes.

    References
    ----------
    .. [Racle17] Racle et al., Simultaneous enumeration of cancer and immune cell types from bulk tumor gene expression data, eLife 6 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> profiles = rng.gamma(0.5, 1.0, (3, 300))
    >>> types = np.repeat([0, 1, 2], 40)
    >>> reference = AnnData(rng.poisson(10 * profiles[types]).astype("float32"))
    >>> reference.obs["cell_type"] = np.array(["a", "b", "c"])[types]
    >>> bulk = AnnData(rng.poisson(1000 * (rng.dirichlet(np.ones(3), 6) @ profiles)).astype("float32"))
    >>> td.tl.deconvolve(bulk, reference, "cell_type", rng=0)
    >>> bulk.obsm["rsd_fractions"].shape
    (6, 3)
    """
    from sctandem.model._bulk import read_bulk

    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    keys, seed = RSDKeys(key_added), draw_seed(rng)
    if isinstance(reference, AnnData):  # what is wrong is said before the training
        read_bulk(adata, reference.var, layer=layer, kind=kind)
        _check_reference(reference, cell_type, donor_key, contents)
    model = _model(reference, cell_type, donor_key, seed)
    names = _file_names(model.cell_types)
    found = model.deconvolve(adata, kind=kind, layer=layer, contents=contents, expression=expression, rng=seed)
    result = working_copy(adata, copy=copy)
    _write(result, found, keys, names, {"layer": layer, "seed": seed, "cell_type": cell_type, "donor_key": donor_key})
    return result if copy else None


def _model(reference: Any, cell_type: str | None, donor_key: str | None, seed: int) -> RSD:
    """Give the model, trained."""
    from sctandem.model import RSD

    if isinstance(reference, RSD):
        for name, value in (("cell_type", cell_type), ("donor_key", donor_key)):
            if value is not None:
                msg = f"{name}={value!r} does not go with a trained RSD, which knows its types: leave it out."
                raise ValueError(msg)
        return reference
    if not isinstance(reference, AnnData):
        msg = f"reference must be an AnnData of single cells or a trained RSD, got {type(reference).__name__}."
        msg += " Name its expression: mdata['rna']." if hasattr(reference, "mod") else ""
        raise TypeError(msg)
    return train_rsd(reference, str(cell_type), donor_key=donor_key, seed=seed)


def _check_reference(
    reference: AnnData, cell_type: str | None, donor_key: str | None, contents: Mapping[str, float] | None
) -> None:
    """Check the columns of the reference, and that contents are there for its types."""
    from sctandem.model._cell_contents import cell_contents

    if cell_type is None:
        msg = f"cell_type is missing: name the column of reference.obs with the type; it has {listed(reference.obs.columns, 20)}."
        raise ValueError(msg)
    for name, key in (("cell_type", cell_type), ("donor_key", donor_key)):
        if key is None:
            continue
        check_type(key, str, name, hint="It names a column of reference.obs.")
        missing = int(check_key(reference.obs, key, "reference.obs").isna().sum())
        if missing:
            msg = f"reference.obs[{key!r}] is missing in {missing} cells: take them out, or fill it in."
            raise ValueError(msg)
    check_unique(reference.var_names, "reference.var_names")
    types = [str(name) for name in reference.obs[cell_type].unique()]
    _file_names(types)
    cell_contents(types, contents)


def _file_names(types: list[str]) -> list[str]:
    """Name types as files can hold them, none of them as the share of what is unknown."""
    for name, why in (("", "no text"), (UNKNOWN, "the name of the share that is of no type of the reference")):
        if name in types:
            msg = f"a type of the reference is called {name!r}, which is {why}: rename it, or leave these cells out."
            raise ValueError(msg)
    names = [name.replace("/", "_") for name in types]
    if len(set(names)) < len(names):
        msg = f"types have names that differ by a slash only: {sorted(names)}. Rename one of them."
        raise ValueError(msg)
    return names


def _embed(fractions: pd.DataFrame) -> np.ndarray:
    """Rotate centred log ratios to their principal components; a thousandth is added to every share."""
    logs = np.log(fractions.to_numpy() + 1e-3)
    logs -= logs.mean(1, keepdims=True)
    logs -= logs.mean(0)
    left, values, right = np.linalg.svd(logs, full_matrices=False)
    rank = min(len(logs), logs.shape[1] - 1)
    signs = np.sign(right[np.arange(rank), np.abs(right[:rank]).argmax(1)])
    return (left[:, :rank] * values[:rank] * signs).astype(np.float32)


def _write(adata: AnnData, found: Deconvolution, keys: RSDKeys, names: list[str], given: Mapping[str, Any]) -> None:
    """Write the slots; layers of an earlier result of the same name are taken away."""
    earlier = adata.obsm.get(keys.fractions)
    for kind in [] if earlier is None else earlier.columns:
        adata.layers.pop(keys.expression(kind), None)
    for name, table in (
        (keys.fractions, found.fractions),
        (keys.low, found.low),
        (keys.high, found.high),
        (keys.rna, found.rna),
    ):
        adata.obsm[name] = table.set_axis(names, axis=1)
    adata.obsm[keys.embedding] = _embed(found.fractions)
    adata.obs[keys.unknown] = found.unknown.to_numpy()
    adata.obs[keys.fit] = found.fit.to_numpy()
    adata.varm[keys.signature] = found.signature.set_axis(names, axis=1)
    adata.var[keys.platform] = found.platform.to_numpy()
    if found.expression is not None:
        for name, values in zip(names, found.expression.values(), strict=True):
            adata.layers[keys.expression(name)] = values
    params = {
        **{name: value for name, value in given.items() if value is not None},
        keys.kind: found.kind,
        "contents": dict(zip(names, found.contents.values(), strict=True)),
        "n_genes": int(found.platform.notna().sum()),
        "version": version("sctandem"),
    }
    adata.uns[keys.key] = {keys.params: params}
