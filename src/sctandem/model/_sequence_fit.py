"""Grow a generator of sequences against a critic: what the critic's filters find becomes a motif of the generator."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional
from tqdm.auto import tqdm

from sctandem._progress import wants_progress
from sctandem._random import draw_seed, torch_seeded
from sctandem.kernels._sequence_grammar import Grammar, fit_chain
from sctandem.kernels._site_search import base_log_odds, fit_motif, gain_of
from sctandem.module._sequence_gan import SequenceCritic
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sctandem.module._sequence_gan import SequenceGANConfig

logger = logging.getLogger(__name__)

#: One in so many sequences is kept from generator and critic, to judge both.
_HELD_OUT = 8
#: Words that are followed beside the filters, their length, the width of a motif made of one, and how sure its letters are.
_N_WORDS, _WORD, _WIDE, _LETTER = 4, 7, 11, 0.7
#: Filters of the critic that are followed, steps that each is, and how many go on for longer.
_FOLLOWED, _SHORT, _KEPT, _LONG = 6, 4, 2, 12
#: Sequences in which a filter finds most show its motif, as a share.
_SHOWN = 0.15
#: Least gain of a motif in log-likelihood a held-out sequence, and in standard errors.
_LEAST, _SURE = 0.04, 3.0
#: Sweeps over all sites after each new motif.
_SETTLE = 3
#: Order of the chain against which motifs are looked for.
_SEARCH_ORDER = 2
#: Most that the critic can make a sequence count, as a factor.
_MOST = 20.0
_BATCH = 512


class Fitted(NamedTuple):
    """A generator, its critic if it has one, how far its scores are to be trusted, and what was told apart on the way."""

    grammar: Grammar
    critic: SequenceCritic | None
    scale: float
    told: list[dict[str, float]]


@torch_on_one_thread()
def fit_sequences(
    codes: np.ndarray, config: SequenceGANConfig, *, rng: np.random.Generator, progress: bool | None = None
) -> Fitted:
    """Fit generator and critic in turns.

    Parameters
    ----------
    codes
        Sequences x bases, 0 to 3, uint8.
    config
        Settings.
    rng
        Generator.
    progress
        Whether to show a bar.

    Returns
    -------
    What was fitted. `told` has a row a round: motifs, and the AUC of the critic on held-out sequences against made ones.

    Raises
    ------
    KeyboardInterrupt
        When it comes before the first round is over; later it ends the rounds, and what was fitted has no critic.
    """
    fitted: Fitted | None = None
    try:
        for fitted in _rounds(codes, config, rng, progress=progress):  # noqa: B007 - the last is what counts
            pass
    except KeyboardInterrupt:
        if fitted is None:
            raise
        logger.warning(
            "Training was interrupted after %d motifs; the model is as it was then, without a critic that chooses.",
            len(fitted.grammar.motifs),
        )
    return fitted  # type: ignore[return-value]


def _rounds(
    codes: np.ndarray, config: SequenceGANConfig, rng: np.random.Generator, *, progress: bool | None
) -> Iterator[Fitted]:
    """Give what is fitted after each round, and at the end."""
    codes = codes[rng.permutation(len(codes))].astype(np.int64)
    n_held = max(10, len(codes) // _HELD_OUT)
    held, shown = codes[:n_held], codes[n_held:]
    none = np.empty((len(shown), 0), dtype=np.int64)
    # a longer one would hold parts of the motifs, and hide them
    order = min(config.max_order, _SEARCH_ORDER)
    chain = fit_chain(shown, order, both=config.both_strands)
    grammar = Grammar(chain, order, codes.shape[1], config.both_strands, starts=none, strands=none.copy())
    told: list[dict[str, float]] = []
    with tqdm(total=config.max_motifs, desc="Motifs", disable=not wants_progress(progress)) as bar:
        while True:
            critic, scores = _critic(grammar, shown, held, config, rng, arranged=False)
            told.append({"motifs": len(grammar.motifs), "auc": _auc(*scores)})
            yield Fitted(deepcopy(grammar), None, 0.0, list(told))
            if len(grammar.motifs) >= config.max_motifs or not _learn_motif(grammar, critic, shown, held, rng):
                break
            bar.update()
    grammar.order = _best_order(shown, grammar.occupied(), config)
    grammar.chain = fit_chain(shown, grammar.order, both=grammar.both, without=grammar.occupied())
    if grammar.motifs:
        for _ in range(config.n_sweeps):
            grammar.sweep(shown, rng)
    yield Fitted(grammar, None, 0.0, list(told))
    critic, scores = _critic(grammar, shown, held, config, rng, arranged=True)
    scale = _scale(*scores)
    real, made = scores
    fresh = grammar.draw(config.oversample * len(held), rng).astype(np.int64)
    weights = importance(score(critic, fresh), scale)
    kept = fresh[keep(weights, len(held), rng)]
    told.append({"motifs": len(grammar.motifs), "auc": _auc(real, made), "auc_kept": _auc(real, score(critic, kept))})
    yield Fitted(grammar, critic, scale, told)


def importance(scores: np.ndarray, scale: float) -> np.ndarray:
    """Turn scores of the critic into weights of made sequences, with mean 1 and bounded."""
    weights = np.exp(scale * (scores - scores.mean()))
    weights = np.minimum(weights / weights.mean(), _MOST)
    return weights / weights.mean()


def keep(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n of the sequences in proportion to weights, none twice: those of the largest weight with an exponential handicap."""
    return np.sort(np.argsort(rng.exponential(size=len(weights)) / weights)[:n])


