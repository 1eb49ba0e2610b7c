from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._adversarial_keys import RobustnessKeys
from sctandem._checks import (
    article,
    check_adata,
    check_key,
    check_n_cells,
    check_number,
    check_target,
    check_type,
    listed,
    working_copy,
)
from sctandem._random import draw_seed
from sctandem._text_rows import text_rows

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.model.base import AttackConfig


def robustness(
    adata: AnnData,
    model: Any,
    labels: str | None = None,
    *,
    attacks: AttackConfig | None = None,
    max_cells: int = 2000,
    key_added: str = "robustness",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Measure how much of what a model says of cells is left when their counts are moved against it, or lost.

    Needs a trained model that reads counts: :class:`~sctandem.model.CapsuleNet`, :class:`~sctandem.model.DeepDE`.

    Parameters
    ----------
    adata
        The object to write to, with the features of the model and the columns it was set up with; best cells that it was not
        trained on.
    model
        Trained.
    labels
        Column of ``obs`` with the true classes. `None` takes what the model reads off the unmoved cells: its labels, or where it
        has none clusters of its states (:func:`sctandem.tl.anneal`).
    attacks
        Attacks and their strengths; `None` for the defaults of :class:`~sctandem.model.base.AttackConfig`.
    max_cells
        Of more cells, as many are drawn.
    key_added
        Name of the result.
    rng
        Seed of the draw, of random starts and of lost molecules; `None` draws one. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets ``adata.uns[key_added]`` with:

    ``table`` : :class:`pandas.DataFrame`
        A row an attack and strength: ``attack``, ``strength``, ``accuracy`` (share of cells that are still read as what they
        are), ``kept`` (share read as before the attack), ``ari`` (adjusted Rand index of classes before and under the attack).
    ``max_change`` : :class:`pandas.DataFrame`
        A row a class: ``group`` and ``largest_share``, the largest share of genes of its mean that can be set to much, least
        influential first, with the class kept. Near 1 the class hangs on few genes.
    ``clean_accuracy``, ``score`` : :class:`float`
        Accuracy without an attack, and the mean over the four attacks of the mean accuracy over their strengths: one number,
        which can be compared between models on the same cells and strengths.
    ``params`` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When `labels` is not there; lists what is.
    ValueError
        When the model is not trained, has no network that reads counts, or knows none of the labels.
    TypeError
        When `adata` is not an AnnData.

    Notes
    -----
    Attacks: ``pgd`` moves log1p of counts per 10,000 of all expressed genes by up to ``strength`` and no count by more than two
    Poisson standard deviations, depth kept; ``genes`` sets ``strength`` genes to nothing or to their 99th percentile, one after
    the other; ``dropout`` takes all counts of this part of the genes; ``depth`` leaves this part of the molecules. The first
    two see the model (its gradients), and what a weaker attack found counts for the stronger; the last two are chance. Moved counts need
    not be whole: rounding would hide most of it. Where the model has no labels, the class of a cell is the nearest mean of the
    groups in its state, scaled by their spread. No attack of this kind proves that none is stronger.

    References
    ----------
    Fievet et al., adverSCarial (Bioconductor, 2025), for single-gene and max-change attacks;
    Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> from sctandem.model.base import CountVAEModel
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (60, 20)).astype("float32"))
    >>> adata.obs["type"] = np.repeat(["a", "b"], 30)
    >>> CountVAEModel.setup_anndata(adata)
    >>> model = CountVAEModel(adata, rng=0)
    >>> model.train(2, rng=0)
    >>> td.tl.robustness(adata, model, "type", rng=0)
    >>> td.get.robustness(adata)["attack"].unique().tolist()
    ['pgd', 'genes', 'dropout', 'depth']
    """
    from sctandem.model.base import AttackConfig
    from sctandem.model.base._class_reader import ClassReader
    from sctandem.model.base._robustness import attack

    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    check_number(max_cells, "max_cells", low=10, whole=True)
    attacks = AttackConfig() if attacks is None else attacks
    check_type(attacks, AttackConfig, "attacks")
    check_n_cells(adata.n_obs, 2, "measuring robustness", "adata")
    if not hasattr(getattr(model, "module", None), "state_of"):
        msg = f"model is {article(type(model).__name__)}, which has no network that reads counts of cells by gradient, so that it cannot be attacked."
        raise ValueError(msg)
    if not model.is_trained:
        msg = f"this {type(model).__name__} is not trained; call `model.train()` first."
        raise ValueError(msg)
    given = None if labels is None else check_key(adata.obs, labels, "adata.obs").astype(str).to_numpy()
    seed = draw_seed(rng)
    generator = np.random.default_rng(seed)
    chosen = np.arange(adata.n_obs)
    if adata.n_obs > max_cells:
        chosen = np.sort(generator.choice(adata.n_obs, max_cells, replace=False))
    # another object than that of the model is copied: setting it up for the model would leave traces
    where = (None, chosen) if adata is model.adata else (_in_memory(adata, chosen), None)
    groups = _groups(model, where, seed) if given is None else given[chosen]
    reader = ClassReader(model, where, groups)
    place = {name: code for code, name in enumerate(reader.names)}
    codes = np.array([place.get(name, -1) for name in groups])
    if (codes < 0).all():
        msg = f"adata.obs[{labels!r}] has none of the labels of the model: {listed(reader.names)}."
        raise ValueError(msg)
    found = attack(reader, codes, attacks, seed=seed)
    keys = RobustnessKeys(key_added)
    table = pd.DataFrame(found.rows(codes))
    params: dict[str, Any] = {"labels": labels, "max_cells": max_cells, "seed": seed, "model": type(model).__name__}
    params |= {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(attacks).items()}
    result = working_copy(adata, copy=copy)
    result.uns[keys.key] = {
        keys.params: {k: v for k, v in params.items() if v is not None} | {"version": version("sctandem")},
        keys.table: text_rows(table),
        keys.max_change: text_rows(
            pd.DataFrame({keys.group: list(found.largest), keys.largest: list(found.largest.values())})
        ),
        keys.clean: float(np.mean(found.clean == codes)),
        keys.score: float(table.groupby(keys.attack)[keys.accuracy].mean().mean()),
    }
    return result if copy else None


def _in_memory(adata: AnnData, chosen: np.ndarray) -> AnnData:
    """Copy the chosen cells; of an object that a file backs no more than these are read."""
    return adata[chosen].to_memory() if adata.isbacked else adata[chosen].copy()


def _groups(model: Any, where: tuple[AnnData | None, np.ndarray | None], seed: int) -> np.ndarray:
    """Give what the model reads off the cells: its labels, or clusters of its states."""
    from sctandem.kernels._annealing_fit import anneal

    if getattr(model, "label_names", None):
        return model.predict(where[0], indices=where[1]).astype(str).to_numpy()
    states = model.get_latent_representation(where[0], indices=where[1])
    return anneal(states, rng=np.random.default_rng(seed)).memberships.argmax(1).astype(str)
