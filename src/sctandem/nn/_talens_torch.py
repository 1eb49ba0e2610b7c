"""The search for pairs of TALENs in torch operations, for a GPU: the places and scores of `kernels/_talens.py`, bit by bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from sctandem.kernels._talens import QUANTUM, UNKNOWN, UPSTREAM, WORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sctandem.kernels._talens import PairTables

#: Pairs that are looked at in one go.
_BLOCK: Final = 1 << 22


class _Sites(NamedTuple):
    """Sites of one array on one strand, in ascending order.

    Attributes
    ----------
    first
        Position of the leftmost base.
    score
        Sum over the repeats.
    thymine
        Whether the upstream base, on the strand that is bound, is a T.
    """

    first: torch.Tensor
    score: torch.Tensor
    thymine: torch.Tensor


def find_device(accelerator: str) -> torch.device | None:
    """Return the GPU, or `None` where the search runs on the processor.

    Raises
    ------
    RuntimeError
        When a GPU is asked for and torch sees none.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator == "gpu":
        msg = "accelerator='gpu', but torch sees no GPU (CUDA) here. 'cpu' finds the same places."
        raise RuntimeError(msg)
    return None


def scan_pairs_torch(
    codes: np.ndarray,
    begin: int,
    stop: int,
    tables: PairTables,
    *,
    spacer: tuple[int, int],
    upstream: str = "T",
    dimers: tuple[bool, bool, bool, bool] = (True, True, True, True),
    worst: float = np.inf,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray, int]:
    """Find where two arrays of repeats face each other, as :func:`sctandem.kernels._talens.scan_pairs` does.

    Sites are sorted out by the same tables of words, the others summed in double precision in the order of the repeats: sums are
    the same numbers. Rows come by pair of arrays and then by position.

    Parameters
    ----------
    codes, begin, stop, tables, spacer, upstream, dimers, worst
        As there.
    device
        Where to work.
    """
    pad = tables.forward.shape[0] * WORD
    bases = torch.from_numpy(np.pad(codes, pad, constant_values=UNKNOWN)).to(device)
    forward, backward = _both_strands(bases, (begin, min(stop, len(codes))), tables, UPSTREAM[upstream])
    places, scores, n_pairs = [np.empty((0, 3), dtype=np.int64)], [np.empty((0, 2))], 0
    for a in range(2):
        for b in range(2):
            if not dimers[2 * a + b]:
                continue
            left, right = forward[a], backward[b]
            possible = float(tables.best[a] + tables.best[b])
            nearest = left.first + int(tables.length[a]) + spacer[0]
            for one, other in _facing(nearest, right.first, spacer[1] - spacer[0]):
                valid = torch.ones_like(one, dtype=torch.bool)
                if upstream == "either":  # TALE-NT looks for the same upstream base on both sides
                    valid = left.thymine[one] == right.thymine[other]
                n_pairs += int(valid.sum())
                kept = valid & ((left.score[one] + right.score[other]) / possible <= worst)
                i, j = one[kept], other[kept]
                dimer = torch.full_like(i, 2 * a + b)
                places.append(torch.stack([dimer, left.first[i], right.first[j]], dim=1).cpu().numpy())
                scores.append(torch.stack([left.score[i], right.score[j]], dim=1).cpu().numpy())
    return np.concatenate(places), np.concatenate(scores), n_pairs


def _both_strands(
    bases: torch.Tensor, starts: tuple[int, int], tables: PairTables, allowed: tuple[int, ...]
) -> tuple[list[_Sites], list[_Sites]]:
    """List the sites of both arrays on the forward strand that start in a range, and all on the other strand."""
    pad, (begin, stop) = tables.forward.shape[0] * WORD, starts
    device, n = bases.device, len(bases) - 2 * pad
    words = torch.zeros(len(bases) - WORD + 1, dtype=torch.int64, device=device)
    for place in range(WORD):
        words = (words << 2) | (bases[place : place + len(words)] & 3)
    before = torch.zeros((2, UNKNOWN + 1), dtype=torch.bool, device=device)
    for base in allowed:
        before[0, base] = before[1, 3 - base] = True
    # where a site would start, and on the other strand where its upstream base lies
    left = begin + torch.nonzero(before[0][bases[pad + begin - 1 : pad + stop - 1].long()])[:, 0]
    right = torch.nonzero(before[1][bases[pad : pad + n].long()])[:, 0]
    lowest = [torch.zeros_like(at) for at in (left, right)]
    for g in range(tables.forward.shape[0]):
        rows = [torch.from_numpy(table[g].astype(np.int64)).to(device) for table in (tables.forward, tables.backward)]
        lowest[0] += rows[0][words[pad + left + g * WORD]]
        lowest[1] += rows[1][words[pad + right - (g + 1) * WORD]]
    limit = np.minimum(np.floor(tables.threshold * QUANTUM), 0xFFFF).astype(np.int64).tolist()
    found: tuple[list[_Sites], list[_Sites]] = ([], [])
    for array, length in enumerate(tables.length.tolist()):
        scores = np.full((length, UNKNOWN + 1), np.inf)
        for strand, starts_or_ends in enumerate((left, right)):
            scores[:, :4] = tables.scores[array, :length, :: -1 if strand else 1]
            at = starts_or_ends[(lowest[strand] >> 16 * array & 0xFFFF) <= limit[array]]
            total = _sums(bases, pad + at - strand, -1 if strand else 1, torch.from_numpy(scores).to(device))
            good = total <= float(tables.threshold[array])
            thymine = bases[pad + at[good] - (1 - strand)] == (0 if strand else 3)
            found[strand].append(_Sites(at[good] - strand * length, total[good], thymine))
    return found


def _sums(bases: torch.Tensor, start: torch.Tensor, step: int, scores: torch.Tensor) -> torch.Tensor:
    """Sum the scores of sites in the order of their repeats; infinite where a base is not known."""
    total = torch.zeros(len(start), dtype=torch.float64, device=bases.device)
    for k, row in enumerate(scores):
        total += row[bases[start + step * k].long()]
    return total


def _facing(nearest: torch.Tensor, right: torch.Tensor, reach: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the left and right sites of all pairs, some millions at a time: `right` lies at most `reach` after `nearest`."""
    first = torch.searchsorted(right, nearest)
    count = torch.searchsorted(right, nearest + reach, right=True) - first
    ends = torch.cumsum(count, dim=0)
    total = int(ends[-1]) if len(ends) else 0
    for low in range(0, total, _BLOCK):
        pair = torch.arange(low, min(low + _BLOCK, total), device=right.device)
        i = torch.searchsorted(ends, pair, right=True)
        yield i, first[i] + pair - (ends[i] - count[i])
