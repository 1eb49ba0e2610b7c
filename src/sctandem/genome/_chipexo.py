from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sctandem._check_arguments import check_number, check_positive
from sctandem.genome._tags import tidy_tags
from sctandem.kernels import _chipexo as kernel
from sctandem.kernels._chipexo_scan import Border, Scan, Strand, merge_strands

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

FOOTPRINTS = (8, 100)
"""Distances of the borders among which the footprint is looked for, bp."""
CLEAR = 4.5
"""Robust standard deviations by which the cross-correlation has to stand out."""
REACH = 100
"""How far the mean profile reaches to both sides of a site, bp."""
SUPPORT = 0.05
"""P-value (of the weaker border, for all positions of its window) up to which a replicate supports a site."""

Chromosomes = dict[str, tuple[Strand, Strand]]


class ChipexoSites(NamedTuple):
    """Binding sites called from ChIP-exo, and what they leave unexplained."""

    sites: pd.DataFrame
    """A row per site; see :func:`sctandem.genome.call_chipexo_sites`."""
    residual: pd.DataFrame
    """A row per chromosome, and `total`: tags, how many of them lie at borders of sites, and borders without a partner."""
    profile: pd.DataFrame
    """Mean tags a site at each distance from the sites, on both strands."""
    params: dict[str, Any]
    """The arguments, what was learned from the tags, and the number of tests."""


