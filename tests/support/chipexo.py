"""Simulated ChIP-exo: sites that are known, and tags around them as an exonuclease leaves them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd


class Simulated(NamedTuple):
    tags: pd.DataFrame
    sites: pd.DataFrame


def simulate_chipexo(
    *,
    n_sites: int = 200,
    tags_per_site: float = 20,
    background: float = 5,
    footprint: int = 32,
    footprint_sd: float = 1.0,
    jitter: float = 2.0,
    imbalance: float = 5.0,
    piles: int = 0,
    humps: int = 0,
    duplicates: float = 0.0,
    clumps: float = 0.0,
    size: int = 1_000_000,
    chroms: tuple[str, ...] = ("chr1", "chr2"),
    places: pd.DataFrame | None = None,
    rng: int | np.random.Generator = 0,
) -> Simulated:
    """Plant sites and draw tags.

    `tags_per_site` are those of both strands, Poisson; a share drawn from a symmetric beta with parameters `imbalance` lies on +.
    `background` tags per kb and both strands; `clumps` is the standard deviation of the logarithm of its rate per kb.
    `piles` are places with 5 to 40 tags on one strand and none on the other; `duplicates` is the share of background tags that are
    repeated at their place (geometric). `humps` are stretches of 300 bp with 60 tags on both strands, evenly spread: open chromatin.
    """
    rng = np.random.default_rng(rng)
    places = _places(n_sites, size, chroms, rng) if places is None else places
    n = len(places)
    on_plus = rng.beta(imbalance, imbalance, n) if np.isfinite(imbalance) else np.full(n, 0.5)
    total = rng.poisson(tags_per_site, n)
    plus = rng.binomial(total, on_plus)
    width = np.round(rng.normal(footprint, footprint_sd, n)).astype(int)
    left = places["position"].to_numpy() - width // 2
    parts = []
    for edge, count, strand in ((left, plus, "+"), (left + width, total - plus, "-")):
        row = np.repeat(np.arange(n), count)
        position = np.round(edge[row] + rng.normal(0, jitter, len(row))).astype(int)
        parts.append(pd.DataFrame({"chrom": places["chrom"].to_numpy()[row], "position": position, "strand": strand}))
    for chrom in chroms:
        for strand in "+-":
            rate = np.exp(rng.normal(-(clumps**2) / 2, clumps, size // 1000)) * background / 2
            n_kb = rng.poisson(rate)
            position = np.repeat(np.arange(size // 1000) * 1000, n_kb) + rng.integers(0, 1000, n_kb.sum())
            copies = rng.geometric(1 - duplicates, len(position)) if duplicates else np.ones(len(position), int)
            parts.append(pd.DataFrame({"chrom": chrom, "position": np.repeat(position, copies), "strand": strand}))
    for _ in range(piles):
        position = np.round(rng.integers(200, size - 200) + rng.normal(0, 1, rng.integers(5, 41))).astype(int)
        parts.append(
            pd.DataFrame({"chrom": rng.choice(chroms), "position": position, "strand": rng.choice(["+", "-"])})
        )
    for _ in range(humps):
        position = rng.integers(200, size - 500) + rng.integers(0, 300, rng.poisson(60))
        strand = rng.choice(["+", "-"], len(position))
        parts.append(pd.DataFrame({"chrom": rng.choice(chroms), "position": position, "strand": strand}))
    tags = pd.concat(parts, ignore_index=True).value_counts(sort=False).rename("count").reset_index()
    tags.attrs["chromosome_sizes"] = dict.fromkeys(chroms, size)
    return Simulated(tags, places)


def _places(n_sites: int, size: int, chroms: tuple[str, ...], rng: np.random.Generator) -> pd.DataFrame:
    """Draw sites that lie at least 100 bp apart."""
    parts = []
    for chrom in chroms:
        slots = np.sort(rng.choice(size // 200 - 2, n_sites // len(chroms), replace=False)) + 1
        position = slots * 200 + rng.integers(0, 100, len(slots))
        parts.append(pd.DataFrame({"chrom": chrom, "position": position}))
    return pd.concat(parts, ignore_index=True)


def matched(called: pd.DataFrame, truth: pd.DataFrame, reach: int = 10) -> dict[str, float]:
    """Match called positions one to one with true ones within `reach` bp, the closest first."""
    parts = []
    for chrom, here in called.reset_index(drop=True).groupby("chrom", sort=False, observed=True):
        true = np.sort(truth.loc[truth["chrom"] == chrom, "position"].to_numpy())
        place = here["position"].to_numpy()
        first, last = np.searchsorted(true, place - reach), np.searchsorted(true, place + reach, side="right")
        i = np.repeat(here.index.to_numpy(), last - first)
        j = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)] or [np.empty(0, int)])
        off = np.abs(np.repeat(place, last - first) - true[j.astype(int)])
        parts.append(pd.DataFrame({"i": i, "j": [(chrom, k) for k in j], "off": off}))
    pairs = pd.concat(parts) if parts else pd.DataFrame({"i": [], "j": [], "off": []})
    pairs = pairs.sort_values(["off", "i"], kind="stable")
    seen_i: set[int] = set()
    seen_j: set[tuple[str, int]] = set()
    off = []
    for row in pairs.itertuples():
        if row.i not in seen_i and row.j not in seen_j:
            seen_i.add(row.i)
            seen_j.add(row.j)
            off.append(row.off)
    return {
        "n_called": len(called),
        "recall": len(off) / max(len(truth), 1),
        "fdr": 1 - len(off) / len(called) if len(called) else 0.0,
        "distance": float(np.median(off)) if off else float("nan"),
    }
