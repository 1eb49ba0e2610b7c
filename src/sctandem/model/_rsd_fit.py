"""Take bulk samples apart: likelihoods, network, what is unknown, and how sure all of it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sctandem._progress import progress_bar
from sctandem.kernels._deconvolution import BulkLogs, Composition, bulk_logs, fit_composition
from sctandem.kernels._signature import Signature, common_genes, marker_genes, telling_genes
from sctandem.kernels._unknown import unknown_share

if TYPE_CHECKING:
    from collections.abc import Callable

#: Genes that do not tell types apart, by which the scale of a sample is known.
N_COMMON = 600
#: Part of the samples in which a marker must be seen.
SEEN = 0.5
#: Draws of genes; and of contents with each, which cost nothing: with one each the width of intervals hung on the seed.
N_DRAWS, N_CONTENTS = 20, 20
#: Normal quantile of an interval of 90 %.
_Z90 = 1.645
#: Standard deviation, on the scale of the arcsine of the root of a share, of errors that are no matter of single genes.
SYSTEMATIC = 0.05
#: Share of cells that cannot be told from none: stray RNA and genes that a type is not known to express look like so much of it.
FAINT = 0.01


class Parts(NamedTuple):
    """What bulk samples are made of.

    Attributes
    ----------
    cells, low, high
        Shares of cells and the ends of their intervals, samples x types.
    rna
        Shares of RNA, samples x types; rows add up to 1 - unknown.
    unknown
        Share of cells of no type of the reference, (samples,).
    fit
        Correlation of measured and fitted logs over the genes in use, (samples,).
    genes
        Positions of these genes.
    composition
        The fit by likelihood.
    """

    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rna: np.ndarray
    unknown: np.ndarray
    fit: np.ndarray
    genes: np.ndarray
    composition: Composition


def take_apart(
    values: np.ndarray,
    signature: Signature,
    read: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    counts: bool,
    contents: np.ndarray,
    content_sd: float,
    rng: np.random.Generator,
) -> Parts:
    """Estimate shares of all samples together.

    Parameters
    ----------
    values
        Samples x genes in use.
    signature
        Expression of the types at these genes.
    read
        Reads shares of RNA (samples x types, rows add up to 1) off logs of shares, given the positions of their genes.
    counts
        Whether values are counts.
    contents
        Messenger RNA of a cell of each type, in any unit.
    content_sd
        Standard deviation of its log.
    rng
        Draws genes and contents.

    Returns
    -------
    The parts.

    Notes
    -----
    The likelihood finds shares and platform factors from all genes that tell types apart; the network reads shares again once the factors are taken out;
    the likelihood does so once more from markers alone, genes of one type each. The mean of the three is the estimate. Intervals: genes are weighted at random (the Bayesian bootstrap), since the platform treats each its own way and all samples
    alike, and contents drawn. To their variance comes that of what moves many genes together, such as the state of a donor, which no choice of
    genes shows: its size is that of errors on mixtures of real cells of other donors; and one percent of cells, which cannot be told from none. The unknown share is 0 unless there is evidence of it,
    and takes its part from all types alike.
    """
    logs = bulk_logs(values, counts=counts)
    genes = telling_genes(signature)
    seen = (values > 0).mean(0) >= SEEN
    panels = (genes, marker_genes(signature, usable=seen if seen.any() else ~seen))
    telling = logs.at(genes)
    with progress_bar((1 + N_DRAWS) * len(panels), "Fitting samples", unit="fit") as tick:
        fits = [_fit(logs, signature, panel, tick) for panel in panels]
        rna = _mean(fits, telling, genes, read)
        draws = []
        for _ in range(N_DRAWS):
            weights = rng.exponential(size=len(seen))
            again = [
                _fit(logs, signature, panel, tick, start=start, weights=weights)
                for panel, start in zip(panels, fits, strict=True)
            ]
            drawn = contents * np.exp(content_sd * rng.standard_normal((N_CONTENTS, len(contents))))
            found = _mean(again, telling, genes, read)
            draws.append([_cells(found, one) for one in drawn])
    fitted = fits[0]
    unknown_rna = _unknown(logs, signature, genes, fitted, rna)
    unknown = _unknown_cells(unknown_rna, rna, contents)
    cells = _cells(rna, contents)
    known = 1 - unknown[:, None]
    low, high = _interval(cells, np.array(draws))
    expected = np.log(rna @ signature.shares[:, genes] + fitted.floor / values.shape[1]) + fitted.platform
    fit = np.array([np.corrcoef(*pair)[0, 1] for pair in zip(telling.values, expected, strict=True)])
    return Parts(
        cells * known, low * known, high * known, rna * (1 - unknown_rna[:, None]), unknown, fit, genes, fitted
    )


def _fit(
    logs: BulkLogs,
    signature: Signature,
    panel: np.ndarray,
    tick: Callable[[int], None],
    *,
    start: Composition | None = None,
    weights: np.ndarray | None = None,
) -> Composition:
    """Fit by likelihood on some genes; from a fit that is known, with other weights of the genes, a few steps do."""
    found = fit_composition(
        logs.at(panel),
        signature.shares[:, panel],
        n_genes=logs.values.shape[1],
        weights=None if weights is None else weights[panel],
        start=start,
        n_rounds=4 if start is None else 1,
        n_steps=150 if start is None else 40,
    )
    tick(1)
    return found


def _mean(
    fits: list[Composition], telling: BulkLogs, genes: np.ndarray, read: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Average the shares of the likelihoods and those that are read with the platform factors of the first taken out."""
    return np.mean([*(one.rna for one in fits), read(telling.values - fits[0].platform, genes)], axis=0)


