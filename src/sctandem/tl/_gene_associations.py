from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem._checks import check_adata, check_number, check_target, working_copy
from sctandem._keys import AssociationKeys
from sctandem._text_rows import text_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from sctandem.kernels._association_change import Change
    from sctandem.kernels._count_scores import CountScores
    from sctandem.tl._association_inputs import Inputs

logger = logging.getLogger(__name__)

#: Fewest genes of a module.
MODULE_GENES = 3


def gene_associations(
    adata: AnnData,
    genes: Sequence[str] | None = None,
    *,
    sample_key: str | None = None,
    cell_types: str | None = None,
    contrast: str | None = None,
    fdr: float = 0.05,
    layer: str | None = None,
    key: str = "deepde",
    key_added: str = "gene_associations",
    copy: bool = False,
) -> AnnData | None:
    r"""Find which genes vary together in cells of the same state and sample, and whether conditions change it.

    Needs :func:`sctandem.tl.differential_expression`, or else `genes` and `sample_key`; and raw counts.

    Parameters
    ----------
    adata
        Holds counts. All its genes are used to tell the depth of the cells.
    genes
        Names of the genes to look at, at least 3. `None` takes those that differ between the conditions in any state (q-value of at most
        `fdr`), at most 500, the most significant first.
    sample_key
        Column of ``obs`` with the sample. `None` takes that of the differential expression; with another one nothing is
        compared between conditions.
    cell_types
        Column of ``obs`` with the type of each cell (cells without one are left out), or key of ``obsm`` with the weights of each cell
        in states, of which the strongest counts. `None` takes that of the differential expression (the states that it learned, where it
        was given none), or without it all cells as one type.
    contrast
        Between which conditions associations are compared, such as ``"stim vs ctrl"``; may be left out where there is one.
    fdr
        Pairs up to this q-value are written, between 0 and 1.
    layer
        Layer of the counts; `None` for that of the differential expression, or ``X``.
    key
        The `key_added` of :func:`~sctandem.tl.differential_expression`.
    key_added
        Name of the result.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.varp[key_added]` : :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        ``association`` of the pairs in the table, genes x genes, symmetric.
    `adata.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row a pair with a q-value of at most `fdr`, by rising p-value: ``gene_a``, ``gene_b``, ``association`` (the strongest that the
        two share, signed: a module, or something of their own; on the scale of a correlation), ``correlation`` (of their scores, noise
        included, -1 to 1), ``p_value``, ``q_value`` (Benjamini-Hochberg over all pairs, weighted by what other pairs lead to
        expect), ``module`` (empty where it is something of their own), ``change`` (between the conditions, of the covariance of the
        two rates, each relative to its mean: for small ones that of the natural log-rates), ``change_p_value``, ``change_q_value`` (Benjamini-Hochberg over the pairs of the table; NaN where nothing
        was compared).
    `adata.uns[key_added]["modules"]` : :class:`pandas.DataFrame`
        A row a gene in a module: ``gene``, ``module`` (``"M1"`` is the strongest), ``loading`` (genes of opposite sign move
        against each other).
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with, and ``n_pairs``, the number of pairs that were tested.

    Raises
    ------
    KeyError
        When differential expression was not run and `genes` or `sample_key` is not given, or a gene or column is not there.
    ValueError
        When the counts are none, `key_added` is `key`, there are fewer than 3 genes or no sample has 5 cells of a type. Nothing is written then.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Notes
    -----
    In each state of each sample a gene is expected in proportion to the depth of the cell. What its negative binomial likelihood says
    beyond that, the score :math:`(x - \mu) / (1 + \phi \mu)`, is correlated between genes: composition, sample, batch and depth
    create no association. p-values come from the moments of permutations of cells within state and sample, so nothing is
    drawn. Factors of the correlations that exceed the noise, turned by varimax, are the modules. The change between conditions compares
    samples, with the design of the differential expression, on the scale of relative rates, which depth and level do not move.
    Memory: genes x genes, and the counts; time: cells x genes^2, seconds for 25,000 cells and 300 genes.

    Associations are not directions, and two genes that follow a third one are associated. Types that are mixtures of
    others, doublets and ambient counts create associations. Pairs that are only associated in one of many conditions can be missed, since
    pairs are found over all samples.

    References
    ----------
    Winkler et al., Faster permutation inference in brain imaging, NeuroImage 141 (2016). Donoho, Gavish & Johnstone, Optimal
    shrinkage of eigenvalues in the spiked covariance model, Annals of Statistics 46 (2018). Genovese, Roeder & Wasserman, False
    discovery control with p-value weighting, Biometrika 93 (2006).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> regulator = rng.normal(0, 0.7, 600)
    >>> rate = np.full((600, 100), 2.0)
    >>> rate[:, :4] *= np.exp(np.outer(regulator, [1, 1, 1, -1]))
    >>> adata = AnnData(rng.poisson(rate).astype("float32"))
    >>> adata.obs["donor"] = np.repeat(["a", "b", "c"], 200)
    >>> td.tl.gene_associations(adata, adata.var_names[:10], sample_key="donor")
    >>> pairs = td.get.gene_associations(adata)
    >>> sorted(set(pairs["gene_a"]) | set(pairs["gene_b"]))
    ['0', '1', '2', '3']
    """
    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    if key_added == key:
        msg = f"key_added={key_added!r} is the key of the differential expression, which would be lost: name another."
        raise ValueError(msg)
    check_number(fdr, "fdr", low=0, high=1)
    # imported here: nothing else of the package needs them
    from sctandem.kernels._count_scores import CountScores, fit_count_model
    from sctandem.tl._association_inputs import read_inputs

    inputs = read_inputs(
        adata, genes, sample_key=sample_key, cell_types=cell_types, contrast=contrast, fdr=fdr, layer=layer, key=key
    )
    scores = CountScores(inputs.counts, fit_count_model(inputs.counts, inputs.strata), inputs.genes)
    if not any(len(cells) for cells in scores.cells):
        msg = f"no sample of adata.obs[{inputs.params['sample_key']!r}] has {scores.min_cells} cells of a type."
        raise ValueError(msg)
    keys = AssociationKeys(key_added)
    table, modules, n_pairs = _assess(scores, inputs, adata.var_names[inputs.genes].astype(str), keys)
    result = working_copy(adata, copy=copy)
    params = {**inputs.params, "n_pairs": n_pairs, "version": version("sctandem")}
    result.varp[keys.key] = _matrix(table, adata.var_names.astype(str), keys)
    result.uns[keys.key] = {keys.params: params, keys.table: text_rows(table), keys.modules: text_rows(modules)}
    return result if copy else None


