"""Where the targets of TALENs lie, and what lies around them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from sctandem.genome import gene_tss, match_chromosomes, parse_intervals
from sctandem.get._select import close_names

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A gene as target means so many bases on both sides of its start.
AROUND_TSS: Final = 500
#: Peaks and genes that are so near to a target are kept for the plot.
AROUND: Final = 10_000
#: A longer target is a mistake.
LONGEST: Final = 1_000_000


def find_loci(targets: str | Sequence[str], peaks: pd.DataFrame, genes: pd.DataFrame | None) -> pd.DataFrame:
    """Find where the targets lie: ``chrom``, ``start``, ``end``, with chromosomes named as in the peaks where that is clear."""
    names = [targets] if isinstance(targets, str) else list(targets) if isinstance(targets, Iterable) else []
    if not names or not all(isinstance(name, str) for name in names):
        msg = f"targets must be names of peaks or genes, or regions such as 'chr2:1000-1500', got {targets!r:.80}"
        raise ValueError(msg)
    regions = parse_intervals(pd.Index(names))
    starts = None if genes is None else gene_tss(genes)
    rows: dict[str, tuple[str, int, int]] = {}
    for at, name in enumerate(names):
        region = regions.iloc[at]
        if name in peaks.index:
            rows[name] = tuple(peaks.loc[name, ["chrom", "start", "end"]])
        elif pd.notna(region["start"]) and pd.notna(region["end"]):
            rows[name] = (str(region["chrom"]), int(region["start"]), int(region["end"]))
        elif starts is not None and name in starts.index:
            tss = int(starts.loc[name, "tss"])
            rows[name] = (str(starts.loc[name, "chrom"]), max(tss - AROUND_TSS, 0), tss + AROUND_TSS + 1)
        else:
            known = [*peaks.index[:1000], *([] if starts is None else starts.index)]
            lacking = " There is no annotation of genes: give genes=<a BED or GTF file>." if starts is None else ""
            msg = f"The target {name!r} is no peak, no region like 'chr2:1000-1500' and no gene among those known{close_names(name, known)}{lacking}"
            raise ValueError(msg)
        if not 0 <= rows[name][1] < rows[name][2] <= rows[name][1] + LONGEST:
            msg = f"The target {name!r} is no region: it must end after its start, and have at most {LONGEST} bp."
            raise ValueError(msg)
    loci = pd.DataFrame.from_dict(rows, orient="index", columns=["chrom", "start", "end"])
    # one at a time: "1" and "chr1" may both be asked for
    known = peaks["chrom"].unique()
    return loci.assign(chrom=[match_chromosomes([chrom], known).get(chrom, chrom) for chrom in loci["chrom"]])


def surroundings(
    loci: pd.DataFrame, peaks: pd.DataFrame, openness: np.ndarray | None, genes: pd.DataFrame | None
) -> pd.DataFrame:
    """List peaks and genes around each target, for the plot."""
    shown = [
        peaks.assign(kind="peak", name=peaks.index, strand=".", accessibility=np.nan if openness is None else openness)
    ]
    if genes is not None:
        known = match_chromosomes(genes["chrom"].unique(), loci["chrom"].unique())
        chrom = [known.get(name, name) for name in genes["chrom"]]
        shown.append(genes.assign(chrom=chrom, kind="gene", accessibility=np.nan))
    columns = ["target", "kind", "name", "start", "end", "strand", "accessibility"]
    tables = []
    for target, (chrom, start, end) in zip(loci.index, loci.itertuples(index=False, name=None), strict=True):
        own = {"kind": "target", "name": target, "start": start, "end": end, "strand": ".", "accessibility": np.nan}
        near = [
            part[(part["chrom"] == chrom) & (part["start"] < end + AROUND) & (part["end"] > start - AROUND)]
            for part in shown
        ]
        tables += [part.assign(target=target) for part in (pd.DataFrame([own]), *near) if len(part)]
    around = pd.concat([table[columns] for table in tables], ignore_index=True)
    around["name"] = around["name"].astype(str).astype(object)
    around.index = around.index.astype(str)
    return around