def call_chipexo_sites(
    tags: pd.DataFrame | Sequence[pd.DataFrame],
    *,
    footprint: int | None = None,
    tolerance: int = 6,
    border_width: int = 9,
    fdr: float = 0.05,
    dispersion: float | None = None,
    local: tuple[int, ...] = (1000, 5000),
    min_replicates: int | None = None,
    chromosome_sizes: Mapping[str, int] | None = None,
) -> ChipexoSites:
    """Call binding sites at base resolution from the borders that an exonuclease leaves on both strands.

    Parameters
    ----------
    tags
        Stranded 5' ends as :func:`sctandem.io.read_chipexo` reads them, or a list of such tables, one a replicate.
    footprint
        Distance from the border on + to the one on -, bp. By default learned: where the cross-correlation of the strands is
        highest, between 8 and 100 bp.
    tolerance
        How far the distance of two borders may be off, bp.
    border_width
        Width of the window in which the tags of a border are counted, bp, odd.
    fdr
        False discovery rate up to which sites are called.
    dispersion
        Of the background, negative binomial with variance ``mean + dispersion * mean ** 2``. By default fitted; 0 for Poisson.
    local
        Widths of the surroundings from which the background is read, beside the whole chromosome; the highest rate counts.
    min_replicates
        How many replicates have to support a site. By default 2, or 1 where there is but one.
    chromosome_sizes
        Lengths of the chromosomes. By default those that the header of a BAM file gave, and of others the last tag.

    Returns
    -------
    A named tuple of three tables and a dictionary:

    `sites` : :class:`pandas.DataFrame`
        A row per site, in the order of the genome: ``chrom`` (str), ``position`` (int64, 0-based: the middle of the borders),
        ``left``, ``right`` (int64: base of the border on + and on -), ``n_left``, ``n_right`` (int64: tags of the border),
        ``expected_left``, ``expected_right`` (float64: of the background), ``pvalue`` (float64: of the weaker border), ``fdr``
        (float64), ``score`` (float64: -log10 of ``fdr``, at most 300) and ``n_replicates`` (int64: how many support it).
    `residual` : :class:`pandas.DataFrame`
        A row per chromosome, and ``total``: ``length``, ``n_sites``, ``n_tags``, ``n_explained`` (int64: tags at borders of sites),
        ``share_residual`` (float64: of the other tags), ``n_borders`` (int64: borders on either strand by themselves) and
        ``n_unpaired`` (int64: those of them that are of no site).
    `profile` : :class:`pandas.DataFrame`
        Mean tags a site by distance from it: ``offset`` (int64), ``plus``, ``minus`` (float64).
    `params` : :class:`dict`
        The arguments; the ``footprint`` and the ``dispersion`` that were learned; ``n_tests``, all positions of both strands;
        ``n_irreproducible``, sites left out for want of support.

    Raises
    ------
    TypeError
        For tags that are no table.
    ValueError
        For tags without strand or all on one, negative counts, replicates without a chromosome in common, tags beyond the end
        of a chromosome, an argument out of bounds, and when the strands show no common offset (give the `footprint` then).

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sctandem.genome import call_chipexo_sites
    >>> rng = np.random.default_rng(0)
    >>> places = {"+": 485 + rng.integers(-1, 2, 9), "-": 515 + rng.integers(-1, 2, 9)}
    >>> tags = pd.concat(pd.DataFrame({"chrom": "chr1", "position": p, "strand": s}) for s, p in places.items())
    >>> found = call_chipexo_sites(tags, footprint=30, chromosome_sizes={"chr1": 100_000})
    >>> found.sites.position.tolist()
    [500]

    Notes
    -----
    *Borders.* A window of `border_width` is laid around every tag, and its tags are held against the highest of the rates of the
    surroundings and the chromosome, on the same strand, without the middle (a footprint to both sides). The p-value of a
    position is the chance that a tag lies there and at least as many around it. Where the smoothed tags have a local maximum
    lies a border. Sites are called twice: the second time their own tags are no background.

    *Pairs.* A border on + is paired with one on - at a distance of `footprint`, up to `tolerance`: the surest pairs first,
    each border once. A site is in the middle of the two mean positions of tags.

    *FDR.* Both borders have to be real, so the p-value is that of the weaker one, for all the positions at which it was looked for
    (Bonferroni). What is tested at a threshold are the borders, paired or not, whose better strand passes it (AdaFilter of
    Wang et al. 2022): with few borders that is far less than all positions, which would be counted otherwise. Beside that
    the number of single borders at this FDR is given, by Benjamini and Hochberg with every position of both strands as
    a test and every local maximum as one discovery.

    *Replicates.* Sites are called in the tags of all replicates together; one supports a site whose windows at both borders it
    fills by itself (p <= 0.05 for all positions of the window, weaker border). Sites with less support than `min_replicates` are left
    out, and their number is given.

    *Limits.* Both strands have to show the site: of 200 planted ones with 20 tags unevenly shared (Beta(5, 5)) the two to three of a
    hundred that are missed have next to none on one strand, and counting both strands together finds them; in return places with
    many tags on one strand alone, half of what such a count calls where there are some, are not called. There is no control sample:
    what attracts tags to both strands at the distance of a footprint is called, whatever it is.
    The footprint is one for all sites; proteins with several modes of binding need a call each. A library of short
    fragments of one length has an offset of its own, which the cross-correlation may take for the footprint.

    A million tags take about two seconds of one processor.

    References
    ----------
    Rhee & Pugh, Comprehensive genome-wide protein-DNA interactions detected at single-nucleotide resolution, Cell 147
    (2011). Zhang et al., Model-based analysis of ChIP-Seq (MACS), Genome Biology 9 (2008): the local background. Wang et al.,
    MACE: model based analysis of ChIP-exo, Nucleic Acids Research 42 (2014): pairs of borders.
    """
    _check(tolerance, border_width, fdr, dispersion, local)
    replicates, sizes = _replicates(tags, chromosome_sizes)
    needed = min(2, len(replicates)) if min_replicates is None else min_replicates
    check_positive(needed, "min_replicates", whole=True)
    if needed > len(replicates):
        msg = f"min_replicates={needed}, but there {'is' if len(replicates) == 1 else 'are'} {len(replicates)}."
        raise ValueError(msg)
    pooled = {name: merge_strands([each[name] for each in replicates if name in each]) for name in sizes}
    learned, clear = _footprint(pooled, footprint)
    scan = Scan(learned, tolerance, border_width // 2, tuple(local), fdr)
    found = scan.run(pooled, sizes, dispersion)
    sites = _table(found.pairs)
    sites["n_replicates"] = _support(sites, replicates, sizes, scan, found)
    kept = sites["n_replicates"] >= needed
    sites_kept = sites[kept].reset_index(drop=True)
    residual = residual_tags(pooled, sites_kept, border_width // 2, sizes).join(found.borders)
    residual["n_unpaired"] = (residual["n_borders"] - residual["n_paired"]).astype(np.int64)
    params = {
        "footprint": int(learned),
        "footprint_learned": footprint is None,
        "footprint_clear": float(clear),
        "tolerance": int(tolerance),
        "border_width": int(border_width),
        "fdr": float(fdr),
        "dispersion": float(found.dispersion),
        "local": list(map(int, local)),
        "n_replicates": len(replicates),
        "min_replicates": int(needed),
        "n_tests": int(found.n_tests),
        "n_irreproducible": int((~kept).sum()),
    }
    residual = residual.drop(columns="n_paired")
    profile = mean_profile(pooled, sites_kept)
    return ChipexoSites(sites_kept, residual, profile, params)


def _check(tolerance: int, border_width: int, fdr: float, dispersion: float | None, local: tuple[int, ...]) -> None:
    """Check the numbers."""
    check_number(tolerance, "tolerance", whole=True)
    check_positive(border_width, "border_width", whole=True)
    if border_width % 2 == 0:
        msg = f"border_width={border_width} is even; a window around a base has an odd width."
        raise ValueError(msg)
    check_positive(fdr, "fdr")
    check_number(fdr, "fdr", low=0, high=1)
    if dispersion is not None:
        check_number(dispersion, "dispersion")
    for span in local:
        check_positive(span, "local", whole=True)


def _replicates(
    tags: pd.DataFrame | Sequence[pd.DataFrame], sizes: Mapping[str, int] | None
) -> tuple[list[Chromosomes], dict[str, int]]:
    """Bring tags into arrays, by replicate and chromosome, and find the lengths of the chromosomes."""
    tables = list(tags) if isinstance(tags, Sequence) and not isinstance(tags, str) else [tags]
    if not tables:
        msg = "tags is an empty list: there is no replicate to call sites in."
        raise ValueError(msg)
    names = [f"tags[{i}]" for i in range(len(tables))] if len(tables) > 1 else ["tags"]
    tables = [tidy_tags(table, name) for table, name in zip(tables, names, strict=True)]
    shared = set.intersection(*(set(table["chrom"].cat.categories) for table in tables))
    if not shared:
        msg = "The replicates share no chromosome: " + "; ".join(
            f"{name} has {', '.join(map(repr, table['chrom'].cat.categories[:3]))}"
            for name, table in zip(names, tables, strict=True)
        )
        msg += ". Are they aligned to the same genome?"
        raise ValueError(msg)
    found: dict[str, int] = {}
    for table in tables:
        known = dict(table.attrs.get("chromosome_sizes", {})) | dict(sizes or {})
        for name, last in table.groupby("chrom", observed=True)["position"].max().items():
            if name in known and last >= known[name]:
                msg = f"A tag lies at {name}:{last}, but {name} ends at {known[name]}. Is this the right genome?"
                raise ValueError(msg)
            found[str(name)] = max(found.get(str(name), 0), int(known.get(name, last + 1)))
    return [_arrays(table) for table in tables], dict(sorted(found.items()))


def _arrays(table: pd.DataFrame) -> Chromosomes:
    """Cut an ordered table into the two strands of each chromosome."""
    position, count = table["position"].to_numpy(), table["count"].to_numpy()
    code = table["chrom"].cat.codes.to_numpy().astype(np.int64) * 2 + table["strand"].cat.codes.to_numpy()
    edge = np.searchsorted(code, np.arange(2 * len(table["chrom"].cat.categories) + 1))
    strands = [Strand(position[a:b], count[a:b]) for a, b in zip(edge[:-1], edge[1:], strict=True)]
    return {
        name: (strands[2 * i], strands[2 * i + 1]) for i, name in enumerate(table["chrom"].cat.categories.astype(str))
    }


def _footprint(pooled: Chromosomes, given: int | None) -> tuple[int, float]:
    """Learn the distance of the strands, or take what is given."""
    if given is not None:
        check_positive(given, "footprint", whole=True)
        return int(given), float("nan")
    curve = np.zeros(FOOTPRINTS[1] + 21)
    for plus, minus in pooled.values():
        # a pile of a thousand copies of one fragment is not worth a thousand sites
        weights = [np.sqrt(strand.n.astype(float)) for strand in (plus, minus)]
        curve += kernel.cross_correlation(plus.position, weights[0], minus.position, weights[1], len(curve) - 1)
    distance, clear = kernel.footprint_peak(curve, *FOOTPRINTS)
    if clear < CLEAR:
        msg = (
            f"The strands show no common offset between {FOOTPRINTS[0]} and {FOOTPRINTS[1]} bp (at best {distance} bp, "
            f"{clear:.1f} robust standard deviations above the rest, {CLEAR:g} are needed). Too few tags at sites, or no "
            "ChIP-exo. Give the distance of the borders: footprint=<bp>."
        )
        raise ValueError(msg)
    if distance in FOOTPRINTS:
        logger.warning("the learned footprint, %d bp, is at the end of what was looked at; give footprint=", distance)
    return distance, clear


def _table(pairs: dict[str, tuple[Border, Border, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Describe the pairs of borders of all chromosomes."""
    parts = []
    for chrom, (left, right, pvalue, rate) in pairs.items():
        part = {
            "chrom": np.full(len(pvalue), chrom, dtype=object),
            "position": np.floor((left.mean_position + right.mean_position) / 2 + 0.5).astype(np.int64),
            "left": np.round(left.mean_position).astype(np.int64),
            "right": np.round(right.mean_position).astype(np.int64),
            "n_left": left.n.astype(np.int64),
            "n_right": right.n.astype(np.int64),
            "expected_left": left.expected,
            "expected_right": right.expected,
            "pvalue": pvalue,
            "fdr": rate,
            "score": -np.log10(np.maximum(rate, 1e-300)),
        }
        parts.append(pd.DataFrame(part).sort_values("position", kind="stable"))
    return pd.concat(parts, ignore_index=True).astype({"chrom": str})


def _support(
    sites: pd.DataFrame, replicates: list[Chromosomes], sizes: dict[str, int], scan: Scan, found: Any
) -> np.ndarray:
    """Count the replicates that fill the windows at both borders of each site by themselves."""
    if len(replicates) == 1:
        return np.ones(len(sites), dtype=np.int64)
    out = np.zeros(len(sites), dtype=np.int64)
    for chrom, rows in sites.groupby("chrom", sort=False).indices.items():
        left, right = sites["left"].to_numpy()[rows], sites["right"].to_numpy()[rows]
        for replicate in replicates:
            if chrom in replicate:
                tests = [
                    scan.test(strand, centre, sizes[chrom], found.dispersion, np.sort(centre)).pvalue
                    for strand, centre in zip(replicate[chrom], (left, right), strict=True)
                ]
                out[rows] += np.maximum(*tests) * scan.width <= SUPPORT
    return out


def residual_tags(tags: Chromosomes, sites: pd.DataFrame, half: int, sizes: Mapping[str, int]) -> pd.DataFrame:
    """Count the tags that lie at no border of a site.

    Parameters
    ----------
    tags
        The two strands of each chromosome.
    sites
        ``chrom``, ``left`` and ``right``.
    half
        So many bp to both sides belong to a border.
    sizes
        Lengths of the chromosomes.

    Returns
    -------
    Indexed by chromosome, the last row ``total``: ``length``, ``n_sites``, ``n_tags``, ``n_explained`` (int64) and
    ``share_residual`` (float64).
    """
    rows = {}
    for chrom, strands in tags.items():
        here = sites[sites["chrom"] == chrom]
        explained = 0
        for strand, column in zip(strands, ("left", "right"), strict=True):
            explained += int(strand.n[strand.near(here[column].to_numpy(np.int64), half)].sum())
        n_tags = sum(int(strand.n.sum()) for strand in strands)
        rows[chrom] = [sizes[chrom], len(here), n_tags, explained]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["length", "n_sites", "n_tags", "n_explained"])
    table.loc["total"] = table.sum()
    table = table.astype(np.int64)
    return table.assign(share_residual=1 - table["n_explained"] / np.maximum(table["n_tags"], 1))


def mean_profile(tags: Chromosomes, sites: pd.DataFrame, reach: int = REACH) -> pd.DataFrame:
    """Average the tags around sites.

    Parameters
    ----------
    tags
        The two strands of each chromosome.
    sites
        ``chrom`` and ``position``.
    reach
        How far to look to both sides, bp.

    Returns
    -------
    A row per distance: ``offset`` (int64, bp from the site), ``plus`` and ``minus`` (float64, tags a site).
    """
    total = np.zeros((2, 2 * reach + 1))
    for chrom, strands in tags.items():
        places = sites.loc[sites["chrom"] == chrom, "position"].to_numpy(np.int64)
        total += [kernel.mean_profile(strand.position, strand.n, places, reach) for strand in strands]
    plus, minus = total / max(len(sites), 1)
    return pd.DataFrame({"offset": np.arange(-reach, reach + 1), "plus": plus, "minus": minus})


def profile_of(tags: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Average the tags of one or several replicates around sites that another caller has found."""
    replicates, sizes = _replicates(tags, None)
    pooled = {name: merge_strands([each[name] for each in replicates if name in each]) for name in sizes}
    return mean_profile(pooled, sites)
