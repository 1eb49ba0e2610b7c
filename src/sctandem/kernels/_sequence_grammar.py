"""Sequences as a Markov chain with sites of motifs in it: which motifs lie together, how far apart, on which strands."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sctandem.kernels._site_distances import chance_distances, distance_ratios
from sctandem.kernels._site_search import base_log_odds, blocked_places, weighted_columns

#: Parts of the sequences, each of which is searched with motifs and distances of the others: with what it has said itself, a false site would be likelier than
#: chance, stay, and make its motif vaguer.
_FOLDS = 10
_SMOOTH = 8.0
#: Part of the sequences that are there beforehand for what motifs say of each other, and the most that they say, in log odds.
_FEW, _SAID = 0.01, 4.0
#: Bases that a column has beforehand where sites are looked for, and where they are written: any there would be written in place of those of the motif.
_PSEUDO, _WRITTEN = 1.0, 0.01
#: Bases by which the sites of a sequence are moved together.
_SHIFT = 10


@dataclass
class Grammar:
    """A chain, motifs, and where they lie in sequences.

    Attributes
    ----------
    chain
        Log probabilities, (5**order, 4); contexts are read in base 5, where 4 stands for before the start.
    order
        Bases of a context.
    motifs
        Probabilities, width x ACGT each.
    starts, strands
        Sites in the sequences that it was fitted to, sequences x motifs: start, -1 for none, and 0 forward or 1 reverse.
    length
        Bases of a sequence.
    both
        Whether a sequence and its reverse complement are the same thing.
    tally
        Bases of the sites of a motif that was fitted to sequences, in each part of them, folds x width x ACGT.
    """

    chain: np.ndarray
    order: int
    length: int
    both: bool
    motifs: list[np.ndarray] = field(default_factory=list)
    starts: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))
    strands: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))
    tally: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def widths(self) -> np.ndarray:
        """Width of each motif."""
        return np.array([len(motif) for motif in self.motifs], dtype=np.int64)

    def check(self) -> None:
        """Raise a `ValueError` where parts do not fit together, as in a damaged file."""
        sites = self.starts.shape == self.strands.shape and self.starts.ndim == 2
        fits = (
            self.chain.shape == (5**self.order, 4)
            and np.allclose(np.exp(self.chain).sum(1), 1)
            and all(motif.ndim == 2 and motif.shape[1] == 4 and (motif >= 0).all() for motif in self.motifs)
            and all(np.allclose(motif.sum(1), 1) for motif in self.motifs)
            and sites
            and self.starts.shape[1] == len(self.motifs)
            and (not self.motifs or len(self.starts) > 0)
            and bool((self.starts >= -1).all() and (self.starts + self.widths <= self.length).all())
            and bool(np.isin(self.strands, (0, 1)).all())
        )
        if not fits:
            msg = "chain, motifs and sites do not fit together"
            raise ValueError(msg)

    def background(self, codes: np.ndarray) -> np.ndarray:
        """Give the log probability of each base by the chain, sequences x bases."""
        return self.chain[contexts(codes, self.order), codes]

    def occupied(self) -> np.ndarray:
        """Say which bases belong to sites, sequences x bases, bool."""
        place = np.arange(self.length)
        out = np.zeros((len(self.starts), self.length), dtype=bool)
        for starts, width in zip(self.starts.T, self.widths, strict=True):
            out |= (starts[:, None] >= 0) & (place >= starts[:, None]) & (place < starts[:, None] + width)
        return out

    def add(self, motif: np.ndarray) -> None:
        """Add a motif without sites."""
        self.motifs.append(motif)
        none = np.full((len(self.starts), 1), -1)
        self.starts = np.hstack([self.starts, none])
        self.strands = np.hstack([self.strands, np.zeros_like(none)])

    def sweep(self, codes: np.ndarray, rng: np.random.Generator, shares: np.ndarray | None = None) -> None:
        """Draw all sites anew given the others, and fit chain and motifs to them.

        Parameters
        ----------
        codes
            The sequences.
        rng
            Generator.
        shares
            In which part of the sequences each motif lies; `None` counts its sites.

        References
        ----------
        Lawrence et al., Detecting subtle sequence signals: a Gibbs sampling strategy for multiple alignment, Science (1993): a sequence has no say in
        where its own site is.
        """
        background = self.background(codes)
        for motif, matrix in enumerate(self.motifs):
            share = None if shares is None else shares[motif]
            chance = self._draw_sites(codes, background, motif, rng, share)
            self.tally[motif] = np.stack(
                [
                    weighted_columns(codes[rows], chance[rows], len(matrix), range(len(matrix)))
                    for rows in _folds(len(codes))
                ]
            )
        for motif, tally in self.tally.items():
            if tally[:, 0].sum() >= 1:
                self.motifs[motif] = _frequencies(tally.sum(0), _WRITTEN)
        self.chain = fit_chain(codes, self.order, both=self.both, without=self.occupied())

    def _draw_sites(
        self, codes: np.ndarray, background: np.ndarray, motif: int, rng: np.random.Generator, share: float | None
    ) -> np.ndarray:
        """Draw the site of one motif in each sequence; return the probability of each place, sequences x strands x places."""
        others = [other for other in range(len(self.motifs)) if other != motif]
        width = len(self.motifs[motif])
        odds = np.empty((len(codes), 2 if self.both else 1, self.length - width + 1))
        for fold, rows in enumerate(_folds(len(codes))):
            matrix = self._told_by_others(motif, fold)
            odds[rows] = base_log_odds(codes[rows], background[rows], matrix, both=self.both)
        blocked = blocked_places(self.starts[:, others], self.widths[others], width, odds.shape[2])
        odds += self._pull(motif, others, odds.shape)
        odds[blocked[:, None].repeat(odds.shape[1], 1)] = -np.inf
        prior = self._presence(motif, others) if share is None else np.full(len(codes), np.log(share / (1 - share)))
        flat = odds.reshape(len(codes), -1) + (prior - np.log(odds[0].size))[:, None]
        flat = np.hstack([np.zeros((len(codes), 1)), flat])
        chance = np.exp(flat - flat.max(1, keepdims=True))
        chance /= chance.sum(1, keepdims=True)
        chosen = (flat + rng.gumbel(size=flat.shape)).argmax(1) - 1
        self.starts[:, motif] = np.where(chosen < 0, -1, chosen % odds.shape[2])
        self.strands[:, motif] = np.where(chosen < 0, 0, chosen // odds.shape[2])
        return chance[:, 1:].reshape(odds.shape)

    def _told_by_others(self, motif: int, fold: int) -> np.ndarray:
        """Give a motif as all folds but one have it; one that was just added is as it came."""
        tally = self.tally.get(motif)
        return self.motifs[motif] if tally is None else _frequencies(tally.sum(0) - tally[fold], _PSEUDO)

    def _presence(self, motif: int, others: list[int]) -> np.ndarray:
        """Give the log odds that a sequence has a site of a motif, given which others it has."""
        here = self.starts[:, motif] >= 0
        n, k = len(here), here.sum()
        base = np.log((k + 1) / (n - k + 1))
        strongest = np.zeros(n)
        # of the motif that says most only: what several say is not independent
        for other in others:
            there = self.starts[:, other] >= 0
            said = np.zeros(n)
            for state in (True, False):
                rows = there == state
                few = _FEW * n * rows.mean() + 1
                with_motif = ((here & rows).sum() + few) / (k + _FEW * n + 2)
                without = ((~here & rows).sum() + few) / (n - k + _FEW * n + 2)
                said[rows] = np.log(with_motif) - np.log(without)
            if said.std() > strongest.std():
                strongest = said
        return base + np.clip(strongest, -_SAID, _SAID)

    def _offsets(self, motif: int, other: int, starts: np.ndarray, strand: int, rows: np.ndarray) -> np.ndarray:
        """Give where places of a motif lie as sites of another see it: distance of the middles, from 0 to 2 * length of either orientation."""
        width, beside = len(self.motifs[motif]), len(self.motifs[other])
        turned = self.strands[rows, other]
        apart = 2 * starts + width - 2 * self.starts[rows, other][:, None] - beside
        apart = np.where(turned[:, None] == 1, -apart, apart)
        apart = (apart + (width + beside) % 2) // 2
        same = (turned == strand)[:, None]
        return apart + self.length + (2 * self.length + 1) * same

    def _pull(self, motif: int, others: list[int], shape: tuple[int, ...]) -> np.ndarray:
        """Give by how much sites of other motifs draw or push those of this one, in logs: of the others in a sequence that which says most, for they know of each other."""
        out = np.zeros(shape)
        free = np.ones(len(out), dtype=bool)
        place = np.arange(shape[2])[None]
        fold = np.arange(len(out)) % _FOLDS
        said = [(other, *self._distances(motif, other, shape[1])) for other in others]
        for other, logs, _ in sorted(said, key=lambda one: -one[2]):
            rows = np.flatnonzero(free & (self.starts[:, other] >= 0))
            free[rows] = False
            for strand in range(shape[1]):
                at = self._offsets(motif, other, place, strand, rows)
                out[rows, strand] = logs[fold[rows][:, None], at]
        return out

    def _distances(self, motif: int, other: int, n_strands: int) -> tuple[np.ndarray, float]:
        """Give how much more often than by chance sites of two motifs lie at each distance, folds x distances, in logs; and what all pairs together say."""
        both = np.flatnonzero((self.starts[:, motif] >= 0) & (self.starts[:, other] >= 0))
        width, beside = len(self.motifs[motif]), len(self.motifs[other])
        usual = chance_distances(width, beside, self.length, both=self.both)
        found = np.zeros((_FOLDS, usual.size))
        for strand in range(n_strands):
            rows = both[self.strands[both, motif] == strand]
            at = self._offsets(motif, other, self.starts[rows, motif][:, None], strand, rows)[:, 0]
            np.add.at(found, (rows % _FOLDS, at), 1)
        logs, each = distance_ratios(found.reshape(-1, *usual.shape), usual, (width + beside - 1) / 2)
        return logs.reshape(found.shape), each * len(both)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Write sequences, n x bases, uint8: arrangements of sites as they were found, and all bases new."""
        starts, strands = np.full((n, len(self.motifs)), -1), np.zeros((n, len(self.motifs)), dtype=np.int64)
        if len(self.motifs):
            like = rng.integers(len(self.starts), size=n)
            starts, strands = self.starts[like].copy(), self.strands[like].copy()
            there = starts >= 0
            low = -np.where(there, starts, self.length).min(1)
            high = np.where(there, self.length - starts - self.widths, self.length).min(1)
            move = rng.integers(np.maximum(low, -_SHIFT), np.minimum(high, _SHIFT) + 1)
            starts = np.where(there, starts + move[:, None], -1)
        codes = np.empty((n, self.length), dtype=np.int64)
        steps = np.exp(self.chain).cumsum(1)[:, :3]
        padded = np.full((n, self.order + self.length), 4)
        powers = 5 ** np.arange(self.order - 1, -1, -1)
        noise = rng.random((self.length, n))
        for i in range(self.length):
            below = steps[padded[:, i : i + self.order] @ powers]
            for motif, matrix in enumerate(self.motifs):
                at = i - starts[:, motif]
                inside = (starts[:, motif] >= 0) & (at >= 0) & (at < len(matrix))
                if inside.any():
                    columns = np.stack([matrix, matrix[::-1, ::-1]])[strands[inside, motif], at[inside]]
                    below[inside] = columns.cumsum(1)[:, :3]
            codes[:, i] = padded[:, self.order + i] = (noise[i][:, None] > below).sum(1)
        if self.both:
            turned = rng.random(n) < 0.5
            codes[turned] = 3 - codes[turned, ::-1]
        return codes.astype(np.uint8)


