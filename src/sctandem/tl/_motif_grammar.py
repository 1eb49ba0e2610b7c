from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import false_discovery_control

from sctandem._checks import (
    check_key,
    check_number,
    check_positive,
    check_slot,
    check_target,
    check_type,
    check_unique,
    working_copy,
)
from sctandem._chromatin_keys import GRAMMAR_TESTS, GrammarKeys, MotifKeys
from sctandem._open_chromatin import cell_column, open_chromatin, read_counts
from sctandem._random import draw_seed
from sctandem._text_rows import text_rows
from sctandem.genome._coordinates import locate_peaks
from sctandem.tl._grammar_groups import peak_groups, strata_codes, with_background
from sctandem.tl._spectrum import CALLS, gc_content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData

    from sctandem._random import RNG
    from sctandem.kernels._motif_sites import MotifSites

logger = logging.getLogger(__name__)

_CALL = CALLS["motifs"]


def motif_grammar(
    data: AnnData | MuData,
    groupby: str | None = None,
    *,
    layer: str | None = None,
    top_share: float = 0.1,
    max_spacing: int = 100,
    min_peaks: int = 20,
    modalities: Mapping[str, str] | None = None,
    key_added: str = "motif_grammar",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    r"""Find pairs of motifs that lie together in the open peaks of a group of cells, in an order, or at a spacing.

    Needs :func:`sctandem.pp.nucleotide_spectrum` with motifs.

    Parameters
    ----------
    data
        Peaks with hits of motifs, or a MuData with accessibility.
    groupby
        Column of ``obs`` (of the accessibility or of the MuData) with the groups of cells, such as ``"cell_type"``. By default all peaks
        are one group without a background: pairs are then held against independence.
    layer
        Layer of the counts; `None` for ``X``.
    top_share
        Largest share of the peaks that a group may have, above 0 and below 0.5.
    max_spacing
        Gaps between motifs below this are looked at, bp.
    min_peaks
        Least number of peaks in which a pair tells its order or spacing, and of peaks of a group.
    modalities
        From the role ``"atac"`` to the name of the modality of a MuData. By default the same.
    key_added
        Name of the result in ``uns`` of the accessibility.
    rng
        Seed of the choice of background peaks. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields of the accessibility:

    `.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row a group, pair and test, by rising p-value within group and test: ``group``, ``motif_a``, ``motif_b`` (category), ``test``
        (category; ``"cooccurrence"``, ``"order"``, ``"spacing"``), ``n_peaks`` (int64; peaks that tell: of the group, or with the pair), ``observed`` (int64; peaks
        with both, with b downstream of a in the direction of a, at the preferred spacing), ``expected`` (float64), ``effect`` (float64; log2 of the ratio
        of odds ratios, of the odds of downstream, of observed over expected), ``spacing`` (int64; gap in bp between the motifs, -1 for the
        other tests), ``pvalue``, ``fdr`` (float64; Benjamini-Hochberg over pairs and groups, for each test).
    `.uns[key_added]["groups"]` : :class:`pandas.DataFrame`
        A row a group: ``group``, ``n_cells``, ``n_peaks`` and ``n_background`` (int64).
    `.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When motifs, base composition, a modality, the layer or the column is missing.
    ValueError
        When these are not counts; when there is only one group or one motif, hits are those of other peaks (some were left out since, or put
        into another order), `top_share` is out of range, or no group has enough peaks. Nothing is written then.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Notes
    -----
    The peaks of a group are those that are open in a larger share of its cells than of the others: of the ratio of both shares, each
    relative to all peaks (so that depth does not matter), the logarithm over its standard error is above the 5 % false discovery rate, and the peak is among the
    `top_share` highest. This ranks peaks; cells are not independent. The background are up to 20 other peaks for
    each, of the same quarter of GC content, and third of mean accessibility and of width.

    *Co-occurrence*: the odds ratio of the two motifs over the peaks of the group (Mantel-Haenszel, within those strata), over that in the background,
    against 1, one-sided. A motif that is enriched by itself changes no odds ratio. Only places that do not overlap count; where two similar motifs
    only lie on top of each other, the site belongs to the one that it fits better. Pairs expected in fewer than 5 peaks are not tested, nor,
    without groups, motifs that share more than 5 % of their peaks in this way: two sites of a family in one peak would look like a pair of its members.
    *Order*: in each peak the nearest pair that does not overlap tells whether b lies downstream of a, in the direction of a; exact binomial
    test against one half. Each pair is asked twice, with either motif as a. Palindromes have no direction and are left out.
    *Spacing*: the gap that the nearest pairs prefer, against the same peaks with the places of b exchanged between them and against the gaps
    around it, whichever expects more; the most unusual gap (or three neighbouring ones) is corrected for all that were looked at. Motifs that share
    letters (``TTTATTTA`` and ``AATTTAAT``) overlap at set distances by their letters alone, in any sequence: a spacing of such a pair, of a few bp, says little.

    In simulations of 8,000 peaks, 500 of them of the group, in which six of 20 motifs are three times as frequent by themselves, a pair put together into 30 %
    of the peaks is found in two of three runs at 5 %, an order and a spacing always; without any grammar p-values are uniform (co-occurrence) or larger (the
    exact tests). Co-occurrence needs many peaks: with 200 of them it is hardly ever found.

    Peaks that overlap each other would be counted twice: merge them before. Tested are pairs of different motifs. A motif can stand for its whole
    family: of several significant pairs with similar motifs, one may be the cause.
    Cost: (motifs in a peak)\ :sup:`2` x peaks, and 8 x motifs\ :sup:`2` x 10 bytes; a group of 5,000 peaks and 100 motifs takes seconds.

    References
    ----------
    Mantel & Haenszel, Journal of the National Cancer Institute 22 (1959). Robins, Breslow & Greenland, Biometrics 42 (1986).
    Benjamini & Hochberg, Journal of the Royal Statistical Society B 57 (1995).

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> names = [f"chr1:{i * 1000}-{i * 1000 + 400}" for i in range(400)]
    >>> adata = AnnData(rng.poisson(1.0, (20, 400)).astype("float32"), var=pd.DataFrame(index=names))
    >>> adata.varm["nucleotides"] = pd.DataFrame({"gc": rng.uniform(0.4, 0.6, 400)}, index=names)
    >>> first = rng.integers(0, 300, 400)  # motif B lies 10 bp behind motif A, which is 8 bp wide
    >>> hits = pd.DataFrame({"peak": np.tile(np.arange(400), 2), "motif": np.repeat([0, 1], 400)})
    >>> hits = hits.assign(start=np.concatenate([first, first + 18]), strand=1, score=1.0)
    >>> table = pd.DataFrame({"name": ["A", "B"], "width": [8, 8]})
    >>> adata.uns["motifs"] = {"names": ["A", "B"], "table": table, "hits": hits}  # pp.nucleotide_spectrum writes this
    >>> td.tl.motif_grammar(adata, rng=0)
    >>> td.get.motif_grammar(adata, test="spacing")["spacing"].tolist()
    [10]
    """
    found_in = open_chromatin(data, modalities)
    check_target(data, key_added, copy=copy)
    if groupby is not None:
        check_type(groupby, str, "groupby", hint="It names one column of obs.")
    check_number(top_share, "top_share", low=1e-6, high=0.5)
    check_positive(max_spacing, "max_spacing", whole=True)
    check_positive(min_peaks, "min_peaks", whole=True)
    atac, slot = found_in.adata, found_in.slot
    seed = draw_seed(rng)
    check_unique(atac.var_names, f"{slot}.var_names")
    names, sites = _read_sites(atac, slot)
    gc, width = gc_content(atac, slot), _widths(atac, slot)
    labels = None if groupby is None else cell_column(data, found_in.name, groupby)
    opened = read_counts(atac, slot, layer) > 0
    # what peaks are compared within: GC content, mean accessibility and width
    strata = np.column_stack([np.nan_to_num(gc, nan=0.5), np.asarray(opened.mean(axis=0)).ravel(), width])
    groups = peak_groups(labels, opened, top_share=top_share)
    middle = width // 2
    generator = np.random.default_rng(seed)
    found, rows = [], []
    for group in groups:
        chosen, background = with_background(group, strata, generator)
        rows.append((group.name, group.n_cells, chosen.size, background.size))
        if chosen.size < min_peaks:
            logger.warning(
                "group %r has %d peaks of its own; %d are needed, it is left out", group.name, chosen.size, min_peaks
            )
            continue
        part = _test_pairs(
            sites, chosen, background, strata, names=names, middle=middle, reach=int(max_spacing), least=int(min_peaks)
        )
        found.append(part.assign(group=group.name))
    if not found:
        msg = (
            f"no group has {min_peaks} peaks that are more open than in the other cells: {_listed(rows)}. Choose groups that "
            "differ, or min_peaks=<fewer>."
        )
        raise ValueError(msg)
    keys = GrammarKeys(key_added)
    result = {
        keys.params: {
            "top_share": float(top_share),
            "max_spacing": int(max_spacing),
            "min_peaks": int(min_peaks),
            "seed": seed,
            "version": version("sctandem"),
        }
        | found_in.params
        | {name: value for name, value in (("groupby", groupby), ("layer", layer)) if value is not None},
        keys.table: _table(pd.concat(found), names, [group.name for group in groups], keys),
        keys.groups: text_rows(pd.DataFrame(rows, columns=[keys.group, "n_cells", keys.n_peaks, "n_background"])),
    }
    target = working_copy(data, copy=copy)
    found_in.of(target).uns[keys.key] = result
    return target if copy else None


def _listed(rows: list[tuple[str, int, int, int]]) -> str:
    """Write how many peaks each group has."""
    return ", ".join(f"{name} {n_peaks}" for name, _, n_peaks, _ in rows[:10])


def _read_sites(atac: AnnData, slot: str) -> tuple[list[str], MotifSites]:
    """Read the names of the motifs and their places."""
    from sctandem.kernels._motif_sites import MotifSites

    keys = MotifKeys()
    key = keys.key
    kept = check_slot(atac.uns, key, f"{slot}.uns", _CALL)
    table, hits = (check_slot(kept, each, f"{slot}.uns[{key!r}]", _CALL) for each in (keys.table, keys.hits))
    width = check_key(table, keys.width, f"{slot}.uns[{key!r}][{keys.table!r}]").to_numpy(np.int64)
    names = [str(each) for each in kept.get(keys.names, table.index)]
    if len(names) < 2 or len(names) != len(width):
        msg = f"{slot}.uns[{key!r}] has {len(names)} names and {len(width)} widths; pairs need two motifs or more, with one width each."
        raise ValueError(msg)
    columns = [
        check_key(hits, each, f"{slot}.uns[{key!r}][{keys.hits!r}]").to_numpy()
        for each in (keys.peak, keys.motif, keys.start, keys.strand, keys.score)
    ]
    for each, values, high in ((keys.peak, columns[0], atac.n_vars), (keys.motif, columns[1], len(names))):
        if values.size and (values.min() < 0 or values.max() >= high):
            msg = (
                f"{slot}.uns[{key!r}][{keys.hits!r}] has the {each} {values.min() if values.min() < 0 else values.max()}, but there are {high}, counted from 0: it was made "
                f"of other peaks. Run `{_CALL}` again."
            )
            raise ValueError(msg)
    peak, motif, start, strand, score = columns
    _check_order(atac, slot, peak, motif)
    return names, MotifSites.build(peak, motif, start, strand=strand, score=score, width=width, n_peaks=atac.n_vars)


def _check_order(atac: AnnData, slot: str, peak: np.ndarray, motif: np.ndarray) -> None:
    """Raise where peaks were put into another order: hits know them by position, the table of counts goes with them."""
    keys = MotifKeys()
    if keys.key not in atac.varm:
        return
    counts = sparse.csr_matrix(atac.varm[keys.key])
    counted = sparse.csr_matrix((np.ones(peak.size, dtype=np.int32), (peak, motif)), shape=counts.shape)
    if (counted != counts).nnz:
        msg = (
            f"{slot}.uns[{keys.key!r}][{keys.hits!r}] and {slot}.varm[{keys.key!r}] do not agree: peaks were left out or put into another "
            f"order since they were written. Run `{_CALL}` again."
        )
        raise ValueError(msg)


def _widths(atac: AnnData, slot: str) -> np.ndarray:
    place = locate_peaks(atac, slot)
    return (place["end"] - place["start"]).to_numpy(np.int64)


def _test_pairs(
    sites: MotifSites,
    chosen: np.ndarray,
    background: np.ndarray,
    strata: np.ndarray,
    *,
    names: list[str],
    middle: np.ndarray,
    reach: int,
    least: int,
) -> pd.DataFrame:
    """Test all pairs in the peaks of one group; a row a pair and test."""
    from sctandem.kernels._motif_grammar import cooccurrence, order, spacing, together

    code = strata_codes(strata, chosen)
    held = [together(sites, peaks, code[peaks]) for peaks in (chosen, background) if peaks.size]
    common = cooccurrence(held[0], held[1] if len(held) > 1 else None)
    first, second = np.triu_indices(len(names), 1)
    tested = ~np.isnan(common.pvalue[first, second])
    a, b = first[tested], second[tested]
    parts = [
        {
            "a": a, "b": b, "test": 0, "n_peaks": chosen.size, "observed": common.observed[a, b],
            "expected": common.expected[a, b], "effect": common.effect[a, b], "spacing": -1, "pvalue": common.pvalue[a, b],
        }
    ]  # fmt: skip
    n, ahead, pvalue = order(sites, chosen, least=least)
    a, b = np.nonzero(~np.isnan(pvalue))
    odds = np.log2((ahead + 0.5) / (n - ahead + 0.5))
    parts.append(
        {
            "a": a, "b": b, "test": 1, "n_peaks": n[a, b], "observed": ahead[a, b], "expected": n[a, b] / 2,
            "effect": odds[a, b], "spacing": -1, "pvalue": pvalue[a, b],
        }
    )  # fmt: skip
    rows = []
    for i, j in zip(first, second, strict=True):
        if held[0].observed[i, j] < least:
            continue
        gap = spacing(sites, chosen, (int(i), int(j)), middle=middle, reach=reach, least=least)
        if gap is not None:
            effect = np.log2(max(gap.observed, 0.5) / gap.expected)
            rows.append((i, j, 2, gap.n_peaks, gap.observed, gap.expected, effect, gap.gap, gap.pvalue))
    columns = list(parts[0])
    tables = [*(pd.DataFrame(part, columns=columns) for part in parts), pd.DataFrame(rows, columns=columns)]
    # without rows, a table has no types to add, and pandas warns of those that it would change
    return pd.concat([table for table in tables if len(table)] or tables[:1])


def _table(rows: pd.DataFrame, names: list[str], groups: list[str], keys: GrammarKeys) -> pd.DataFrame:
    """Adjust the p-values of each test over all pairs and groups, and put names to the rows."""
    rows = rows.astype({"a": np.int64, "b": np.int64, "test": np.int64}).reset_index(drop=True)
    adjusted = np.ones(len(rows))
    for test in range(len(GRAMMAR_TESTS)):
        here = (rows["test"] == test).to_numpy()
        if here.any():
            adjusted[here] = false_discovery_control(rows.loc[here, "pvalue"].to_numpy(np.float64))
    columns: dict[str, Any] = {
        keys.group: pd.Categorical(rows["group"], categories=groups),
        keys.motif_a: pd.Categorical.from_codes(rows["a"], names),
        keys.motif_b: pd.Categorical.from_codes(rows["b"], names),
        keys.test: pd.Categorical.from_codes(rows["test"], list(GRAMMAR_TESTS)),
        keys.n_peaks: rows["n_peaks"].astype(np.int64),
        keys.observed: rows["observed"].astype(np.float64).round().astype(np.int64),
        keys.expected: rows["expected"].astype(np.float64),
        keys.effect: rows["effect"].astype(np.float64),
        keys.spacing: rows["spacing"].astype(np.int64),
        keys.pvalue: rows["pvalue"].astype(np.float64),
        keys.fdr: adjusted,
    }
    return text_rows(pd.DataFrame(columns).sort_values([keys.group, keys.test, keys.pvalue], kind="stable"))
