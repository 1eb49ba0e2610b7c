"""From the data to candidate pairs, from these to the inputs of the network, and from its result to edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from sctandem.kernels._regulatory_paths import Paths, find_paths, rewired
from sctandem.kernels._regulatory_scores import (
    association,
    association_score,
    family_fdr,
    own_pairs,
    pooled_pvalues,
    standard_ranks,
    standardise,
)
from sctandem.kernels._regulatory_states import (
    PERMUTATIONS,
    REWIRINGS,
    PairStatistics,
    cell_states,
    path_statistics,
    rewired_statistics,
    state_means,
)

if TYPE_CHECKING:
    from sctandem.model._regulatory_data import Evidence
    from sctandem.module._regulatory_graph import GraphInputs, GraphResult

#: Features of a node: what it does in the main directions of the states.
N_FEATURES = 16
#: Regulators of a gene that the network sees where there is no prior: those that score best.
CANDIDATES = 20
#: Pairs looked at in one go.
_BLOCK = 20_000
#: Fewer states leave next to none to learn from.
FEWEST_STATES = 3


@dataclass(frozen=True)
class GraphData:
    """Expression and accessibility, of cells and of states."""

    values: np.ndarray
    """Standardised expression, cells x genes."""
    ranks: np.ndarray
    """Standardised ranks of it."""
    regulators: np.ndarray
    """Positions of the regulators among the genes."""
    varying: np.ndarray
    """Which genes are not constant."""
    states: np.ndarray
    """State of each cell."""
    expression: np.ndarray
    """Standardised mean expression of the states, states x genes."""
    activity: np.ndarray
    """Openness of the sites of each regulator, or its expression where it has none, cells x regulators; standardised."""
    state_activity: np.ndarray
    """Means of it over states, standardised."""
    has_sites: bool
    """Whether there are sites."""
    cells_open: sparse.csr_matrix
    """Accessibility of the sites that have both ends, cells x sites."""
    sites: np.ndarray
    """Positions of these sites among all peaks."""
    accessibility: np.ndarray
    """Standardised log accessibility of these sites, states x sites."""
    binding: sparse.csr_matrix
    """Sites x regulators."""
    near: sparse.csr_matrix
    """Sites x genes."""

    @classmethod
    def build(
        cls,
        values: np.ndarray,
        varying: np.ndarray,
        cells_open: sparse.csr_matrix | None,
        evidence: Evidence,
        regulators: np.ndarray,
        *,
        n_states: int,
        seed: int,
    ) -> GraphData:
        """Group cells into states and average; sites without a regulator or gene are left out."""
        standard = standardise(values)
        states = cell_states(standard, n_states, seed)
        n = int(states.max()) + 1
        if n < FEWEST_STATES:
            msg = f"n_states={n_states} makes {n} groups of {len(values)} cells; expression is predicted between {FEWEST_STATES} or more."
            raise ValueError(msg)
        expression = (
            standardise(np.log1p(state_means(np.expm1(values), states)))
            if values.min() >= 0
            else standardise(state_means(values, states))
        )
        activity = standard[:, regulators]
        sites = np.zeros(0, dtype=np.int64)
        binding, near = sparse.csr_matrix((0, len(regulators))), sparse.csr_matrix((0, values.shape[1]))
        open_, accessibility = sparse.csr_matrix((len(values), 0)), np.zeros((len(expression), 0), dtype=np.float32)
        if evidence.binding is not None and evidence.near is not None and cells_open is not None:
            bound = evidence.binding
            sites = np.flatnonzero((bound.getnnz(axis=1) > 0) & (evidence.near.getnnz(axis=1) > 0))
            own = standardise((cells_open @ bound).toarray())
            activity = np.where(own.any(axis=0), own, activity)
            binding, near, open_ = bound[sites], evidence.near[sites], cells_open.tocsc()[:, sites].tocsr()
            accessibility = standardise(np.log1p(state_means(open_, states)))
        return cls(
            values=standard, ranks=standard_ranks(values), regulators=regulators, varying=varying, states=states,
            expression=expression, activity=activity, state_activity=standardise(state_means(activity, states)),
            has_sites=len(sites) > 0, cells_open=open_, sites=sites, accessibility=accessibility, binding=binding, near=near,
        )  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be edges, ordered by gene and regulator."""

    tf: np.ndarray
    gene: np.ndarray
    site: np.ndarray
    """The peak that weighs most, -1 for none."""
    support: np.ndarray
    """How far prior evidence and linked accessibility speak for the pair; 1 without a prior."""
    strength: np.ndarray
    """How far prior evidence alone does, without a look at expression; 1 without a prior."""
    evidence: np.ndarray
    """What joins the pair, text."""
    score: np.ndarray
    """Association of the expression, against both backgrounds."""
    paths: Paths
    """Those of the pairs that lead over sites."""
    where: np.ndarray
    """Position of each path among the pairs."""
    kept: np.ndarray
    """Which of all paths are pairs, bool."""
    table: sparse.csr_matrix | None
    """Weights of the table, regulators x genes."""
    prior: bool
    """Whether there are prior edges."""