def _folds(n: int) -> list[np.ndarray]:
    """Share sequences out."""
    return [np.arange(fold, n, _FOLDS) for fold in range(_FOLDS)]


def _frequencies(counts: np.ndarray, beforehand: float) -> np.ndarray:
    counts = counts + beforehand / 4
    return counts / counts.sum(1, keepdims=True)


def contexts(codes: np.ndarray, order: int) -> np.ndarray:
    """Give the number of the bases before each, sequences x bases."""
    padded = np.concatenate([np.full((len(codes), order), 4), codes], axis=1)
    out = np.zeros(codes.shape, dtype=np.int64)
    for j in range(order):
        out = out * 5 + padded[:, j : j + codes.shape[1]]
    return out


def fit_chain(codes: np.ndarray, order: int, *, both: bool, without: np.ndarray | None = None) -> np.ndarray:
    """Fit a Markov chain, each order shrunk to the one below.

    Parameters
    ----------
    codes
        Sequences x bases, 0 to 3.
    order
        Bases of a context.
    both
        Whether to count both strands.
    without
        Bases not to count, sequences x bases, bool.

    Returns
    -------
    Log probabilities, (5**order, 4).
    """
    use = np.ones(codes.shape, dtype=bool) if without is None else ~without
    if both:
        codes, use = np.concatenate([codes, 3 - codes[:, ::-1]]), np.concatenate([use, use[:, ::-1]])
    chance = np.full((1, 4), 0.25)
    for k in range(order + 1):
        where = (contexts(codes, k) * 4 + codes)[use]
        counts = np.bincount(where, minlength=4 * 5**k).reshape(-1, 4)
        # the context that is one base shorter lacks the first
        prior = np.tile(chance, (5, 1)) if k else chance
        chance = (counts + _SMOOTH * prior) / (counts.sum(1, keepdims=True) + _SMOOTH)
    return np.log(chance)
