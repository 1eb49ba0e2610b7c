from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from sctandem._checks import check_layer, check_option, check_positive, check_target, check_type, listed, working_copy
from sctandem._talen_keys import TalenKeys
from sctandem.genome import match_chromosomes
from sctandem.genome._locus_bases import locus_bases
from sctandem.genome._overlaps import peaks_over
from sctandem.genome._talen_design import read_variants, rvds_for, talen_pairs, touches_variant
from sctandem.genome._talens import check_range, parse_rvds
from sctandem.tl._talen_data import (
    cell_labels,
    chosen_group,
    find_peaks,
    gene_table,
    open_shares,
    peak_table,
)
from sctandem.tl._talen_targets import find_loci, surroundings

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from sctandem.genome._locus_bases import LocusBases

_GUIDELINES: Final = ("streubel", "cermak")
_CUTOFF: Final = 3.0
_OFF_SPACER: Final = (15, 30)
"""The defaults of the search for other places."""


def design_talens(  # noqa: PLR0913
    data: AnnData | MuData,
    targets: str | Sequence[str],
    fasta: str | Path,
    *,
    genes: str | Path | pd.DataFrame | None = None,
    group: tuple[str, str] | None = None,
    array: tuple[int, int] = (15, 20),
    spacer: tuple[int, int] = (15, 20),
    rules: Mapping[str, Any] | None = None,
    modalities: Mapping[str, str] | None = None,
    key_added: str = "talens",
    copy: bool = False,
) -> AnnData | MuData | None:
    """Design pairs of TALENs that cut in regulatory elements, at genes or in any region, accessible sequence first.

    Every pair of half sites is listed that has a T before both of them, faces each other over a spacer, and puts the middle
    of the spacer into the target. The repeats are NI, HD, NG, and NN or NH.

    Parameters
    ----------
    data
        Accessibility, whose peaks have coordinates (see :func:`sctandem.genome.peak_coordinates`): an AnnData, or a MuData
        with it. A MuData without accessibility works with regions and genes; then nothing is known of openness.
    targets
        One or several: names of peaks, regions such as ``"chr2:1,000-1,500"``, or names of genes, which mean the 500 bp on
        both sides of their start.
    fasta
        The genome of the data: plain text, gzip or bgzip. It is read from its start until all targets were met, and needs no
        index.
    genes
        Where genes lie, as for :func:`sctandem.genome.read_genes`; by default the coordinates in the ``var`` of the
        modality ``"rna"``.
    group
        The column of ``obs`` that groups the cells and the group that is to be edited, such as ``("cell_type", "B cell")``:
        pairs in peaks that are open there come first. By default all cells together.
    array
        Shortest and longest array of repeats.
    spacer
        Shortest and longest spacer, bp. It depends on the architecture; 15 to 20 fits common ones.
    rules
        Further rules:

        ``"guanine"``: the repeat for G, ``"NN"`` (default), which binds A as well, or ``"NH"``, which is specific for G and
        binds less strongly.

        ``"guidelines"``: keep only pairs whose halves follow ``"streubel"`` (at least a quarter C and G, and no six A or T in
        a row, which repeats bind weakly), or ``"cermak"`` (no T first, no A second, a T last, and the composition of natural
        sites within two standard deviations). By default none; columns tell which pairs follow them.

        ``"avoid"``: variants, a VCF or BED file, also gzipped, or a table with ``chrom``, ``start``, ``end``. Pairs with one
        in a half site or under an upstream base are left out.

        ``"per_cut"``: keep so many pairs of each cut site, 1 by default; `None` keeps all.

        ``"n_best"``: then keep so many pairs of each target, 50 by default; `None` keeps all.
    modalities
        From the roles ``"atac"`` and ``"rna"`` (for the coordinates of genes) to the names of the modalities in a MuData. By default the same.
    key_added
        Name of the result in ``uns``.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `data.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        One row per pair, best first: ``pair`` (str; ``TALEN1``, ...), ``target`` (str), ``sequence`` (str; the chromosome, as
        the genome names it), ``cut`` (int64; 0-based, the middle of the spacer), ``left_start``, ``right_start`` (int64; 0-based
        positions of the bases under the first repeats, as in :func:`sctandem.genome.scan_talens`), ``spacer`` (int64),
        ``left_rvds``, ``right_rvds`` (str), ``left_target``, ``right_target`` (str; each on the strand that its array binds),
        ``spacer_sequence`` (str), ``left_score``, ``right_score`` (float64; TALE-NT's scores of the own sites),
        ``strong_share`` (float64; share of C and G in the site that has fewer), ``streubel``, ``cermak`` (bool), ``expected_places``
        (float64; places a billion random bases hold by chance, see Notes), ``peak`` (str; the peak over the cut, empty where there is none), ``accessibility`` (float64; share of the cells of the group in which
        that peak is open, 0 without a peak, NaN without accessibility).
    `data.uns[key_added]["loci"]` : :class:`pandas.DataFrame`
        What lies within 10 kb of each target, for the plot: ``target``, ``kind`` (``target``, ``peak`` or ``gene``), ``name``,
        ``start``, ``end``, ``strand``, ``accessibility``.
    `data.uns[key_added]["params"]` : :class:`dict`
        The arguments, and how many pairs there were before the further rules (``n_pairs``).

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    KeyError
        When a modality or a column is missing.
    ValueError
        When a target is neither peak, region nor gene, lies outside the genome or takes no pair; when a range is reversed.
        Nothing is written then.
    TypeError
        When `data` is neither an AnnData nor a MuData, `fasta` no path, or a name not text.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     fasta = Path(folder, "genome.fa")
    ...     mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=fasta)
    ...     peak = mdata["atac"].var_names[0]
    ...     td.tl.design_talens(mdata, peak, fasta, group=("cell_type", mdata["rna"].obs["cell_type"].iloc[0]))
    >>> td.get.talens(mdata)["pair"].iloc[0]
    'TALEN1'

    Notes
    -----
    Pairs are ordered by the openness of the peak under the cut, then those that follow Streubel's guidelines, then by
    ``expected_places``, the distance of the cut from the middle of the target, and the length of the arrays. This is a plain
    order, not a model of activity: nothing here says how well a pair cuts.

    ``expected_places`` tells how specific the arrays are before any genome is searched: how many places
    :func:`sctandem.genome.scan_talens` would find at its defaults, homodimers included, in 10^9 random bases of human
    composition. It follows from the distribution of scores. Genomes are not random, and hold more.
    Openness is that of a whole peak, and a share of
    cells depends on depth: compare pairs, not data sets.

    Nothing is said about other places that a pair may cut: see :func:`sctandem.tl.talen_offtargets`. The halves need FokI
    domains that cut as heterodimers only, or homodimers of either half cut too. Not for clinical use.

    Cost: reading a human genome that is not compressed takes some three seconds, the pairs of a peak a tenth of a second.

    References
    ----------
    Doyle et al. (2012), TAL Effector-Nucleotide Targeter (TALE-NT) 2.0, Nucleic Acids Res 40:W117.

    Streubel et al. (2012), TAL effector RVD specificities and efficiencies, Nat Biotechnol 30:593.

    Cermak et al. (2011), Efficient design and assembly of custom TALEN and other TAL effector-based constructs for DNA
    targeting, Nucleic Acids Res 39:e82.
    """
    atac, slot = find_peaks(data, modalities)
    check_target(data, key_added, copy=copy)
    lengths = check_range(array, "array", low=10, high=35)
    gaps = check_range(spacer, "spacer", low=1, high=100)
    further = _rules(rules)
    groupby, edited = _group(group)
    peaks = peak_table(atac, slot)
    annotation = gene_table(data, genes, modalities)
    loci = find_loci(targets, peaks, annotation)
    openness = None
    if atac is not None:
        groups = cell_labels(data, atac, groupby)
        named = chosen_group(groups, edited, groupby)
        openness = open_shares(check_layer(atac, None, slot), groups)[named].to_numpy()
    variants = None if further["avoid"] is None else read_variants(further["avoid"])
    bases = locus_bases(loci, fasta, flank=lengths[1] + gaps[1] + 2)
    tables = []
    n_pairs = 0
    for (target, locus), around in zip(loci.iterrows(), bases, strict=True):
        table = talen_pairs(around, int(locus["start"]), int(locus["end"]), array=lengths, spacer=gaps)
        n_pairs += len(table)
        if table.empty:
            raise ValueError(_why_none(str(target), around, 2 * lengths[0] + gaps[0] + 2))
        table = _allowed(table, str(target), str(locus["chrom"]), variants, further["guidelines"])
        table["expected_places"] = _expected_places(table, further["guanine"])
        peak = peaks_over(peaks, np.full(len(table), locus["chrom"]), table["cut"].to_numpy(np.int64))[2]
        table["peak"] = np.append(peaks.index.to_numpy(object), "")[peak]
        table["accessibility"] = np.nan if openness is None else np.append(openness, 0.0)[peak]
        middle = (locus["start"] + locus["end"]) / 2
        tables.append(_best_first(table.assign(target=str(target), off=(table["cut"] - middle).abs()), further))
    keys = TalenKeys(key_added)
    params = {
        "targets": list(map(str, loci.index)),
        "fasta": Path(fasta).name,
        "groupby": groupby or "",
        "group": edited or "",
        "array": list(lengths),
        "spacer": list(gaps),
        "guanine": further["guanine"],
        "guidelines": further["guidelines"] or "",
        "n_variants": 0 if variants is None else len(variants),
        "n_pairs": n_pairs,
        "version": version("sctandem"),
    }
    result = working_copy(data, copy=copy)
    result.uns[keys.key] = {
        keys.params: params,
        keys.table: _finish(pd.concat(tables), further["guanine"]),
        keys.loci: surroundings(loci, peaks, openness, annotation),
    }
    return result if copy else None


