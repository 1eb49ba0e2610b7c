from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy import sparse
from scvi.model.base import BaseModelClass

from sctandem._checks import check_n_cells, check_positive, check_type, listed, object_name
from sctandem._compat import torch_device
from sctandem._keys import MODALITIES
from sctandem._random import as_generator, draw_seed, torch_seeded
from sctandem._regulation_keys import RegulatoryGraphKeys
from sctandem.data._streamed import obs_slot
from sctandem.kernels._regulatory_states import state_means
from sctandem.model import _regulatory_data as given
from sctandem.model._regulatory_cells import cells_for_file, cells_to_read, tell_other_cells
from sctandem.model._regulatory_fit import fit_graph, read_graph
from sctandem.model._regulatory_names import by_gene, find_regulators, read_names, symbols_of
from sctandem.model._regulatory_pairs import (
    Candidates,
    GraphData,
    call_edges,
    graph_inputs,
    read_pairs,
    table_recovery,
)
from sctandem.model._regulatory_setup import RegulatoryGraphSetupMixin
from sctandem.model.base import CollectionMixin, FilesMixin, NoTransferMixin
from sctandem.model.base._checkpoint import part_of
from sctandem.model.base._manager import check_set_up
from sctandem.model.base._train_method import ADVERSARIAL, DOMAIN, OPTIMISER, VALIDATION, TrainMethodMixin
from sctandem.model.base._weights import read_weights
from sctandem.module import RegulatoryGraphConfig, RegulatoryGraphModule
from sctandem.train import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from mudata import MuData

    from sctandem._random import RNG
    from sctandem.model.base._train_method import Run
    from sctandem.module._regulatory_graph import GraphResult

logger = logging.getLogger(__name__)

KEYS = RegulatoryGraphKeys()
#: Share of the states that is not learned from.
HELD_OUT = 0.2
#: Steps of a training without other settings.
EPOCHS = 150
#: What a generator of its own draws: permutations, and cells.
PERMUTED, DRAWS = 1, 2
#: Edges up to this FDR make up the activity of a regulator, and this many of the strongest where there are fewer.
CALLED, LEAST = 0.05, 20


