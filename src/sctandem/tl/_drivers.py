from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._bulk_keys import DriverKeys
from sctandem._checks import check_adata, check_positive, check_target, check_unique, working_copy
from sctandem._random import draw_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.tl._driver_tables import Compared


def drivers(
    adata: AnnData,
    groupby: str,
    *,
    reference: str | None = None,
    covariates: str | Sequence[str] = (),
    layer: str | None = None,
    deconvolution: str = "rsd",
    n_permutations: int = 200,
    key_added: str = "drivers",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Find the genes, and the types of cells, that drive the difference between groups of bulk samples.

    Needs :func:`~sctandem.tl.deconvolve` on the same object, and at least three samples of each group.

    Parameters
    ----------
    adata
        Bulk samples with their composition.
    groupby
        Column of ``obs`` with the group. Samples without one are left out.
    reference
        The group that every other is compared with, for itself; by default the first category.
    covariates
        Columns of ``obs`` that are adjusted for, such as ``("batch", "age")``: numbers, or categories.
    layer
        Layer of the counts or TPM; `None` for that which was deconvolved.
    deconvolution
        The `key_added` of :func:`~sctandem.tl.deconvolve`.
    n_permutations
        Permutations of the samples. Where there are no more ways to divide the samples into groups of their sizes, all are taken.
    key_added
        Name of the result.
    rng
        Seed of the permutations. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.uns[key_added]["genes"]` : :class:`pandas.DataFrame`
        A row a gene and group, by rising p-value within the group: ``gene``, ``group``, ``log2fc`` (mean difference of the
        log2 values at equal depth, adjusted for the covariates), ``composition`` and ``expression`` (the parts of it that composition and changes within types make;
        they add up to it), ``statistic`` (moderated t of the change beyond composition), ``p_value``, ``q_value``
        (Benjamini-Hochberg within the group), ``pattern`` (for genes with ``q_value`` up to 0.05 where the change is, such as
        ``"B up, NK down"`` or ``"undetermined up"``; ``"none"`` for others) and ``candidates`` (types of which one holds the
        change with a probability of 95 %, if one type alone changes, such as ``"CD4 T | CD8 T"``).
    `adata.uns[key_added]["types"]` : :class:`pandas.DataFrame`
        A row a gene, group and type that has at least 5 % of the gene's expression: ``gene``, ``cell_type``, ``group``,
        ``log2fc`` (of the gene within the type, shrunken), ``se`` (its posterior standard deviation; near 1.5 where the data say nothing),
        ``share`` (part of the gene's expression that comes from the type), ``statistic``, ``p_value`` (whatever the other types do) and
        ``q_value`` (that of the gene, and on top the chance that the change is in other types: ``p_value`` times the number of types,
        or the probability of the other candidates, whichever is larger; 1 for genes with a q-value above 0.2).
    `adata.uns[key_added]["groups"]` : :class:`pandas.DataFrame`
        A row a group: ``group``, ``n_samples``, ``n_reference``, ``n_genes``, ``n_drivers`` (``q_value`` up to 0.05),
        ``n_permutations``, ``exact`` (whether these are all there are), ``resolution`` (the smallest p-value there can be),
        ``prior_df`` (degrees of freedom that other genes lend), ``spread`` (by which scores were divided).
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When a column or layer is not there, or nothing was deconvolved under `deconvolution`: says what to run.
    TypeError
        When an argument that names columns is of another kind.
    ValueError
        When there is one group only, a group has fewer than three samples, a covariate is missing or confounded, the values are
        negative, not finite or logarithms, fewer than 20 genes can be tested, or `key_added` is the name of the deconvolution. Nothing is
        written then.

    Notes
    -----
    With the share of RNA :math:`\rho_{st}` of type :math:`t` in sample :math:`s`, the signature :math:`\theta_{tg}` and the depth :math:`d_s`,
    a gene is expected at :math:`e_{sg} = d_s \sum_t \rho_{st} \theta_{tg}`. The logarithm of observed over expected is explained by the group,
    covariates and errors of the signature. These shift samples in proportion to the part
    of the gene that a type makes; they are random effects, whose variance all genes together tell, by level and by type. A gene that only follows the
    composition is then not called where the reference is a little wrong. Variances follow the level of the gene (voom's curve, by sample) and
    are moderated. Null statistics are those of whitened residuals permuted over samples, the same way for all genes, pooled over genes.

    Within a type the change :math:`\delta_{tg}` multiplies :math:`\theta_{tg}` in the samples of the group. All types may change; their changes have a
    normal prior of 1.5 doublings, and the type that is tested has none; how much of the gene a type makes is known as well as the signature. A change that
    other types could make as well is called for the gene only: its type is undetermined. So is one that two types share evenly.

    What the shares themselves get wrong in one group but not in the other is taken for a change of genes. Genes that the reference lacks,
    and those with fewer than 5 counts (0.5 TPM) in as many samples as the smaller group has, are not tested. Cost: on one core 7 seconds for
    40 samples, 10,000 genes and 5 types, 43 for 100, 15,000 and 10; memory for samples x genes x types.

    References
    ----------
    Law et al., voom: precision weights unlock linear model analysis tools for RNA-seq read counts, Genome Biology 15 (2014). ter Braak,
    Permutation versus bootstrap significance tests in multiple regression and ANOVA (1992). Kitagawa, Components of a difference between two rates,
    JASA 50 (1955). Li & Wu, TOAST: improving reference-free cell composition estimation by cross-cell type differential analysis, Genome
    Biology 20 (2019), whose model with shares and their product with the group this is close to.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> theta, rho = rng.gamma(1, 100, (300, 2)), rng.dirichlet([8, 4], 12)
    >>> rate = rho @ theta.T
    >>> rate[6:, 0] *= 4  # a gene that rises in both types
    >>> samples = [f"s{i}" for i in range(12)]
    >>> adata = AnnData(rng.poisson(rate).astype("float32"), obs=pd.DataFrame(index=samples))
    >>> adata.obs["group"] = ["control"] * 6 + ["case"] * 6
    >>> # tl.deconvolve writes these
    >>> adata.obsm["rsd_rna"] = pd.DataFrame(rho, index=samples, columns=["B", "T"])
    >>> adata.varm["rsd_signature"] = pd.DataFrame(theta, index=adata.var_names, columns=["B", "T"])
    >>> adata.uns["rsd"] = {"params": {"kind": "counts"}}
    >>> td.tl.drivers(adata, "group", reference="control", rng=0)
    >>> td.get.drivers(adata, max_q=0.05)["gene"].tolist()
    ['0']
    """
    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    check_positive(n_permutations, "n_permutations", whole=True)
    if key_added == deconvolution:
        msg = f"key_added={key_added!r} would overwrite the deconvolution of this name in adata.uns: give the drivers another name."
        raise ValueError(msg)
    # imported here: nothing else of the package needs them
    from sctandem._text_rows import text_rows
    from sctandem.tl._driver_inputs import MIN_GENES, find_comparisons, genes_seen, read_composition, read_values
    from sctandem.tl._driver_tables import compare

    keys = DriverKeys(key_added)
    composition = read_composition(adata, deconvolution)
    check_unique(adata.var_names, "adata.var_names")
    first, comparisons, names = find_comparisons(adata, groupby, reference=reference, covariates=covariates)
    genes, values = read_values(adata, layer, composition)
    signature = pd.DataFrame(
        composition.signature[genes], index=adata.var_names[genes].astype(str), columns=composition.types
    )
    seed = draw_seed(rng)
    found: list[Compared] = []
    for one in comparisons:
        seen = genes_seen(values, one, counts=composition.counts)
        if seen.sum() < MIN_GENES:
            msg = (
                f"{int(seen.sum())} genes of adata are in the reference and expressed in {one.name!r} or {first!r}; at least {MIN_GENES} "
                "are needed to tell the variance between samples."
            )
            raise ValueError(msg)
        part = compare(
            values[np.ix_(one.rows, np.flatnonzero(seen))],
            one,
            keys,
            shares=composition.shares[one.rows],
            signature=signature[seen],
            counts=composition.counts,
            n_permutations=n_permutations,
            rng=np.random.default_rng([seed, len(found)]),
        )
        found.append(part)
    layer = composition.layer if layer is None else layer
    params: dict[str, Any] = {"groupby": groupby, "reference": first, "covariates": list(names)}
    params |= {"deconvolution": deconvolution, "n_permutations": int(n_permutations), "seed": seed}
    params |= {"version": version("sctandem")} | ({"layer": layer} if layer is not None else {})
    result = working_copy(adata, copy=copy)
    result.uns[keys.key] = {
        keys.params: params,
        keys.genes: text_rows(pd.concat([one.genes for one in found])),
        keys.types: text_rows(pd.concat([one.types for one in found])),
        keys.groups: text_rows(pd.DataFrame([one.group for one in found])),
    }
    return result if copy else None
