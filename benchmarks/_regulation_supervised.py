"""Regulatory edges from part of them: link prediction on dendritic cells with ChIP-seq, by the way negatives are drawn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from benchmarks import _regulation_pairs as known
from benchmarks._regulation_unsupervised import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks._regulation_pairs import Part

TITLE = "Regulatory edges from part of them"
CAPTION = """\
AUROC and AUPRC on `beeline_mDC_500` (756 edges of 20 factors by ChIP-seq), half of the pairs are edges: 60 % of the edges for training, 20 % for stopping, 20 % for the test;
means over seeds. How negatives are drawn decides the figure. With all 323 genes that encode factors as sources, 303 of which have no edge, the degree of the factor alone is
nearly perfect: the 0.9 that papers report in this setting says nothing about regulation. With the same number of negatives for each factor only the target tells. An edge does not count towards
its own degrees in training. The graph network is that of `RegulatoryGraph` with one output a pair, three networks averaged, a third of the training edges
hidden from the graph and asked for in each step. Priors: STRING, the non-specific network of BEELINE, CollecTRI, DoRothEA without the rows that rest on ChIP-seq, TRRUST; literature may
hold ChIP-seq of the same factors. Logistic regression with the priors is printed since it is the honest comparison: what is gained over the baselines comes from the priors, not from messages
between nodes."""
SEEDS = (0, 1, 2, 3, 4)
OWN = "graph network, priors"
BASELINES = (
    "degree",
    "logistic regression",
    "logistic regression, degree",
    "boosting",
    "boosting, degree",
)


def measure(seed: int) -> list[dict[str, Any]]:
    """Fit every method in every setting."""
    return [row for setting in known.SETTINGS for row in of_setting(setting, seed)]


def of_setting(setting: str, seed: int, *, n_networks: int = 3, n_epochs: int = 120) -> list[dict[str, Any]]:
    """Fit every method in one setting."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    parts = known.split(setting, seed)
    train, _, test = parts
    methods: dict[str, Callable[[], np.ndarray]] = {"degree": lambda: known.degrees(train, test, own=False).sum(axis=1)}
    for name, boost in (("logistic regression", False), ("boosting", True)):
        for word, degree, prior in (("", False, False), (", degree", True, False), (", degree, priors", True, True)):
            methods[name + word] = lambda boost=boost, degree=degree, prior=prior: _plain(
                parts, boost=boost, degree=degree, prior=prior
            )
    for name, prior, n_layers in (
        (OWN, True, 2),
        ("graph left out, priors", True, 0),
        ("graph network, no priors", False, 2),
    ):
        methods[name] = lambda prior=prior, n_layers=n_layers: _network(
            parts, seed, prior=prior, n_layers=n_layers, n_networks=n_networks, n_epochs=n_epochs
        )
    rows = []
    for method, fit in methods.items():
        start = time.perf_counter()
        score = fit()
        rows.append(
            {
                "seed": seed,
                "name": f"{setting}: {method}",
                "setting": setting,
                "method": method,
                "auroc": float(roc_auc_score(test.label, score)),
                "auprc": float(average_precision_score(test.label, score)),
                "seconds": time.perf_counter() - start,
            }
        )
    return rows


def _features(train: Part, asked: Part, *, degree: bool, prior: bool, factor: bool = False) -> np.ndarray:
    parts = [known.expression(asked)]
    parts += [known.degrees(train, asked, own=asked is train)] if degree else []
    parts += [known.prior(asked)] if prior else []
    parts += [known.factor(asked)] if factor else []
    return np.concatenate(parts, axis=1)


def _plain(parts: list[Part], *, boost: bool, degree: bool, prior: bool) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, _, test = parts
    if boost:
        model = HistGradientBoostingClassifier(max_iter=100, max_depth=3, learning_rate=0.05, random_state=0)
    else:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    model.fit(_features(train, train, degree=degree, prior=prior), train.label)
    return model.predict_proba(_features(train, test, degree=degree, prior=prior))[:, 1]


