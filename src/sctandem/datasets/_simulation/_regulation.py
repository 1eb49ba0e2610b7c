from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem.datasets._simulation._genome import WINDOW

if TYPE_CHECKING:
    from sctandem.datasets._simulation._config import SimulationDesign
    from sctandem.datasets._simulation._genome import Genome

ROLES = {
    "boundary": 1,
    "activator": 3,
    "upstream": 2,
    "downstream": 2,
    "repressor": 2,
    "pair": 2,
    "helper": 2,
    "decoy": 2,
}
"""Number of transcription factors of each role.

boundary: nothing beyond it reaches the gene; activator, repressor: act from anywhere in the window; upstream,
downstream: activate from one side of the gene only; pair: activates together with the helper next to it on the side of
the gene, and not without; helper: nothing on its own; decoy: opens peaks, regulates nothing.
"""

SHARE = {
    "none": 0.20,
    "boundary": 0.10,
    "activator": 0.13,
    "upstream": 0.10,
    "downstream": 0.10,
    "repressor": 0.08,
    "pair": 0.10,
    "helper": 0.05,
    "decoy": 0.14,
}
"""Share of the peaks bound by each role."""

STRENGTH = {"activator": 2.8, "upstream": 2.8, "downstream": 2.8, "repressor": -2.8, "pair": 5.6}
"""Effect of a fully open peak at the transcription start site on the log rate (of both peaks for a pair)."""

DECAY = 80_000
"""Distance over which the strength of a link falls by the factor e, in bp."""

NEAR = 20_000
"""Distance over which a link becomes less likely by the factor e where there is no grammar, in bp."""

HELPED = 0.7
"""Share of the pair peaks with their helper next to them, on either side."""

SECOND = 0.25
"""Share of the bound peaks that a decoy opens as well."""

BASE_SD = 1.0
"""Standard deviation of the genes' log rates at zero activities."""

CEILING = 2.0
"""Most that the peaks raise or lower a log rate; what they add up to saturates."""


@dataclass(frozen=True, slots=True)
class Regulation:
    """Which factor opens which peak, and which peak drives which gene.

    Attributes
    ----------
    tfs
        Factors: role, partner (the helper of a pair), gene (that encodes it).
    bound
        Sites to plant: peak (position in the genome's order), tf (name).
    role
        Role of each peak: that of its factor, or `none`.
    baseline
        Logit of the openness of each peak at zero activities.
    gains
        Factors x peaks: change of the logit with the activity.
    pairs
        All peak-gene pairs in reach: gene, peak (positions), distance.
    links
        The pairs that work: gene, peak, distance, weight (signed), and helper (position of a peak, or -1).
    rest
        What the peaks of each gene add up to at zero activities.
    base
        Log rate of each gene at zero activities.
    """

    tfs: pd.DataFrame
    bound: pd.DataFrame
    role: np.ndarray
    baseline: np.ndarray
    gains: np.ndarray
    pairs: pd.DataFrame
    links: pd.DataFrame
    rest: np.ndarray
    base: np.ndarray

    def openness(self, activity: np.ndarray) -> np.ndarray:
        """Compute the openness, cells x peaks between 0 and 1, from activities, cells x factors."""
        logit = activity.astype(np.float32) @ self.gains
        logit += self.baseline
        np.negative(logit, out=logit)
        np.exp(logit, out=logit)
        logit += 1
        return np.reciprocal(logit, out=logit)

    def log_rate(self, openness: np.ndarray, activity: np.ndarray) -> np.ndarray:
        """Compute the log rate, cells x genes: what the peaks add up to, beyond its value at rest, saturates."""
        return self.base + CEILING * np.tanh((self.drive(openness, activity) - self.rest) / CEILING)

    def drive(self, openness: np.ndarray, activity: np.ndarray) -> np.ndarray:
        """Add up the peaks of each gene, cells x genes (a factor's own gene follows the factor's activity as well)."""
        links, shape = self.links, (self.base.size, len(self.links))
        opened = openness[:, links["peak"]]
        helped = (links["helper"] >= 0).to_numpy()
        opened[:, helped] *= openness[:, links["helper"][helped]]
        weights = sparse.csr_matrix((links["weight"], (links["gene"], np.arange(shape[1]))), shape=shape)
        total = (weights @ opened.T).T
        total[:, : len(self.tfs)] += 0.6 * activity * (self.tfs["role"] != "boundary").to_numpy()
        return total

    def without_peak(self, peak: int, genome: Genome) -> Regulation:
        """Return the regulation after the factor of a peak has lost its sites there (nothing is drawn again)."""
        role, gains = self.role.copy(), self.gains.copy()
        role[peak], gains[:, peak] = "none", 0
        own = np.where(np.arange(role.size) == peak, "", primary_factor(self.bound, self.tfs, role.size))
        pairs = apply_grammar(self.pairs, role, own, self.tfs, genome=genome)
        return replace(self, role=role, gains=gains, links=pairs[pairs["allowed"] & pairs["kept"]])