class RegulatoryGraph(
    RegulatoryGraphSetupMixin, NoTransferMixin, TrainMethodMixin, CollectionMixin, FilesMixin, BaseModelClass
):
    """Graph network over transcription factors, sites and genes: which factor regulates which gene.

    Nodes are factors, sites (peaks) and genes; edges say that a factor binds a site (motif, ChIP-exo), that a site lies
    near a gene, or that a table names the gene as a target. The network learns a state of each node and from these, for each pair of
    factor and gene that prior edges join, how much the accessibility of the joining sites, that of all sites of the factor, and the expression of
    the factor change the expression of the gene. It learns in groups of alike cells (states), of which a fifth is held out.
    Without prior edges pairs are scored by expression alone.

    Parameters
    ----------
    adata
        Set up with `setup_anndata` (expression) or `setup_mudata` (expression, and accessibility that may hold sites); or a collection, set up
        with `setup_collection`.
    tfs
        Names of the factors in ``var_names``, or a mapping from these to the names of their motifs. Where ``var`` has a column ``symbol``, as that of a
        collection has, a symbol of one gene stands for it; edges name the gene as ``var_names`` do.
    prior
        ``"auto"``: motifs (:func:`sctandem.pp.nucleotide_spectrum`), ChIP-exo (:func:`sctandem.pp.chipexo_sites`), windows
        (:func:`sctandem.pp.gene_windows`) and links (:func:`sctandem.tl.peak_gene_links`), whichever are there. A table with columns
        ``tf`` and ``target`` (and ``weight``) is added to them. `None`: expression alone.
    n_states
        Groups of alike cells, at most; there are five cells to a group or more.
    n_cells
        Cells that are read, at most: so many are drawn where there are more, and everything that is said of cells is said of these, whose names are
        `cells`; at least 3. `None`: all, but of a collection 20,000, or fewer where cells x genes would be above 10^8 (2,000 at the least).
    balance_key
        Column of `obs` (of the MuData, or the AnnData) over whose groups cells are drawn evenly, small groups whole, so that rare ones are seen;
        no more groups than `n_cells`. `None`: each cell is as likely as any other. Where all cells are read it has no effect.
    config
        Architecture of the network; `None` for the defaults.
    rng
        Seed of cells that are drawn, groups, held-out states, permutations and first weights.

    Raises
    ------
    KeyError
        When a column of the table, or `balance_key`, is missing.
    TypeError
        When an argument is of another type, or `balance_key` names numbers on a continuous scale.
    ValueError
        When the data were not set up, `n_cells` is below 3 or the number of groups of `balance_key`, no factor is left, no prior edge is left after names were matched, or values are not finite.

    Notes
    -----
    A saved model keeps the network, its arguments, and which cells it reads; groups of cells, prior edges and FDR are read again from the data that it is
    loaded with. These may be the data that it was made with (the collection, or its `to_adata()`), or the cells that it reads alone; `balance_key` may then be
    missing. That other cells are read than those that were drawn is warned of.

    `train` takes, by default, `max_epochs=150` steps of the optimiser, each on all training states. The loss of a state counts by the mean weight of its
    cells (columns of the `obs` of the MuData, or the AnnData). Nothing is drawn: first weights and held-out states come from the seed of the model, and
    `rng` has no effect. `history_["train_loss"]` holds the mean squared error of each epoch. It refuses what is for models that learn from single
    cells in minibatches, and says why.

    Examples
    --------
    >>> import sctandem as td
    >>> rna = td.datasets.simulate_multiome(200, 60, 600)["rna"]
    >>> td.model.RegulatoryGraph.setup_anndata(rna)
    >>> model = td.model.RegulatoryGraph(rna, ["G0001", "G0002", "G0003"], rng=0)
    >>> model.train(5)
    >>> model.get_edges().columns.tolist()[:4]
    ['tf', 'target', 'site', 'weight']
    """

    _one_process = "it learns from all groups of cells at once, a few hundred"
    _train_config: ClassVar[TrainConfig] = TrainConfig(max_epochs=EPOCHS)
    _refused: ClassVar[dict[str, str]] = {
        **dict.fromkeys(OPTIMISER, "its network learns at a rate of its own"),
        **dict.fromkeys(VALIDATION, "a fifth of the groups of cells is held out when the model is made"),
        **dict.fromkeys(
            ADVERSARIAL, "it reads means over groups of cells, and has no network that reads counts of cells"
        ),
        **dict.fromkeys(DOMAIN, "it learns states of factors, sites and genes, and gives cells none"),
        "batch_size": "it learns from all groups of cells in every step",
        "weight_use": "weights are those of the groups of cells in the loss",
    }
    _module_cls = RegulatoryGraphModule
    _config_classes = (RegulatoryGraphConfig,)
    _instead = (
        "RegulatoryGraph is read with other cells of the same genes by `RegulatoryGraph.load(folder, data)`. It learns from all groups of cells at "
        "once: to learn from more cells make a model of all."
    )

    def __init__(
        self,
        adata: AnnData | MuData,
        tfs: Sequence[str] | Mapping[str, str],
        *,
        prior: str | pd.DataFrame | None = "auto",
        n_states: int = 200,
        n_cells: int | None = None,
        balance_key: str | None = None,
        config: RegulatoryGraphConfig | None = None,
        rng: RNG = None,
    ) -> None:
        if config is not None:
            check_type(config, RegulatoryGraphConfig, "config")
        check_positive(n_states, "n_states", whole=True)
        adata = self._data_of(adata)
        check_set_up(adata, self._setup_adata_manager_store, f"RegulatoryGraph.{_setup_of(adata)}")
        super().__init__(adata)
        rng = self.seed = draw_seed(rng)
        tfs = read_names(tfs)
        rna, atac, named = given.parts_of(adata, self.modalities)
        symbols = symbols_of(rna.var)
        # what is kept in a file is by the names of the genes: it may be loaded with data that have no symbols
        tfs, prior = by_gene(tfs, symbols), given.table_by_gene(prior, symbols)
        draws, before = self._generator_for(DRAWS), self._read_before
        drawn = self._drawn = cells_to_read(adata, rna.X, n_cells, balance_key, draws, saved=before)
        values, self.counts = given.expression_of(rna, self.layer, given.expression_slot(named), drawn)
        check_n_cells(len(values), 2, "correlating genes", object_name(adata))
        self.read_cells_ = cells_for_file(drawn, values, adata.n_obs)
        tell_other_cells(self.read_cells_, before)
        self.genes, self.cells = rna.var_names.astype(str), rna.obs_names if drawn is None else rna.obs_names[drawn]
        varying = values.std(axis=0) > 1e-6 * np.maximum(np.abs(values).mean(axis=0), 1e-12)
        self.regulators = find_regulators(tfs, self.genes, varying)
        n_constant = int((~varying).sum())
        if n_constant:
            logger.warning("%d of %d genes are constant: they get no edges", n_constant, len(varying))
        evidence = given.gather_evidence(adata, atac, genes=self.genes, regulators=self.regulators, prior=prior)
        self.prior = evidence.names
        self.prior_ = list(self.prior)  # kept in the file
        if not self.prior:
            logger.warning("no prior edges: pairs are scored by expression alone")
        sites = given.accessibility_of(atac, MODALITIES[1], drawn) if evidence.sites and atac is not None else None
        self._sites = pd.Index([]) if atac is None else atac.var_names.astype(str)
        self._data = GraphData.build(
            values, varying, sites, evidence, self.regulators.position, n_states=int(n_states), seed=self.seed
        )
        n = len(self._data.expression)
        held = as_generator(self.seed).permutation(n)[: max(1, round(HELD_OUT * n))]
        self._training = ~np.isin(np.arange(n), held)
        self._pairs: Candidates = read_pairs(self._data, evidence)
        if not len(self._pairs.tf):
            msg = (
                f"no pair of a regulator and another gene is left: {listed(self.prior) if self.prior else 'expression'} joins the "
                f"{len(self.regulators.names)} regulators ({listed(self.regulators.names)}) to themselves or to constant genes only."
            )
            raise ValueError(msg)
        self._inputs = graph_inputs(self._data, self._pairs, self._training)
        self._result: GraphResult | None = None
        self._edges: pd.DataFrame | None = None
        with torch_seeded(self.seed):
            self.module = self._module_cls(
                {kind: features.shape[1] for kind, features in self._inputs.nodes.items()},
                self._inputs.edges,
                n_evidence=self._inputs.evidence.shape[1],
                n_channels=self._inputs.n_channels,
                config=config,
            )
        self._model_summary_string = f"RegulatoryGraph of {len(self.regulators.names)} factors and {len(self.genes)} genes with {self.module.config}"
        self.init_params_ = self._get_init_params(locals())

    def _train(self, config: TrainConfig, run: Run) -> None:
        """Learn to predict the expression of genes from their regulators."""
        n_epochs = int(config.max_epochs or EPOCHS)
        weights = read_weights(self.adata, config.sample_weight)
        if weights is not None:
            weights = weights if self._drawn is None else weights[self._drawn]
            weights = state_means(weights[:, None], self._data.states).ravel()
            if not weights[self._training].any():
                msg = f"{obs_slot(self.adata)}[{config.sample_weight!r}] is 0 in all cells of the training states: there is nothing to learn from."
                raise ValueError(msg)
        settings = {"max_epochs": n_epochs, "sample_weight": config.sample_weight}
        kept = self._open_checkpoint(run.checkpoint, settings, accelerator=run.accelerator, rng=None)
        self.to_device(torch_device(run.accelerator, "auto"))
        self._result = self._edges = None
        loop: dict[str, Any] = {"weights": weights, "progress": run.progress, "part": part_of(kept)}
        losses = fit_graph(self.module, self._inputs, n_epochs=n_epochs, **loop)
        self._end_plain_loop(losses, n_epochs, kept)

    def _trained(self) -> GraphResult:
        if not self.is_trained_:
            msg = "the model has not been trained; call model.train() first."
            raise RuntimeError(msg)
        if self._result is None:
            self._result = read_graph(self.module, self._inputs)
        return self._result

    def get_edges(self, groups: pd.Series | None = None) -> pd.DataFrame:
        """Return the regulatory edges, strongest first.

        Parameters
        ----------
        groups
            Group of each cell, such as a column of ``obs``, by the names of the cells, from which the group is named in which an edge is most
            active. Cells without a group are left out.

        Returns
        -------
        A row a pair; see :func:`sctandem.tl.regulatory_graph` for the columns.

        Raises
        ------
        RuntimeError
            Before training.
        TypeError
            When `groups` is no Series.
        ValueError
            When `groups` lacks cells, or names no group.
        """
        result = self._trained()
        if self._edges is None:
            called = call_edges(self._data, self._pairs, self._inputs, result, self._generator_for(PERMUTED))
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
        codes, names = given.group_codes(groups, self.cells)
        grouped = np.flatnonzero(codes >= 0)
        share = sparse.csr_matrix((np.ones(len(grouped)), (codes[grouped], grouped)), shape=(len(names), len(codes)))
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
        (str), ``state`` (int64, of each cell), ``cells`` (str).

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
            KEYS.cells: self.cells.astype(str).to_numpy(dtype=object),
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


def _setup_of(data: AnnData | MuData) -> str:
    """Name the method that sets an object up."""
    return "setup_mudata" if hasattr(data, "mod") else "setup_anndata"
