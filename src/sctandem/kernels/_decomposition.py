"""Which part of a difference between groups of bulk samples is composition: the decomposition of Kitagawa, Oaxaca and Blinder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sctandem.kernels._composition import Expected


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Differences of mean logarithms between two groups, (genes,); `total` is `composition + expression`.

    Attributes
    ----------
    total
        What is observed.
    composition
        What the change of composition makes.
    expression
        The rest: changes within types, and what no model explains.
    """

    total: np.ndarray
    composition: np.ndarray
    expression: np.ndarray


def decompose(log: np.ndarray, expected: Expected, change: np.ndarray, contrast: np.ndarray) -> Decomposition:
    """Split the difference between two groups.

    Parameters
    ----------
    log
        Logarithms of what was observed, samples x genes.
    expected
        What the composition of each sample leads to expect with the expression of the reference group.
    change
        Change of the logarithm of each gene in each type between the groups, genes x types.
    contrast
        Weights of the samples that make the difference, adding up to 0, (samples,).

    Returns
    -------
    The parts. Composition is the mean of what it makes with the types as they are in the reference and as they are in the other group,
    so that neither group comes first.

    References
    ----------
    Kitagawa, Components of a difference between two rates, JASA 50 (1955).
    """
    total = contrast @ log
    composition = contrast @ (np.log(expected.level) + 0.5 * expected.grown(change))
    return Decomposition(total, composition, total - composition)


def contrast_of(fixed: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the weights of the samples in the difference between groups, adjusted for the fixed columns, (samples,).

    Parameters
    ----------
    fixed
        Samples x columns, a constant among them.
    group
        1 or 0, (samples,).

    Returns
    -------
    The row of least squares; without covariates one over the size of the group, and minus one over that of the reference.
    """
    return np.linalg.pinv(np.column_stack([fixed, group]))[-1]
