"""Start a count VAE at the principal components of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem._blocks import as_csr
from sctandem._random import as_generator, draw_seed
from sctandem.data._streamed import held_counts

if TYPE_CHECKING:
    from sctandem._random import RNG

_MAX_CELLS = 20_000


def principal_loadings(counts: Any, n_components: int, *, rng: RNG = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the loadings of log-normalised counts, and the standard deviation of the scores.

    Parameters
    ----------
    counts
        Cells x genes; sparse, dense or backed. Of more than 20,000 cells a random sample is used.
    n_components
        How many.
    rng
        Seed of the sample and of the randomised decomposition.

    Returns
    -------
    Loadings (genes x components), and standard deviations (components,), in natural log units.

    Raises
    ------
    ValueError
        When there are not more cells and genes than components.
    """
    from sklearn.utils.extmath import randomized_svd

    rng = as_generator(rng)
    matrix = held_counts(counts)
    if min(matrix.shape) < n_components + 2:
        msg = f"{n_components} components need at least {n_components + 2} cells and genes, got {matrix.shape}"
        raise ValueError(msg)
    if matrix.shape[0] > _MAX_CELLS:
        matrix = matrix[np.sort(rng.choice(matrix.shape[0], _MAX_CELLS, replace=False))]
    matrix = as_csr(matrix)
    totals = np.maximum(np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(), 1)
    logs = (sparse.diags_array(np.median(totals) / totals) @ matrix.astype(np.float32)).tocsr().log1p()
    # the first component of what is not centred is the mean expression
    scores, values, loadings = randomized_svd(logs, n_components + 1, n_iter=3, random_state=draw_seed(rng))
    spread = (scores * values).std(axis=0)
    return loadings[1:].T.astype(np.float32), spread[1:].astype(np.float32)


class WarmStartMixin:
    """Start a model whose module is a :class:`~sctandem.module.base.CountVAE` at the principal components."""

    def warm_start(self, *, rng: RNG = None) -> None:
        """Set the weights so that the latent space is that of the principal components; train afterwards.

        Parameters
        ----------
        rng
            Seed of the randomised decomposition.

        Returns
        -------
        None. The first hidden units of encoder and decoder are set; the others keep their random weights.

        Raises
        ------
        ValueError
            For an architecture with more than one hidden layer, or too few cells.

        Notes
        -----
        Costs about as much as one epoch, and pays when only a few epochs are to be trained.
        """
        counts = self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        loadings, spread = principal_loadings(counts, self.module.config.n_latent, rng=rng)
        self.module.start_from(loadings, spread)
