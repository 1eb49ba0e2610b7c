"""Pairs of a factor and a gene of BEELINE's dendritic cells: splits, negatives, and what is known of each pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks._regulation_unsupervised import grn_file, pair_matrix

#: How negatives are drawn, and whether the genes of the test are others than those of the training.
SETTINGS = {
    "all": "negatives of all 323 factors",
    "20": "negatives of the 20 factors with edges",
    "tf": "as many negatives as edges of each factor",
    "unseen": "the same, on genes unseen in training",
}
SHARES = (0.6, 0.8)
N_COMPONENTS = 12
#: The prior that is ChIP-seq itself, of other cells: what is gained rests on it.
DECISIVE = "non-specific ChIP-seq"
PRIORS = ("STRING", DECISIVE, "CollecTRI", "DoRothEA without ChIP-seq", "TRRUST")
FILES = (
    "beeline_mDC_500_expression_lognorm",
    "beeline_mDC_500_ChIP_BL--network",
    "beeline_mDC_500_ChIP_TF",
    "beeline_mDC_500_STRING_network",
    "beeline_mDC_500_Non-Specific_network",
    "collectri_human",
    "dorothea_v1_TFtarget_evidence_human",
    "trrust_mouse",
)


@dataclass(frozen=True)
class Cells:
    """Expression, edges, and priors, all by the positions of factors and genes."""

    truth: np.ndarray
    """Factors x genes, bool."""
    place: np.ndarray
    """Positions of the factors among the genes."""
    components: np.ndarray
    """Genes x components."""
    expression: dict[str, np.ndarray]
    """Correlations, factors x genes; means and spreads, genes."""
    priors: dict[str, np.ndarray]
    """Factors x genes, 0 or 1."""
    edges: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", np.argwhere(self.truth))


class Part(NamedTuple):
    """Pairs (rows of factor and gene) and whether they are edges."""

    pairs: np.ndarray
    label: np.ndarray


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(grn_file(name), index_col=0, low_memory=False)


@cache
def cells() -> Cells:
    """Read everything."""
    from sctandem.kernels._regulatory_scores import association, standard_ranks, standardise

    values = _read(FILES[0]).T
    genes, x = values.columns, values.to_numpy()
    tfs = pd.Index(_read(FILES[2])["TF"])
    place = genes.get_indexer(tfs)

    def matrix(tf: pd.Series, target: pd.Series) -> np.ndarray:
        return pair_matrix(tfs, genes, tf, target).astype(np.float32)

    edges, string, network = (_read(name) for name in (FILES[1], FILES[3], FILES[4]))
    collectri = pd.read_csv(grn_file(FILES[5]))
    dorothea, trrust = _read(FILES[6]).reset_index(), pd.read_csv(grn_file(FILES[7]))
    dorothea = dorothea[~dorothea["is_evidence_chipSeq"].astype(bool)]  # the truth is ChIP-seq
    z = standardise(x)
    found = association(z, standard_ranks(x), place)
    _, spread, direction = np.linalg.svd(z, full_matrices=False)
    components = direction[:N_COMPONENTS].T * spread[:N_COMPONENTS]
    return Cells(
        truth=matrix(edges["Gene1"], edges["Gene2"]) > 0,
        place=place,
        components=components / components.std(),
        expression={
            "pearson": z[:, place].T @ z / len(z), "spearman": found.rank, "extreme": found.extreme,
            "mean": x.mean(axis=0), "sd": x.std(axis=0),
        },
        priors={
            "STRING": matrix(string["Gene1"], string["Gene2"]),
            DECISIVE: matrix(network["Gene1"], network["Gene2"]),
            "CollecTRI": matrix(collectri["source"], collectri["target"]),
            "DoRothEA without ChIP-seq": matrix(dorothea["TF"], dorothea["target"]),
            "TRRUST": matrix(trrust["TF"].str.upper(), trrust["target"].str.upper()),
        },
    )  # fmt: skip


def split(setting: str, seed: int) -> list[Part]:
    """Draw training, validation and test pairs: 60, 20 and 20 % of the edges (of the genes, if those are to be unseen), and as many negatives."""
    known, rng = cells(), np.random.default_rng(seed)
    taken = {(int(tf), int(gene)) for tf, gene in known.edges}
    taken |= {(i, int(gene)) for i, gene in enumerate(known.place)}
    n_genes = known.truth.shape[1]
    if setting == "unseen":
        groups = np.split(rng.permutation(n_genes), [int(share * n_genes) for share in SHARES])
        edges = [known.edges[np.isin(known.edges[:, 1], genes)] for genes in groups]
    else:
        n = len(known.edges)
        order = rng.permutation(n)
        edges = [known.edges[rows] for rows in np.split(order, [int(share * n) for share in SHARES])]
        groups = [np.arange(n_genes)] * 3
    return [_with_negatives(part, genes, setting, taken, rng) for part, genes in zip(edges, groups, strict=True)]


def _with_negatives(
    edges: np.ndarray, genes: np.ndarray, setting: str, taken: set[tuple[int, int]], rng: np.random.Generator
) -> Part:
    known = cells()
    active = np.unique(known.edges[:, 0])
    drawn = []
    for edge_tf in edges[:, 0]:
        for _ in range(1000):
            tf = {"all": rng.integers(len(known.place)), "20": rng.choice(active)}.get(setting, edge_tf)
            pair = (int(tf), int(rng.choice(genes)))
            if pair not in taken:
                taken.add(pair)
                drawn.append(pair)
                break
    label = np.r_[np.ones(len(edges)), np.zeros(len(drawn))]
    return Part(np.concatenate([edges, np.array(drawn).reshape(-1, 2)]), label)


def degrees(training: Part, asked: Part, *, own: bool) -> np.ndarray:
    """Log numbers of training edges of the factor and of the gene; with `own` an edge does not count itself."""
    known = np.zeros(cells().truth.shape)
    edges = training.pairs[training.label > 0]
    known[edges[:, 0], edges[:, 1]] = 1
    less = asked.label if own else 0
    tf, gene = asked.pairs.T
    return np.log1p(np.stack([known.sum(1)[tf] - less, known.sum(0)[gene] - less], axis=1))


def expression(asked: Part) -> np.ndarray:
    """What expression tells of a pair: correlations, means, and components of both."""
    known, (tf, gene) = cells(), asked.pairs.T
    e, where = known.expression, cells().place[tf]
    pair = [e[name][tf, gene] for name in ("pearson", "spearman", "extreme")]
    pair += [np.abs(values) for values in pair]
    return np.column_stack(
        [*pair, e["mean"][gene], e["mean"][where], e["sd"][gene], known.components[gene], known.components[where]]
    )


def priors(without: str = "") -> list[np.ndarray]:
    """All networks of others but one."""
    return [table for name, table in cells().priors.items() if name != without]


def prior(asked: Part, without: str = "") -> np.ndarray:
    """What networks of others tell of a pair: whether they have it, and how many edges they give the gene."""
    tf, gene = asked.pairs.T
    tables = priors(without)
    return np.column_stack([table[tf, gene] for table in tables] + [np.log1p(table.sum(0))[gene] for table in tables])


def factor(asked: Part) -> np.ndarray:
    """Which factor it is, one column each."""
    active = np.unique(cells().edges[:, 0])
    return (asked.pairs[:, [0]] == active).astype(float)