def read_pairs(data: GraphData, evidence: Evidence) -> Candidates:
    """List the pairs that prior edges join, or all pairs where there are none."""
    regulators, n_genes = data.regulators, data.values.shape[1]
    found = association(data.values, data.ranks, regulators)
    score = association_score(found, data.values, data.ranks, regulators)
    allowed = ~own_pairs(regulators, n_genes) & data.varying
    paths = find_paths(data.accessibility, data.expression, binding=data.binding, near=data.near)
    keep = allowed[paths.tf, paths.gene]
    tf, gene, site, strong, link, signal = paths
    paths = Paths(tf[keep], gene[keep], site[keep], strong[keep], link[keep], signal[:, keep])
    joined = np.zeros(allowed.shape, dtype=bool)
    joined[paths.tf, paths.gene] = True
    if evidence.table is not None:
        joined |= (evidence.table.toarray() > 0) & allowed
    if evidence.empty:
        joined = allowed
    gene, tf = np.nonzero(joined.T)
    place = np.full(joined.shape, -1)
    place[tf, gene] = np.arange(len(tf))
    where = place[paths.tf, paths.gene]
    site, support, strength = np.full(len(tf), -1), np.zeros(len(tf)), np.zeros(len(tf))
    site[where], support[where], strength[where] = data.sites[paths.site], paths.link, paths.prior
    text = np.full(len(tf), "expression", dtype=object)
    if not evidence.empty:
        text = _evidence_text(data, evidence, tf=tf, gene=gene, where=where, paths=paths)
        if evidence.table is not None:
            # a row of the table with the largest weight counts as much as a path in the middle
            weights = np.asarray(evidence.table[tf, gene]).ravel()
            support, strength = support + _middle(paths.link) * weights, strength + _middle(paths.prior) * weights
    else:
        support[:] = strength[:] = 1
    return Candidates(
        tf,
        gene,
        site,
        support,
        strength,
        text,
        score[tf, gene],
        paths,
        where,
        keep,
        evidence.table,
        prior=not evidence.empty,
    )


def _middle(values: np.ndarray) -> float:
    """Return the median of what is above 0; 1 where nothing is."""
    return float(np.median(values[values > 0])) if (values > 0).any() else 1.0


def _evidence_text(
    data: GraphData, evidence: Evidence, *, tf: np.ndarray, gene: np.ndarray, where: np.ndarray, paths: Paths
) -> np.ndarray:
    """Write what joins each pair: ``motif``, ``chipexo``, ``table``, joined by ``+``."""
    flags = np.zeros((len(tf), 3), dtype=bool)
    if evidence.kinds is not None and len(data.sites):
        kinds, near = evidence.kinds[data.sites].tocsc(), (data.near > 0).astype(np.int64)
        for bit in (0, 1):
            here = kinds.copy()
            here.data = (here.data >> bit) & 1
            here.eliminate_zeros()
            flags[where, bit] = (here.T @ near).toarray()[paths.tf, paths.gene] > 0
    if evidence.table is not None:
        flags[:, 2] = np.asarray(evidence.table[tf, gene]).ravel() > 0
    names = ["motif", "chipexo", "table"]
    words = np.array(
        ["+".join(name for i, name in enumerate(names) if code >> i & 1) for code in range(8)], dtype=object
    )
    return words[flags @ np.array([1, 2, 4])]


