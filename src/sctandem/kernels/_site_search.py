"""One motif in some of many sequences: at most one site each, on either strand, found by expectation-maximisation."""

from __future__ import annotations

import numpy as np

#: Counts of each base that a motif is given beforehand, in all.
_PSEUDO = 2.0
#: Bits above which a column belongs to a motif, and widths a motif may have. A narrower one lies in too many sequences by chance for the
#: columns beside it to show.
_BITS, _NARROWEST, _WIDEST = 0.25, 11, 20


def base_log_odds(codes: np.ndarray, background: np.ndarray, motif: np.ndarray, *, both: bool) -> np.ndarray:
    """Score every place of a motif against what the sequence is without it.

    Parameters
    ----------
    codes
        Sequences x bases, 0 to 3.
    background
        Log probability of each base without a site, sequences x bases.
    motif
        Probabilities, width x ACGT.
    both
        Whether sites may lie on the reverse strand.

    Returns
    -------
    Log odds, sequences x strands x places, float64; the second strand is the reverse.
    """
    width = len(motif)
    n_places = codes.shape[1] - width + 1
    running = np.concatenate([np.zeros((len(codes), 1)), background.cumsum(1)], axis=1)
    without = running[:, width:] - running[:, :-width]
    logs = np.log(motif)
    strands = (logs, logs[::-1, ::-1]) if both else (logs,)
    out = np.empty((len(codes), len(strands), n_places))
    for strand, matrix in enumerate(strands):
        out[:, strand] = -without
        for i, column in enumerate(matrix):
            out[:, strand] += column[codes[:, i : i + n_places]]
    return out


def blocked_places(sites: np.ndarray, widths: np.ndarray, width: int, n_places: int) -> np.ndarray:
    """Say where a motif would overlap sites of others, sequences x places, bool.

    Parameters
    ----------
    sites
        Start of the site of each motif, sequences x motifs, negative for none.
    widths
        Of these motifs.
    width, n_places
        Of the motif that is placed.
    """
    blocked = np.zeros((len(sites), n_places), dtype=bool)
    place = np.arange(n_places)
    for starts, other in zip(sites.T, widths, strict=True):
        there = starts >= 0
        low, high = starts[there, None] - width, starts[there, None] + other
        blocked[there] |= (place > low) & (place < high)
    return blocked


def gain_of(odds: np.ndarray, share: float) -> np.ndarray:
    """Give the log-likelihood that sites at one place at most, in this share of the sequences, add to each of them."""
    flat = odds.reshape(len(odds), -1)
    top = np.maximum(flat.max(1), 0)
    with_site = np.exp(flat - top[:, None]).sum(1) * share / flat.shape[1]
    return top + np.log((1 - share) * np.exp(-top) + with_site)


def fit_motif(
    codes: np.ndarray,
    background: np.ndarray,
    blocked: np.ndarray,
    motif: np.ndarray,
    *,
    both: bool,
    n_steps: int,
    share: float = 0.2,
) -> tuple[np.ndarray, float, float]:
    """Fit a motif, and in which share of the sequences it lies.

    Parameters
    ----------
    codes, background
        As for `base_log_odds`.
    blocked
        Bases that belong to sites of others, sequences x bases, bool.
    motif
        Where to start.
    both
        Whether sites may lie on the reverse strand.
    n_steps
        Steps; after each, columns without information are cut off the ends, and columns that have it added.
    share
        Where to start.

    Returns
    -------
    The motif, the share, and the mean gain in log-likelihood a sequence.

    References
    ----------
    Bailey and Elkan, Fitting a mixture model by expectation maximization to discover motifs in biopolymers, ISMB (1994).
    """
    usual = np.bincount(codes.ravel(), minlength=4) / codes.size
    if both:
        usual = (usual + usual[::-1]) / 2
    gain = 0.0
    for step in range(n_steps):
        odds = base_log_odds(codes, background, motif, both=both)
        odds[_covered(blocked, len(motif))[:, None].repeat(odds.shape[1], 1)] = -np.inf
        per_sequence = gain_of(odds, share)
        gain = float(per_sequence.mean())
        weight = np.exp(odds + np.log(share / odds[0].size) - per_sequence[:, None, None])
        share = float(np.clip(weight.sum() / len(codes), 1e-3, 1 - 1e-3))
        if step == n_steps - 1:
            break
        motif = _resized(codes, weight, len(motif), usual)
    return motif, share, gain


def _covered(blocked: np.ndarray, width: int) -> np.ndarray:
    """Turn blocked bases into blocked places."""
    running = np.concatenate([np.zeros((len(blocked), 1), dtype=int), blocked.cumsum(1)], axis=1)
    return running[:, width:] > running[:, :-width]


def _resized(codes: np.ndarray, weight: np.ndarray, width: int, usual: np.ndarray) -> np.ndarray:
    """Make a motif of weighted sites: the columns that have information, and one at each side to be looked at next."""
    columns = weighted_columns(codes, weight, width, range(-1, width + 1))
    counts = columns + _PSEUDO * usual
    motif = counts / counts.sum(1, keepdims=True)
    bits = (motif * np.log2(motif / usual)).sum(1)
    told = np.flatnonzero(bits > _BITS)
    if not len(told):
        return motif[1:-1]
    low, high = told[0], told[-1] + 1
    while high - low < _NARROWEST:
        low, high = max(0, low - 1), min(len(motif), high + 1)
        if low == 0 and high == len(motif):
            break
    while high - low > _WIDEST:
        low, high = (low + 1, high) if bits[low] < bits[high - 1] else (low, high - 1)
    return motif[low:high]


def weighted_columns(codes: np.ndarray, weight: np.ndarray, width: int, where: range) -> np.ndarray:
    """Count bases at positions of weighted sites, also beside them, columns x ACGT; what lies beyond an end counts as nothing."""
    length = codes.shape[1]
    n_places = weight.shape[2]
    out = np.zeros((len(where), 4))
    for strand in range(weight.shape[1]):
        for row, i in enumerate(where):
            at = i if strand == 0 else width - 1 - i
            low, high = max(0, -at), min(n_places, length - at)
            bases = codes[:, low + at : high + at]
            bases = bases if strand == 0 else 3 - bases
            out[row] += np.bincount(bases.ravel(), weights=weight[:, strand, low:high].ravel(), minlength=4)
    return out
