"""Made sequences against real ones: motifs at their rate and spacing, words, what a classifier still tells, and copies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TITLE = "Made sequences"
CAPTION = """\
2,000 simulated peaks of 150 bp: a Markov chain of order 2, alike on both strands, with a motif A of 11 positions in 60 % of them and, in 40 % of those, a motif B of 10
positions 17 to 23 bp from it on the same strand; the arrangement lies anywhere on either strand, and motifs are degenerate. 20,000 sequences are made of them (shuffled and training ones are 2,000), and compared with
50,000 new ones of the same kind, the truth. *A*, *B*: sequences with a hit of the true motif (p < 1e-4); *pair*: with hits in the right arrangement, which is rate and spacing in one; *spacing*: the mean distance of such pairs.
The standard error of a rate p in n sequences is the root of p (1 - p) / n, that of a difference from the truth is given with it. It does not hold what chance the 2,000 training sequences are: a rate
of pairs of 0.14 among them has a standard error of 5.6 % of it, and no generator knows better.
*words*: distance of the spectra of words of 6 of 2,000 sequences, as a share of the total. *AUC*: a logistic regression on words of 6, and a random forest on the same with the best scores of the true motifs, told on 1,000 made and 1,000 new
sequences (two folds). *copies*: the longest run of bases that a sequence shares with the training sequences on either strand, median and largest over all made ones; new real ones share what chance gives. The generator was
developed on seeds 100 to 107, which have other motifs and chains."""
SEEDS = (11, 12, 13)
RATES = ("rate_a", "rate_b", "rate_pair", "spacing")
N, LENGTH, N_MADE, N_REAL, N_WORDS, N_TOLD = 2000, 150, 20_000, 50_000, 10_000, 1000
WIDTH_A, WIDTH_B, SHARE_A, SHARE_B, SPACING, SPREAD = 11, 10, 0.6, 0.4, 20, 3
ALLOWED = 0.10
OWN, WITHOUT, CHAIN, SHUFFLED, COPIES, REAL = (
    "SequenceGAN",
    "SequenceGAN, its generator alone",
    "Markov chain of order 5",
    "shuffled sequences",
    "training sequences again",
    "new real sequences",
)
METHODS = (OWN, REAL, WITHOUT, CHAIN, SHUFFLED, COPIES)
TRUTH = "the truth"
#: Of the hashes of runs, odd and without a pattern; and the length of runs that sequences share as a rule.
_FACTOR, _COMMON = 0x9E3779B97F4A7C15, 9

Row = dict[str, Any]


class Truth:
    """Sequences of which the grammar is known."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        steps = _draw_chain(rng.dirichlet(np.full(4, 6.0), 16), 2000, 500, rng)
        words = np.zeros(64)
        for codes in (steps, 3 - steps[:, ::-1]):
            words += np.bincount((codes[:, :-2] * 16 + codes[:, 1:-1] * 4 + codes[:, 2:]).ravel(), minlength=64)
        counts = words.reshape(16, 4)
        self.chain = counts / counts.sum(1, keepdims=True)
        self.motifs = {"A": _draw_motif(WIDTH_A, rng), "B": _draw_motif(WIDTH_B, rng)}

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw sequences, n x bases, 0 to 3."""
        codes = _draw_chain(self.chain, n, LENGTH, rng)
        for row in (codes[i] for i in np.flatnonzero(rng.random(n) < SHARE_A)):
            paired = rng.random() < SHARE_B
            gap = SPACING + rng.integers(-SPREAD, SPREAD + 1)
            start = rng.integers(LENGTH - (gap + WIDTH_B if paired else WIDTH_A) + 1)
            row[start : start + WIDTH_A] = _letters(self.motifs["A"], rng)
            if paired:
                row[start + gap : start + gap + WIDTH_B] = _letters(self.motifs["B"], rng)
            if rng.random() < 0.5:
                row[:] = 3 - row[::-1].copy()
        return codes


def measure_rest(seed: int, done: set[tuple[str, str]]) -> Iterator[Row]:
    """Make sequences in each way, and judge them; what is not done is kept as soon as it is judged."""
    if {name for _, name in done} >= {*METHODS, TRUTH}:
        return
    truth, rng = Truth(seed), np.random.default_rng([seed, 1])
    train, real = truth.draw(N, rng), truth.draw(N_REAL, rng)
    told: dict[str, float] = {}
    yield {"name": TRUTH, "seed": seed, "n": N_REAL} | _rates(real, truth)
    for method, (made, seconds) in _made(train, truth, seed, told).items():
        if ("", method) not in done:
            row = {"name": method, "seed": seed, "processor_seconds": seconds}
            yield row | _judged(made, real, train, truth, seed) | (told if method == OWN else {})


def _made(train: np.ndarray, truth: Truth, seed: int, told: dict[str, float]) -> dict[str, tuple[np.ndarray, float]]:
    """Make sequences in every way, with the processor seconds it took."""
    from sctandem.kernels._sequence_grammar import Grammar, fit_chain
    from sctandem.model import SequenceGAN

    rng = np.random.default_rng([seed, 2])
    start = time.process_time()
    model = SequenceGAN(_text(train))
    model.train(rng=seed, progress=False)
    seconds = round(time.process_time() - start, 1)
    told |= {"motifs": len(model.motifs), "critic_auc": float(model.history["auc"].iloc[-1])}
    chain = Grammar(fit_chain(train, 5, both=True), 5, LENGTH, both=True)
    return {
        OWN: (_codes(model.generate(N_MADE, rng=seed)), seconds),
        REAL: (truth.draw(N_MADE, rng), 0.0),
        WITHOUT: (_codes(model.generate(N_MADE, rng=seed, critic=False)), seconds),
        CHAIN: (chain.draw(N_MADE, rng).astype(np.int64), 0.0),
        SHUFFLED: (rng.permuted(train, axis=1), 0.0),
        COPIES: (train, 0.0),
    }


def _judged(made: np.ndarray, real: np.ndarray, train: np.ndarray, truth: Truth, seed: int) -> Row:
    """Score made sequences."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    held, made_all, made = real[:N_TOLD], made, made[:N_TOLD]
    words, best = ([f(codes) for codes in (held, made)] for f in (_words, lambda codes: _best(codes, truth)))
    spectra = [counts.mean(0) / counts.mean(0).sum() for counts in (_words(real[:N_WORDS]), _words(made_all[:N]))]
    labels = np.repeat([0, 1], [len(held), len(made)])
    folds = StratifiedKFold(2, shuffle=True, random_state=seed)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=1e-4, max_iter=300))
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=seed, n_jobs=1)
    plain, full = np.vstack(words), np.hstack([np.vstack(best), np.vstack(words)])
    told = {
        name: cross_val_predict(model, features, labels, cv=folds, method="predict_proba")[:, 1]
        for name, model, features in (("auc_words", logistic, plain), ("auc_forest", forest, full))
    }
    copies = longest_copies(made_all, train)
    return _rates(made_all, truth) | {
        "n": len(made_all),
        "gc": round(float(np.isin(made_all, (1, 2)).mean()), 4),
        "gc_real": round(float(np.isin(real, (1, 2)).mean()), 4),
        "words": round(float(np.abs(spectra[0] - spectra[1]).sum() / 2), 4),
        **{name: round(float(roc_auc_score(labels, score)), 4) for name, score in told.items()},
        "copy_median": float(np.median(copies)),
        "copy_largest": int(copies.max()),
    }


