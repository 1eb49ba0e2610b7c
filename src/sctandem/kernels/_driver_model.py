"""Log-ratios of bulk samples to what their composition leads to expect, whitened: errors of the signature are part of their variance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sctandem.kernels._composition import Expected, expected_expression, relative_depth
from sctandem.kernels._moderation import natural_spline

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Standard deviations of the errors of the signature that are tried, natural logarithm.
SIGNATURE_ERRORS = np.array([0.0, 0.07, 0.15, 0.3, 0.6, 1.2])
#: Standard deviation of the ratio of what is unknown to what is known, natural logarithm.
UNKNOWN_ERROR = 1.0
#: Part of a count that is added before logarithms are taken.
PRIOR_COUNT = 0.5
#: Factors that the error of one type is tried with, one after the other, and bounds of their product.
TYPE_STEPS, TYPE_BOUNDS = (2.0, 0.5), (0.25, 4.0)
#: Most bins of the level in which the error of the signature is estimated, and fewest genes of one.
N_BINS, GENES_OF_BIN = 8, 200
#: Genes of a bin that are looked at for it, in the first and in the second round.
GENES_TRIED = (100, 400)
#: Part of the genes that may change between the groups, the standard deviation of their changes, and degrees of freedom of the
#: variances, while errors of the signature are told from changes.
CHANGED, CHANGE_PRIOR, PRIOR_DF = 0.1, 0.5, 4.0
#: Genes that are handled at a time.
BLOCK = 2000
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class BulkModel:
    """A bulk cohort and what its composition explains.

    Attributes
    ----------
    ratio
        Logarithm of observed over expected, samples x genes.
    expected
        What the composition leads to expect, in units of the signature.
    depth
        Depth of the samples, (samples,).
    log
        Logarithm of the observed values over the depth, samples x genes.
    variance
        Of the log-ratios as their mean leads to expect, up to a factor of the gene, samples x genes.
    own_error, shared_error
        Standard deviation of the errors of the signature, in proportion to its value and to the gene's mean over types, (genes,).
    type_error
        Factor of both in each type, (types,).
    shares
        Share of RNA of each type, samples x types, adding up to 1.
    signature
        Genes x types.
    unknown
        Share of RNA that is of no type, (samples,).
    fixed
        Columns of the design that are not penalised, samples x columns: the constant and covariates.
    group
        1 in the samples of the group, 0 in the reference, (samples,).
    """

    ratio: np.ndarray
    expected: Expected
    depth: np.ndarray
    log: np.ndarray
    variance: np.ndarray
    own_error: np.ndarray
    shared_error: np.ndarray
    type_error: np.ndarray
    shares: np.ndarray
    signature: np.ndarray
    unknown: np.ndarray
    fixed: np.ndarray
    group: np.ndarray

    @property
    def free(self) -> int:
        """Residual degrees of freedom beside the group."""
        return self.fixed.shape[0] - self.fixed.shape[1] - 1

    def of(self, genes: np.ndarray) -> BulkModel:
        """Return the model of some genes."""
        return replace(
            self,
            ratio=self.ratio[:, genes],
            expected=Expected(self.expected.level[:, genes], self.expected.parts[:, genes]),
            log=self.log[:, genes],
            variance=self.variance[:, genes],
            own_error=self.own_error[genes],
            shared_error=self.shared_error[genes],
            signature=self.signature[genes],
        )

    def blocks(self) -> Iterator[tuple[slice, Whitening]]:
        """Yield some genes at a time, and what whitens them."""
        n_genes = self.ratio.shape[1]
        for start in range(0, n_genes, BLOCK):
            genes = slice(start, min(start + BLOCK, n_genes))
            yield genes, whitening(self.variance[:, genes], self.errors(genes), self.fixed)

    def errors(self, genes: slice | np.ndarray) -> np.ndarray:
        """Give the shifts of the ratios by an error of one standard deviation in each type, samples x genes x columns."""
        values = self.signature[genes]
        mean = values.mean(1, keepdims=True)
        scale = np.sqrt((self.own_error[genes, None] * values) ** 2 + (self.shared_error[genes, None] * mean) ** 2)
        shifts = self.shares[:, None, :] * self.type_error * scale / self.expected.level[:, genes, None]
        if self.unknown.max() <= 1e-6:
            return shifts
        more = np.broadcast_to(UNKNOWN_ERROR * self.unknown[:, None, None], (*shifts.shape[:2], 1))
        return np.concatenate([shifts, more], axis=2)


@dataclass(frozen=True, slots=True)
class Whitening:
    """Turns values of samples into ones of variance 1 without correlation, gene by gene.

    Attributes
    ----------
    root
        Square root of the inverse variance, genes x samples.
    vectors, shrink
        Directions that errors of the signature move the samples in, genes x samples x directions, and what is taken off there.
    fixed
        Orthonormal basis of the whitened fixed columns, genes x samples x columns.
    log_determinant
        Of the variance and of the information of the fixed columns, halved, (genes,), for the restricted likelihood.
    """

    root: np.ndarray
    vectors: np.ndarray
    shrink: np.ndarray
    fixed: np.ndarray
    log_determinant: np.ndarray

    def of(self, genes: np.ndarray) -> Whitening:
        """Return that of some of the genes."""
        return Whitening(
            self.root[genes], self.vectors[genes], self.shrink[genes], self.fixed[genes], self.log_determinant[genes]
        )

    def pair(self, ratio: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whiten ratios (genes x samples) and the column of the group (samples,), free of the fixed columns, genes x samples each."""
        column = np.broadcast_to(group, ratio.shape)
        both = self.residual(self.whiten(np.stack([ratio, column], axis=2)))
        return both[:, :, 0], both[:, :, 1]

    def whiten(self, values: np.ndarray) -> np.ndarray:
        """Whiten values, genes x samples x columns."""
        scaled = self.root[:, :, None] * values
        along = np.swapaxes(self.vectors, 1, 2) @ scaled
        return scaled - self.vectors @ (self.shrink[:, :, None] * along)

    def residual(self, whitened: np.ndarray) -> np.ndarray:
        """Take off what the fixed columns explain, genes x samples x columns."""
        return whitened - self.fixed @ (np.swapaxes(self.fixed, 1, 2) @ whitened)


