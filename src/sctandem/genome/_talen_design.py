from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from sctandem._check_files import existing_file
from sctandem._checks import check_frame
from sctandem.genome._coordinates import as_text, find_columns

if TYPE_CHECKING:
    from pathlib import Path

    from sctandem.genome._locus_bases import LocusBases

#: Repeats for A, C, G and T; G is bound by NN, which binds A as well, or by NH, which is specific and weaker.
_RVDS: Final = {"NN": ("NI", "HD", "NN", "NG"), "NH": ("NI", "HD", "NH", "NG")}
_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
#: Upstream codes on the strand that is bound.
_UPSTREAM: Final = {"T": 3, "C": 1}
#: Least share of C and G in a site, and the longest run of A and T, by Streubel et al. (2012) as TALE-NT reads them.
_LEAST_STRONG, _LONGEST_WEAK = 0.25, 5
#: Mean and standard deviation of the share of A, C, G and T in the sites of natural TALEs (Cermak et al., 2011).
_COMPOSITION: Final = np.array([[0.31, 0.37, 0.09, 0.22], [0.16, 0.13, 0.08, 0.10]])


def _rules(site: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say which sites, a row each in the direction of the repeats, follow the rules of Streubel and of Cermak."""
    n = site.shape[1]
    weak = (site == 0) | (site == 3)
    run, longest = np.zeros(len(site), dtype=np.int64), np.zeros(len(site), dtype=np.int64)
    for column in weak.T:
        run = np.where(column, run + 1, 0)
        longest = np.maximum(longest, run)
    streubel = ((~weak).sum(axis=1) / n >= _LEAST_STRONG) & (longest <= _LONGEST_WEAK)
    shares = np.stack([(site == base).sum(axis=1) for base in range(4)], axis=1) / n
    low, high = _COMPOSITION[0] - 2 * _COMPOSITION[1], _COMPOSITION[0] + 2 * _COMPOSITION[1]
    cermak = (site[:, 0] != 3) & (site[:, 1] != 0) & (site[:, -1] == 3)
    return streubel, cermak & ((shares >= low) & (shares <= high)).all(axis=1)


def _text(codes: np.ndarray) -> np.ndarray:
    """Turn rows of codes into text."""
    rows = np.ascontiguousarray(_LETTERS[codes])
    return rows.view(f"S{rows.shape[1]}")[:, 0].astype(str).astype(object)


def talen_pairs(
    bases: LocusBases,
    start: int,
    end: int,
    *,
    array: tuple[int, int],
    spacer: tuple[int, int],
    upstream: str = "T",
) -> pd.DataFrame:
    """List all pairs of TALENs that cut in a region.

    The cut is the middle of the spacer (rounded down); both halves need the upstream base, and neither may hold an unknown
    base.

    Parameters
    ----------
    bases
        The region and what lies around it.
    start, end
        The region in which to cut, 0-based and half open.
    array
        Shortest and longest array of repeats.
    spacer
        Shortest and longest spacer, bp.
    upstream
        ``"T"`` or ``"C"``.

    Returns
    -------
    One row per pair: ``sequence``, ``cut``, ``left_start``, ``right_start`` (as TALE-NT reports them), ``spacer``,
    ``left_target``, ``right_target``, ``spacer_sequence``, ``strong_share`` (of C and G in the site that has fewer),
    ``streubel`` and ``cermak`` (whether both halves follow these guidelines).
    """
    codes, n = bases.codes, len(bases.codes)
    first = codes == _UPSTREAM[upstream]
    last = codes == 3 - _UPSTREAM[upstream]
    unknown = np.concatenate([[0], np.cumsum(codes > 3)])
    cut = np.arange(max(start, bases.start), min(end, bases.start + n)) - bases.start
    tables = []
    for gap in range(spacer[0], spacer[1] + 1):
        left_end = cut - gap // 2
        right_first = left_end + gap
        for left in range(array[0], array[1] + 1):
            begins = left_end - left
            inside = (begins >= 1) & (right_first <= n)
            inside[inside] = first[begins[inside] - 1]
            for right in range(array[0], array[1] + 1):
                stops = right_first + right
                chosen = np.flatnonzero(inside & (stops < n))
                chosen = chosen[last[stops[chosen]]]
                known = unknown[left_end[chosen]] == unknown[begins[chosen]]
                known &= unknown[stops[chosen]] == unknown[right_first[chosen]]
                chosen = chosen[known]
                if len(chosen):
                    tables.append(_rows(codes, begins[chosen], (left, gap, right)))
    columns = [
        "sequence", "cut", "left_start", "right_start", "spacer", "left_target", "right_target", "spacer_sequence",
        "strong_share", "streubel", "cermak",
    ]  # fmt: skip
    if not tables:
        return pd.DataFrame({column: [] for column in columns})
    table = pd.DataFrame({name: np.concatenate([part[name] for part in tables]) for name in tables[0]})
    table["sequence"] = bases.name
    for column in ("cut", "left_start", "right_start"):
        table[column] += bases.start
    return table.sort_values(["cut", "spacer", "left_start", "right_start"], ignore_index=True)[columns]


def _rows(codes: np.ndarray, begins: np.ndarray, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Describe pairs of one shape (left, spacer, right); positions are those in `codes`."""
    left, gap, right = shape
    right_first = begins + left + gap
    left_site = codes[begins[:, None] + np.arange(left)]
    right_site = 3 - codes[right_first[:, None] + np.arange(right - 1, -1, -1)]
    rules = [_rules(site) for site in (left_site, right_site)]
    return {
        "cut": begins + left + gap // 2,
        "left_start": begins,
        "right_start": right_first + right - 1,
        "spacer": np.full(len(begins), gap),
        "left_target": _text(left_site),
        "right_target": _text(right_site),
        "spacer_sequence": _text(codes[(begins + left)[:, None] + np.arange(gap)]),
        "strong_share": np.minimum(*(((site == 1) | (site == 2)).mean(axis=1) for site in (left_site, right_site))),
        "streubel": rules[0][0] & rules[1][0],
        "cermak": rules[0][1] & rules[1][1],
    }


def rvds_for(targets: pd.Series, guanine: str) -> list[str]:
    """Write the repeats that bind each of some sites, separated by blanks."""
    rvds = dict(zip("ACGT", _RVDS[guanine], strict=True))
    return [" ".join(rvds[base] for base in target) for target in targets]


def read_variants(variants: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read where a genome varies.

    Parameters
    ----------
    variants
        A VCF file, a BED file (either may be gzipped), or a table with ``chrom``, ``start`` and ``end`` (0-based, half open).

    Returns
    -------
    ``chrom`` (str), ``start``, ``end`` (int64; 0-based, half open; of a VCF the bases of ``REF``).

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is neither.
    """
    if isinstance(variants, pd.DataFrame):
        check_frame(variants, (), "avoid")
        columns = find_columns(variants)
        if columns is None:
            msg = f"The table of variants needs the columns chrom, start and end; it has {', '.join(map(str, variants.columns))}."
            raise ValueError(msg)
        table = variants[list(columns.values())].set_axis(list(columns), axis=1)
        return _checked(table, "the table of variants")
    path = existing_file(variants, "avoid")
    with path.open("rb") as handle:
        zipped = handle.read(2) == b"\x1f\x8b"
    rows, vcf = [], False
    with gzip.open(path, "rt") if zipped else path.open() as lines:
        for line in lines:
            vcf = vcf or line.startswith("##fileformat=VCF") or line.startswith("#CHROM\t")
            if not line.strip() or line.startswith(("#", "track", "browser")):
                continue
            fields = line.rstrip("\r\n").split("\t", 5)
            if vcf and len(fields) > 4 and fields[1].isdigit():
                rows.append((fields[0], int(fields[1]) - 1, int(fields[1]) - 1 + len(fields[3])))
            elif not vcf and len(fields) > 2 and fields[1].isdigit() and fields[2].isdigit():
                rows.append((fields[0], int(fields[1]), int(fields[2])))
            else:
                msg = f"{path} is neither VCF (with its header #CHROM) nor BED (tab-separated chrom, start, end): {line!r:.80}"
                raise ValueError(msg)
    return _checked(pd.DataFrame(rows, columns=["chrom", "start", "end"]), str(path))


def _checked(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Bring columns to their types, and check that intervals end after they start."""
    start, end = (pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in ("start", "end"))
    wrong = ~((start >= 0) & (end > start))
    if wrong.any():
        row = int(np.argmax(wrong))
        msg = f"{source}: row {row + 1} ({table['chrom'].iloc[row]}, {start[row]:g}, {end[row]:g}) is no interval."
        raise ValueError(msg)
    chrom = as_text(table["chrom"].astype(object))
    return pd.DataFrame({"chrom": chrom, "start": start.astype(np.int64), "end": end.astype(np.int64)})


def touches_variant(table: pd.DataFrame, chrom: np.ndarray, variants: pd.DataFrame) -> np.ndarray:
    """Say which pairs have a variant in a half or in an upstream base.

    Parameters
    ----------
    table
        Of `talen_pairs`.
    chrom
        The chromosome of each row, as the variants name it.
    variants
        Of `read_variants`.

    Returns
    -------
    A mask, (rows,).
    """
    touched = np.zeros(len(table), dtype=bool)
    left, right = table["left_start"].to_numpy(np.int64), table["right_start"].to_numpy(np.int64)
    left_end = left + table["left_target"].str.len().to_numpy(np.int64)
    right_first = right + 1 - table["right_target"].str.len().to_numpy(np.int64)
    for name, part in variants.groupby("chrom", sort=False):
        rows = np.flatnonzero(chrom == name)
        if not len(rows):
            continue
        # starts below an end minus ends at or below a start: the variants that overlap
        starts, ends = np.sort(part["start"].to_numpy()), np.sort(part["end"].to_numpy())
        for low, high in ((left[rows] - 1, left_end[rows]), (right_first[rows], right[rows] + 2)):
            n = np.searchsorted(starts, high, side="left") - np.searchsorted(ends, low, side="right")
            touched[rows] |= n > 0
    return touched