def _assess(
    scores: CountScores, inputs: Inputs, names: pd.Index, keys: AssociationKeys
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Make the tables of pairs and modules, and count the pairs."""
    from sctandem.kernels._gene_associations import dependence
    from sctandem.kernels._gene_modules import pair_weights, shared_structure
    from sctandem.kernels._links import adjust

    found = dependence(scores)
    shared = shared_structure(found)
    above = np.triu_indices(len(names), 1)
    p_value = found.p_value[above]
    q_value = adjust(p_value, pair_weights(found, shared)[above])
    chosen = np.flatnonzero(q_value <= inputs.params["fdr"])
    chosen = chosen[np.lexsort([-np.abs(found.correlation[above][chosen]), p_value[chosen]])]
    first, second = above[0][chosen], above[1][chosen]
    modules, labels = _modules(first, second, shared.module[first, second], shared.loadings)
    change = _compare(scores, inputs, (first, second))
    table = pd.DataFrame(
        {
            keys.gene_a: names[first].to_numpy(dtype=object),
            keys.gene_b: names[second].to_numpy(dtype=object),
            keys.association: shared.association[first, second],
            keys.correlation: found.correlation[first, second],
            keys.p_value: p_value[chosen],
            keys.q_value: q_value[chosen],
            keys.module: labels,
            keys.change: change.effect,
            keys.change_p_value: change.p_value,
            keys.change_q_value: adjust(change.p_value),
        }
    )
    modules = modules.assign(**{keys.gene: names[modules[keys.gene].to_numpy(dtype=np.int64)].to_numpy(dtype=object)})
    return table, modules[[keys.gene, keys.module, keys.loading]], int(np.isfinite(p_value).sum())


def _modules(
    first: np.ndarray, second: np.ndarray, module: np.ndarray, loadings: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """Give each gene the strongest of the modules of its pairs, and name the modules that have enough genes."""
    ends = pd.DataFrame({"gene": np.concatenate([first, second]), "module": np.tile(module, 2)})
    ends = ends[ends["module"] >= 0].drop_duplicates()
    ends["loading"] = loadings[ends["gene"], ends["module"]]
    ends = ends.loc[ends["loading"].abs().sort_values(ascending=False, kind="stable").index].drop_duplicates("gene")
    size = ends["module"].value_counts()
    kept = {number: f"M{i + 1}" for i, number in enumerate(sorted(size.index[size >= MODULE_GENES]))}
    ends = ends[ends["module"].isin(list(kept))]
    labels = np.array([kept.get(number, "") for number in module], dtype=object)
    ends = ends.sort_values("module", kind="stable")
    return ends.assign(module=ends["module"].map(kept).astype(object)), labels


def _compare(scores: CountScores, inputs: Inputs, pairs: tuple[np.ndarray, np.ndarray]) -> Change:
    """Compare the pairs between conditions, or say in the log why not."""
    from sctandem.kernels._association_change import Change, assess_change, sample_covariances
    from sctandem.kernels._contrasts import lay_out
    from sctandem.kernels._designs import make_design
    from sctandem.tl._de_contrasts import weighted

    nothing = Change(np.full(len(pairs[0]), np.nan), np.full(len(pairs[0]), np.nan))
    samples = inputs.samples
    if samples is None or not len(pairs[0]):
        return nothing
    there = np.array([bool(len(cells)) for cells in scores.cells])
    used = np.zeros(len(samples.table), dtype=bool)
    used[inputs.of_strata[: len(there)][there]] = True
    number = np.where(used, np.cumsum(used) - 1, -1)
    try:
        design = make_design(samples.table, samples.formula, samples.groupby, samples.reference)
        layout = lay_out(design, used, [weighted(design, inputs.contrast, inputs.weights)])
        fault = layout.faults.get(inputs.contrast)
    except ValueError as error:
        fault = str(error)
    if fault:
        logger.warning("associations are not compared between conditions: %s", fault)
        return nothing
    of_strata = np.where(there, number[inputs.of_strata[: len(there)]], -1)
    return assess_change(sample_covariances(scores, of_strata, pairs), *layout.turned(inputs.contrast))


def _matrix(table: pd.DataFrame, names: pd.Index, keys: AssociationKeys) -> sparse.csr_matrix:
    """Lay the associations out, genes x genes."""
    first, second = (names.get_indexer(table[column]) for column in (keys.gene_a, keys.gene_b))
    values = table[keys.association].to_numpy(dtype=np.float32)
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    return sparse.csr_matrix((np.tile(values, 2), (rows, columns)), shape=(len(names), len(names)), dtype=np.float32)
