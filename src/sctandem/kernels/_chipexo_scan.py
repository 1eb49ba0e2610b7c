"""From the tags of both strands to pairs of borders: the order of the steps in `_chipexo.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sctandem.kernels import _chipexo as kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Strand(NamedTuple):
    """Tags of one strand of a chromosome."""

    position: np.ndarray
    """Sorted, each once (int64)."""
    n: np.ndarray
    """Tags at each position (int64)."""

    def near(self, centre: np.ndarray, half: int) -> np.ndarray:
        """Which positions lie within `half` bp of a centre."""
        edge = np.zeros(len(self.position) + 1, dtype=np.int64)
        np.add.at(edge, kernel.ranks(self.position, centre - half), 1)
        np.add.at(edge, kernel.ranks(self.position, centre + half + 1), -1)
        return np.cumsum(edge[:-1]) > 0


class Border(NamedTuple):
    """Borders on one strand, in order."""

    position: np.ndarray
    """Tag with the most others around it (int64)."""
    mean_position: np.ndarray
    """Mean of the tags of the window (float64)."""
    n: np.ndarray
    """Tags of the window."""
    expected: np.ndarray
    """Those that the background would give."""
    pvalue: np.ndarray
    """Of one position, not adjusted."""

    def rows(self, which: np.ndarray) -> Border:
        """Take some of them."""
        return Border(*(values[which] for values in self))


class Found(NamedTuple):
    """What a scan has found."""

    pairs: dict[str, tuple[Border, Border, np.ndarray, np.ndarray]]
    """Of each chromosome the left and right borders of sites, their p-values and false discovery rates."""
    borders: pd.DataFrame
    """Of each chromosome and in total the number of borders by themselves, and of those in pairs."""
    n_tests: int
    """Positions on both strands."""
    dispersion: float
    """Of the background."""


def merge_strands(parts: Sequence[tuple[Strand, Strand]]) -> tuple[Strand, Strand]:
    """Add up the tags of replicates."""
    if len(parts) == 1:
        return parts[0]
    merged = []
    for strands in zip(*parts, strict=True):
        position, where = np.unique(np.concatenate([strand.position for strand in strands]), return_inverse=True)
        count = np.zeros(len(position), dtype=np.int64)
        np.add.at(count, where, np.concatenate([strand.n for strand in strands]))
        merged.append(Strand(position, count))
    return merged[0], merged[1]


@dataclass(frozen=True, slots=True)
class Scan:
    """Settings of a scan, all in bp but the last."""

    footprint: int
    tolerance: int
    half: int
    spans: tuple[int, ...]
    fdr: float

    @property
    def width(self) -> int:
        """Width of the window of a border."""
        return 2 * self.half + 1

    @property
    def n_places(self) -> int:
        """Positions among which the best partner of a border is taken."""
        return 2 * max(self.tolerance, self.half) + 1

    def test(self, strand: Strand, centre: np.ndarray, size: int, dispersion: float, masked: np.ndarray) -> Border:
        """Hold the tags around centres against the background, in which the tags near `masked` do not count."""
        low, high = centre - self.half, centre + self.half + 1
        count = kernel.window_sums(strand.position, strand.n, low, high)
        quiet = np.where(strand.near(masked, self.half), 0, strand.n)
        expected = kernel.local_mean(
            strand.position,
            quiet,
            centre,
            width=self.width,
            size=size,
            spans=self.spans,
            guard=max(self.footprint, self.half),
            masked=masked,
        )
        pvalue = kernel.upper_tail(count, expected, dispersion)
        return Border(centre, centre.astype(float), count, expected, pvalue)

    def borders(self, strand: Strand, size: int, dispersion: float, masked: np.ndarray) -> Border:
        """Find the local maxima of the smoothed tags, and test them."""
        weights = kernel.gaussian(max(self.half / 2, 1.0))
        smoothed = kernel.smooth(strand.position, strand.n.astype(float), weights)
        centre = strand.position[kernel.local_maxima(strand.position, smoothed, 2 * self.half)]
        border = self.test(strand, centre, size, dispersion, masked)
        pvalue = kernel.tag_tail(border.n, border.expected, self.width, dispersion)
        mean = kernel.centroids(strand.position, strand.n, centre, self.half)
        return border._replace(mean_position=mean, pvalue=pvalue)

    def run(
        self, strands: Mapping[str, tuple[Strand, Strand]], sizes: Mapping[str, int], dispersion: float | None
    ) -> Found:
        """Call sites, take their tags out of the background, and call them again."""
        nothing = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        masked = dict.fromkeys(strands, nothing)
        phi = 0.0 if dispersion is None else dispersion
        found = self._once(strands, sizes, phi, masked)
        for chrom, (left, right, _, _) in found.pairs.items():
            masked[chrom] = (np.sort(left.position), np.sort(right.position))
        if dispersion is None:
            phi = self._dispersion(strands, sizes, masked)
        return self._once(strands, sizes, phi, masked)

    def _once(
        self,
        strands: Mapping[str, tuple[Strand, Strand]],
        sizes: Mapping[str, int],
        dispersion: float,
        masked: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ) -> Found:
        """Find borders, pair them, and judge the pairs of all chromosomes together."""
        candidates, pairs, single = {}, {}, {}
        for chrom, both in strands.items():
            borders = [
                self.borders(strand, sizes[chrom], dispersion, hidden)
                for strand, hidden in zip(both, masked[chrom], strict=True)
            ]
            single[chrom] = np.concatenate([border.pvalue for border in borders])
            left, right = (border.rows(border.pvalue * self.n_places <= self.fdr) for border in borders)
            i, j = kernel.pair_borders(
                left.position,
                left.pvalue,
                right.position,
                right.pvalue,
                footprint=self.footprint,
                tolerance=self.tolerance,
            )
            candidates[chrom] = np.concatenate([np.delete(left.pvalue, i), np.delete(right.pvalue, j)])
            pairs[chrom] = (left.rows(i), right.rows(j))
        both_p = [np.stack([left.pvalue, right.pvalue]) * self.n_places for left, right in pairs.values()]
        joined = np.concatenate(both_p, axis=1)
        alone = np.concatenate(list(candidates.values())) * self.n_places
        rates = kernel.adaptive_fdr(joined.min(0), joined.max(0), alone)
        ends = np.cumsum([values.shape[1] for values in both_p])[:-1]
        called = {}
        for (chrom, (left, right)), values, rate in zip(pairs.items(), both_p, np.split(rates, ends), strict=True):
            keep = rate <= self.fdr
            called[chrom] = (left.rows(keep), right.rows(keep), values.max(0)[keep], rate[keep])
        n_tests = 2 * sum(sizes[chrom] for chrom in strands)
        return Found(called, self._counted(single, called, n_tests), n_tests, dispersion)

    def _counted(self, single: dict[str, np.ndarray], called: dict[str, tuple], n_tests: int) -> pd.DataFrame:
        """Count borders by themselves, and those of them that sites have taken."""
        rate = kernel.cluster_fdr(np.concatenate(list(single.values())), n_tests)
        passed = np.split(rate <= self.fdr, np.cumsum([len(each) for each in single.values()])[:-1])
        level = np.concatenate(list(single.values()))[rate <= self.fdr].max(initial=0.0)
        paired = [sum(int((border.pvalue <= level).sum()) for border in called[chrom][:2]) for chrom in single]
        table = pd.DataFrame(
            {"n_borders": [int(each.sum()) for each in passed], "n_paired": paired}, index=list(single)
        )
        table.loc["total"] = table.sum()
        return table.astype(np.int64)

    def _dispersion(
        self,
        strands: Mapping[str, tuple[Strand, Strand]],
        sizes: Mapping[str, int],
        masked: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ) -> float:
        """Fit the dispersion of the background in windows side by side that hold tags of no site."""
        counts, means = [], []
        for chrom, both in strands.items():
            for strand, hidden in zip(both, masked[chrom], strict=True):
                bins, where = np.unique(strand.position // self.width, return_inverse=True)
                count = np.bincount(where, strand.n, minlength=len(bins))
                centre = bins * self.width + self.half
                tested = self.test(strand, centre, sizes[chrom], 0.0, hidden)
                # what lies near a site is no background: its flanks hold tags of it
                free = ~Strand(centre, count).near(hidden, 2 * self.width)
                counts.append(count[free])
                means.append(tested.expected[free])
        return kernel.fit_dispersion(np.concatenate(counts), np.concatenate(means))
