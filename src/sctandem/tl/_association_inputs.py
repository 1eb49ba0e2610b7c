"""What gene associations are computed from: genes, strata and samples, by default those of differential expression."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._blocks import as_csr
from sctandem._checks import (
    check_counts,
    check_key,
    check_layer,
    check_slot,
    check_type,
    check_unique,
    layer_slot,
    listed,
)
from sctandem._keys import DEKeys
from sctandem.tl._de_samples import find_samples, state_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from scipy import sparse

    from sctandem.tl._de_samples import Samples

KEYS = DEKeys()
CALL = "td.tl.differential_expression(adata, groupby, sample_key)"
#: Most genes that are taken from differential expression: the network of more is not read by anybody.
MAX_GENES = 500
#: Fewest genes.
MIN_GENES = 3
#: Cells whose weights are laid out at once.
_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Inputs:
    """What associations are computed from.

    Attributes
    ----------
    counts
        Cells x all genes.
    genes
        Positions of the genes that are looked at.
    strata
        Stratum (state of a sample) of each cell, -1 for none.
    of_strata
        Sample of each stratum.
    samples
        The samples with their conditions; `None` where nothing is known of conditions.
    contrast
        What is compared; empty where nothing is.
    weights
        Of the columns of the design that make it, by column.
    params
        What to write down.
    """

    counts: sparse.csr_matrix
    genes: np.ndarray
    strata: np.ndarray
    of_strata: np.ndarray
    samples: Samples | None
    contrast: str
    weights: dict[str, float]
    params: dict[str, Any]


def read_inputs(
    adata: AnnData,
    genes: Sequence[str] | None,
    *,
    sample_key: str | None,
    cell_types: str | None,
    contrast: str | None,
    fdr: float,
    layer: str | None,
    key: str,
) -> Inputs:
    """Gather them.

    Parameters
    ----------
    adata
        The object.
    genes, sample_key, cell_types, contrast, fdr, layer, key
        As in `tl.gene_associations`.

    Returns
    -------
    The inputs.
    """
    run = _run(adata, key, needed=genes is None or sample_key is None)
    known = run[KEYS.params] if run else {}
    layer = layer if layer is not None else known.get("layer")
    matrix = check_layer(adata, layer, "adata")
    check_counts(matrix, layer_slot("adata", layer))
    check_unique(adata.var_names, "adata.var_names")
    compared = bool(run) and sample_key in (None, known["sample_key"])
    sample_key = sample_key if sample_key is not None else known["sample_key"]
    cell_types = cell_types if cell_types is not None else known.get("cell_types")
    contrast = _contrast(run, contrast, key) if compared else _no_contrast(contrast, key, run)
    state, inside = _states(adata, cell_types)
    samples, columns = None, {}
    if compared:
        samples = find_samples(
            adata,
            known["groupby"],
            sample_key,
            design=known["design"],
            reference=known["reference"],
            of_states=inside,
        )
        of_cell = samples.of_cell
        made_of = check_slot(run, KEYS.contrasts, f"adata.uns[{key!r}]", CALL)
        made_of = made_of[made_of[KEYS.contrast] == contrast]
        columns = dict(zip(made_of[KEYS.column], made_of[KEYS.weight], strict=True))
    else:
        check_type(sample_key, str, "sample_key", hint="It names one column of adata.obs.")
        of_cell = pd.factorize(check_key(adata.obs, sample_key, "adata.obs"))[0]
    strata, of_strata = _strata(of_cell, state)
    where = _named(adata, genes) if genes is not None else _changed(adata, run, contrast, fdr, key)
    params: dict[str, Any] = {"sample_key": sample_key, "fdr": fdr, "n_genes": len(where)}
    params |= {name: value for name, value in (("cell_types", cell_types), ("layer", layer)) if value is not None}
    params |= {"contrast": contrast} if contrast else {}
    return Inputs(as_csr(matrix), where, strata, of_strata, samples, contrast, columns, params)


def _run(adata: AnnData, key: str, *, needed: bool) -> dict[str, Any]:
    """Return the result of differential expression, or nothing."""
    if key in adata.uns:
        run, slot = adata.uns[key], f"adata.uns[{key!r}]"
        check_slot(check_slot(run, KEYS.params, slot, CALL), "groupby", f"{slot}[{KEYS.params!r}]", CALL)
        check_slot(run, KEYS.table, slot, CALL)
        return run
    if not needed:
        return {}
    named = [name for name in adata.uns if not str(name).startswith("_scvi")]
    msg = f"adata.uns has no {key!r}; run `{CALL}` first, or give genes= and sample_key=. It has {listed(named)}."
    raise KeyError(msg)


def _contrast(run: dict[str, Any], contrast: str | None, key: str) -> str:
    """Choose what is compared."""
    known = list(run[KEYS.table][KEYS.contrast].astype(str).unique())
    if contrast is None and len(known) > 1:
        msg = f"adata.uns[{key!r}] has several contrasts: {listed(known)}. Name one with contrast=."
        raise ValueError(msg)
    if contrast is not None and contrast not in known:
        msg = f"contrast={contrast!r} is not in adata.uns[{key!r}], which has {listed(known)}."
        raise ValueError(msg)
    return contrast or known[0]


def _no_contrast(contrast: str | None, key: str, run: dict[str, Any]) -> str:
    """Refuse a contrast of which nothing is known."""
    if contrast is not None:
        why = "was made with another sample_key" if run else "is not there"
        msg = f"contrast={contrast!r} cannot be compared: adata.uns[{key!r}] {why}."
        raise ValueError(msg)
    return ""


def _states(adata: AnnData, cell_types: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the state of each cell, the strongest where there are weights and -1 for none; and how much of it is in any."""
    if cell_types is None:
        return np.zeros(adata.n_obs, dtype=np.int64), np.ones(adata.n_obs)
    weights, _ = state_weights(adata, cell_types)
    rows = range(0, weights.shape[0], _ROWS)  # dense and in blocks: scipy's own goes through sparse rows one by one
    state = np.concatenate([np.zeros(0, dtype=np.int64), *(weights[i : i + _ROWS].toarray().argmax(1) for i in rows)])
    inside = np.asarray(weights.sum(1)).ravel()
    state[inside <= 0] = -1
    return state, inside


