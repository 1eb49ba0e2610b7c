"""Ways to spoil text, numbers, sequences and mappings: each draws what comes in place of it. The simplest come first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from fault_arrays import ODD_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_draw import Draw

    Spoiler = Callable[[Any, Draw, Path], Any]

TEXT: dict[str, Spoiler] = {
    "unknown": lambda v, d, _: "not_there",
    "other kind": lambda v, d, _: d.choice(
        "as", [None, 3, 0.5, True, [], ["x"], {}, ("a", "b"), np.nan, b"x", object()]
    ),
    "odd": lambda v, d, _: d.choice("as", ODD_NAMES),
}
NUMBER: dict[str, Spoiler] = {
    "other kind": lambda v, d, _: d.choice("as", [None, "text", [], {}, True, "3", (1, 2), 1j, np.array([1, 2])]),
    "out of range": lambda v, d, _: d.choice("as", [0, -1, 10**9, 1e-300, -0.5, 1.5]),
    "not finite": lambda v, d, _: d.choice("as", [np.nan, np.inf, -np.inf]),
    "numpy": lambda v, d, _: np.float32(v) if isinstance(v, float) else np.int64(v),
}
SEQUENCE: dict[str, Spoiler] = {
    "other kind": lambda v, d, _: d.choice("as", [None, 3, "text", {}, {"a"}, np.array([1.5]), object()]),
    "empty": lambda v, d, _: type(v)(),
    "one": lambda v, d, _: v[:1],
    "doubled": lambda v, d, _: v + v,
    "reversed": lambda v, d, _: v[::-1],
    "unknown member": lambda v, d, _: type(v)(["not_there", *v[1:]]),
    "other member": lambda v, d, _: type(v)([d.choice("as", [None, 3, [], np.nan, -1]), *v[1:]]),
}
MAPPING: dict[str, Spoiler] = {
    "other kind": lambda v, d, _: d.choice("as", [3, "text", [1], [("a", 1)], object()]),
    "empty": lambda v, d, _: {},
    "unknown key": lambda v, d, _: {**v, "not_there": next(iter(v.values()))},
    "other value": lambda v, d, _: {
        k: d.choice(f"at {k}", [None, 3, "text", [], -1, np.nan, np.ones((2, 2))]) for k in v
    },
    "other key": lambda v, d, _: {d.choice("as", [3, None, ("a",)]): x for x in v.values()},
}
OTHER: dict[str, Spoiler] = {
    "other kind": lambda v, d, _: d.choice(
        "as", [3, "text", [], {}, np.ones((2, 2)), object(), AnnData(np.ones((3, 2)))]
    ),
}