def whitening(variance: np.ndarray, errors: np.ndarray, fixed: np.ndarray) -> Whitening:
    """Prepare the whitening of some genes.

    Parameters
    ----------
    variance
        Samples x genes.
    errors
        Samples x genes x columns: each column adds its outer product to the covariance of the samples.
    fixed
        Samples x columns.

    Returns
    -------
    The whitening.
    """
    root = 1 / np.sqrt(variance.T)
    moved = root[:, :, None] * np.swapaxes(errors, 0, 1)
    values, rotation = np.linalg.eigh(np.swapaxes(moved, 1, 2) @ moved)
    values = np.maximum(values, 0)
    vectors = (moved @ rotation) / np.sqrt(np.maximum(values, _SMALLEST))[:, None, :]
    shrink = np.where(values > 1e-10, 1 - 1 / np.sqrt(1 + values), 0.0)
    made = Whitening(root, vectors, shrink, np.empty(0), np.empty(0))
    basis, triangle = np.linalg.qr(made.whiten(np.broadcast_to(fixed, (len(root), *fixed.shape))))
    diagonal = np.abs(np.diagonal(triangle, axis1=1, axis2=2))
    log = 0.5 * np.log1p(values).sum(1) - np.log(root).sum(1) + np.log(diagonal).sum(1)
    return Whitening(root, vectors, shrink, basis, log)


def model_bulk(
    observed: np.ndarray,
    shares: np.ndarray,
    signature: np.ndarray,
    group: np.ndarray,
    *,
    covariates: np.ndarray,
    counts: bool,
) -> BulkModel:
    """Relate bulk samples to their composition.

    Parameters
    ----------
    observed
        Counts or transcripts per million, samples x genes.
    shares
        Share of RNA of each type, samples x types; what is missing to 1 is unknown.
    signature
        Expression of each gene in each type, genes x types, every gene with some.
    group
        1 or 0, (samples,).
    covariates
        Samples x columns, without a constant.
    counts
        Whether `observed` are counts.

    Returns
    -------
    The model.

    Notes
    -----
    A type whose expression of a gene is off by a factor in the signature shifts the samples in proportion to the part of the gene's
    expression that comes from the type. These errors are random effects, whose variance all genes tell by restricted likelihood.
    Without them a gene with an error would seem to change between groups of unlike composition.
    """
    known = shares.sum(1)
    shares = shares / known[:, None]
    expected = expected_expression(shares, signature)
    depth = relative_depth(observed, expected.level)
    unit = depth / np.exp(np.log(depth).mean())
    small = PRIOR_COUNT if counts else _tpm_prior(observed)
    # a part of a count in proportion to the depth, on both sides: a gene as expected keeps its ratio, and the part never changes
    expected = expected.with_constant(small / np.exp(np.log(depth).mean()))
    logs = np.log(observed + small * unit[:, None]) - np.log(depth)[:, None]
    ratio = logs - np.log(expected.level)
    fixed = np.column_stack([np.ones(len(observed)), covariates])
    level = np.log(expected.level * depth[:, None] * np.exp(np.median(ratio, axis=0)))
    some = np.full(ratio.shape[1], 0.2)
    model = BulkModel(
        ratio,
        expected,
        depth,
        logs,
        np.full(ratio.shape, 0.1),
        some,
        some,
        np.ones(shares.shape[1]),
        shares,
        signature,
        1 - known,
        fixed,
        group,
    )
    for n_tried in GENES_TRIED:
        model = replace(model, variance=_variance(model, level))
        model = _with_errors(model, level, n_tried)
    return replace(model, variance=_variance(model, level))


