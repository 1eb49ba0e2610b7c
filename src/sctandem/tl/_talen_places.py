"""What lies at the places that a pair of TALENs may cut, and what it adds up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from sctandem._talen_keys import TALEN_PLACES, TalenKeys
from sctandem.genome import gene_tss, match_chromosomes
from sctandem.genome._talens import parse_rvds

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A promoter reaches from so many bases before the start of transcription to so many after it.
PROMOTER: Final = (1000, 100)
#: Places with at most so many mismatches in both halves together are close to the target.
NEAR_PERFECT: Final = 2
#: A peak is open in a group where so large a share of its cells has a count in it.
OPEN: Final = 0.05

NOT_MODELLED: Final = (
    "how often a place is cut: scores order places, they are no probabilities",
    "chromatin other than the peaks measured, and methylated cytosines, which HD binds less well",
    "variants of the genome that is edited, and sequence that the reference lacks",
    "the FokI domains: homodimers are listed though obligate heterodimers hardly cut there",
    "half sites without the upstream base, and bulges",
    "what a cut does: large deletions, translocations, the way it is repaired",
)
ADVICE: Final = "A list of places to look at in an experiment. It is no clinical advice, and no proof of safety."


def _base_codes(sites: pd.Series) -> np.ndarray:
    """Turn sites of one length into rows of codes."""
    letters = np.array(sites.tolist(), dtype="S")
    codes = np.zeros(256, dtype=np.int64)
    codes[np.frombuffer(b"ACGT", dtype=np.uint8)] = np.arange(4)
    return codes[letters.view(np.uint8).reshape(len(letters), -1)]


def describe_places(found: pd.DataFrame, arrays: tuple[str, str]) -> pd.DataFrame:
    """Add the cut, mismatches and the relative score to what `genome.scan_talens` found."""
    from sctandem.kernels._talens import score_matrix

    rvds = dict(zip(("RVD1", "RVD2"), map(parse_rvds, arrays), strict=True))
    mismatches = np.zeros(len(found), dtype=np.int64)
    for side in ("left", "right"):
        for name, array in rvds.items():
            rows = np.flatnonzero(found[side] == name)
            if len(rows):
                scores = score_matrix(array)
                codes = _base_codes(found[f"{side}_target"].iloc[rows])
                wrong = scores[np.arange(len(array)), codes] > scores.min(axis=1) + 1e-9
                mismatches[rows] += wrong.sum(axis=1)
    best = found.attrs["best_scores"]
    possible = found["left"].map(best).to_numpy(float) + found["right"].map(best).to_numpy(float)
    left_end = found["left_start"] + found["left_target"].str.len().to_numpy(np.int64)
    return found.assign(
        cut=(left_end + found["spacer"] // 2).to_numpy(np.int64),
        mismatches=mismatches,
        relative_score=(found["left_score"] + found["right_score"]).to_numpy(float) / possible,
    )


def annotate_genes(
    chrom: np.ndarray, position: np.ndarray, genes: pd.DataFrame, exons: pd.DataFrame | None
) -> pd.DataFrame:
    """Say where positions lie: ``place`` (one of `TALEN_PLACES`), the nearest ``gene`` by its start, and the ``distance`` to it.

    Parameters
    ----------
    chrom, position
        The positions, with chromosomes named as by the genome.
    genes
        Of :func:`sctandem.genome.read_genes`.
    exons
        Of `read_exons`, or `None` where none are known.

    Returns
    -------
    One row per position; ``gene`` is empty and ``distance`` 0 on chromosomes without genes. ``distance`` is negative upstream.
    """
    names = pd.unique(chrom)
    unknown = unknown_places(genes, exons)
    known = match_chromosomes(genes["chrom"].unique(), names)
    genes = genes.assign(chrom=[known.get(name, name) for name in genes["chrom"]])
    before, after = PROMOTER
    forward = (genes["strand"] != "-").to_numpy()
    tss = genes["tss"].to_numpy(np.int64)
    promoters = genes.assign(
        start=tss - np.where(forward, before, after), end=tss + np.where(forward, after, before) + 1
    )
    place = np.full(len(position), len(TALEN_PLACES) - 1, dtype=np.int8)
    if "gene body" not in unknown:
        place[_inside(chrom, position, genes)] = 2
    place[_inside(chrom, position, promoters)] = 1
    if exons is not None:
        known = match_chromosomes(exons["chrom"].unique(), names)
        exons = exons.assign(chrom=[known.get(name, name) for name in exons["chrom"]])
        place[_inside(chrom, position, exons)] = 0
    gene, distance = _nearest(chrom, position, gene_tss(genes))
    return pd.DataFrame(
        {"place": pd.Categorical.from_codes(place, list(TALEN_PLACES)), "gene": gene, "distance": distance}
    )


def unknown_places(genes: pd.DataFrame | None, exons: pd.DataFrame | None) -> list[str]:
    """Name the places that an annotation does not tell: exons where it has none, bodies where it holds only the starts of genes."""
    bodies = genes is None or not genes.attrs.get("tss_rule", "").startswith("middle of intervals")
    return [*(["exon"] if exons is None else []), *([] if bodies else ["gene body"])]


def _inside(chrom: np.ndarray, position: np.ndarray, intervals: pd.DataFrame) -> np.ndarray:
    """Say which positions lie in any of the intervals: more of them have begun than ended."""
    inside = np.zeros(len(position), dtype=bool)
    for name, part in intervals.groupby("chrom", sort=False):
        rows = np.flatnonzero(chrom == name)
        if len(rows):
            begun = np.searchsorted(np.sort(part["start"].to_numpy()), position[rows], side="right")
            ended = np.searchsorted(np.sort(part["end"].to_numpy()), position[rows], side="right")
            inside[rows] = begun > ended
    return inside


def _nearest(chrom: np.ndarray, position: np.ndarray, tss: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Find the start of transcription nearest to each position, and how far beyond it the position lies."""
    gene, distance = np.full(len(position), "", dtype=object), np.zeros(len(position), dtype=np.int64)
    for name, part in tss.groupby("chrom", sort=False):
        rows = np.flatnonzero(chrom == name)
        if not len(rows):
            continue
        ordered = part.sort_values("tss", kind="stable")
        starts = ordered["tss"].to_numpy(np.int64)
        after = np.searchsorted(starts, position[rows]).clip(0, len(starts) - 1)
        before = (after - 1).clip(0)
        nearer = np.abs(position[rows] - starts[before]) <= np.abs(position[rows] - starts[after])
        chosen = np.where(nearer, before, after)
        sign = np.where((ordered["strand"] == "-").to_numpy()[chosen], -1, 1)
        gene[rows], distance[rows] = ordered.index.to_numpy(object)[chosen], sign * (position[rows] - starts[chosen])
    return gene, distance