def _rates(codes: np.ndarray, truth: Truth) -> Row:
    """Say in which part of the sequences motifs lie, and pairs of them as they should."""
    from sctandem.kernels._pwm import scan_motifs

    offsets = np.arange(len(codes) + 1) * LENGTH
    hits, _ = scan_motifs(codes.astype(np.uint8).ravel(), offsets, list(truth.motifs.values()), p_value=1e-4)
    first, second = (np.flatnonzero(hits.motif == motif) for motif in (0, 1))
    pairs = [
        (i, j)
        for i in first
        for j in second[slice(*np.searchsorted(hits.peak[second], [hits.peak[i], hits.peak[i] + 1]))]
    ]
    i, j = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    ahead = hits.start[j] - hits.start[i]
    apart = np.where(hits.strand[i] > 0, ahead, WIDTH_A - WIDTH_B - ahead)
    right = (hits.strand[i] == hits.strand[j]) & (np.abs(apart - SPACING) <= SPREAD)
    return {
        "rate_a": round(len(np.unique(hits.peak[first])) / len(codes), 4),
        "rate_b": round(len(np.unique(hits.peak[second])) / len(codes), 4),
        "rate_pair": round(len(np.unique(hits.peak[i[right]])) / len(codes), 4),
        "spacing": round(float(apart[right].mean()), 2) if right.any() else None,
    }