def graph_inputs(data: GraphData, pairs: Candidates, training: np.ndarray) -> GraphInputs:
    """Put together what the network reads.

    Features come from the training states alone, but that mean and spread over which genes and sites were standardised, and the groups
    themselves, come from all cells.
    """
    from sctandem.module._regulatory_graph import GENE, SITE, TF, GraphInputs

    score = pairs.strength if pairs.prior else _score_of(data, training)[pairs.tf, pairs.gene]
    chosen = network_pairs(pairs, score)
    tf, gene = pairs.tf[chosen], pairs.gene[chosen]
    shown, active = data.expression[training], data.state_activity[training]
    own = data.expression[:, data.regulators]
    directions = np.linalg.svd(np.concatenate([shown, active], axis=1), full_matrices=False)[0][:, :N_FEATURES].T
    # few states have fewer directions: the network keeps its width, so that it can be loaded with other cells
    directions = np.pad(directions, ((0, N_FEATURES - len(directions)), (0, 0)))
    nodes = {
        TF: np.concatenate([directions @ active, directions @ own[training]]).T,
        GENE: (directions @ shown).T,
    }
    shared, path = [own.T], None
    evidence = [(own[training][:, tf] * shown[:, gene]).mean(0)]
    edges = {}
    if data.has_sites:
        nodes[SITE] = (directions @ data.accessibility[training]).T
        path = np.zeros((len(pairs.tf), len(data.expression)), dtype=np.float32)
        path[pairs.where] = pairs.paths.signal.T
        path = path[chosen]
        shared.append(data.state_activity.T)
        evidence += [(active[:, tf] * shown[:, gene]).mean(0), (path[:, training].T * shown[:, gene]).mean(0)]
        edges[TF, SITE] = _edges(data.binding.T)
        edges[SITE, GENE] = _edges(data.near)
    if pairs.table is not None:
        edges[TF, GENE] = _edges(pairs.table)
    elif not pairs.prior:
        strength = score[chosen] - score.min()
        edges[TF, GENE] = (
            np.stack([tf, gene]).astype(np.int64),
            (strength / max(strength.max(), 1e-9)).astype(np.float32),
        )
    evidence.append(np.log(np.maximum(pairs.strength[chosen], 1e-6)))
    return GraphInputs(
        nodes={kind: np.ascontiguousarray(values, dtype=np.float32) for kind, values in nodes.items()},
        edges=edges,
        pairs=np.stack([tf, gene]).astype(np.int64),
        evidence=np.stack(evidence, axis=1).astype(np.float32),
        shared=np.stack(shared).astype(np.float32),
        paths=path,
        expression=data.expression,
        training=training,
    )


def _score_of(data: GraphData, training: np.ndarray) -> np.ndarray:
    """Score all pairs by the expression of the training states, regulators x genes."""
    shown = standardise(data.expression[training])
    ranks = standard_ranks(shown)
    return association_score(association(shown, ranks, data.regulators), shown, ranks, data.regulators)


def network_pairs(pairs: Candidates, score: np.ndarray) -> np.ndarray:
    """Return which pairs the network sees: all that a prior joins, or the best scored regulators of each gene."""
    if pairs.prior:
        return np.arange(len(pairs.tf))
    order = np.lexsort((-score, pairs.gene))
    first = np.r_[True, np.diff(pairs.gene[order]) != 0]
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    return np.sort(order[np.arange(len(order)) - start < CANDIDATES])


def _edges(graph: sparse.spmatrix) -> tuple[np.ndarray, np.ndarray]:
    edges = graph.tocoo()
    return np.stack([edges.row, edges.col]).astype(np.int64), edges.data.astype(np.float32)