def _best_order(codes: np.ndarray, occupied: np.ndarray, config: SequenceGANConfig) -> int:
    """Choose the order of the chain that gives bases outside of sites in one half of the sequences the largest likelihood from the other."""
    half = len(codes) // 2
    likelihood = []
    for order in range(config.max_order + 1):
        chain = fit_chain(codes[:half], order, both=config.both_strands, without=occupied[:half])
        logs = Grammar(chain, order, codes.shape[1], config.both_strands).background(codes[half:])
        likelihood.append(logs[~occupied[half:]].sum())
    return int(np.argmax(likelihood))


def _critic(
    grammar: Grammar,
    shown: np.ndarray,
    held: np.ndarray,
    config: SequenceGANConfig,
    rng: np.random.Generator,
    *,
    arranged: bool,
) -> tuple[SequenceCritic, tuple[np.ndarray, np.ndarray]]:
    """Train a critic on the data and on what the generator makes; give it at its best on held-out sequences, and its scores of them."""
    made = grammar.draw(len(shown), rng).astype(np.int64)
    against = grammar.draw(len(held), rng).astype(np.int64)
    codes = torch.from_numpy(np.concatenate([shown, made]))
    truth = torch.from_numpy(np.repeat([1.0, 0.0], [len(shown), len(made)]).astype(np.float32))
    best, scores = np.inf, (np.zeros(len(held)), np.zeros(len(held)))
    state: dict[str, torch.Tensor] = {}
    with torch_seeded(draw_seed(rng)):
        critic = SequenceCritic(config, arranged=arranged)
        optimizer = torch.optim.Adam(critic.parameters(), lr=config.learning_rate, weight_decay=1e-4)
        n_steps = config.critic_epochs * -(-len(codes) // config.batch_size)
        slower = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * config.learning_rate, total_steps=n_steps)
        for _ in range(config.critic_epochs):
            critic.train()
            for rows in torch.randperm(len(codes)).split(config.batch_size):
                optimizer.zero_grad(set_to_none=True)
                batch = codes[rows]
                if config.both_strands:
                    turned = torch.rand(len(batch), 1) < 0.5
                    batch = torch.where(turned, 3 - batch.flip(1), batch)
                loss = functional.binary_cross_entropy_with_logits(critic(batch), truth[rows])
                loss.backward()
                optimizer.step()
                slower.step()
            found = score(critic, held), score(critic, against)
            loss = np.logaddexp(0, -found[0]).mean() + np.logaddexp(0, found[1]).mean()
            if loss < best:
                best, scores = loss, found
                state = {name: value.clone() for name, value in critic.state_dict().items()}
    critic.load_state_dict(state)
    return critic.eval(), scores


@torch.no_grad()
def score(critic: SequenceCritic, codes: np.ndarray) -> np.ndarray:
    """Score sequences."""
    critic.eval()
    parts = torch.from_numpy(codes).split(_BATCH)
    scores = [(critic(part) + critic(3 - part.flip(1))) / 2 if critic.both else critic(part) for part in parts]
    return torch.cat(scores).double().numpy()


def _auc(real: np.ndarray, made: np.ndarray) -> float:
    truth = np.repeat([1, 0], [len(real), len(made)])
    return round(float(roc_auc_score(truth, np.concatenate([real, made]))), 4)


