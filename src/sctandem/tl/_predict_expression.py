from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from sctandem._checks import (
    check_counts,
    check_layer,
    check_modalities,
    check_mudata,
    check_number,
    check_roles,
    check_same_cells,
    check_target,
    check_type,
    holds_counts,
    layer_slot,
    working_copy,
)
from sctandem._compat import add_modality
from sctandem._keys import PredictionKeys
from sctandem._random import as_generator, draw_seed
from sctandem.data import as_csr
from sctandem.kernels._knn import knn_weights
from sctandem.tl._scoring import log_normalise, score_prediction
from sctandem.tl._train_model import train_tape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mudata import MuData
    from scipy import sparse

    from sctandem._random import RNG
    from sctandem.model import TAPE

logger = logging.getLogger(__name__)

#: Held-out cells below which no gene is scored.
MIN_CELLS = 10
#: Components of chromatin in which neighbours are sought.
N_COMPONENTS = 30


def predict_expression(
    mdata: MuData,
    model: TAPE | None = None,
    *,
    modalities: Mapping[str, str] | None = None,
    train_size: float = 0.8,
    windows_key: str = "gene_windows",
    sequence_key: str = "sequence",
    key_added: str = "tape",
    rng: RNG = None,
    copy: bool = False,
) -> MuData | None:
    """Predict the expression of every gene from chromatin, and say how good that is.

    Needs :func:`sctandem.pp.gene_windows` where no model is given. Predictions are scored on cells that the model was not
    fitted to, beside the mean of the gene and the nearest neighbours in chromatin.

    Parameters
    ----------
    mdata
        Holds chromatin counts, and for the scores the measured counts of the same cells.
    model
        A trained :class:`~sctandem.model.TAPE`, of this object or of another with the same peaks. `None` trains one at
        its defaults on a copy of `mdata` (counts in ``X``, library sizes from the total counts), which then goes.
    modalities
        From the roles ``"rna"`` and ``"atac"`` to the names of the modalities. By default the same, or those of the
        model.
    train_size
        Part of the cells to train on when no model is given; the others are scored.
    windows_key, sequence_key
        Where no model is given: the `key_added` of :func:`~sctandem.pp.gene_windows` and of
        :func:`~sctandem.pp.sequence_features` (or ``"kmers"`` or ``"motifs"`` of
        :func:`~sctandem.pp.nucleotide_spectrum`), which are used when present.
    key_added
        Name of the result.
    rng
        Seed of the training and of the choice of neighbours; `None` draws one. The seed is kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `mdata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `mdata["rna"].layers[key_added]` : :class:`numpy.ndarray` (dtype `float32`)
        Expected counts per 10,000 of the library, cells x genes (see :meth:`~sctandem.model.TAPE.predict_expression`), which without
        `size_factor_key` is the sum over the genes that the model did not hold out (``params["heldout_genes"]``). An object without
        RNA gets a new modality ``rna``; its ``X`` stays empty (`None`), as nothing was measured.
    `mdata.obs[f"{key_added}_heldout"]` : :class:`pandas.Series` (dtype `bool`)
        Cells that the model was not fitted to, told by their names, which must differ between objects. The others were
        trained on: do not judge predictions by them. A model that was trained with `early_stopping` has chosen its epoch
        on its validation cells, which are among these.
    `mdata["rna"].var[f"{key_added}_pearson"]`, `_auroc`, `_rmse` : :class:`pandas.Series` (dtype `float64`)
        Over held-out cells, on log1p of counts per 10,000, expected at the median library size: that a deeper cell shows
        more is no skill. AUROC of detection.
    `mdata["rna"].var[f"{key_added}_gain_mean"]`, `_gain_knn`, `_gain` : :class:`pandas.Series` (dtype `float64`)
        Part of the squared error of the mean and of the neighbours that is gone, and the smaller of the two.
    `mdata["rna"].var[f"{key_added}_verdict"]` : :class:`pandas.Series` (dtype `category`)
        ``better than kNN``, ``better than the mean``, ``no better than the mean`` (paired test over cells, false discovery
        rate 5 % over genes), or ``not scored`` (held out, or counts in fewer than 20 held-out cells).
    `mdata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with; ``scored`` (bool), whether the columns of ``var`` are there; ``chosen_on_heldout``
        (bool), whether early stopping chose the model's epoch on cells that were scored.

    Raises
    ------
    KeyError
        When a modality, the windows (without a model) or peaks of the model are missing.
    ValueError
        When counts are not counts, or the genes of `mdata` are not those of the model. Nothing is written then.
    TypeError
        When `mdata` is not a MuData, `model` not a TAPE, or a name not text.

    Notes
    -----
    Scores need at least 10 held-out cells with measured counts; else there are none, and those of an earlier call under
    the same name are removed. Scores on the cells by which early stopping chose the epoch are a little too good: a warning
    says so. Genes that the model held out
    (`heldout_genes`) have no gains and no verdict, as mean and neighbours would have to know their counts. Memory: the
    prediction is dense. Without a model, the time is that of its training, a minute or two for 2,000 cells x 50,000 peaks on
    two cores; train one yourself to use it again, for links, or with batches and library sizes of your own.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(300, 60, 600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.model.TAPE.setup_mudata(mdata)
    >>> model = td.model.TAPE(mdata)
    >>> model.train(2, train_size=0.8, rng=0)
    >>> td.tl.predict_expression(mdata, model, rng=0)
    >>> mdata["rna"].layers["tape"].shape
    (300, 60)
    """
    check_number(train_size, "train_size", low=0.1, high=1)
    check_mudata(mdata)
    check_target(mdata, key_added, copy=copy)
    if model is not None:
        from sctandem.model import TAPE

        check_type(model, TAPE, "model")
    rna, atac = _names(mdata, model, modalities)
    seed = draw_seed(rng)
    too_few = "train with train_size < 1"
    if model is None:
        model = train_tape(
            mdata, modalities, train_size=train_size, windows_key=windows_key, sequence_key=sequence_key, seed=seed
        )
        too_few = f"lower train_size={train_size:g}"
    elif model.adata is not mdata:
        too_few += _collision(mdata, model)
    keys = PredictionKeys(key_added)
    chromatin = mdata if atac == model.modalities["atac"] else _renamed(mdata, atac, model.modalities["atac"])
    predicted = model.predict_expression(chromatin)
    heldout = ~mdata.obs_names.isin(model.train_cells_)
    table = None
    if rna in mdata.mod:
        genes = mdata.mod[rna].var_names
        absent = genes.difference(predicted.columns)
        if len(absent):
            msg = f"mdata[{rna!r}] has {len(absent)} genes that the model does not know, such as {list(absent[:3])}."
            raise ValueError(msg)
        predicted = predicted[genes] if not genes.equals(predicted.columns) else predicted
        if holds_counts(mdata.mod[rna], model.setup_args["rna_layer"]):
            table = _score(mdata, chromatin, model, rna=rna, heldout=heldout, keys=keys, seed=seed, too_few=too_few)

    result = working_copy(mdata, copy=copy)
    if rna not in result.mod:  # without X: a prediction is not to be taken for counts
        new = AnnData(obs=pd.DataFrame(index=predicted.index), var=pd.DataFrame(index=predicted.columns))
        new.layers[keys.layer] = predicted.to_numpy()
        add_modality(result, rna, new)
    result.mod[rna].layers[keys.layer] = predicted.to_numpy()
    _write_skill(result.mod[rna], table, keys)
    result.obs[keys.heldout] = heldout
    chosen = table is not None and bool((heldout & mdata.obs_names.isin(model.chosen_on_)).any())
    params: dict[str, Any] = {
        "rna": rna,
        "atac": atac,
        "seed": seed,
        "n_heldout": int(heldout.sum()),
        "scored": table is not None,
        "chosen_on_heldout": chosen,
        "version": version("sctandem"),
    }
    setup = model.setup_args
    if len(model.heldout_genes):  # library sizes, to which the layer is relative, leave them out
        params["heldout_genes"] = np.array(model.heldout_genes, dtype=str)
    params |= {name: setup[name] for name in ("rna_layer", "size_factor_key") if setup[name] is not None}
    result.uns[keys.key] = {keys.params: params}
    return result if copy else None


