"""What each type expresses in each bulk sample."""

from __future__ import annotations

import numpy as np


def type_expression(
    ratio: np.ndarray, rna: np.ndarray, shares: np.ndarray, *, spread: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    r"""Share out what a sample has more or less of a gene than expected among the types that express it.

    Parameters
    ----------
    ratio
        Log of measured by expected expression, samples x genes.
    rna
        Shares of RNA, samples x types.
    shares
        Share of each gene in the molecules of a type, on the platform of the bulk, types x genes.
    spread
        Standard deviation of the log expression of a type between donors, types x genes.
    noise
        Variance of what a sample has of its own beyond that, and of counting; samples x genes.

    Returns
    -------
    Log fold changes against `shares`, types x samples x genes.

    Notes
    -----
    To first order the log of a mixture is moved by :math:`\sum_t w_{st} \delta_{st}` with the part :math:`w` of a type in the molecules of
    the gene. Under :math:`\delta_{st} \sim N(0, \tau_t^2)` and residuals of variance :math:`\sigma^2` its posterior mean is
    :math:`w_{st} \tau_t^2 / (\sum_u w_{su}^2 \tau_u^2 + \sigma^2)` times the ratio: a type that hardly shares in a gene keeps its mean.
    """
    expected = np.maximum(rna @ shares, 1e-300)
    found = rna.T[:, :, None] * shares[:, None, :] / expected
    variance = np.array(np.broadcast_to(noise, ratio.shape), dtype=np.float64)
    for part, deviation in zip(found, spread, strict=True):  # not all at once: there is such an array for every type
        variance += (part * deviation) ** 2
    found *= spread[:, None, :] ** 2
    found *= ratio / variance
    return found