def draw_regulation(genome: Genome, *, design: SimulationDesign, rng: np.random.Generator) -> Regulation:
    """Draw the factors' sites, the openness they give, and with the grammar the links."""
    tfs = _draw_tfs(genome)
    own, second = _assign_factors(genome, tfs, rng=rng)
    role = np.append(tfs["role"].to_numpy(), "none")[own]
    gains = np.zeros((len(tfs), own.size), dtype=np.float32)
    copies = rng.integers(1, 4, own.size)
    bound, opened = np.flatnonzero(own >= 0), np.flatnonzero((own >= 0) & (role != "boundary"))
    gains[own[opened], opened] = (1.0 + 0.5 * copies[opened]) * rng.lognormal(0, 0.2, opened.size)
    also = np.flatnonzero(second >= 0)
    gains[second[also], also] += 0.8 * rng.lognormal(0, 0.2, also.size)
    baseline = rng.normal(-1.0, 0.7, own.size) + np.select([role == "boundary", genome.promoter], [2.5, 1.2], 0.0)
    names = tfs.index.to_numpy()
    sites = pd.DataFrame(
        {
            "peak": np.concatenate([np.repeat(bound, copies[bound]), also]),
            "tf": np.concatenate([np.repeat(names[own[bound]], copies[bound]), names[second[also]]]),
            "own": np.repeat([True, False], [copies[bound].sum(), also.size]),
        }
    )
    pairs = window_pairs(genome)
    pairs["kept"] = rng.random(len(pairs)) >= design.link_loss
    pairs["scale"] = rng.lognormal(0, 0.3, len(pairs))
    if not design.grammar:
        pairs["near"] = rng.random(len(pairs)) < np.exp(-pairs["distance"].abs() / NEAR)
    factor = np.append(names, "")[own]
    grammar = apply_grammar(pairs, role, factor, tfs, genome=genome)
    links = grammar[grammar["allowed"] & grammar["kept"]]
    nothing, base = np.zeros(len(genome.genes)), rng.normal(0, BASE_SD, len(genome.genes))
    drawn = Regulation(tfs, sites, role, baseline.astype(np.float32), gains, pairs, links, nothing, base)
    quiet = np.zeros((1, len(tfs)))
    return replace(drawn, rest=drawn.drive(drawn.openness(quiet), quiet)[0])


def _draw_tfs(genome: Genome) -> pd.DataFrame:
    """Name the factors; the first genes encode them."""
    role = np.repeat(list(ROLES), list(ROLES.values()))
    names = np.array([f"TF{index + 1:02d}" for index in range(role.size)])
    partner = np.full(role.size, "", dtype=object)
    partner[role == "pair"] = names[role == "helper"]
    return pd.DataFrame({"role": role, "partner": partner, "gene": genome.genes.index[: role.size]}, index=names)


def primary_factor(bound: pd.DataFrame, tfs: pd.DataFrame, n_peaks: int) -> np.ndarray:
    """Name the factor that decides what a peak does, empty where there is none."""
    names = np.full(n_peaks, "", dtype=object)
    own = bound[bound["own"]]
    names[own["peak"]] = own["tf"]
    return names


