"""What the experts on labels are worth elsewhere: cells of the reference that are made a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem.kernels._label_experts import fit_expert_weights
from sctandem.model.base._query import categories, read_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How cells look elsewhere: the share of the genes that are known, the standard deviation of the logarithm of how well each is measured
#: against here, and the depth. Chosen on pairs of which none is scored; between 0.3 and 1 the spread hardly matters.
KNOWN_GENES, GENE_SPREAD, DEPTH = 0.5, 0.5, 0.8
#: How often other genes and factors are drawn, and the genes below which nothing can be left out.
_N_DRAWS, _FEWEST_GENES = 10, 40


def weights_elsewhere(model: Any, cells: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Weigh the experts by cells that are read as those of a new batch, with half of the genes.

    Parameters
    ----------
    model
        A CapsuleNet with labels, and with the regression that has not seen the cells.
    cells
        Positions.
    target
        Label of each.
    rng
        Draws what is measured.

    Returns
    -------
    Weights of capsules, regression and profiles; `None` where no batch can be new (without a batch key) or genes not be missing.
    """
    batch = categories(model).get(REGISTRY_KEYS.BATCH_KEY)
    n_genes = model.module.n_genes
    if batch is None or model.module.config.kernel_size is not None or n_genes < _FEWEST_GENES or not len(cells):
        return None
    parts, labels = [], []
    for _ in range(_N_DRAWS):
        genes = np.sort(rng.choice(n_genes, int(KNOWN_GENES * n_genes), replace=False))
        counts = measured_elsewhere(model._counts[cells], rng)[:, genes]
        there = np.asarray(counts.sum(1)).ravel() > 0
        if not there.any():
            return None
        table = pd.DataFrame(index=[f"cell{i}" for i in range(there.sum())])
        table[batch.column] = max(map(str, batch.known), key=len) + "+"  # none of those
        if (size := model._setup_args().get("size_factor_key")) is not None:
            table[size] = DEPTH * model._depths()[cells][there]
        columns = read_columns(AnnData(obs=table), model, learn_labels=False)
        query = model._again(model._bare(counts[there], columns, model.adata.var_names[genes]))
        query._place_new_batches()
        parts.append(query._read_all(["labels", "direct", "profiles"], None, None, None))
        labels.append(target[there])
    lengths, logits, cosines = map(np.concatenate, zip(*parts, strict=True))
    return np.array(fit_expert_weights(lengths, logits, np.concatenate(labels), cosines))


def measured_elsewhere(counts: sparse.csr_matrix, rng: np.random.Generator) -> sparse.csr_matrix:
    """Draw the counts that cells would have where each gene is measured better or worse by a factor, and cells are shallower.

    Parameters
    ----------
    counts
        Cells x genes.
    rng
        Draws factors and counts.

    Returns
    -------
    Poisson counts, float32; the factors are log-normal, and change the expected depth of all cells together to 0.8 of what it was.
    """
    counts = sparse.csr_matrix(counts)
    factor = np.exp(rng.normal(0, GENE_SPREAD, counts.shape[1]))
    totals: NDArray[np.float64] = np.asarray(counts.sum(0), dtype=np.float64).ravel()
    factor *= DEPTH * totals.sum() / max(float(totals @ factor), 1e-12)
    drawn = rng.poisson(counts.data * factor[counts.indices]).astype(np.float32)
    found = sparse.csr_matrix((drawn, counts.indices, counts.indptr), shape=counts.shape)
    found.eliminate_zeros()
    return found
