"""What follows where a gene is knocked out: its targets in the regulatory graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import t as student

from sctandem._blocks import as_csr
from sctandem._checks import check_counts, check_slot, listed
from sctandem._keys import TABLE
from sctandem._talen_keys import KNOCKOUT_REASONS
from sctandem.get._values import cell_groups, group_members

if TYPE_CHECKING:
    from mudata import MuData

#: Groups with enough cells that a slope needs, at least; cells of a group; counts of a gene; counts that are added.
LEAST_GROUPS, LEAST_CELLS, LEAST_COUNTS, PRIOR_COUNTS = 4, 10, 20, 2.0


def gene_changes(
    mdata: MuData, genes: list[str], groupby: str | None, *, names: dict[str, str], settings: dict[str, Any]
) -> pd.DataFrame:
    """Predict how the targets of genes change when these are knocked out.

    Parameters
    ----------
    mdata
        The object.
    genes
        Genes to knock out.
    groupby
        Column with the groups, over which targets are seen to follow.
    names
        Names of the modalities by role.
    settings
        Of `tl.knockout`.

    Returns
    -------
    A row per gene, target and group.
    """
    adata = mdata.mod[names["rna"]]
    key = settings["graph_key"]
    holder = adata.uns if key in adata.uns else mdata.uns
    graph = check_slot(holder, key, "mdata.uns", "sctandem.tl.regulatory_graph(mdata, tfs)")
    edges = check_slot(graph, TABLE, f"mdata.uns[{key!r}]", "sctandem.tl.regulatory_graph(mdata, tfs)")
    edges = edges[["tf", "target", "sign"]].astype({"tf": str, "target": str})
    absent = [gene for gene in genes if gene not in set(edges["tf"])]
    if absent:
        msg = f"{listed(absent)} regulates nothing in mdata.uns[{key!r}]: it has edges of {listed(sorted(set(edges['tf'])), 10)}."
        raise KeyError(msg)
    edges = edges[edges["tf"].isin(genes) & edges["target"].isin(adata.var_names) & (edges["tf"] != edges["target"])]
    edges = edges.drop_duplicates(["tf", "target"])
    check_counts(adata.X, f"mdata[{names['rna']!r}].X")
    labels = cell_groups(mdata, groupby, [names["rna"]])
    groups, member = [str(name) for name in labels.cat.categories], group_members(labels)
    counts = np.asarray((member @ sparse.csr_matrix(as_csr(adata.X))).todense(), dtype=np.float64)
    usable = np.asarray(member.sum(axis=1)).ravel() >= LEAST_CELLS
    depth = np.maximum(counts.sum(axis=1), 1.0)
    rate = np.log2((counts + PRIOR_COUNTS) / (depth / depth.mean())[:, None])
    tails = (1 + settings["level"]) / 2
    parts = []
    for factor, target, sign in edges.itertuples(index=False, name=None):
        a, b = adata.var_names.get_loc(factor), adata.var_names.get_loc(target)
        few = min(counts[:, a].sum(), counts[:, b].sum()) < LEAST_COUNTS
        slope, error = _slope(rate[usable, a], rate[usable, b])
        why = 1 if few else 5 if not np.isfinite(error) else 6 if slope * _direction(sign) <= 0 else 0
        part = pd.DataFrame({"element": factor, "gene": target, "group": groups, "distance": np.nan})
        part["reason"] = np.where(usable | (why > 0), KNOCKOUT_REASONS[why], KNOCKOUT_REASONS[3])
        down = (rate[usable, a].min() if usable.any() else 0.0) - rate[:, a]
        reach = error * student.ppf(tails, max(int(usable.sum()) - 2, 1)) if np.isfinite(error) else np.nan
        ends = np.sort(np.stack([(slope - reach) * down, (slope + reach) * down]), axis=0)
        told = (part["reason"] == "").to_numpy()
        for name, values in (("log2fc", slope * down), ("low", ends[0]), ("high", ends[1])):
            part[name] = np.where(told, values, np.nan)
        parts.append(part.assign(order=genes.index(factor)))
    if not parts:
        msg = f"{listed(genes)} regulates no gene of mdata[{names['rna']!r}]."
        raise ValueError(msg)
    return pd.concat(parts, ignore_index=True)


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the slope of a line through groups and its standard error; NaN where there are too few."""
    spread = float(((x - x.mean()) ** 2).sum()) if x.size else 0.0
    if x.size < LEAST_GROUPS or spread < 1e-12:
        return 0.0, np.nan
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    left = y - y.mean() - slope * (x - x.mean())
    return slope, float(np.sqrt((left**2).sum() / (x.size - 2) / spread))


def _direction(sign: Any) -> int:
    """Return -1 or 1 of a sign that is a number or written."""
    return -1 if str(sign).strip().startswith("-") else 1
