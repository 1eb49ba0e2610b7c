from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sctandem._checks import (
    check_adata,
    check_counts,
    check_layer,
    check_target,
    check_unique,
    layer_slot,
    working_copy,
)
from sctandem._keys import DEKeys
from sctandem._random import draw_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from sctandem._random import RNG


def differential_expression(
    adata: AnnData,
    groupby: str,
    sample_key: str,
    *,
    cell_types: str | None = None,
    design: str | Sequence[str] = (),
    reference: str | None = None,
    layer: str | None = None,
    key_added: str = "deepde",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Test which genes differ between conditions, with samples and not cells as the unit.

    Needs raw counts, and at least two samples (donors, animals, wells) of each condition.

    Parameters
    ----------
    adata
        Holds counts.
    groupby
        Column of ``obs`` with the condition.
    sample_key
        Column of ``obs`` with the sample or donor. A donor with cells in several conditions is a sample in each.
    cell_types
        Column of ``obs`` with the type of each cell, or key of ``obsm`` with the weights of each cell in states (cells x states, as
        :func:`~sctandem.tl.anneal` writes). Each type is tested for itself. `None` trains a
        :class:`~sctandem.model.DeepDE` on a copy and takes its states.
    design
        Covariates of the samples, as names of columns of ``obs`` (``("batch", "sex")``) or as a formula with an
        intercept and the condition (``"~ batch + donor + condition"``). Where donors have cells in several conditions they are
        added to a list of names, which makes the comparison a paired one; to a formula nothing is added.
    reference
        The condition that all others are compared with; by default the first category.
    layer
        Layer of the counts; `None` for ``X``.
    key_added
        Name of the result.
    rng
        Seed of the training where `cell_types` is `None`; nothing else is random. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row a gene, state and contrast, sorted by p-value within state and contrast: ``gene``, ``state``, ``contrast`` (as
        ``"stim vs ctrl"``), ``log2fc`` (shrunken), ``lfc_se`` and ``ci_low``, ``ci_high`` (its posterior standard
        deviation and 95 % interval), ``log2fc_raw`` (not shrunken), ``statistic`` (normal score), ``p_value``, ``q_value``
        (Benjamini-Hochberg within state and contrast), ``base_mean`` (counts a sample at the average depth), ``n_samples``.
    `adata.uns[key_added]["states"]` : :class:`pandas.DataFrame`
        A row a state and contrast: ``state``, ``contrast``, ``n_genes``, ``n_samples``, ``prior_df`` (degrees of freedom
        that other genes lend), ``spread`` (by which statistics were divided; often 0.8 to 1, above 1 where samples are correlated) and ``verdict``
        (``"tested"``, or why not).
    `adata.uns[key_added]["samples"]` : :class:`pandas.DataFrame`
        A row a sample and state: ``sample``, ``state``, ``n_cells``, ``counts``, ``used``.
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with, the formula among it.
    `adata.uns["rank_genes_groups_<key_added>"]` : :class:`dict`
        Scanpy's structure with a group a state, for ``sc.get.rank_genes_groups_df(adata, None, key=...)`` and its plots.

    Raises
    ------
    KeyError
        When a column is not there; lists what is.
    ValueError
        When the counts are none, a condition has fewer than two samples, a covariate varies within a sample, or the design
        is confounded. Nothing is written then.

    Notes
    -----
    Counts are added up over the cells of a sample and state. Each gene gets a negative binomial regression with a
    quasi-likelihood, :math:`\operatorname{Var}(y) = \sigma_g^2 (\mu + \phi(\mu) \mu^2)`, where small samples count
    less. :math:`\sigma_g^2` is moderated by genes with the same mean, by how much the same gene varies between the samples in
    other states, and by how much it varies between the cells of one sample. What correlates samples over all genes is taken out by
    generalised least squares over genes, and the spread of the statistics of genes without an effect is measured and divided
    out; this presumes that most genes have no effect. Samples with fewer than 5 cells, and genes with fewer than 10 counts
    or in fewer than 3 samples (2 with 2 a condition), are left out of a state. Cost: seconds for a dozen samples and types; memory
    for samples x states x genes.

    With one sample a condition there is nothing to estimate the variance between samples from, and no p-value is given.

    References
    ----------
    Lun, Chen & Smyth, It's DE-licious: a recipe for differential expression analyses of RNA-seq experiments using quasi-likelihood
    methods in edgeR, Methods in Molecular Biology 1418 (2016). Wang et al., Confounder adjustment in multiple hypothesis testing,
    Annals of Statistics 45 (2017). Stephens, False discovery rates: a new deal, Biostatistics 18 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> rate = rng.gamma(2, 1, 200)
    >>> donor = np.repeat(np.arange(6), 40)
    >>> adata = AnnData(rng.poisson(rate, (240, 200)).astype("float32"))
    >>> adata.X[donor < 3, :5] *= 3
    >>> adata.obs["donor"], adata.obs["condition"] = donor.astype(str), np.where(donor < 3, "treated", "control")
    >>> adata.obs["type"] = "T"
    >>> td.tl.differential_expression(adata, "condition", "donor", cell_types="type")
    >>> sorted(td.get.de(adata, q_value=0.05)["gene"])
    ['0', '1', '2', '3', '4']
    """
    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    # imported here: nothing else of the package needs them
    from sctandem.tl._de_samples import find_samples, state_weights, sum_cells
    from sctandem.tl._de_states import assess_states
    from sctandem.tl._de_tables import write

    matrix = check_layer(adata, layer, "adata")
    check_counts(matrix, layer_slot("adata", layer))
    check_unique(adata.var_names, "adata.var_names")
    samples = find_samples(adata, groupby, sample_key, design=design, reference=reference)
    params: dict[str, Any] = {"groupby": groupby, "sample_key": sample_key, "design": samples.formula}
    params["samples"] = list(samples.table.index)
    params |= {"reference": samples.reference} | ({"layer": layer} if layer is not None else {})
    if cell_types is None:
        from sctandem.tl._train_model import train_deepde

        seed = draw_seed(rng)
        weights, states = train_deepde(adata, samples.names_of_cells, layer=layer, seed=seed)
        params["seed"] = seed
    else:
        weights, states = state_weights(adata, cell_types)
        params["cell_types"] = cell_types
    sums = sum_cells(matrix, samples.of_cell, weights, len(samples.table))
    found = assess_states(sums, samples, states, groupby)
    result = working_copy(adata, copy=copy)
    shown = cell_types if cell_types is not None and cell_types in adata.obs else groupby
    write(result, DEKeys(key_added), found, {**params, "version": version("sctandem")}, shown)
    return result if copy else None
