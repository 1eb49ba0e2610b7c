"""The sets of `benchmarks/deconvolution.py` by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import _deconvolution_pairs as pairs
from benchmarks._deconvolution_data import (
    CELL_LINES,
    FLOW_4,
    FLOW_5,
    GENES,
    GSE,
    GSE_FLOW,
    HOEK,
    HOEK_FLOW,
    KANG,
    RNAMIX,
    SYMPHONY,
    ZHENG,
    gse107011,
    hoek,
    rnamix,
)
from benchmarks._deconvolution_simulated import kang, kang_varying, symphony, zheng_halves

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._deconvolution_data import Mixtures


@dataclass(frozen=True)
class Entry:
    """How a set is made, which files it needs, whether it is drawn with a seed, and which sets are averaged as one."""

    title: str
    make: Callable[[int], Mixtures]
    files: tuple[str, ...]
    drawn: bool = False
    group: str | None = None


#: Spread of the log of the factor of a gene between platforms.
PLATFORM = 0.6
#: How chemistries of symphony are called in titles.
STUDY = {name: f"symphony {name}" for name in pairs.CHEMISTRIES}
SETS = {
    "gse107011_5": Entry(
        "GSE107011, five types", lambda _: gse107011(FLOW_5), (GSE, GSE_FLOW, ZHENG), group="GSE107011"
    ),
    "gse107011_4": Entry(
        "GSE107011, four types", lambda _: gse107011(FLOW_4), (GSE, GSE_FLOW, ZHENG), group="GSE107011"
    ),
    "hoek": Entry("Hoek", lambda _: hoek(), (HOEK, HOEK_FLOW, ZHENG), group="Hoek"),
    "rnamix": Entry("RNAmix", lambda _: rnamix(), (RNAMIX, CELL_LINES, GENES), group="RNAmix"),
    **{
        f"symphony_{one}_{two}": Entry(
            f"symphony, {two} by {one}", partial(symphony, one, two), (SYMPHONY,), drawn=True, group="symphony"
        )
        for one, two in (("3pv1", "5p"), ("3pv2", "5p"), ("5p", "3pv2"))
    },
    "kang_sim": Entry("kang, simulated", partial(kang, 0.0), (KANG,), drawn=True),
    "kang_platform": Entry("kang, simulated, platform", partial(kang, PLATFORM), (KANG,), drawn=True),
    "zheng_sim": Entry("zheng, simulated", partial(zheng_halves, 0.0), (ZHENG,), drawn=True),
    "zheng_platform": Entry(
        "zheng, simulated, platform",
        partial(zheng_halves, PLATFORM),
        (ZHENG,),
        drawn=True,
    ),
    **{
        pairs.blood_name(bulk, one): Entry(
            f"{title} by {STUDY.get(one, one)}",
            lambda _, bulk=bulk, one=one: pairs.blood(bulk, one),
            (*files, pairs.file_of(one)),
        )
        for bulk, title, files in (
            ("gse107011_5", "GSE107011, five types,", (GSE, GSE_FLOW)),
            ("gse107011_4", "GSE107011, four types,", (GSE, GSE_FLOW)),
            ("hoek", "Hoek", (HOEK, HOEK_FLOW)),
        )
        for one in ("kang", *pairs.CHEMISTRIES)
    },
    **{
        f"symphony_{one}_{two}": Entry(
            f"symphony, {two} by {one}", partial(symphony, one, two), (SYMPHONY,), drawn=True
        )
        for one, two in (("3pv1", "3pv2"), ("3pv2", "3pv1"), ("5p", "3pv1"))
    },
    **{
        pairs.across_name(one, two): Entry(
            f"cells of {STUDY.get(two, two)} by {STUDY.get(one, one)}",
            partial(pairs.across, one, two),
            (pairs.file_of(one), pairs.file_of(two)),
            drawn=True,
        )
        for one, two in pairs.STUDIES
    },
    "kang_expression": Entry("kang, simulated, expression varies", kang_varying, (KANG,), drawn=True),
}
#: Sets of the targets on CCC and RMSE; those of a group count as one.
REAL = tuple(name for name, entry in SETS.items() if entry.group is not None)
SIMULATED = tuple(name for name in SETS if name.endswith(("_sim", "_platform")))
#: Pairs of two studies, and of chemistries, by which no setting was chosen; those of them that are mixed with contents that are known.
ACROSS = tuple(pairs.across_name(*names) for names in pairs.STUDIES)
PAIRS = (
    *(name for name in SETS if "_by_" in name and name not in ACROSS),
    *(name for name, entry in SETS.items() if name.startswith("symphony") and entry.group is None),
    *ACROSS,
)


def load(name: str, seed: int = 0) -> Mixtures:
    """Give a set; the seed is that of the draw, and changes nothing where nothing is drawn."""
    if name not in SETS:
        msg = f"unknown set {name!r}; there are {list(SETS)}"
        raise ValueError(msg)
    return SETS[name].make(seed)