def _rules(rules: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check the further rules, and fill in those that are not given."""
    defaults: dict[str, Any] = {"guanine": "NN", "guidelines": None, "avoid": None, "per_cut": 1, "n_best": 50}
    if rules is not None:
        check_type(rules, Mapping, "rules", hint="Such as {'guanine': 'NH'}.")
        for name in rules:
            if name not in defaults:
                msg = f"rules has {name!r}, which is none of {listed(defaults)}."
                raise ValueError(msg)
    further = defaults | dict(rules or {})
    check_option(further["guanine"], ["NN", "NH"], "rules['guanine']")
    check_option(further["guidelines"], [None, *_GUIDELINES], "rules['guidelines']")
    for name in ("per_cut", "n_best"):
        if further[name] is not None:
            check_positive(further[name], f"rules[{name!r}]", whole=True)
    return further


def _group(group: tuple[str, str] | None) -> tuple[str | None, str | None]:
    """Take column and group apart."""
    if group is None:
        return None, None
    if isinstance(group, str) or not isinstance(group, Sequence) or len(group) != 2:
        msg = f"group must be a column of obs and one of its groups, such as ('cell_type', 'B cell'), got {group!r:.80}"
        raise ValueError(msg)
    return str(group[0]), str(group[1])


def _why_none(target: str, around: LocusBases, shortest: int) -> str:
    """Say why no pair at all cuts in a target."""
    known = around.codes[around.codes < 4]
    n = len(around.codes)
    if n < shortest:
        why = f"with what lies around it, it has {n} bp, and the shortest pair needs {shortest}; allow shorter arrays"
    elif not len(known):
        why = "all its bases are N: the assembly does not know them"
    elif not (known == 3).any() or not (known == 0).any():
        why = f"there is no T on its {'upper' if (known == 0).any() else 'lower'} strand, and both halves need a T before them"
    else:
        why = (
            "both halves need a T before them, and no N in them; allow longer or shorter arrays and spacers, or a larger "
            "region"
        )
    return f"No pair of TALENs cuts in {target!r}: {why}."


def _allowed(
    table: pd.DataFrame, target: str, chrom: str, variants: pd.DataFrame | None, guidelines: str | None
) -> pd.DataFrame:
    """Drop the pairs that touch a variant or break the guidelines; raise where none is left."""
    left = [f"{len(table)} pairs"]
    if variants is not None and len(table):
        known = match_chromosomes(variants["chrom"].unique(), [chrom])
        named = variants.assign(chrom=[known.get(name, name) for name in variants["chrom"]])
        table = table[~touches_variant(table, np.full(len(table), chrom, dtype=object), named)]
        left.append(f"{len(table)} of them without variants")
    if guidelines is not None:
        table = table[table[guidelines].to_numpy(dtype=bool)]
        left.append(f"{len(table)} of them by the guidelines {guidelines!r}")
    if table.empty:
        msg = (
            f"No pair of TALENs cuts in {target!r}: {', '.join(left)}. Allow longer or shorter arrays and spacers, a larger "
            "region, or fewer rules."
        )
        raise ValueError(msg)
    return table.reset_index(drop=True)


def _expected_places(table: pd.DataFrame, guanine: str) -> np.ndarray:
    """Return how many places a billion random bases hold for each pair, heterodimers and homodimers together."""
    from sctandem.kernels._talens import BASE_SHARES, chance_of_site

    chances = []
    for side in ("left", "right"):
        repeats, which = np.unique(
            ["".join(sorted(site)) for site in table[f"{side}_target"]], return_inverse=True
        )  # the order of the repeats does not matter
        each = [chance_of_site(rvds.split(), _CUTOFF) for rvds in rvds_for(pd.Series(repeats), guanine)]
        chances.append(np.array(each)[which] * BASE_SHARES[3])
    # four dimers: (left + right) squared is each of them once
    return 1e9 * (chances[0] + chances[1]) ** 2 * (_OFF_SPACER[1] - _OFF_SPACER[0] + 1)


def _best_first(table: pd.DataFrame, rules: dict[str, Any]) -> pd.DataFrame:
    """Order pairs, and keep the first."""
    length = table["left_target"].str.len() + table["right_target"].str.len()
    table = table.assign(length=length).sort_values(
        ["accessibility", "streubel", "expected_places", "off", "length", "cut", "left_start", "right_start"],
        ascending=[False, False, True, True, True, True, True, True],
        kind="stable",
    )
    if rules["per_cut"] is not None:
        table = table[table.groupby(["target", "cut"], sort=False).cumcount() < rules["per_cut"]]
    return table if rules["n_best"] is None else table.head(rules["n_best"])


def _finish(table: pd.DataFrame, guanine: str) -> pd.DataFrame:
    """Order the pairs of all targets, name them, and add their repeats and scores."""
    from sctandem.kernels._talens import score_matrix

    table = _best_first(table, {"per_cut": None, "n_best": None}).reset_index(drop=True)
    columns: dict[str, Any] = {"pair": [f"TALEN{row + 1}" for row in range(len(table))]}
    columns |= {name: table[name] for name in ("target", "sequence", "cut", "left_start", "right_start", "spacer")}
    for side in ("left", "right"):
        columns[f"{side}_rvds"] = rvds_for(table[f"{side}_target"], guanine)
    columns |= {name: table[name] for name in ("left_target", "right_target", "spacer_sequence")}
    for side in ("left", "right"):
        columns[f"{side}_score"] = [
            float(score_matrix(parse_rvds(rvds))[np.arange(len(site)), ["ACGT".index(base) for base in site]].sum())
            for rvds, site in zip(columns[f"{side}_rvds"], columns[f"{side}_target"], strict=True)
        ]
    columns |= {
        name: table[name] for name in ("strong_share", "streubel", "cermak", "expected_places", "peak", "accessibility")
    }
    result = pd.DataFrame(columns).astype({
        **dict.fromkeys(("cut", "left_start", "right_start", "spacer"), np.int64),
        **dict.fromkeys(("strong_share", "expected_places", "accessibility"), np.float64), "streubel": bool, "cermak": bool,
    })  # fmt: skip
    result.index = result.index.astype(str)
    return result