def _strata(of_cell: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each state of each sample a number."""
    inside = (state >= 0) & (of_cell >= 0)
    joined, codes = np.unique(np.column_stack([of_cell, state])[inside], axis=0, return_inverse=True)
    strata = np.full(len(state), -1)
    strata[inside] = codes.ravel()
    return strata, joined[:, 0]


def _named(adata: AnnData, genes: Sequence[str]) -> np.ndarray:
    """Find the genes that were named."""
    check_type(genes, Iterable, "genes", hint="It names the genes to test.")
    names = pd.Index([genes] if isinstance(genes, str) else list(genes)).unique()
    absent = names[~names.isin(adata.var_names)]
    if len(absent):
        msg = f"genes has {len(absent)} names that are not in adata.var_names, such as {listed(absent, 3)}."
        raise KeyError(msg)
    return _enough(adata, names, "Name more.")


def _changed(adata: AnnData, run: dict[str, Any], contrast: str, fdr: float, key: str) -> np.ndarray:
    """Find the genes that differ between the conditions, the most significant first."""
    table = run[KEYS.table]
    table = table[table[KEYS.q_value] <= fdr]
    table = table[table[KEYS.contrast] == contrast] if contrast else table
    names = pd.Index(table.sort_values(KEYS.p_value)[KEYS.gene]).unique()[:MAX_GENES]
    hint = f"These are the genes of adata.uns[{key!r}] with a q-value of at most {fdr}: name others with genes=."
    return _enough(adata, names, hint)


def _enough(adata: AnnData, names: pd.Index, hint: str) -> np.ndarray:
    """Return the positions of the genes, if there are enough."""
    if len(names) < MIN_GENES:
        msg = f"there are {len(names)} genes, at least {MIN_GENES} are needed. {hint}"
        raise ValueError(msg)
    where = adata.var_names.astype(str).get_indexer(names.astype(str))
    if (where < 0).any():
        absent = names[where < 0]
        msg = (
            f"adata.var_names has not {len(absent)} of the genes of the differential expression, such as {listed(absent, 3)}: "
            "run td.tl.differential_expression again after subsetting, or name genes with genes=."
        )
        raise ValueError(msg)
    return np.sort(where)