def _tpm_prior(observed: np.ndarray) -> float:
    """Give what is added to transcripts per million: half of what is small among those that are not 0, at most 0.5."""
    return min(0.5, 0.5 * float(np.quantile(observed[observed > 0], 0.05)))


def _squares(model: BulkModel, genes: slice, white: Whitening) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the sum of squares beside the group, the coordinate along it, and the length of the group's whitened column."""
    rest, column = white.pair(model.ratio.T[genes], model.group)
    length = np.linalg.norm(column, axis=1)
    along = (column * rest).sum(1) / np.maximum(length, _SMALLEST)
    return np.maximum((rest**2).sum(1) - along**2, 0), along, length


def _variance(model: BulkModel, level: np.ndarray) -> np.ndarray:
    """Give the variance that follows from the level, samples x genes: a curve through the log-variances of the genes."""
    spread = np.concatenate([_squares(model, genes, white)[0] for genes, white in model.blocks()]) / model.free
    variance = spread * model.variance.mean(0)
    middle = level.mean(0)
    basis = natural_spline(middle)
    log = np.log(np.maximum(variance, _SMALLEST))
    fitted = basis @ np.linalg.lstsq(basis, log, rcond=None)[0]
    order = np.argsort(middle)
    bounded = np.interp(level, middle[order], fitted[order])
    return np.exp(bounded)


def _with_errors(model: BulkModel, level: np.ndarray, n_tried: int) -> BulkModel:
    """Find how far off the signature is, where that is likeliest over some genes of each bin of the level.

    What a type hardly expresses is known less well, so that it depends on the level of the gene; bins of the level are joined linearly.
    Types of which the reference has few cells are known less well, so that each has a factor.
    """
    n_genes = model.ratio.shape[1]
    middle = level.mean(0)
    n_bins = max(1, min(N_BINS, n_genes // GENES_OF_BIN))
    where = np.searchsorted(np.quantile(middle, np.linspace(0, 1, n_bins + 1))[1:-1], middle, side="right")
    of_bins = [np.flatnonzero(where == k) for k in range(n_bins)]
    some = np.concatenate([one[:: max(1, len(one) // n_tried)] for one in of_bins])
    part, bins = model.of(some), where[some]
    pairs = [(0.0, 0.0), *((a, b) for a in SIGNATURE_ERRORS for b in SIGNATURE_ERRORS if a + b > 0)]
    total = np.empty((len(pairs), n_bins))
    for i, (own, shared) in enumerate(pairs):
        tried = replace(part, own_error=np.full(len(some), own), shared_error=np.full(len(some), shared))
        total[i] = np.bincount(bins, _likelihood(tried), minlength=n_bins)
    best = np.array(pairs)[total.argmax(0)]
    part = replace(part, own_error=best[bins, 0], shared_error=best[bins, 1])
    factor = part.type_error
    reached = float(_likelihood(part).sum())
    for t in range(len(factor)):
        for step in TYPE_STEPS:
            moved = np.where(np.arange(len(factor)) == t, np.clip(factor * step, *TYPE_BOUNDS), factor)
            likelihood = float(_likelihood(replace(part, type_error=moved)).sum())
            if likelihood > reached:
                reached, factor = likelihood, moved
                break
    centers = [float(middle[where == k].mean()) for k in range(n_bins)]
    own, shared = np.interp(middle, centers, best[:, 0]), np.interp(middle, centers, best[:, 1])
    return replace(model, own_error=own, shared_error=shared, type_error=factor)


def _likelihood(model: BulkModel) -> np.ndarray:
    """Give the restricted log-likelihood of each gene.

    Most information lies in the difference between the groups, which errors of the signature and changes of a few genes both make:
    each gene is a mixture of one that changes and one that does not.
    """
    found = np.empty(model.ratio.shape[1])
    half = 0.5 * (model.free + 1 + PRIOR_DF)
    for genes, white in model.blocks():
        squares, along, length = _squares(model, genes, white)
        factor = CHANGE_PRIOR**2 * length**2
        same = -half * np.log(PRIOR_DF + squares + along**2)
        other = -half * np.log(PRIOR_DF + squares + along**2 / (1 + factor)) - 0.5 * np.log1p(factor)
        mixed = np.logaddexp(np.log(1 - CHANGED) + same, np.log(CHANGED) + other)
        found[genes] = mixed - white.log_determinant
    return found
