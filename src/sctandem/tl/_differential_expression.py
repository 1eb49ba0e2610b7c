from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

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
    from sctandem.tl._de_contrasts import Contrasts


def differential_expression(  # noqa: PLR0913 - a design of samples is said with several arguments
    adata: AnnData,
    groupby: str,
    sample_key: str,
    *,
    cell_types: str | None = None,
    covariates: str | Sequence[str] = (),
    design: str | None = None,
    reference: str | None = None,
    contrasts: Contrasts | None = None,
    layer: str | None = None,
    key_added: str = "deepde",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Test which genes differ between conditions, with samples and not cells as the unit.

    Needs raw counts, and at least two samples (donors, animals, wells) of each condition that is compared.

    Parameters
    ----------
    adata
        Holds counts.
    groupby
        Column of ``obs`` with the condition. Cells without one are left out.
    sample_key
        Column of ``obs`` with the sample or donor. A donor with at least 5 cells in each of several conditions is a sample in each.
    cell_types
        Column of ``obs`` with the type of each cell, or key of ``obsm`` with the weights of each cell in states (cells x states, as
        :func:`~sctandem.tl.anneal` writes). Each type is tested for itself. `None` trains a
        :class:`~sctandem.model.DeepDE` on a copy, and takes and keeps its states.
    covariates
        Columns of ``obs`` that are adjusted for, such as ``("batch", "sex")``; each has one value in a sample. Where at least
        half of the donors are samples in several conditions, `sample_key` is added, which makes the comparison a paired one.
    design
        A formula in place of covariates, such as ``"~ batch + donor + condition"``, in the notation of formulaic
        (``C(condition)``, ``scale(age)``, ``np.log(age)``). It is taken as it is: nothing is added. Columns that follow from
        others, such as batches of which each donor has one, are left out where that does not touch what is tested.
    reference
        The condition that all others are compared with; by default the first category.
    contrasts
        What is tested in place of that: pairs of conditions (``[("stim", "ctrl")]``), or weights of columns of the design by name
        (``{"more in men": {"sex[T.m]:condition[T.stim]": 1}}``), which a formula where the condition interacts with something needs.
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
        ``"stim vs ctrl"``, or its name), ``log2fc`` (shrunken), ``lfc_se`` and ``ci_low``, ``ci_high`` (its posterior standard
        deviation and 95 % interval, which shrinkage sets and no test: near ``q_value=0.05`` the one may hold 0 and the other not), ``log2fc_raw`` (not shrunken), ``statistic`` (normal score), ``p_value``, ``q_value``
        (Benjamini-Hochberg within state and contrast), ``base_mean`` (counts a sample at the average depth), ``n_samples``
        (of the two conditions; for weights of columns those that the estimate depends on).
    `adata.uns[key_added]["states"]` : :class:`pandas.DataFrame`
        A row a state and contrast: ``state``, ``contrast``, ``n_genes``, ``n_samples``, ``prior_df`` (degrees of freedom
        that other genes lend), ``spread`` (by which statistics were divided; often 0.8 to 1, above 1 where samples are correlated) and ``verdict``
        (``"tested"``, or why not).
    `adata.uns[key_added]["samples"]` : :class:`pandas.DataFrame`
        A row a sample and state: ``sample``, ``state``, ``n_cells``, ``counts``, ``used``.
    `adata.uns[key_added]["contrasts"]` : :class:`pandas.DataFrame`
        What was tested: ``contrast``, ``column`` of the design, ``weight``.
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with, the formula among it.
    `adata.uns["rank_genes_groups_<key_added>"]` : :class:`dict`
        Scanpy's structure with a group a state (a state and contrast where there are several), genes by falling score; those
        not tested in a group come last, with a score and p-values of NaN and a fold change of 0 (scanpy would draw NaN as a doubling).
        See Notes for the plots that can be drawn from it.
    `adata.obsm["<key_added>_states"]` : :class:`pandas.DataFrame` (dtype `float32`)
        Weights of the cells in the states that were learned, cells x states; only where `cell_types` is `None`.

    Raises
    ------
    KeyError
        When a column is not there; lists what is.
    TypeError
        When an argument that names columns or contrasts is of another kind.
    ValueError
        When the counts are none, a condition has fewer than two samples, a covariate varies within a sample, the design
        is confounded or cannot be read, or there is no one difference between the conditions in it. Nothing is written then.

    Notes
    -----
    Counts are added up over the cells of a sample and state. Each gene gets a negative binomial regression with a
    quasi-likelihood, :math:`\operatorname{Var}(y) = \sigma_g^2 (\mu + \phi(\mu) \mu^2)`, where small samples count
    less. :math:`\sigma_g^2` is moderated by genes with the same mean, by how much the same gene varies between the samples in
    other states that hold other cells, and by how much it varies between the cells of one sample. What correlates samples over all genes is taken out by
    generalised least squares over genes, and the spread of the statistics of genes without an effect is measured and divided
    out; this presumes that most genes have no effect. Samples with fewer than 5 cells, and genes with fewer than 10 counts
    or in fewer than 3 samples (2 with 2 a condition), are left out of a state. A sample with fewer than 5 cells in all states
    together counts as none, before pairs are looked for; the log names it. Cost: seconds for a dozen samples and types; memory
    for samples x states x genes. A contrast that is no column of the design takes a fit of its own.

    Samples are the unit, and cells that are there twice are no more evidence. With every cell doubled half of the statistics (normal
    scores) move by less than 0.1 and 99 % by less than 0.7, as measured on the control cells of Kang 2018; in simulated pairs of donors
    that differ far more than those half move by up to 0.22, and 99 % by up to 1 (in one simulation of five by 2.2). The share of
    p-values below 0.05 falls by up to 0.011. They do not stay quite the same, since the part of the variance that is Poisson noise is told by the mean.

    Of scanpy's functions, given ``key="rank_genes_groups_<key_added>"``, these show the comparison of conditions:
    ``sc.get.rank_genes_groups_df``; ``sc.pl.rank_genes_groups`` (scores, of no more genes than were tested; "T vs. ctrl" is the
    contrast within T, "T stim vs ctrl vs. no effect" one of several that have no reference in common); and with one contrast and every type tested ``sc.pl.rank_genes_groups_dotplot`` and ``_matrixplot`` with
    ``values_to_plot="logfoldchanges"``. Without `values_to_plot` these two, ``_heatmap``, ``_stacked_violin`` and ``_tracksplot`` draw the
    expression of the genes by *type*; ``groupby=[<cell_types>, <condition>]`` shows it by condition in all but the last.
    ``sc.pl.rank_genes_groups_violin`` compares groups of cells with a reference group, which is not what was tested: it shows nothing
    of use here.

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
    from sctandem.kernels._cell_sums import state_overlap
    from sctandem.tl._de_contrasts import plan_contrasts
    from sctandem.tl._de_samples import find_samples, state_weights, sum_cells
    from sctandem.tl._de_states import assess_states
    from sctandem.tl._de_tables import write

    keys = DEKeys(key_added)
    matrix = check_layer(adata, layer, "adata")
    check_counts(matrix, layer_slot("adata", layer))
    check_unique(adata.var_names, "adata.var_names")
    weights, states = (None, []) if cell_types is None else state_weights(adata, cell_types)
    samples = find_samples(
        adata,
        groupby,
        sample_key,
        covariates=covariates,
        design=design,
        reference=reference,
        of_states=None if weights is None else np.asarray(weights.sum(1)).ravel(),
    )
    plan = plan_contrasts(samples, contrasts, chosen=reference is not None)
    params: dict[str, Any] = {"groupby": groupby, "sample_key": sample_key, "design": samples.formula}
    params |= {"reference": samples.reference} | ({"layer": layer} if layer is not None else {})
    learned = None
    if weights is None:
        from sctandem.tl._train_model import train_deepde

        params["seed"] = draw_seed(rng)
        weights, states = train_deepde(adata, samples.names_of_cells, layer=layer, seed=params["seed"])
        learned = pd.DataFrame(weights, index=adata.obs_names, columns=states)
    params["cell_types"] = keys.weights if cell_types is None else cell_types
    sums = sum_cells(matrix, samples.of_cell, weights, len(samples.table))
    found = assess_states(sums, plan, states, overlap=state_overlap(weights))
    result = working_copy(adata, copy=copy)
    shown = cell_types if cell_types is not None and cell_types in adata.obs else groupby
    params["version"] = version("sctandem")
    write(result, keys, found, plan=plan, params=params, shown=shown, learned=learned)
    return result if copy else None