def _assign_factors(genome: Genome, tfs: pd.DataFrame, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the factor of each peak and for some a decoy beside it (positions, -1 for none)."""
    roles, n_peaks = tfs["role"].to_numpy(), len(genome.peaks)
    share = np.array([SHARE[role] / ROLES[role] for role in roles] + [SHARE["none"]])
    own = rng.choice(np.append(np.arange(roles.size), -1), n_peaks, p=share / share.sum())
    pair = np.flatnonzero((np.append(roles, "none")[own] == "pair") & (rng.random(n_peaks) < HELPED))
    side = pair + rng.choice([-1, 1], pair.size)
    chrom = genome.peaks["chrom"].to_numpy()
    inside = (side >= 0) & (side < n_peaks)
    pair, side = pair[inside], side[inside]
    same = chrom[pair] == chrom[side]
    helper = tfs.index.get_indexer(pd.Index(tfs["partner"]))
    own[side[same]] = helper[own[pair[same]]]
    decoy = rng.choice(np.flatnonzero(roles == "decoy"), n_peaks)
    regulated = np.isin(np.append(roles, "none")[own], [*STRENGTH, "helper"])
    return own, np.where(regulated & (rng.random(n_peaks) < SECOND), decoy, -1)


def window_pairs(genome: Genome) -> pd.DataFrame:
    """List all peaks whose midpoint lies within reach of a gene's transcription start site.

    Returns
    -------
    gene, peak (positions), distance (bp, negative upstream in the direction of transcription), by gene and then 5' to
    3' along the genome.
    """
    chrom = genome.peaks["chrom"].to_numpy()
    blocks = []
    for name in genome.sizes.index:
        peak = np.flatnonzero(chrom == name)
        middle = genome.midpoints[peak]
        gene = np.flatnonzero((genome.genes["chrom"] == name).to_numpy())
        tss = genome.genes["tss"].to_numpy()[gene]
        low = np.searchsorted(middle, tss - WINDOW, side="left")
        high = np.searchsorted(middle, tss + WINDOW, side="right")
        count = high - low
        inner = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        position = np.repeat(low, count) + inner
        offset = middle[position] - np.repeat(tss, count)
        blocks.append(pd.DataFrame({"gene": np.repeat(gene, count), "peak": peak[position], "offset": offset}))
    pairs = pd.concat(blocks, ignore_index=True)
    forward = (genome.genes["strand"] == "+").to_numpy()[pairs["gene"]]
    pairs["distance"] = np.where(forward, pairs["offset"], -pairs["offset"])
    return pairs


def apply_grammar(
    pairs: pd.DataFrame,
    role: np.ndarray,
    factor: np.ndarray,
    tfs: pd.DataFrame,
    *,
    genome: Genome,
) -> pd.DataFrame:
    """Decide which peak-gene pairs can be links, from the factors, the side of the gene and the order of the peaks.

    Pairs with a column `near` follow that instead.

    Returns
    -------
    `pairs` with the columns helper (position of the helping peak, -1 for none), blocked (a boundary lies between),
    allowed, and weight (signed).
    """
    peak, distance, right = (pairs[c].to_numpy() for c in ("peak", "distance", "offset"))
    right = right > 0
    own = role[peak]
    step = np.where(right, peak - 1, peak + 1)
    toward = np.clip(step, 0, role.size - 1)
    tss = genome.genes["tss"].to_numpy()[pairs["gene"]]
    middle, chrom = genome.midpoints, genome.peaks["chrom"].to_numpy()
    between = np.where(right, middle[toward] > tss, middle[toward] < tss) & (step == toward)
    between &= chrom[toward] == chrom[peak]
    partner = tfs["partner"].reindex(factor[peak], fill_value="").to_numpy()
    helped = (own == "pair") & between & (factor[toward] == partner)
    strength = pd.Series(STRENGTH).reindex(own, fill_value=0.0).to_numpy()
    decay = pairs["scale"] * np.exp(-np.abs(distance) / DECAY)
    if "near" in pairs:  # drawn where there is no grammar: what opens the peak decides nothing but the sign
        allowed = pairs["near"] & np.isin(own, ["none", "boundary"], invert=True)
        sign = np.where(own == "repressor", -1.0, 1.0)
        return pairs.assign(helper=-1, blocked=False, allowed=allowed, weight=sign * STRENGTH["activator"] * decay)
    blocked = _blocked(pairs, role == "boundary")
    direct = np.isin(own, ["activator", "repressor"])
    direct |= ((own == "upstream") & (distance < 0)) | ((own == "downstream") & (distance > 0))
    return pairs.assign(
        helper=np.where(helped, toward, -1),
        blocked=blocked,
        allowed=(direct | helped) & ~blocked,
        weight=strength * decay,
    )


def _blocked(pairs: pd.DataFrame, boundary: np.ndarray) -> np.ndarray:
    """Whether a boundary lies between the peak and the gene: count the boundaries along each gene's ordered window."""
    peak, gene = pairs["peak"].to_numpy(), pairs["gene"].to_numpy()
    right = pairs["offset"].to_numpy() > 0
    before = np.concatenate([[0], np.cumsum(boundary)])
    first = pd.Series(peak).where(right).groupby(gene).transform("min")
    last = pd.Series(peak).where(~right).groupby(gene).transform("max")
    to_right = before[peak] - before[first.fillna(0).to_numpy(np.int64)]
    to_left = before[last.fillna(0).to_numpy(np.int64) + 1] - before[peak + 1]
    return np.where(right, to_right, to_left) > 0
