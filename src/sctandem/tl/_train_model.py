"""Train a model for a function that was called without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from anndata import AnnData

from sctandem._checks import check_counts, check_modalities, check_slot, listed
from sctandem._compat import new_mudata
from sctandem._keys import UNKNOWN, GeneWindowKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from mudata import MuData

    from sctandem.model import RSD, TAPE, CapsuleNet


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
    named = "" if windows_key == GeneWindowKeys().key else f", key_added={windows_key!r}"
    windows = check_slot(mdata.uns, windows_key, "mdata.uns", f"td.pp.gene_windows(mdata{named})")
    parts = {
        name: AnnData(mdata.mod[name].X, obs=mdata.mod[name].obs.copy(), var=mdata.mod[name].var)
        for name in names.values()
    }
    chromatin = mdata.mod[names["atac"]]
    for key in chromatin.varm:
        parts[names["atac"]].varm[key] = chromatin.varm[key]
    bare = new_mudata(parts)
    bare.uns[windows_key] = windows
    TAPE.setup_mudata(bare, modalities=modalities, windows_key=windows_key, sequence_key=sequence_key)
    model = TAPE(bare)
    model.train(train_size=train_size, rng=seed)
    return model


def train_capsules(
    bare: AnnData,
    *,
    labels: str | None,
    n_capsules: int | None,
    batch_key: str | None,
    size_factor_key: str | None,
    seed: int,
) -> CapsuleNet:
    """Train a CapsuleNet at its defaults.

    Parameters
    ----------
    bare
        Counts in `X` and the columns named below in `obs`; it is set up, so not the user's object.
    labels
        Column with the labels; `None` for none.
    n_capsules
        Number of capsules; `None` finds it.
    batch_key, size_factor_key
        As in `CapsuleNet.setup_anndata`.
    seed
        Seed of the training.

    Returns
    -------
    The trained model.
    """
    from sctandem.model import CapsuleNet
    from sctandem.module import CapsuleConfig

    CapsuleNet.setup_anndata(
        bare, labels_key=labels, unlabeled_category=UNKNOWN, batch_key=batch_key, size_factor_key=size_factor_key
    )
    model = CapsuleNet(bare, config=CapsuleConfig(n_types=n_capsules), rng=seed)
    model.train(rng=seed)
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
    from sctandem.model import DeepDE

    column = "sample"
    matrix = adata.X if layer is None else adata.layers[layer]
    bare = AnnData(matrix, obs=pd.DataFrame({column: samples}, index=adata.obs_names), var=adata.var[[]])
    DeepDE.setup_anndata(bare, column)
    model = DeepDE(bare, rng=seed)
    model.train(rng=seed)
    weights = model.get_state_weights(rng=seed)
    return weights.to_numpy(), list(weights.columns)


def train_rsd(reference: AnnData, cell_type: str, *, donor_key: str | None, seed: int) -> RSD:
    """Train an RSD at its defaults on a shallow copy of the reference.

    Parameters
    ----------
    reference
        Single cells with counts in `X`.
    cell_type, donor_key
        Columns of `obs` with the type and the donor.
    seed
        Seed of the training.

    Returns
    -------
    The trained model.
    """
    from sctandem.model import RSD

    bare = _bare(reference, cell_type, donor_key)
    RSD.setup_anndata(bare, cell_type, donor_key=donor_key)
    model = RSD(bare, rng=seed)
    model.train(rng=seed)
    return model


def _bare(reference: AnnData, *columns: str | None) -> AnnData:
    """Make an object of counts as CSR in memory, without categories that no cell has."""
    from sctandem.data import as_csr

    obs = reference.obs.copy()
    for name in columns:
        if name in obs and isinstance(obs[name].dtype, pd.CategoricalDtype):
            obs[name] = obs[name].cat.remove_unused_categories()
    try:
        check_counts(reference.X, "reference.X")
    except ValueError as error:
        layers = [name for name in reference.layers if name is not None]
        if not layers:
            raise
        msg = f"{error} Only X is read; to take a layer ({listed(layers)}): reference.X = reference.layers[{layers[0]!r}].copy()."
        raise ValueError(msg) from None
    return AnnData(as_csr(reference.X), obs=obs, var=reference.var)
