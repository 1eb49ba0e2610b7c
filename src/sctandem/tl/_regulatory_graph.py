from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from anndata import AnnData
from mudata import MuData
from scipy import sparse

from sctandem._blocks import as_csr
from sctandem._check_arguments import check_present
from sctandem._checks import check_key, check_layer, check_target, layer_slot, working_copy
from sctandem._chromatin_keys import MotifKeys
from sctandem._compat import new_mudata
from sctandem._keys import MODALITIES, GeneWindowKeys, LinkKeys
from sctandem._regulation_keys import ChipexoKeys, RegulatoryGraphKeys
from sctandem.get._values import as_groups, cell_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sctandem._random import RNG

logger = logging.getLogger(__name__)


def regulatory_graph(
    data: AnnData | MuData,
    tfs: Sequence[str] | Mapping[str, str],
    prior: str | pd.DataFrame | None = "auto",
    *,
    groupby: str | None = None,
    layer: str | None = None,
    n_states: int = 200,
    modalities: Mapping[str, str] | None = None,
    key_added: str = "regulatory_graph",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    r"""Score which transcription factor regulates which gene, over which site, in which direction, and how active each factor is.

    Parameters
    ----------
    data
        Expression as counts or log-normalised: an AnnData, or a MuData of expression and accessibility of the same cells.
    tfs
        Names of the factors in ``var_names`` of the expression, or a mapping from these to the names of their motifs. Motifs of JASPAR are found by the
        names of their factors, in any case. Where ``var`` has a column ``symbol``, a symbol of one gene stands for it.
    prior
        ``"auto"`` takes what has been written to a MuData: motifs (:func:`sctandem.pp.nucleotide_spectrum`) and ChIP-exo
        (:func:`sctandem.pp.chipexo_sites`) say which sites a factor binds, windows (:func:`sctandem.pp.gene_windows`) and links
        (:func:`sctandem.tl.peak_gene_links`) which genes a site may regulate. A table with columns ``tf`` and ``target`` (or ``source`` and ``target``, as in
        CollecTRI and DoRothEA) and optionally ``weight`` is added to these. `None` takes expression alone.
    groupby
        Column of ``obs`` of the MuData (or of its expression) with groups of cells, of which each edge is told the one where it is most active.
        Cells without a group are left out of this.
    layer
        Layer of the expression; by default ``X``.
    n_states
        Groups of alike cells between which expression is predicted, at most; there are five cells to a group or more.
    modalities
        From the roles ``"rna"`` and ``"atac"`` to the names of the modalities, when `data` is a MuData. By default the same; with ``"rna"``
        alone, and no modality that is called ``atac``, expression is all there is.
    key_added
        Name of the result in ``uns`` of `data`.
    rng
        Seed. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row an edge, strongest first: ``tf``, ``target`` (category), ``site`` (category; the peak that weighs most, empty without sites), ``weight``
        (float32; only its order has a meaning), ``sign`` (int8; 1 or -1), ``evidence`` (category; ``"motif"``, ``"chipexo"``, ``"table"``, joined by
        ``+``, or ``"expression"``), ``fdr`` (float64; against permuted cells: do factor and gene go together at all), ``fdr_rewired`` (float64; against priors
        with the same degrees: do they go together more than others that a prior might have joined; NaN without a prior), ``state``
        (category; the group, or ``"all"``).
    `.uns[key_added]["expression"]` : :class:`dict`
        Of the groups of alike cells, ``measured`` and ``predicted`` expression (states x genes, float32, standardised over states), ``held_out`` (bool, a
        state each), ``genes`` (str), ``state`` (int64, of each cell) and ``cells`` (str, their names).
    `.uns[key_added]["skill"]` : :class:`pandas.DataFrame`
        Indexed by gene: ``r2`` and ``pearson`` in the states held out (float64; NaN for constant genes).
    `.uns[key_added]["params"]` : :class:`dict`
        The arguments, the seed, ``prior`` (what was used), ``r2`` and ``pearson`` (means of the skill); with a table also ``auroc`` and
        ``auprc_ratio`` (over random) with which association of expression alone, which has not seen the table, finds its edges among the pairs of factors that
        it names.
    `.obsm["tf_activity"]` : :class:`pandas.DataFrame`
        Cells x factors, float32, each factor standardised (of the expression in a MuData; ``<key_added>_tf_activity`` under another name).

    Raises
    ------
    KeyError
        When a modality, layer, column of ``obs`` or of the table is missing.
    TypeError
        When an argument is of another type.
    ValueError
        When no factor is among the genes or all are constant, no prior edge is left after names were matched, or values are not
        finite. Nothing is written then.

    Notes
    -----
    *With a prior* only pairs that it joins are scored. A graph network (:class:`sctandem.model.RegulatoryGraph`) learns to predict the expression of genes in
    groups of alike cells from the expression of their factors, the openness of all sites of a factor, and that of the sites near
    the gene. The weight of an edge is what it contributes to the prediction, times the nearness of its sites weighted by how they go with the
    expression of the gene, times how the gene goes with the openness of all sites of the factor.

    *Without a prior* all pairs are scored by the correlation of their ranks and that of the factor with the cubed expression of the target, which looks at extremes, each
    held against all pairs of the factor and of the target (as in CLR). The network then only predicts.

    *FDR*: squared correlations are compared with those of permuted cells, pooled over pairs. That rejects "nothing goes together", not "another
    factor does it": cells that differ in type make most pairs significant. ``fdr_rewired`` asks the harder question, and is
    often large where factors are active in the same cells.

    All cells are read. To read some, drawn at random or evenly over groups, or those of a collection, make the model:
    ``td.model.RegulatoryGraph(adata, tfs, n_cells=..., balance_key=...)``, after `setup_anndata`, `setup_mudata` or `setup_collection`.

    An edge is not a proof of regulation. Factors whose messenger is hardly measured, and those regulated after translation, are seen through their sites
    only. Cost: cells x genes x (genes + 40 factors), the ranks of the cells of each gene (cells x log cells), and pairs x states x epochs; memory: cells x genes,
    dense, several times over. 2,000 cells, 400 genes and 16 factors take 20 s.

    References
    ----------
    Faith et al., PLoS Biology 5 (2007): CLR. Benjamini & Hochberg, Journal of the Royal Statistical Society B 57 (1995). Morris et al., AAAI (2019):
    the layers of the network.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(200, 60, 600)
    >>> td.tl.regulatory_graph(mdata["rna"], ["G0001", "G0002", "G0003"], prior=None, rng=0)
    >>> mdata["rna"].uns["regulatory_graph"]["table"].columns.tolist()[:4]
    ['tf', 'target', 'site', 'weight']
    """
    from sctandem.model import RegulatoryGraph
    from sctandem.model._regulatory_data import parts_of

    check_target(data, key_added, copy=copy)
    keys = RegulatoryGraphKeys(key_added)
    rna, atac, named = parts_of(data, modalities)
    name = named.get(MODALITIES[0])
    groups = None if groupby is None else _groups(data, name, groupby)
    bare = _bare(rna, atac, layer, named=named, uns=data.uns)
    if isinstance(bare, MuData):
        RegulatoryGraph.setup_mudata(bare, modalities=named)
    else:
        RegulatoryGraph.setup_anndata(bare)
    model = RegulatoryGraph(bare, tfs, prior=prior, n_states=n_states, rng=rng)
    model.train()
    table = model.get_edges(groups)
    skill = model.get_skill()
    means = skill[[keys.r2, keys.pearson]].mean()
    logger.info("expression of held-out states: R2 %.3f, Pearson %.3f (means over genes)", *means)
    params: dict[str, Any] = {
        "tfs": model.regulators.names,
        "prior": model.prior,
        "n_states": int(n_states),
        "counts": model.counts,
        "seed": model.seed,
        keys.r2: float(means[keys.r2]),
        keys.pearson: float(means[keys.pearson]),
        "version": version("sctandem"),
    }
    params |= {} if groupby is None else {"groupby": groupby}
    params |= {} if layer is None else {"layer": layer}
    params |= model.recovery()
    activity = model.get_tf_activity()
    result = {keys.params: params, keys.table: table, keys.expression: model.get_expression(), keys.skill: skill}
    target = working_copy(data, copy=copy)
    target.uns[keys.key] = result
    (target if name is None else target.mod[name]).obsm[keys.activities] = activity
    return target if copy else None


def _bare(
    rna: AnnData, atac: AnnData | None, layer: str | None, *, named: Mapping[str, str], uns: Mapping[str, Any]
) -> AnnData | MuData:
    """Return what is read in an object of its own: setting up a model leaves marks. `named` is empty for an AnnData."""
    from sctandem.model._regulatory_data import expression_slot
    from sctandem.model._regulatory_names import SYMBOL

    slot = expression_slot(named)
    values = check_layer(rna, layer, slot)
    check_present(values, layer_slot(slot, layer))
    symbols = [name for name in (SYMBOL,) if name in rna.var.columns]
    expression = AnnData(sparse.csr_matrix(as_csr(values)), obs=rna.obs[[]], var=rna.var[symbols])
    if not named:
        return expression
    parts = {named[MODALITIES[0]]: expression}
    if atac is not None:
        sites = AnnData(sparse.csr_matrix(as_csr(atac.X)), obs=atac.obs[[]], var=atac.var[[]])
        for key in (MotifKeys().key, ChipexoKeys().key):
            sites.varm.update({key: atac.varm[key]} if key in atac.varm else {})
            sites.uns.update({key: atac.uns[key]} if key in atac.uns else {})
        parts[named[MODALITIES[1]]] = sites
    bare = new_mudata(parts)
    bare.uns.update({key: uns[key] for key in (GeneWindowKeys().key, LinkKeys().key) if key in uns})
    return bare


def _groups(data: AnnData | MuData, name: str | None, groupby: str) -> pd.Series:
    """Read the groups of the cells, from the expression or the whole object."""
    if isinstance(data, MuData) and name is not None:
        return cell_groups(data, groupby, [name])
    return as_groups(check_key(data.obs, groupby, "adata.obs"), f"adata.obs[{groupby!r}]")