def _draw_chain(steps: np.ndarray, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw sequences of a chain of order 2."""
    codes = rng.integers(4, size=(n, length))
    below = steps.cumsum(1)[:, :3]
    for i in range(2, length):
        codes[:, i] = (rng.random((n, 1)) > below[codes[:, i - 2] * 4 + codes[:, i - 1]]).sum(1)
    return codes


def _draw_motif(width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a motif of sharp and of vague positions."""
    motif = np.empty((width, 4))
    for column in motif:
        top = rng.choice([0.94, 0.85, 0.7], p=[0.5, 0.3, 0.2])
        column[:] = rng.permutation(np.append(top, rng.dirichlet(np.ones(3)) * (1 - top)))
    return motif


def _letters(motif: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((len(motif), 1)) > motif.cumsum(1)[:, :3]).sum(1)


def _words(codes: np.ndarray) -> np.ndarray:
    """Count words of 6 on both strands, sequences x words, float32."""
    from sctandem.kernels._kmers import count_words

    offsets = np.arange(len(codes) + 1, dtype=np.int64) * LENGTH
    return count_words(codes.astype(np.uint8).ravel(), offsets, 6).toarray().astype(np.float32)


def _best(codes: np.ndarray, truth: Truth) -> np.ndarray:
    """Give the best score of each true motif, sequences x motifs."""
    from sctandem.kernels._site_search import base_log_odds

    even = np.full(codes.shape, np.log(0.25))
    return np.stack(
        [base_log_odds(codes, even, motif, both=True).max((1, 2)) for motif in truth.motifs.values()], axis=1
    )


def _text(codes: np.ndarray) -> list[str]:
    return ["".join(row) for row in np.array(list("ACGT"))[codes]]


def _codes(sequences: list[str]) -> np.ndarray:
    return np.array([["ACGT".index(base) for base in text] for text in sequences])


def longest_copies(made: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Find the longest run of bases that each sequence shares with others on either strand; runs are compared by hashes of 64 bits."""
    among, whole = np.concatenate([train, 3 - train[:, ::-1]]), made.shape[1]
    longest = np.where(_shares(made, among, whole), whole, 0)
    left = np.flatnonzero(longest == 0)
    first = _COMMON if _shares(made[left], among, _COMMON).all() else 1
    for length in range(first, whole):
        left = left[_shares(made[left], among, length)]
        if not len(left):
            break
        longest[left] = length
    return longest


def _shares(codes: np.ndarray, among: np.ndarray, length: int) -> np.ndarray:
    """Say which sequences share a run of a length with others."""
    return np.isin(_hashed(codes, length), np.unique(_hashed(among, length))).any(1)


def _hashed(codes: np.ndarray, length: int) -> np.ndarray:
    """Hash all runs of a length, sequences x places."""
    hashes = np.zeros((len(codes), codes.shape[1] - length + 1), dtype=np.uint64)
    for i in range(length):
        hashes += codes[:, i : i + hashes.shape[1]].astype(np.uint64) + np.uint64(1)
        hashes *= np.uint64(_FACTOR)
    return hashes


def table(rows: list[Row]) -> list[Row]:
    """Give a row a method, a mean over seeds."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    columns = {
        "A": "rate_a", "B": "rate_b", "pair": "rate_pair", "spacing": "spacing", "words": "words", "AUC, words": "auc_words",
        "AUC, forest": "auc_forest", "copies, median": "copy_median", "copies, largest": "copy_largest", "CPU s": "processor_seconds",
    }  # fmt: skip
    out = []
    for name in names:
        own = [row for row in rows if row["name"] == name]
        values = {title: [row[key] for row in own if row.get(key) is not None] for title, key in columns.items()}
        out.append(
            {"sequences": name, "seeds": len(own)}
            | {title: round(float(np.mean(value)), 3) if value else None for title, value in values.items()}
        )
    return out


def targets(rows: list[Row]) -> list[Row]:
    """Compare with what was asked for, seed by seed."""
    words = [
        f"sequences: {what} within {ALLOWED:.0%} of the true one"
        for what in ("rate of A", "rate of B", "rate of right pairs", "spacing")
    ]
    words.append(
        f"sequences: the longest run shared with the training sequences by {N_MADE:,} made ones is no longer than by as many new real ones, plus one base"
    )
    of = {(row["name"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    seeds = [seed for seed in seeds if {(OWN, seed), (REAL, seed), (TRUTH, seed)} <= of.keys()]
    if not seeds:
        return [{"target": target, "measured": "", "met": "not measured"} for target in words]
    out = []
    for target, key in zip(words, RATES, strict=False):
        off = [(of[OWN, seed][key] or 0) / of[TRUTH, seed][key] - 1 for seed in seeds]
        measured = ", ".join(f"{value:+.1%}" for value in off)
        if key != RATES[-1]:
            errors = [_error(of[OWN, seed], of[TRUTH, seed], key) for seed in seeds]
            measured += f" (standard error {np.mean(errors):.1%})"
        out.append(
            {
                "target": target,
                "measured": measured,
                "met": "yes" if max(map(abs, off)) <= ALLOWED else "no",
            }
        )
    copies = [(of[OWN, seed]["copy_largest"], of[REAL, seed]["copy_largest"]) for seed in seeds]
    met = all(own <= chance + 1 for own, chance in copies)
    measured = ", ".join(f"{own:g} ({chance:g})" for own, chance in copies)
    return [*out, {"target": words[-1], "measured": measured, "met": "yes" if met else "no"}]


def _error(own: Row, truth: Row, key: str) -> float:
    """Give the standard error of a rate as a share of the true one, which is counted too."""
    return float(np.sqrt(sum(row[key] * (1 - row[key]) / row["n"] for row in (own, truth)))) / truth[key]


def data() -> list[Path]:
    """Files that are read: none."""
    return []
