"""Weights of the cells in a training, read from `obs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sctandem._checks import check_key, check_type, listed
from sctandem.data._streamed import obs_slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from mudata import MuData


def read_weights(data: AnnData | MuData, sample_weight: str | None) -> np.ndarray | None:
    """Return the weights of the cells.

    Parameters
    ----------
    data
        The object that the model was made with.
    sample_weight
        Column of its `obs`; `None` for none.

    Returns
    -------
    float64, 0 or more, (cells,); or `None`.

    Raises
    ------
    KeyError
        When the column is not there; lists those that are.
    ValueError
        When it holds anything but finite numbers of at least 0, or only zeros.
    TypeError
        When the name is not text.
    """
    if sample_weight is None:
        return None
    check_type(
        sample_weight,
        str,
        "sample_weight",
        hint="It names a column of obs; `td.pp.hierarchical_weights` writes 'hcm_weight'.",
    )
    obs = obs_slot(data)
    column = check_key(data.obs, sample_weight, obs)
    slot = f"{obs}[{sample_weight!r}]"
    if column.dtype.kind not in "fiub":
        msg = f"{slot} is of {column.dtype}, but weights are numbers; `td.pp.hierarchical_weights` makes them from clusters."
        raise ValueError(msg)
    weights = column.to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        msg = f"{slot} is {weights[bad[0]]} in {data.obs_names[bad[0]]!r} and no finite number of at least 0 in {len(bad)} cells."
        raise ValueError(msg)
    if not weights.any():
        msg = f"{slot} is 0 in all cells: there is nothing to learn from."
        raise ValueError(msg)
    return weights


def relative_weights(weights: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Scale weights to mean 1 within groups.

    Parameters
    ----------
    weights
        Of the cells.
    groups
        Group of each, 0, 1, ...
    names
        Of the groups.

    Returns
    -------
    The weights, (cells,).

    Raises
    ------
    ValueError
        When the cells of a group all have weight 0; names it.
    """
    total = np.bincount(groups, weights, len(names))
    if (total == 0).any():
        empty = [name for name, sum_ in zip(names, total, strict=True) if sum_ == 0]
        msg = f"sample_weight is 0 in all cells of {listed(empty)}; a type without cells has no profile."
        raise ValueError(msg)
    return weights * (np.bincount(groups, minlength=len(names)) / total)[groups]
