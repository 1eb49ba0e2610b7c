"""The open peaks of groups of cells, and a background like them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control, norm

from sctandem.get._values import as_groups

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse

#: Parts into which GC content, accessibility and width divide the peaks, and peaks of the background for each of the group.
N_GC, N_OPEN, N_WIDTH, N_MATCHED = 4, 3, 3, 20
#: False discovery rate up to which a peak counts as more open in a group.
OPEN_FDR = 0.05
#: Name of the group where there is no column.
ALL = "all"


@dataclass(frozen=True)
class PeakGroup:
    """A group of cells: how many, its peaks, and those that may be background (`None` for none)."""

    name: str
    n_cells: int
    peaks: np.ndarray
    others: np.ndarray


def peak_groups(labels: pd.Series | None, opened: sparse.csr_matrix, *, top_share: float) -> list[PeakGroup]:
    """Find the peaks of each group, for the group of each cell and where peaks are open (cells x peaks)."""
    n_cells, n_peaks = opened.shape
    everything = np.arange(n_peaks)
    if labels is None:
        return [PeakGroup(ALL, n_cells, everything, everything[:0])]
    groupby = labels.name
    if labels.dtype.kind == "f" and (labels.dropna() % 1 != 0).any():
        msg = (
            f"groupby={groupby!r} holds measurements ({labels.dropna().iloc[0]:g}, ...), not groups; cut them into some: "
            f"obs['group'] = pd.cut(obs[{groupby!r}], 3), groupby='group'."
        )
        raise ValueError(msg)
    labels = as_groups(labels, f"obs[{groupby!r}]")
    categories = labels.cat.categories
    if len(categories) < 2:
        msg = f"groupby={groupby!r} has {len(categories)} group; groups are compared with each other, and need two or more."
        raise ValueError(msg)
    known = labels.notna().to_numpy()
    total = np.asarray(opened[known].sum(axis=0), dtype=np.float64).ravel()
    groups = []
    for category in categories:
        member = (labels == category).to_numpy()
        here = np.asarray(opened[member].sum(axis=0), dtype=np.float64).ravel()
        rest = total - here
        ratio = np.log((here + 0.5) / max(here.sum(), 1)) - np.log((rest + 0.5) / max(rest.sum(), 1))
        z = ratio / np.sqrt(1 / (here + 0.5) + 1 / (rest + 0.5))
        open_ = (false_discovery_control(norm.sf(z)) <= OPEN_FDR) & (total > 0)
        highest = np.argsort(-z, kind="stable")[: max(int(top_share * z.size), 1)]
        chosen = np.intersect1d(highest, np.flatnonzero(open_))
        # what is about as open in the group as its peaks are is no background
        groups.append(PeakGroup(str(category), int(member.sum()), chosen, np.flatnonzero(~open_ & (total > 0))))
    return groups


def with_background(group: PeakGroup, strata: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the peaks of a group and their background: of every stratum as many times its peaks as there are, up to 20."""
    if group.others.size == 0 or group.peaks.size == 0:
        return group.peaks, group.others
    code = strata_codes(strata, group.peaks)
    drawn = []
    for each, n in zip(*np.unique(code[group.peaks], return_counts=True), strict=True):
        pool = group.others[code[group.others] == each]
        drawn.append(pool if pool.size <= N_MATCHED * n else rng.choice(pool, N_MATCHED * n, replace=False))
    return group.peaks, np.sort(np.concatenate(drawn))


def strata_codes(strata: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Give numbers to the strata: quantiles, over the given peaks, of GC, accessibility and width."""
    code = np.zeros(len(strata), dtype=np.int64)
    for values, n in zip(strata.T, (N_GC, N_OPEN, N_WIDTH), strict=True):
        edges = np.unique(np.quantile(values[peaks], np.arange(1, n) / n))
        code = code * n + np.searchsorted(edges, values, side="right")
    return code
