"""In which type of cells a gene of bulk samples changes: one type is tested while all others may change as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sctandem.kernels._driver_model import BulkModel, Whitening
    from sctandem.kernels._drivers import GeneTest

#: Standard deviation of the change of a gene in a type where it changes, natural logarithm: 1.5 doublings.
CHANGE = 1.5 * np.log(2)
#: Largest change that is estimated, natural logarithm: 2^8.
LARGEST = 8 * np.log(2)
#: Rounds of linearisation.
ROUNDS = 25
#: Largest step of one round.
LARGEST_STEP = 1.5
#: Precision of a change that is held at 0.
_LARGEST_PRECISION = 1e12
#: Changes of one type alone that are tried, in units of `CHANGE`.
GRID = np.linspace(-3, 3, 61)
#: Errors of the signature are larger by this factor when types are told apart: they have a heavier tail than a normal one.
SLACK = 1.5
#: Errors of the part of a type, in standard deviations, and their probabilities.
OFF = ((-1.2, 0.25), (0.0, 0.5), (1.2, 0.25))
#: Probability that the candidates hold the type, if there is one.
CREDIBLE = 0.95
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class TypeTest:
    """Changes within types, genes x types.

    Attributes
    ----------
    effect, error
        Mean and standard deviation of the change given the data, natural logarithm; near 0 and `CHANGE` where these do not tell.
    statistic
        Of the change in this type, whatever those in the others are.
    part
        Part of the gene's expression that comes from the type, mean over samples.
    """

    effect: np.ndarray
    error: np.ndarray
    statistic: np.ndarray
    part: np.ndarray


def assess_types(model: BulkModel, test: GeneTest, closely: np.ndarray) -> TypeTest:
    r"""Estimate and test the change of each gene in each type.

    Parameters
    ----------
    model
        The samples and what their composition explains.
    test
        The test of the genes, for the prior of their variances.
    closely
        Genes whose types are tested with the changes of the others at their likeliest values, (genes,); for others, which hardly
        change, it is done around no change.

    Returns
    -------
    The changes.

    Notes
    -----
    With the change :math:`\delta_t` in type :math:`t`, which has the part :math:`w_{st}` of the gene in sample :math:`s`, a sample of
    the group is shifted by :math:`\log \sum_t w_{st} \exp(\delta_t)`. All changes have a normal prior of standard deviation
    `CHANGE`, and are found at the likeliest point by repeated linearisation. The test of one type takes its prior off and keeps that
    of the others: what others could explain as well speaks for none. Parts are known as well as the signature: an error of one
    standard deviation in the part of another type, times its change, is a random effect too.
    """
    shape = model.expected.parts.shape[1:]
    effect, error, statistic = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for genes, white in model.blocks():
        block = _Block(model, test, np.arange(genes.start, genes.stop), white)
        linear = block.linear(np.zeros((len(block.genes), shape[1])))
        for t in range(shape[1]):
            statistic[genes, t] = block.score(t, *linear)
        effect[genes], error[genes] = block.likeliest(None)
        chosen = np.flatnonzero(closely[genes])
        if len(chosen):
            near = _Block(model, test, genes.start + chosen, white.of(chosen))
            for t in range(shape[1]):
                statistic[genes.start + chosen, t] = near.score(t, *near.linear(near.likeliest(t)[0]))
    return TypeTest(effect, error, statistic, model.expected.parts.mean(0))


class _Block:
    """Some genes, and how changes of their expression in the types shift the samples.

    Parameters
    ----------
    model
        The samples and what their composition explains.
    test
        The test of the genes.
    genes
        Their positions.
    white
        Their whitening.
    """

    def __init__(self, model: BulkModel, test: GeneTest, genes: np.ndarray, white: Whitening) -> None:
        self.genes, self.white, self.free = genes, white, model.free + 1
        self.parts = np.swapaxes(model.expected.parts[:, genes], 0, 1)
        self.ratio = model.ratio.T[genes][:, :, None]
        self.within = (model.group > 0)[None, :, None]
        self.slack = SLACK * np.where(
            self.within, np.swapaxes(model.errors(genes)[:, :, : self.parts.shape[2]], 0, 1), 0.0
        )
        self.prior_df, self.prior = test.prior_df, test.prior_variance[genes]

    def linear(self, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Linearise around some changes (genes x types).

        Returns products of the columns (those of the types, then one a type for the error of its part), theirs with the ratios, and
        the squares of the ratios.
        """
        grown = self.parts * np.exp(delta)[:, None, :]
        total = 1 + (self.parts * np.expm1(delta)[:, None, :]).sum(2, keepdims=True)
        columns = np.where(self.within, grown / total, 0.0)
        left = self.ratio - np.where(self.within, np.log(total), 0.0) + columns @ delta[:, :, None]
        moved = self.white.residual(self.white.whiten(np.concatenate([columns, self.slack, left], axis=2)))
        columns, left = moved[:, :, :-1], moved[:, :, -1]
        turned = np.swapaxes(columns, 1, 2)
        return turned @ columns, (turned @ left[:, :, None])[:, :, 0], (left**2).sum(1)

    def likeliest(self, without: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Find the likeliest changes and their standard deviations, genes x types; type `without` does not change."""
        n_types = self.parts.shape[2]
        delta = np.zeros((len(self.genes), n_types))
        free = np.arange(n_types) != without
        precision = np.concatenate(
            [np.where(free, 1 / CHANGE**2, _LARGEST_PRECISION), np.full(n_types, _LARGEST_PRECISION)]
        )
        scale = self.prior
        for _ in range(ROUNDS):
            inverse, new, scale = self._posterior(*self.linear(delta), scale, precision)
            step = np.clip(np.clip(new[:, :n_types], -LARGEST, LARGEST) - delta, -LARGEST_STEP, LARGEST_STEP)
            delta = delta + step
            if np.abs(step).max() < 1e-9:
                break
        return delta, np.sqrt(np.diagonal(inverse, axis1=1, axis2=2)[:, :n_types])

    def score(self, t: int, product: np.ndarray, along: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Give the statistic of a type with its prior taken off, given what `linear` returned, (genes,)."""
        n_types = self.parts.shape[2]
        others = np.arange(n_types) != t
        precision = np.concatenate(
            [np.full(n_types, 1 / CHANGE**2), np.where(others, 1 / CHANGE**2, _LARGEST_PRECISION)]
        )
        inverse, mean, _ = self._posterior(product, along, squares, self.prior, precision)
        own = inverse[:, t, t]
        return mean[:, t] / np.sqrt(own * np.maximum(1 - own / CHANGE**2, 1e-9))

    def _posterior(
        self, product: np.ndarray, along: np.ndarray, squares: np.ndarray, scale: np.ndarray, precision: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give the covariance and the mean of the changes, and the moderated variance that is left."""
        for _ in range(2):
            scale = np.maximum(scale, _SMALLEST)[:, None]
            inverse = np.linalg.inv(product / scale[:, :, None] + np.diag(precision))
            mean = (inverse @ (along / scale)[:, :, None])[:, :, 0]
            fitted = 2 * (mean * along).sum(1) - (mean * (product @ mean[:, :, None])[:, :, 0]).sum(1)
            spent = np.einsum("gij,gji->g", inverse, product) / scale[:, 0]
            left = np.maximum(squares - fitted, 0)
            scale = (self.prior_df * self.prior + left) / (self.prior_df + np.maximum(self.free - spent, 1))
        return inverse, mean, scale


def single_type(model: BulkModel, test: GeneTest, genes: np.ndarray) -> np.ndarray:
    """Give the probability of each type that it holds the change of a gene, if one type changes.

    Parameters
    ----------
    model
        The samples and what their composition explains.
    test
        The test of the genes.
    genes
        Positions of some, (some,).

    Returns
    -------
    Some genes x types, adding up to 1; all types are equally likely beforehand.
    """
    n_types = model.expected.parts.shape[2]
    found = np.zeros((len(genes), n_types))
    within = (model.group > 0)[None, :, None]
    weight = np.exp(-0.5 * GRID**2)
    for where, white in model.blocks():
        inside = np.flatnonzero((genes >= where.start) & (genes < where.stop))
        if not len(inside):
            continue
        local = white.of(genes[inside] - where.start)
        ratio = model.ratio.T[genes[inside]]
        slack = SLACK * model.errors(genes[inside])[:, :, :n_types]
        free = model.free + 1
        log = np.empty((len(inside), n_types))
        for t in range(n_types):
            part, error = (values[:, :, t].T[:, :, None] for values in (model.expected.parts[:, genes[inside]], slack))
            options = []
            for off, chance_of in OFF:
                moved = np.clip(part + off * error, 0.01 * part, 1)
                shift = np.where(within, np.log1p(moved * np.expm1(GRID * CHANGE)), 0.0)
                left = local.residual(local.whiten(ratio[:, :, None] - shift))
                squares = (left**2).sum(1) + test.prior_df * test.prior_variance[genes[inside], None]
                half = 0.5 * (free + test.prior_df)
                options.append(np.log(weight * chance_of) - half * np.log(np.maximum(squares, _SMALLEST)))
            each = np.concatenate(options, axis=1)
            top = each.max(1, keepdims=True)
            log[:, t] = top[:, 0] + np.log(np.exp(each - top).sum(1))
        chance = np.exp(log - log.max(1, keepdims=True))
        chance /= chance.sum(1, keepdims=True)
        found[inside] = chance
    return found


def credible(chance: np.ndarray) -> np.ndarray:
    """Return the fewest types that hold the one that changes with a probability of `CREDIBLE`, genes x types."""
    order = np.argsort(-chance, axis=1)
    falling = np.take_along_axis(chance, order, 1)
    kept = np.zeros(chance.shape, dtype=bool)
    np.put_along_axis(kept, order, np.cumsum(falling, 1) - falling < CREDIBLE, 1)
    return kept