def _write_skill(rna: AnnData, table: pd.DataFrame | None, keys: PredictionKeys) -> None:
    """Write the scores, or take away those of an earlier prediction."""
    if table is None:
        for column in set(keys.skill) & set(rna.var.columns):
            del rna.var[column]
        return
    for column in table:
        rna.var[column] = table[column].to_numpy() if column != keys.verdict else table[column].array


def _names(mdata: MuData, model: TAPE | None, modalities: Mapping[str, str] | None) -> tuple[str, str]:
    """Find the modalities, and check that all of them and the object have the same cells in the same order."""
    given = {**(model.modalities if model is not None else {}), **check_roles(modalities)}
    # chromatin alone is enough for a model, unless the user says that there is RNA as well
    alone = given.get("rna", "rna") not in mdata.mod and "rna" not in (modalities or {})
    roles = ("atac",) if alone else ("rna", "atac")
    unknown = set(given) - {"rna", "atac"}
    named = check_modalities(
        mdata, {role: name for role, name in given.items() if role in roles or role in unknown}, required=roles
    )
    check_same_cells(mdata, list(named.values()))
    if not mdata.obs_names.equals(mdata.mod[named["atac"]].obs_names):
        msg = (
            f"mdata.obs_names and mdata[{named['atac']!r}].obs_names differ or are in another order. Keep the cells that all "
            "modalities have: `mudata.pp.intersect_obs(mdata)`, or build the MuData again from aligned modalities."
        )
        raise ValueError(msg)
    return named.get("rna", given.get("rna", "rna")), named["atac"]


