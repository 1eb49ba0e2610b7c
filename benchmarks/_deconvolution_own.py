"""RSD at its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks._deconvolution_data import DONOR, TYPE
from benchmarks._deconvolution_sets import ACROSS, SIMULATED

if TYPE_CHECKING:
    from anndata import AnnData

    from benchmarks._deconvolution_data import Mixtures


def available() -> bool:
    """Whether the package has the method."""
    import sctandem

    return hasattr(sctandem.tl, "deconvolve")


def fractions(mixtures: Mixtures, seed: int) -> dict[str, Any]:
    """Take the bulk apart: shares with their intervals, the unknown share of each sample, and its fit."""
    bulk = _deconvolved(mixtures, seed)
    names = ("fractions", "low", "high")
    tables = {name: bulk.obsm[f"rsd_{name}"] for name in names}
    return tables | {"unknown": bulk.obs["rsd_unknown"], "fit": bulk.obs["rsd_fit"]}


def expression(mixtures: Mixtures, seed: int) -> dict[str, pd.DataFrame]:
    """Give what each type expresses in each sample, samples x genes."""
    bulk = _deconvolved(mixtures, seed, expression=True)
    found = {}
    for kind in mixtures.types:
        layer = bulk.layers[f"rsd_{kind}"]
        values = layer.toarray() if hasattr(layer, "toarray") else np.asarray(layer)
        known = np.isfinite(values).all(axis=0)
        found[kind] = pd.DataFrame(values[:, known], bulk.obs_names, bulk.var_names[known])
    return found


def _deconvolved(mixtures: Mixtures, seed: int, **asked: bool) -> AnnData:
    """Call `tl.deconvolve` on copies."""
    import sctandem as td

    bulk = mixtures.bulk.copy()
    donor = DONOR if DONOR in mixtures.reference.obs else None
    # simulated bulk is mixed with the contents that would be looked up: no share changes, but they are exact, and intervals know it
    contents = dict(mixtures.contents) if mixtures.name in (*SIMULATED, *ACROSS) else None
    td.tl.deconvolve(
        bulk,
        mixtures.reference.copy(),
        cell_type=TYPE,
        donor_key=donor,
        kind=mixtures.kind,
        contents=contents,
        rng=seed,
        **asked,
    )
    return bulk
