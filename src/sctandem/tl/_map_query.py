from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._check_arguments import received
from sctandem._checks import check_adata, check_number, check_target, check_type, check_unique, working_copy
from sctandem._keys import UNKNOWN
from sctandem._mapped_keys import MappedKeys
from sctandem._random import draw_seed

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.model import CapsuleNet, DeepDE


def map_query(
    adata: AnnData,
    reference_model: CapsuleNet | DeepDE,
    labels: str | None = None,
    *,
    min_score: float = 0.05,
    key_added: str = "mapped",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    """Map cells onto a reference that was trained before: its embedding, its labels, and how well each cell fits it.

    Needs raw counts where the reference had them, in `X` or the layer of the same name, and names of genes of the same kind. Nothing is trained.

    Parameters
    ----------
    adata
        The query, the object to write to. It may lack genes of the reference and have others, batches that are new, and cells of
        types that are new.
    reference_model
        A trained model: a :class:`~sctandem.model.CapsuleNet`, which hands on the labels that it has learned, or a
        :class:`~sctandem.model.DeepDE`. It is not changed.
    labels
        Column of `reference_model.adata.obs` with labels to hand on, for a model that has not learned any; `None` for none.
    min_score
        Cells with a lower score are `"unknown"`, between 0 and 1; 0 for none.
    key_added
        Name of the result.
    rng
        Seed of the cells of the reference that set the scale of the scores, where the model has no labels of its own; `None`
        draws one. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.obsm["X_<key_added>"]` : :class:`numpy.ndarray` (dtype ``float32``)
        Latent state of each cell in the space of the reference, cells x dimensions.
    `adata.obs[key_added]` : :class:`pandas.Series` (dtype ``category``)
        Label of each cell, ``"unknown"`` where its score is below `min_score`. Only where there are labels, as the next.
    `adata.obs["<key_added>_confidence"]` : :class:`pandas.Series` (dtype ``float64``)
        Probability of the likeliest label, given that it is one of the reference, between 0 and 1; calibrated on cells of the reference,
        for a new batch of a CapsuleNet on such cells that are measured otherwise, by half of the genes.
    `adata.obs["<key_added>_score"]` : :class:`pandas.Series` (dtype ``float64``)
        Between 0 and 1, small for cells unlike any of the reference: twice the smaller of two p-values, that the cell lies as far out of the
        regions of the labels (or groups) as it does, and that it is given back as badly as it is. What all cells of a new batch
        have in common is taken off both.
    `adata.uns[key_added]["moved"]` : :class:`dict`
        For each new batch by how many interquartile ranges of the reference its median cell lies further out; above about 2
        labels and scores deserve little trust.
    `adata.uns[key_added]["params"]` : :class:`dict`
        The arguments, ``seed``, the genes that were absent (their number), and the version.

    Raises
    ------
    KeyError
        When a layer or column is not there.
    ValueError
        For values that are not counts, missing batches, less than a twentieth of the genes, labels for a model that has its own,
        a model that is not trained or has no cells where these are needed, or a `key_added` that is a column which the reference reads, such as
        that of the batches. Nothing is written then.
    TypeError
        When `adata` is not an AnnData, or `reference_model` is of a class that does not map.

    Notes
    -----
    Genes that the query lacks are left out of the model and not set to 0. A new batch of a CapsuleNet is placed by the means of its genes
    against the mixture of types that comes nearest; this needs a batch key, even of a single batch, when the reference is set up. Its labels are
    told by capsules, regression, and the cosine of a cell with the mean of each label, in standard deviations of the genes; they are weighed by cells of the
    reference that no expert was fitted to, with half of the genes, each measured better or worse by a factor (standard deviation of its logarithm 0.5), and 0.8 of
    the depth. In a batch that is further from the reference (``moved``) confidence says too much. Where more than half of the cells of a new batch are of
    new types, their scores are too high. Cost: linear in the cells, about 10,000 a few seconds to a minute.

    References
    ----------
    Lotfollahi et al., Mapping single-cell data to reference atlases by transfer learning, Nature Biotechnology 40 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> types = rng.integers(2, size=400)
    >>> cells = AnnData(rng.poisson(5 * np.exp(rng.normal(size=(2, 40)))[types]).astype("float32"))
    >>> cells.obs["type"] = np.array(["a", "b"])[types]
    >>> cells.obs["batch"] = "first"
    >>> reference, query = cells[:300].copy(), cells[300:, :35].copy()
    >>> query.obs["batch"] = "second"
    >>> td.model.CapsuleNet.setup_anndata(reference, labels_key="type", batch_key="batch")
    >>> model = td.model.CapsuleNet(reference, rng=0)
    >>> model.train(rng=0)
    >>> td.tl.map_query(query, model, min_score=0)
    >>> bool((query.obs["mapped"] == query.obs["type"]).mean() > 0.9)
    True
    """
    from sctandem.model.base import TransferMixin
    from sctandem.model.base._query import read_names

    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    check_unique(adata.obs_names, "adata.obs_names")
    if not isinstance(reference_model, TransferMixin):
        msg = f"reference_model must be a trained model that maps cells, a CapsuleNet or a DeepDE, got {received(reference_model)}."
        raise TypeError(msg)
    if labels is not None:
        check_type(labels, str, "labels", hint="It names one column.")
    check_number(min_score, "min_score", high=1)
    seed, keys = draw_seed(rng), MappedKeys(key_added)
    for column in (keys.label, keys.confidence, keys.score):
        if column in {labels, *read_names(reference_model)}:
            msg = f"key_added={key_added!r} would write adata.obs[{column!r}], which the reference reads; choose another name."
            raise ValueError(msg)
    mapped = reference_model.map_cells(adata, labels, rng=seed)
    params: dict[str, Any] = {
        "model": type(reference_model).__name__,
        "min_score": float(min_score),
        "seed": seed,
        "absent": int((~reference_model.adata.var_names.isin(adata.var_names)).sum()),
        "version": version("sctandem"),
    }
    if labels is not None:
        params["labels"] = labels
    score = mapped.score.to_numpy(dtype=np.float64)
    result = working_copy(adata, copy=copy)
    for column in (keys.label, keys.confidence):  # of an earlier call
        if column in result.obs:
            del result.obs[column]
    if mapped.probabilities is not None:
        names = [str(name) for name in mapped.probabilities.columns]
        values = mapped.probabilities.to_numpy(dtype=np.float64)
        codes = np.where(score < min_score, len(names), values.argmax(axis=1))
        result.obs[keys.label] = pd.Categorical.from_codes(codes, [*names, UNKNOWN])
        result.obs[keys.confidence] = values.max(axis=1)
    result.obs[keys.score] = score
    result.obsm[keys.embedding] = mapped.latent.astype(np.float32)
    result.uns[keys.key] = {keys.params: params, keys.moved: mapped.moved}
    return result if copy else None