def _renamed(mdata: MuData, name: str, new: str) -> MuData:
    """Return an object that holds one modality under another name, without copying it."""
    from sctandem._compat import new_mudata

    return new_mudata({new: mdata.mod[name]})


def _expression(
    mdata: MuData, rna: str, model: TAPE, cells: np.ndarray, genes: pd.Index
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Read measured log-normalised expression as the model was told to, and the library sizes."""
    setup = model.setup_args
    adata = mdata.mod[rna]
    layer, slot = setup["rna_layer"], f"mdata[{rna!r}]"
    counts = check_layer(adata, layer, slot)
    check_counts(counts, layer_slot(slot, layer))
    counts = as_csr(counts)[cells]
    shown = ~adata.var_names.isin(model.heldout_genes)
    library = np.asarray(counts[:, shown].sum(1), dtype=np.float64).ravel()
    key = setup["size_factor_key"]
    if key is not None:
        obs = adata.obs if key in adata.obs else mdata.obs
        if key not in obs:
            msg = f"the model was trained with size_factor_key={key!r}, which is in neither {slot}.obs nor mdata.obs."
            raise KeyError(msg)
        library = obs[key].to_numpy(dtype=np.float64)[cells]
    return log_normalise(counts[:, adata.var_names.get_indexer(genes)], library), library


def _collision(mdata: MuData, model: TAPE) -> str:
    """Say that cells of another object may only be called like the training cells."""
    known = int(mdata.obs_names.isin(model.train_cells_).sum())
    if known == 0:
        return ""
    return (
        f". {known} of the {mdata.n_obs} cells have names of cells that the model was trained on and are taken for these. Where "
        "they are others (barcodes repeat between samples), make the names differ, such as by the sample in front"
    )


def _score(
    mdata: MuData,
    chromatin: MuData,
    model: TAPE,
    *,
    rna: str,
    heldout: np.ndarray,
    keys: PredictionKeys,
    seed: int,
    too_few: str,
) -> pd.DataFrame | None:
    """Score the held-out cells, or say why not: `too_few` is what to do where too few are held out."""
    genes = mdata.mod[rna].var_names
    cells = np.flatnonzero(heldout)
    measured, library = _expression(mdata, rna, model, cells, genes)
    cells, measured, library = cells[library > 0], measured[library > 0], library[library > 0]
    if cells.size < MIN_CELLS:
        logger.warning(
            "%d held-out cells with counts: too few to score the prediction (%d are needed); %s.",
            cells.size,
            MIN_CELLS,
            too_few,
        )
        return None
    n_chosen = int(mdata.obs_names[cells].isin(model.chosen_on_).sum())
    if n_chosen:
        logger.warning(
            "the model was trained with early stopping, which chose the epoch on %d of the %d held-out cells: their scores "
            "are a little too good. For untouched ones leave cells out of the training altogether.",
            n_chosen,
            cells.size,
        )
    # at one depth for all cells: a gene is not known by knowing in how many molecules a cell was read
    depth = float(np.median(library))
    predicted = model.predict_expression(chromatin[cells], scale="log1p", library_size=depth)[genes].to_numpy()
    source, train = model.adata, model.adata.obs_names.get_indexer(pd.Index(model.train_cells_))
    known_rna = source.mod.get(model.modalities["rna"])
    if (train < 0).any() or known_rna is None or not holds_counts(known_rna, model.setup_args["rna_layer"]):
        logger.warning(
            "the model was loaded without the counts of its training cells: nearest neighbours are missing, nothing is scored."
        )
        return None
    known, _ = _expression(source, model.modalities["rna"], model, train, genes)
    weights, k = knn_weights(
        model.get_components(source, n_components=N_COMPONENTS)[train],
        model.get_components(chromatin, n_components=N_COMPONENTS)[cells],
        known,
        rng=as_generator(seed),
    )
    logger.info("nearest neighbours: k = %d", k)
    scorable = ~genes.isin(model.heldout_genes)
    return score_prediction(measured, predicted, train=known, neighbours=weights, scorable=scorable, keys=keys)