def _network(parts: list[Part], seed: int, *, prior: bool, n_layers: int, n_networks: int, n_epochs: int) -> np.ndarray:
    """Average networks, each at the epoch that is best on the validation pairs."""
    from sklearn.metrics import roc_auc_score

    from sctandem.module._regulatory_graph import GENE, TF, RegulatoryGraphConfig, RegulatoryGraphModule

    cells, train = known.cells(), parts[0]
    raw = [_features(train, part, degree=True, prior=prior, factor=True) for part in parts]
    mean, spread = raw[0].mean(axis=0), raw[0].std(axis=0) + 1e-6
    evidence = [torch.tensor(((x - mean) / spread).clip(-4, 4), dtype=torch.float32) for x in raw]
    pairs, labels = [torch.tensor(part.pairs.T.copy()) for part in parts], [part.label for part in parts]
    gene = torch.tensor(cells.components, dtype=torch.float32)
    nodes = {TF: gene[cells.place], GENE: gene}
    edges = train.pairs[train.label > 0]
    others = np.argwhere(sum(cells.priors.values()) > 0) if prior else np.zeros((0, 2), dtype=int)
    rng, target, total = np.random.default_rng(seed), torch.tensor(labels[0], dtype=torch.float32), 0.0
    for i in range(n_networks):
        torch.manual_seed(1000 * seed + i)
        size = {TF: gene.shape[1], GENE: gene.shape[1]}
        config = RegulatoryGraphConfig(n_hidden=16, n_layers=n_layers)
        network = RegulatoryGraphModule(size, [(TF, GENE)], n_evidence=raw[0].shape[1], n_channels=1, config=config)
        steps = torch.optim.Adam(network.parameters(), lr=5e-3, weight_decay=3e-3)
        best, chosen = -1.0, np.zeros(len(labels[2]))
        for epoch in range(n_epochs):
            hidden = rng.random(len(labels[0])) < 1 / 3
            told = _graph(edges[~hidden[: len(edges)]], others)
            logit = network(nodes, told, pairs[0], evidence[0])[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit[hidden], target[hidden])
            steps.zero_grad()
            loss.backward()
            steps.step()
            if epoch % 10 == 9:
                with torch.no_grad():
                    told = _graph(edges, others)
                    seen, asked = (network(nodes, told, pairs[j], evidence[j])[:, 0].numpy() for j in (1, 2))
                auroc = roc_auc_score(labels[1], seen)
                if auroc > best:
                    best, chosen = auroc, asked
        total = total + chosen
    return np.asarray(total)


def _graph(edges: np.ndarray, others: np.ndarray) -> dict:
    """Edges of the training, and those of the priors with half the weight, in both directions."""
    from sctandem.module._regulatory_graph import GENE, TF

    index = torch.tensor(np.concatenate([edges, others]).T.copy())
    weight = torch.cat([torch.ones(len(edges)), torch.full((len(others),), 0.5)])
    return {(TF, "regulates", GENE): (index, weight), (GENE, "regulates_", TF): (index.flip(0), weight)}


def _means(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).groupby(["setting", "method"], sort=False)[["auroc", "auprc"]].mean()


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """A row a method, the settings beside each other."""
    means = _means(rows)
    out = []
    for method in dict.fromkeys(row["method"] for row in rows):
        row = {"method": method}
        for setting, title in known.SETTINGS.items():
            if (setting, method) in means.index:
                row[title] = "{:.3f}, {:.3f}".format(*means.loc[(setting, method)])
        out.append(row)
    return out


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The customary setting, and the distance to the best baseline where degrees of factors do not tell."""
    means = _means(rows)
    first = "supervised, customary negatives: AUROC at least 0.90"
    if ("all", OWN) in means.index:
        own, degree = (means.loc[("all", method), "auroc"] for method in (OWN, "degree"))
        out = [
            {
                "target": first,
                "measured": f"{own:.3f} (the degrees alone {degree:.3f})",
                "met": "yes" if own >= 0.9 else "no",
            }
        ]
    else:
        out = [{"target": first, "measured": "", "met": "not measured"}]
    for setting, word in (("tf", "same number of negatives per factor"), ("unseen", "targets unseen in training")):
        target = f"supervised, {word}: AUROC and AUPRC at least 0.03 above every baseline (with named priors)"
        if (setting, OWN) not in means.index:
            out.append({"target": target, "measured": "", "met": "not measured"})
            continue
        own, best = means.loc[(setting, OWN)], means.loc[[(setting, method) for method in BASELINES]].max()
        gain = own - best
        same = means.loc[(setting, "logistic regression, degree, priors")]
        measured = (
            f"AUROC {own['auroc']:.3f} ({gain['auroc']:+.3f}), AUPRC {own['auprc']:.3f} ({gain['auprc']:+.3f}); logistic regression "
            f"with the same priors {same['auroc']:.3f}, {same['auprc']:.3f}"
        )
        out.append({"target": target, "measured": measured, "met": "yes" if gain.min() >= 0.03 else "no"})
    return out


def data() -> list[Path]:
    """The files of BEELINE and of the priors."""
    return [FOLDER / f"{name}.csv.gz" for name in known.FILES]
