"""Read the covariate that states are to hide, and the groups within which they are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from sctandem._checks import check_key
from sctandem.train._domain import DOMAIN_KEY, WITHIN_KEY

if TYPE_CHECKING:
    from torch import Tensor

    from sctandem.train import TrainConfig


def read_domains(data: Any, config: TrainConfig) -> dict[str, Tensor]:
    """Lay out what minibatches need of the covariate.

    Parameters
    ----------
    data
        The AnnData or MuData of a model.
    config
        `domain_adversarial` names the covariate, `domain.within` the groups.

    Returns
    -------
    Codes of each cell, cells x 1, by the key of the minibatches; nothing without a covariate. A cell without a group has -1.

    Raises
    ------
    KeyError
        When there is no such column.
    ValueError
        When the covariate is missing for cells, or has only one value.
    """
    if config.domain_adversarial is None:
        return {}
    column = check_key(data.obs, config.domain_adversarial, "adata.obs")
    slot = f"adata.obs[{config.domain_adversarial!r}]"
    if missing := int(column.isna().sum()):
        msg = f"{slot} is missing for {missing} cells; domain_adversarial= needs one value for every cell."
        raise ValueError(msg)
    codes, names = pd.factorize(column.astype(str), sort=True)
    if len(names) < 2:
        msg = f"{slot} has the one value {names[0]!r}; domain_adversarial= needs at least 2 to hide, or leave it out."
        raise ValueError(msg)
    found = {DOMAIN_KEY: _cells_by_one(codes)}
    if config.domain.within is not None:
        found[WITHIN_KEY] = _cells_by_one(pd.factorize(check_key(data.obs, config.domain.within, "adata.obs"))[0])
    return found


def _cells_by_one(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(codes, dtype=np.int64)[:, None])