def _scale(real: np.ndarray, made: np.ndarray) -> float:
    """Find by how much scores are to be multiplied to be log odds of held-out sequences; 0 where they say nothing."""
    scales = np.linspace(0, 1.5, 31)
    loss = [np.logaddexp(0, -s * real).mean() + np.logaddexp(0, s * made).mean() for s in scales]
    return float(scales[int(np.argmin(loss))])


def _learn_motif(
    grammar: Grammar, critic: SequenceCritic, shown: np.ndarray, held: np.ndarray, rng: np.random.Generator
) -> bool:
    """Add the motif that the critic points at; say whether there is one."""
    background, occupied = grammar.background(shown), grammar.occupied()
    both = grammar.both
    found = []
    made = grammar.draw(len(shown), rng).astype(np.int64)
    for seed in _pointed_at(critic, shown, made) + _frequent_words(shown, made, both=both):
        motif, share, gain = fit_motif(shown, background, occupied, seed, both=both, n_steps=_SHORT)
        found.append((gain, share, motif))
    found.sort(key=lambda one: -one[0])
    longer = [
        fit_motif(shown, background, occupied, motif, both=both, n_steps=_LONG, share=share)
        for _, share, motif in found[:_KEPT]
    ]
    for motif, share, _ in sorted(longer, key=lambda one: -one[2]):
        gains = gain_of(base_log_odds(held, grammar.background(held), motif, both=both), share)
        if gains.mean() > max(_LEAST, _SURE * gains.std() / np.sqrt(len(gains))):
            shares = np.append((grammar.starts >= 0).mean(0), share)
            grammar.add(motif)
            grammar.sweep(shown, rng, shares=shares)
            for _ in range(_SETTLE):
                grammar.sweep(shown, rng)
            return True
    return False


@torch.no_grad()
def _pointed_at(critic: SequenceCritic, shown: np.ndarray, made: np.ndarray) -> list[np.ndarray]:
    """Give what those filters of the critic read that find most in the data and least in made sequences, as motifs."""
    n, width = critic.filters.out_channels, critic.filters.kernel_size[0]
    places, heights = [], []
    for codes in (shown, made):
        parts = [critic.found(part) for part in torch.from_numpy(codes).split(_BATCH)]
        best, place = zip(
            *(part.unflatten(1, (-1, n)).transpose(1, 2).flatten(2).max(2) for part in parts), strict=True
        )
        heights.append(torch.cat(best).numpy())
        places.append(torch.cat(place).numpy())
    real, fake = heights
    apart = (real.mean(0) - fake.mean(0)) / np.sqrt(real.var(0) + fake.var(0) + 1e-12)
    n_places = shown.shape[1] - width + 1
    motifs = []
    for one in np.argsort(-apart)[:_FOLLOWED]:
        rows = np.argsort(-real[:, one])[: max(20, round(_SHOWN * len(shown)))]
        start, reverse = places[0][rows, one] % n_places, places[0][rows, one] // n_places == 1
        sites = shown[rows[:, None], start[:, None] + np.arange(width)]
        sites[reverse] = 3 - sites[reverse, ::-1]
        counts = np.stack([(sites == base).sum(0) for base in range(4)], axis=1) + 0.05 * len(rows)
        motifs.append(counts / counts.sum(1, keepdims=True))
    return motifs


def _frequent_words(shown: np.ndarray, made: np.ndarray, *, both: bool) -> list[np.ndarray]:
    """Give the words that more sequences of the data hold than made ones, as motifs with open ends; few sequences hide a motif from filters."""
    holding = []
    for codes in (shown, made):
        n_places = codes.shape[1] - _WORD + 1
        words = sum(codes[:, i : i + n_places] * 4 ** (_WORD - 1 - i) for i in range(_WORD))
        if both:
            turned = sum((3 - codes[:, i : i + n_places]) * 4**i for i in range(_WORD))
            words = np.minimum(words, turned)
        words = np.sort(words, axis=1)
        first = np.ones(words.shape, dtype=bool)
        first[:, 1:] = words[:, 1:] != words[:, :-1]
        holding.append(np.bincount(words[first], minlength=4**_WORD))
    real, fake = holding
    sure = (real - fake) / np.sqrt(real + fake + 1.0)
    motifs = []
    for word in np.argsort(-sure, kind="stable")[:_N_WORDS]:
        motif = np.full((_WIDE, 4), 0.25)
        for i in range(_WORD):
            column = motif[i + (_WIDE - _WORD) // 2]
            column[:] = (1 - _LETTER) / 3
            column[word // 4 ** (_WORD - 1 - i) % 4] = _LETTER
        motifs.append(motif)
    return motifs