def table_recovery(data: GraphData, pairs: Candidates) -> dict[str, float]:
    """Score how association of expression alone finds the edges of the table; empty without one."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if pairs.table is None:
        return {}
    n_genes = data.values.shape[1]
    found = association(data.values, data.ranks, data.regulators)
    score = association_score(found, data.values, data.ranks, data.regulators)
    known = pairs.table.toarray() > 0
    asked = ~own_pairs(data.regulators, n_genes) & data.varying & known.any(axis=1, keepdims=True)
    truth, score = known[asked], score[asked]
    if truth.all() or not truth.any():
        return {}
    return {
        "auroc": float(roc_auc_score(truth, score)),
        "auprc_ratio": float(average_precision_score(truth, score) / truth.mean()),
    }


class Called(NamedTuple):
    """Weight, sign and false discovery rates of the pairs."""

    weight: np.ndarray
    sign: np.ndarray
    fdr: np.ndarray
    fdr_rewired: np.ndarray


def call_edges(
    data: GraphData, pairs: Candidates, inputs: GraphInputs, result: GraphResult, rng: np.random.Generator
) -> Called:
    """Turn what the network has learned into edges, and hold them against permuted cells and rewired priors."""
    n = len(data.values)
    with_activity = (data.activity.T @ data.values / n)[pairs.tf, pairs.gene]
    if pairs.prior:
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(pairs.tf), _BLOCK)]
        spread = [inputs.passed(result.weights, rows)[:, inputs.training].std(axis=1) for rows in blocks]
        weight = np.concatenate(spread) * pairs.support * np.abs(with_activity)
        weight = weight / max(float(weight.max(initial=0)), 1e-12)
    else:
        weight = pairs.score
    direction = with_activity * np.sqrt(n)
    states = len(data.expression)
    here = np.einsum("ij,ij->j", pairs.paths.signal, data.expression[:, pairs.paths.gene]) / states
    direction[pairs.where] += here * np.sqrt(states)
    sign = np.where(direction < 0, -1, 1)
    found = PairStatistics(data.ranks, data.values, data.regulators, data.activity if data.has_sites else None)
    fdr = _permuted(found, data, pairs, rng)
    return Called(weight, sign, fdr, _rewired(found, data, pairs, rng))


def _statistics(found: PairStatistics, data: GraphData, pairs: Candidates, orders: np.ndarray) -> np.ndarray:
    """Return the statistics of the pairs with the cells of the genes in several orders, orders x pairs."""
    statistics = np.stack([found.common(order)[pairs.tf, pairs.gene] for order in orders])
    if len(pairs.where):
        cells = sparse.csc_matrix(data.cells_open)
        paths = path_statistics(cells, data.values, orders, binding=data.binding, near=data.near)
        statistics[:, pairs.where] += paths[:, pairs.kept]
    return statistics


def _permuted(found: PairStatistics, data: GraphData, pairs: Candidates, rng: np.random.Generator) -> np.ndarray:
    """Compare pairs with those of permuted cells; pairs with a path have a null of their own, as their statistics have more parts."""
    n = len(data.values)
    # one order for all parts: sites of a path are among those of the factor, so that the parts go together
    orders = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(PERMUTATIONS))])
    observed, *null = _statistics(found, data, pairs, orders)
    over = np.zeros(len(observed), dtype=bool)
    over[pairs.where] = True
    pvalues = np.ones(len(observed))
    for family in (over, ~over):
        pvalues[family] = pooled_pvalues(observed[family], np.stack(null)[:, family])
    return family_fdr(pvalues)


def _rewired(found: PairStatistics, data: GraphData, pairs: Candidates, rng: np.random.Generator) -> np.ndarray:
    """Compare pairs with those that rewired priors join; NaN without a prior."""
    pvalues = np.full(len(pairs.tf), np.nan)
    allowed = ~own_pairs(data.regulators, data.values.shape[1]) & data.varying
    observed = _statistics(found, data, pairs, np.arange(len(data.values))[None])[0]
    if len(pairs.where):
        null = rewired_statistics(
            found, data.accessibility, data.expression,
            binding=data.binding, near=data.near, cells=data.cells_open, values=data.values, allowed=allowed, rng=rng,
        )  # fmt: skip
        pvalues[pairs.where] = pooled_pvalues(observed[pairs.where], null)
    rest = np.setdiff1d(np.arange(len(pvalues)), pairs.where)
    if pairs.table is not None and len(rest):
        common = found.common()
        free = allowed & (pairs.table.toarray() == 0)
        drawn = []
        for _ in range(REWIRINGS):
            other = rewired(pairs.table, rng).tocoo()
            new = free[other.row, other.col]
            drawn.append(common[other.row[new], other.col[new]])
        pvalues[rest] = pooled_pvalues(observed[rest], np.concatenate(drawn))
    return family_fdr(pvalues)