def safety_table(
    places: pd.DataFrame, pair: str, n_found: int, groups: Sequence[str], *, unknown: Sequence[str] = ()
) -> pd.DataFrame:
    """Sum up the places of one pair: ``pair``, ``item``, ``value`` and ``detail``, with what is not modelled at the end.

    Of the places named by `unknown` nothing is counted: none found would read as none there.
    """
    keys = TalenKeys()
    others = places[~places[keys.on_target]]
    homo = others["left"].astype(str) == others["right"].astype(str)
    rows: list[tuple[str, float, str]] = [
        ("target found", float(places[keys.on_target].sum()), "places at the site the pair was made for"),
        ("other places", float(n_found - places[keys.on_target].sum()), ""),
        ("other places listed", float(len(others)), "the best ones, where not all are"),
        ("homodimers", float(homo.sum()), "places for twice the same array"),
        ("no mismatch", float((others["mismatches"] == 0).sum()), "places that the pair cannot tell from its target"),
        (
            "near-perfect",
            float((others["mismatches"] <= NEAR_PERFECT).sum()),
            f"at most {NEAR_PERFECT} mismatches in both halves together",
        ),
    ]
    chosen = {"": np.ones(len(others), dtype=bool)}
    if keys.place in others.columns:
        for place in TALEN_PLACES[:3]:
            if place in unknown:
                rows.append((f"places in {place}", np.nan, "not known: the annotation does not hold them"))
            else:
                chosen[f"in {place}"] = (others[keys.place] == place).to_numpy()
    if keys.peak in others.columns:
        chosen["in a peak"] = (others[keys.peak] != "").to_numpy()
    for group in groups:
        chosen[f"open in {group}"] = (others[keys.open_in(group)] >= OPEN).to_numpy()
    for name, mask in chosen.items():
        if name:
            rows.append((f"places {name}", float(mask.sum()), ""))
    for name, mask in chosen.items():
        best = others[mask].nsmallest(1, "relative_score")
        for _, row in best.iterrows():
            gene = f", {row[keys.gene]} {row['distance']:+d} bp" if row.get(keys.gene) else ""
            where = f"{row['sequence']}:{row['cut']} {row['left']}-{row['right']}, {row['mismatches']} mismatches{gene}"
            rows.append((f"best score {name}".strip(), float(row["relative_score"]), where))
    rows += [("not modelled", np.nan, text) for text in NOT_MODELLED]
    rows.append(("use", np.nan, ADVICE))
    table = pd.DataFrame(rows, columns=["item", "value", "detail"])
    table.insert(0, "pair", pair)
    return table
