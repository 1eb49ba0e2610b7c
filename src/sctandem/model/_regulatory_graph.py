from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem._checks import check_number, check_positive
from sctandem._keys import MODALITIES
from sctandem._random import as_generator, draw_seed
from sctandem._regulation_keys import RegulatoryGraphKeys
from sctandem.model import _regulatory_data as given
from sctandem.model._regulatory_pairs import (
    Candidates,
    GraphData,
    call_edges,
    graph_inputs,
    read_pairs,
    table_recovery,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from mudata import MuData

    from sctandem._random import RNG
    from sctandem.module._regulatory_graph import GraphResult

logger = logging.getLogger(__name__)

KEYS = RegulatoryGraphKeys()
#: Share of the states that is not learned from.
HELD_OUT = 0.2
#: Edges up to this FDR make up the activity of a regulator, and this many of the strongest where there are fewer.
CALLED, LEAST = 0.05, 20


class RegulatoryGraph:
    """Graph network over transcription factors, sites and genes: which factor regulates which gene.

    Nodes are factors, sites (peaks) and genes; edges say that a factor binds a site (motif, ChIP-exo), that a site lies
    near a gene, or that a table names the gene as a target. The network learns a state of each node and from these, for each pair of
    factor and gene that prior edges join, how much the accessibility of the joining sites, that of all sites of the factor, and the expression of
    the factor change the expression of the gene. It learns in groups of alike cells (states), of which a fifth is held out.
    Without prior edges pairs are scored by expression alone.

    Parameters
    ----------
    data
        Expression as counts or log-normalised: an AnnData, or a MuData whose ATAC modality may hold sites.
    tfs
        Names of the factors in ``var_names``, or a mapping from these to the names of their motifs.
    prior
        ``"auto"``: motifs (:func:`sctandem.pp.nucleotide_spectrum`), ChIP-exo (:func:`sctandem.pp.chipexo_sites`), windows
        (:func:`sctandem.pp.gene_windows`) and links (:func:`sctandem.tl.peak_gene_links`), whichever are there. A table with columns
        ``tf`` and ``target`` (and ``weight``) is added to them. `None`: expression alone.
    layer
        Layer of the expression; by default ``X``.
    n_states
        Groups of alike cells, at most; there are five cells to a group or more.
    modalities
        From the roles ``"rna"`` and ``"atac"`` to the names of the modalities.
    rng
        Seed of groups, held-out states, permutations and first weights.

    Raises
    ------
    KeyError
        When a modality, layer or column of the table is missing.
    TypeError
        When an argument is of another type.
    ValueError
        When no factor is left, no prior edge is left after names were matched, or values are not finite.

    Examples
    --------
    >>> import sctandem as td
    >>> from sctandem.model._regulatory_graph import RegulatoryGraph
    >>> mdata = td.datasets.simulate_multiome(200, 60, 600)
    >>> model = RegulatoryGraph(mdata["rna"], mdata.uns["truth"]["tfs"]["gene"].tolist(), rng=0)
    >>> model.train(n_epochs=5)
    >>> model.get_edges().shape[0] > 0
    True
    """

    def __init__(
        self,
        data: AnnData | MuData,
        tfs: Sequence[str] | Mapping[str, str],
        *,
        prior: str | pd.DataFrame | None = "auto",
        layer: str | None = None,
        n_states: int = 200,
        modalities: Mapping[str, str] | None = None,
        rng: RNG = None,
    ) -> None:
        check_positive(n_states, "n_states", whole=True)
        rna, atac = given.parts_of(data, modalities)
        self.seed = draw_seed(rng)
        self._generator = as_generator(self.seed)
        values, self.counts = given.expression_of(rna, layer)
        if len(values) < 2:
            msg = f"there are {len(values)} cells; correlations need more."
            raise ValueError(msg)
        self.genes, self.cells = rna.var_names.astype(str), rna.obs_names
        varying = values.std(axis=0) > 1e-6 * np.maximum(np.abs(values).mean(axis=0), 1e-12)
        self.regulators = given.find_regulators(tfs, self.genes, varying)
        n_constant = int((~varying).sum())
        if n_constant:
            logger.warning("%d of %d genes are constant: they get no edges", n_constant, len(varying))
        evidence = given.gather_evidence(data, atac, genes=self.genes, regulators=self.regulators, prior=prior)
        self.prior = evidence.names
        if not self.prior:
            logger.warning("no prior edges: pairs are scored by expression alone")
        sites = given.accessibility_of(atac, MODALITIES[1]) if evidence.sites and atac is not None else None
        self._sites = pd.Index([]) if atac is None else atac.var_names.astype(str)
        self._data = GraphData.build(
            values, varying, sites, evidence, self.regulators.position, n_states=int(n_states), seed=self.seed
        )
        n = len(self._data.expression)
        held = self._generator.permutation(n)[: max(1, round(HELD_OUT * n))]
        self._training = ~np.isin(np.arange(n), held)
        self._pairs: Candidates = read_pairs(self._data, evidence)
        self._result: GraphResult | None = None
        self._edges: pd.DataFrame | None = None

    def train(self, *, n_hidden: int = 32, n_layers: int = 2, n_epochs: int = 150) -> None:
        """Learn to predict the expression of genes from their regulators.

        Parameters
        ----------
        n_hidden
            Width of the states of the nodes.
        n_layers
            Rounds of messages between nodes; 0 leaves the graph out, so that a pair knows only its own evidence.
        n_epochs
            Steps of the optimiser.

        Returns
        -------
        Nothing; the methods ``get_...`` give the results.

        Raises
        ------
        ImportError
            When torch-geometric is missing and `n_layers` is not 0.
        """
        from sctandem.module._regulatory_graph import fit_graph

        check_positive(n_hidden, "n_hidden", whole=True)
        check_number(n_layers, "n_layers", low=0, whole=True)
        check_positive(n_epochs, "n_epochs", whole=True)
        inputs = graph_inputs(self._data, self._pairs, self._training)
        self._result = fit_graph(
            inputs, n_hidden=int(n_hidden), n_layers=int(n_layers), n_epochs=int(n_epochs), rng=self.seed
        )
        self._edges = None

    def _trained(self) -> GraphResult:
        if self._result is None:
            msg = "the model has not been trained; call model.train() first."
            raise RuntimeError(msg)
        return self._result

    def get_edges(self, groups: pd.Series | None = None) -> pd.DataFrame:
        """Return the regulatory edges, strongest first.

        Parameters
        ----------
        groups
            Group of each cell, from which the group is named in which an edge is most active.

        Returns
        -------
        A row a pair; see :func:`sctandem.tl.regulatory_graph` for the columns.

        Raises
        ------
        RuntimeError
            Before training.
        """
        result = self._trained()
        if self._edges is None:
            called = call_edges(self._data, self._pairs, result, self._training, self._generator_for(1))
            names, genes = np.array(self.regulators.names), np.array(self.genes)
            tf, gene = self._pairs.tf, self._pairs.gene
            site = np.full(len(tf), "", dtype=object)
            has = self._pairs.site >= 0
            site[has] = np.asarray(self._sites)[self._pairs.site[has]]
            self._edges = pd.DataFrame(
                {
                    KEYS.tf: pd.Categorical.from_codes(tf, names),
                    KEYS.target: pd.Categorical.from_codes(gene, genes),
                    KEYS.site: pd.Categorical(site),
                    KEYS.weight: called.weight.astype(np.float32),
                    KEYS.sign: called.sign.astype(np.int8),
                    KEYS.evidence: pd.Categorical(self._pairs.evidence),
                    KEYS.fdr: called.fdr,
                    KEYS.fdr_rewired: called.fdr_rewired,
                }
            )
        table = self._edges.assign(**{KEYS.state: self._active_in(groups)})
        return table.sort_values(KEYS.weight, ascending=False, kind="stable").reset_index(drop=True)

    def _generator_for(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose])

    def _active_in(self, groups: pd.Series | None) -> pd.Categorical:
        """Name the group in which regulator and target go furthest together in the direction of the edge."""
        n = len(self._pairs.tf)
        if groups is None:
            return pd.Categorical(["all"] * n)
        codes, names = pd.factorize(groups.astype(str), sort=True)
        share = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))
        share = sparse.diags(1 / np.maximum(np.asarray(share.sum(axis=1)).ravel(), 1)) @ share
        activity, expression = share @ self._data.activity, share @ self._data.values
        sign = np.zeros(n) if self._edges is None else self._edges[KEYS.sign].to_numpy(float)
        best = np.argmax(activity[:, self._pairs.tf] * (expression[:, self._pairs.gene] * sign), axis=0)
        return pd.Categorical.from_codes(best, names)

    def get_tf_activity(self) -> pd.DataFrame:
        """Return the activity of each factor in each cell: its targets' expression, weighted by edge and sign, and its sites' openness.

        Returns
        -------
        Cells x factors, float32; each factor has mean 0 and standard deviation 1 over the cells.

        Raises
        ------
        RuntimeError
            Before training.
        """
        from sctandem.kernels._regulatory_scores import standardise

        self.get_edges()
        edges = pd.DataFrame(self._edges)
        strength = edges[KEYS.weight].to_numpy(float)
        rank = pd.Series(-strength).groupby(self._pairs.tf).rank(method="first").to_numpy()
        use = (edges[KEYS.fdr].to_numpy() <= CALLED) | (rank <= LEAST)
        weight = np.where(use, np.maximum(strength, 0) * edges[KEYS.sign].to_numpy(float), 0)
        shape = (len(self.genes), len(self.regulators.names))
        targets = sparse.csr_matrix((weight, (self._pairs.gene, self._pairs.tf)), shape=shape)
        activity = standardise(self._data.values @ targets)
        if self._data.has_sites:
            activity = standardise(activity + self._data.activity)
        return pd.DataFrame(activity, index=self.cells, columns=self.regulators.names)

    def get_expression(self) -> dict[str, Any]:
        """Return measured and predicted expression of the states.

        Returns
        -------
        ``measured`` and ``predicted`` (states x genes, float32; standardised over states), ``held_out`` (bool, a state each), ``genes``
        (str), ``state`` (int64, of each cell).

        Raises
        ------
        RuntimeError
            Before training.
        """
        return {
            KEYS.measured: self._data.expression,
            KEYS.predicted: self._trained().predicted,
            KEYS.held_out: ~self._training,
            "genes": np.array(self.genes, dtype=object),
            KEYS.state: self._data.states,
        }

    def recovery(self) -> dict[str, float]:
        """Say how well association of expression, which has not seen the table of targets, finds its edges.

        Returns
        -------
        ``auroc`` and ``auprc_ratio`` (area under the precision-recall curve over that of random) among all pairs of the factors that the table
        names; empty without a table.
        """
        return table_recovery(self._data, self._pairs)

    def get_skill(self) -> pd.DataFrame:
        """Return how well the expression of each gene is predicted in states that were not learned from.

        Returns
        -------
        Indexed by gene: ``r2`` against the mean of the training states and ``pearson``, float64; NaN for constant genes.

        Raises
        ------
        RuntimeError
            Before training.
        """
        measured, predicted = self._data.expression[~self._training], self._trained().predicted[~self._training]
        mean = self._data.expression[self._training].mean(axis=0)
        against = ((measured - mean) ** 2).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            r2 = np.where(against > 0, 1 - ((measured - predicted) ** 2).sum(axis=0) / against, np.nan)
            a, b = measured - measured.mean(axis=0), predicted - predicted.mean(axis=0)
            pearson = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        return pd.DataFrame({KEYS.r2: r2.astype(float), KEYS.pearson: pearson.astype(float)}, index=self.genes)
