from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._keys import SimulationKeys
from sctandem.datasets._simulation._regulation import primary_factor

if TYPE_CHECKING:
    from sctandem.datasets._simulation._cells import Population
    from sctandem.datasets._simulation._genome import Genome
    from sctandem.datasets._simulation._regulation import Regulation

VALUES = 4_000_000
KEYS = SimulationKeys()


def link_table(regulation: Regulation, population: Population, genome: Genome) -> pd.DataFrame:
    """List the links, helpers included: peak, gene, weight (effect of opening the peak fully), sign, distance."""
    usual = regulation.openness(population.activity().mean(0, keepdims=True))[0]
    links = regulation.links[["gene", "peak", "helper", "distance", "weight"]]
    helped = links["helper"] >= 0
    helpers = links[helped].assign(peak=links["helper"], weight=links["weight"] * usual[links["peak"]])
    helpers = helpers.drop(columns="distance").merge(
        regulation.pairs[["gene", "peak", "distance"]], on=["gene", "peak"]
    )
    partners = np.where(helped, usual[np.maximum(links["helper"], 0)], 1.0)
    table = pd.concat([links.assign(weight=links["weight"] * partners), helpers], ignore_index=True)
    table = table.astype({"gene": np.int64, "peak": np.int64})  # the merge of no helpers has no type of its own
    table = table.groupby(["gene", "peak", "distance"], as_index=False)["weight"].sum()
    table = table.sort_values(["gene", "distance"], kind="stable", ignore_index=True)
    return pd.DataFrame(
        {
            "peak": genome.peaks.index.to_numpy()[table["peak"]],
            "gene": genome.genes.index.to_numpy()[table["gene"]],
            "weight": table["weight"].abs().to_numpy(),
            "sign": np.sign(table["weight"]).astype(np.int8).to_numpy(),
            "distance": table["distance"].to_numpy(np.int64),
        }
    )


def edge_table(links: pd.DataFrame, regulation: Regulation, genome: Genome) -> pd.DataFrame:
    """List factor, peak, gene and sign for every factor with a site in a linked peak."""
    bound = regulation.bound[["peak", "tf"]].drop_duplicates()
    bound = bound.assign(peak=genome.peaks.index.to_numpy()[bound["peak"]])
    edges = links[["peak", "gene", "sign"]].merge(bound, on="peak")
    return edges[["tf", "peak", "gene", "sign"]]


def fold_changes(regulation: Regulation, population: Population, genome: Genome) -> pd.DataFrame:
    """Compare each type's mean rate with and without treatment of the same cells; genes that do not change are left out."""
    kind = population.obs["cell_type"].cat
    totals = np.zeros((2, len(kind.categories), regulation.base.size))
    step = max(1, VALUES // len(genome.peaks))
    for dose in (0, 1):
        activity = population.activity(dose)
        for start in range(0, len(activity), step):
            rows = slice(start, start + step)
            rate = np.exp(regulation.log_rate(regulation.openness(activity[rows]), activity[rows]))
            np.add.at(totals[dose], kind.codes.to_numpy()[rows], rate)
    present = totals[0].sum(1) > 0
    change = np.zeros(totals.shape[1:])
    change[present] = np.log2(totals[1][present] / totals[0][present])
    types, genes = np.nonzero(np.abs(change) > 1e-5)
    table = pd.DataFrame(
        {
            "gene": genome.genes.index.to_numpy()[genes],
            "cell_type": pd.Categorical.from_codes(types, kind.categories),
            "log_fold_change": change[types, genes],
        }
    )
    order = table["log_fold_change"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].sort_values("cell_type", kind="stable", ignore_index=True)


def fractions(obs: pd.DataFrame) -> pd.DataFrame:
    """Share of each cell type among a donor's cells, donors x types."""
    counts = pd.crosstab(obs[KEYS.donor], obs[KEYS.cell_type], dropna=False)
    counts.columns, counts.index = counts.columns.astype(str), counts.index.astype(str)
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0).rename_axis(index=None, columns=None)


def factor_table(regulation: Regulation) -> pd.DataFrame:
    """Describe the factors: role, partner, gene."""
    return regulation.tfs.astype(str)


def peak_table(regulation: Regulation, genome: Genome) -> pd.DataFrame:
    """Describe the peaks: the factor that decides what they do, its role, and whether they are promoters."""
    columns = {
        "tf": primary_factor(regulation.bound, regulation.tfs, regulation.role.size).astype(str),
        "role": regulation.role.astype(str),
        "promoter": genome.promoter,
    }
    return pd.DataFrame(columns, index=genome.peaks.index)


def activity_table(regulation: Regulation, population: Population, names: pd.Index) -> pd.DataFrame:
    """Activities, cells x factors."""
    activity = population.activity()[: len(names)]
    return pd.DataFrame(activity, index=names, columns=regulation.tfs.index)


def doublet_table(population: Population, partner: np.ndarray, names: pd.Index) -> pd.DataFrame:
    """List the doublets and the type of their second cell."""
    double = np.flatnonzero(partner >= 0)
    second = population.obs["cell_type"].to_numpy().astype(str)[partner[double]]
    return pd.DataFrame({"cell": names.to_numpy()[double], "second_type": second})