def _cells(rna: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """Turn shares of RNA into shares of cells."""
    found = rna / contents
    return found / found.sum(1, keepdims=True)


def _unknown(
    logs: BulkLogs, signature: Signature, genes: np.ndarray, fitted: Composition, rna: np.ndarray
) -> np.ndarray:
    """Estimate the unknown share of RNA of each sample."""
    n_genes = logs.values.shape[1]
    among = np.ones(n_genes, dtype=bool)
    among[genes] = False
    ratio = logs.values - np.log(rna @ signature.shares + fitted.floor / n_genes)
    return unknown_share(ratio, logs.variance, telling=genes, common=common_genes(signature, among, N_COMMON))


def _unknown_cells(unknown: np.ndarray, rna: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """Turn an unknown share of RNA into one of cells, whose content is the geometric mean of those known."""
    known = ((1 - unknown)[:, None] * rna / contents).sum(1)
    other = unknown / np.exp(np.log(contents).mean())
    return other / (known + other)


def _interval(cells: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the ends of intervals of 90 %, on the scale on which the variance of a share is stable; `draws` is genes x contents x samples x types."""
    middle = np.arcsin(np.sqrt(cells))
    variance = np.arcsin(np.sqrt(draws)).var(0, ddof=1).mean(0)  # each draw of contents is a sample of its own
    reach = _Z90 * np.sqrt(variance + SYSTEMATIC**2)
    ends = (np.clip(middle - reach, 0, np.pi / 2), np.clip(middle + reach, 0, np.pi / 2))
    return np.clip(np.sin(ends[0]) ** 2 - FAINT, 0, 1), np.clip(np.sin(ends[1]) ** 2 + FAINT, 0, 1)


class Genes(NamedTuple):
    """What the fit says of all genes.

    Attributes
    ----------
    platform
        Natural log of the factor of each gene.
    signature
        Expected counts per million of each type on the platform of the bulk, types x genes.
    ratio
        Log of measured by expected expression, samples x genes.
    variance
        Variance of that by counting, samples x genes.
    """

    platform: np.ndarray
    signature: np.ndarray
    ratio: np.ndarray
    variance: np.ndarray


def describe_genes(values: np.ndarray, rna: np.ndarray, shares: np.ndarray, *, counts: bool) -> Genes:
    """Fit the factor of every gene where the composition is known.

    Parameters
    ----------
    values
        Samples x genes.
    rna
        Shares of RNA of the types, samples x types.
    shares
        Share of each gene in the molecules of a type, types x genes.
    counts
        Whether values are counts.

    Returns
    -------
    Factors (medians over samples), the signature they give, and what is left.
    """
    logs = bulk_logs(values, counts=counts)
    known = rna / rna.sum(1, keepdims=True)
    rest = logs.values - np.log(np.maximum(known @ shares, 1e-12))
    rest -= np.median(rest, axis=1, keepdims=True)
    platform = np.median(rest, axis=0)
    signature = shares * np.exp(platform)
    signature *= 1e6 / (known @ signature).sum(1).mean()
    return Genes(platform, signature, rest - platform, logs.variance)
