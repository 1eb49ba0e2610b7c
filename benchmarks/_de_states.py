"""Nulls on states that a model found, whose weights every cell spreads over several."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmarks._de_data import DONOR, TYPE, control_cells, grouped, splits
from benchmarks._de_runs import assessed, calibration

if TYPE_CHECKING:
    from anndata import AnnData

STATES = "deepde_states"


@lru_cache(maxsize=1)
def with_states(seed: int) -> AnnData:
    """Let a model find states in the control cells, once: it is told the donors and not the groups, so those of any split are the same.

    `TYPE` becomes the likeliest state, for methods that know no weights.
    """
    import sctandem as td

    adata = control_cells()
    some = grouped(adata.copy(), splits(4)[0])
    td.tl.differential_expression(some, "group", DONOR, rng=seed)
    adata.obsm[STATES] = some.obsm[STATES]
    adata.obs[TYPE] = adata.obsm[STATES].idxmax(axis=1).astype(str).to_numpy()
    return adata


def null_split(first: tuple[str, ...], seed: int) -> list[dict[str, Any]]:
    """Test a split of the control cells."""
    return calibration(assessed(grouped(with_states(seed).copy(), first), states=STATES))
