"""Train a model for a function that was called without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anndata import AnnData

from sctandem._checks import check_modalities
from sctandem._compat import new_mudata

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from mudata import MuData

    from sctandem.model import TAPE


def train_tape(
    mdata: MuData,
    modalities: Mapping[str, str] | None,
    *,
    train_size: float,
    windows_key: str,
    sequence_key: str,
    seed: int,
) -> TAPE:
    """Train a TAPE at its defaults on a shallow copy, so that setting it up leaves no trace in the user's object.

    Parameters
    ----------
    mdata
        The object, after `pp.gene_windows`; counts in `X`.
    modalities
        Names of the modalities by role.
    train_size
        Part of the cells to train on.
    windows_key, sequence_key
        As in `TAPE.setup_mudata`.
    seed
        Seed of the training.

    Returns
    -------
    The trained model.
    """
    from sctandem.model import TAPE

    names = check_modalities(mdata, modalities)
    parts = {
        name: AnnData(mdata.mod[name].X, obs=mdata.mod[name].obs.copy(), var=mdata.mod[name].var)
        for name in names.values()
    }
    chromatin = mdata.mod[names["atac"]]
    for key in chromatin.varm:
        parts[names["atac"]].varm[key] = chromatin.varm[key]
    bare = new_mudata(parts)
    bare.uns.update({key: value for key, value in mdata.uns.items() if key == windows_key})
    TAPE.setup_mudata(bare, modalities=modalities, windows_key=windows_key, sequence_key=sequence_key)
    model = TAPE(bare)
    model.train(train_size=train_size, rng=seed)
    return model


def train_deepde(adata: AnnData, samples: np.ndarray, *, layer: str | None, seed: int) -> tuple[np.ndarray, list[str]]:
    """Train a DeepDE at its defaults on a shallow copy, and return its states.

    Parameters
    ----------
    adata
        Holds counts.
    samples
        Name of the sample of each cell.
    layer
        Layer of the counts; `None` for `X`.
    seed
        Seed of the training and of the states.

    Returns
    -------
    Weights, cells x states, and the names of the states.
    """
    import pandas as pd

    from sctandem.model import DeepDE

    column = "sample"
    matrix = adata.X if layer is None else adata.layers[layer]
    bare = AnnData(matrix, obs=pd.DataFrame({column: samples}, index=adata.obs_names), var=adata.var[[]])
    DeepDE.setup_anndata(bare, column)
    model = DeepDE(bare, rng=seed)
    model.train(rng=seed)
    weights = model.get_state_weights(rng=seed)
    return weights.to_numpy(), list(weights.columns)
