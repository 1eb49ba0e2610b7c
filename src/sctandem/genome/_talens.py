from __future__ import annotations

import logging
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import check_number, check_option, check_positive, listed
from sctandem.genome._sequence_stream import stretches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import torch

    from sctandem.genome._sequence_stream import Stretch
    from sctandem.kernels._talens import PairTables

logger = logging.getLogger(__name__)

#: Length of an array of repeats.
LENGTHS = (10, 40)
#: Longest spacer.
MAX_SPACER = 1000
#: Starts of sites that are scanned in one go.
_SIZE = 1 << 22
#: Places beyond `n_best` that are held before the worst are dropped, at least.
_SLACK = 50_000
_DIMERS = {"all": (True,) * 4, "hetero": (False, True, True, False), "homo": (True, False, False, True)}
_COLUMNS = [
    "sequence", "left", "right", "left_start", "right_start", "spacer", "left_score", "right_score", "left_target",
    "right_target", "polarity_score", "importance_score",
]  # fmt: skip


def parse_rvds(rvds: str | Sequence[str], name: str = "rvds") -> list[str]:
    """Take an array of repeats apart.

    Parameters
    ----------
    rvds
        The repeat-variable diresidues (RVDs) from the N to the C terminus: text, separated by blanks, commas, ``_`` or
        ``-`` or not at all, or a sequence of them.
    name
        What it is called in messages.

    Returns
    -------
    One RVD of two letters an item, in upper case.

    Raises
    ------
    ValueError
        For RVDs that are not known and arrays that are too short or too long.
    TypeError
        For what is no text.
    """
    from sctandem.kernels._talens import RVD_COUNTS

    if isinstance(rvds, str):
        parts = [part for part in re.split(r"[\s,_-]+", rvds.strip().upper()) if part]
        if len(parts) == 1 and len(parts[0]) > 2:
            parts = [parts[0][at : at + 2] for at in range(0, len(parts[0]), 2)]
    elif isinstance(rvds, list | tuple | np.ndarray) and all(isinstance(part, str) for part in rvds):
        parts = [part.strip().upper() for part in rvds]
    else:
        msg = f"{name} must be text such as 'NI HD NG NN', got {type(rvds).__name__}: {rvds!r:.80}"
        raise TypeError(msg)
    unknown = sorted({part for part in parts if part not in RVD_COUNTS})
    if unknown:
        hint = "write XX for one that binds any base alike."
        if set("".join(parts)) <= set("ACGTU"):
            hint = "these look like bases; write the repeats that bind them, such as NI HD NG NN for ACTG."
        msg = f"{name} has RVDs that are not known: {listed(unknown)}. Known are {', '.join(RVD_COUNTS)}; {hint}"
        raise ValueError(msg)
    if not LENGTHS[0] <= len(parts) <= LENGTHS[1]:
        msg = f"{name} has {len(parts)} RVDs; an array has {LENGTHS[0]} to {LENGTHS[1]}."
        raise ValueError(msg)
    return parts


def check_range(values: tuple[int, int], name: str, *, low: int, high: int) -> tuple[int, int]:
    """Check a pair of whole numbers, the smaller one first."""
    ends = tuple(values) if isinstance(values, tuple | list | np.ndarray) else (values,)
    if len(ends) != 2:
        msg = f"{name}={values!r} is not a pair (shortest, longest)."
        raise ValueError(msg)
    for end in ends:
        check_number(end, name, low=low, high=high, whole=True)
    if ends[0] > ends[1]:
        msg = f"{name}={values!r} is reversed: the shortest comes first, ({ends[1]}, {ends[0]})."
        raise ValueError(msg)
    return int(ends[0]), int(ends[1])


def scan_talens(
    fasta: str | Path,
    pair: tuple[str, str],
    *,
    spacer: tuple[int, int] = (15, 30),
    cutoff: float = 3.0,
    upstream: str = "T",
    dimers: str = "all",
    n_best: int | None = 500_000,
    n_threads: int | None = None,
    accelerator: str = "cpu",
) -> pd.DataFrame:
    r"""Find every place where a pair of TALENs may cut, in a genome.

    Both strands are searched, for the pair and for each array with itself, whatever the number of mismatches. Sites are
    scored as TALE-NT scores them: the sum over the repeats of -ln of the probability of the base under the repeat; both
    sites of a place need at most `cutoff` times the best score of their array, and the upstream base.

    Parameters
    ----------
    fasta
        The sequences: plain text, gzip or bgzip. Lower case counts as upper case; no site has an N or another ambiguous
        letter in it.
    pair
        Two arrays of repeats (RVDs) from the N to the C terminus, such as ``"NN HD NG NI"``, each of 10 to 40 RVDs.
    spacer
        Shortest and longest distance between the two sites, bp.
    cutoff
        Highest score of a site, as a multiple of the best score of its array. TALE-NT takes 3, 3.5 or 4.
    upstream
        The base before the first repeat of both sites, on the strand that is bound: ``"T"``, ``"C"``, ``"either"`` (the same
        one on both sides, as in TALE-NT) or ``"mixed"`` (T or C, each side on its own).
    dimers
        ``"all"``, ``"hetero"`` (one array of each kind) or ``"homo"`` (twice the same).
    n_best
        Keep so many of the places, those with the lowest sum of scores over the best possible one; `None` keeps all. A
        warning tells how many were left out.
    n_threads
        Threads; by default those that numba may use (``NUMBA_NUM_THREADS``). The result is the same.
    accelerator
        ``"cpu"``, ``"gpu"`` (CUDA, by torch), or ``"auto"`` for the GPU where there is one. The result is the same.

    Returns
    -------
    One row per place, sorted as TALE-NT sorts: by sequence (name), arrays and starts. ``sequence`` (str), ``left`` and
    ``right`` (str; ``"RVD1"`` or ``"RVD2"``, the array on the forward and on the other strand), ``left_start`` and
    ``right_start`` (int64; 0-based position of the base under the first repeat of each: the first base of the left site and
    the last one of the right site), ``spacer`` (int64; bp), ``left_score`` and ``right_score`` (float64; lower binds better),
    ``left_target`` and ``right_target`` (str; each on its own strand, 5' to 3', without the upstream base),
    ``polarity_score`` and ``importance_score`` (float64; sums over both sites, 0 for a perfect pair of sites, see Notes).
    ``attrs["best_scores"]`` holds the best score of each array, ``attrs["n_found"]`` the number of places, left out ones
    included, ``attrs["n_bases"]`` that of the bases read.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    RuntimeError
        When a GPU is asked for and there is none.
    ValueError
        When an RVD is not known, an array is too short or too long, the range of spacers is reversed, or the file is no FASTA
        file of DNA.
    TypeError
        When `fasta` is no path.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sctandem.genome import scan_talens
    >>> left, right = "NI HD NG NN NI HD NG NN NI HD NG NN", "HD HD NG NG NI NI NN NN HD HD NG NG"
    >>> site = "T" + "ACTGACTGACTG" + "A" * 16 + "AAGGCCTTAAGG" + "A"
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "genome.fa").write_text(">chr1\n" + site + "\n")
    ...     found = scan_talens(Path(folder, "genome.fa"), (left, right))
    >>> found[["left", "right", "left_start", "right_start", "spacer", "left_target", "right_target"]].values.tolist()
    [['RVD1', 'RVD2', 1, 40, 16, 'ACTGACTGACTG', 'CCTTAAGGCCTT']]

    Notes
    -----
    The two other scores are read off the places that were found; they take no part in the search.

    ``polarity_score`` lets mismatches at the 5' end of a site, under the first repeats, weigh more: what each base scores
    above the best base of its repeat is weighted by 1.5 at the first repeat, falling linearly to 0.5 at the last. That the
    first repeats matter more was measured by Meckler et al. (2013), and PROGNOS (Fine et al., 2014) ranks with such a
    polarity; the weights here are a plain choice, not those of PROGNOS.

    ``importance_score`` lets repeats that bind weakly matter less: the probability of a base is a mixture of what the repeat
    prefers and of any base, as in TALgetter (Grau et al., 2013). The share of the former is 0.95 for strong repeats (HD, NN),
    0.85 for intermediate (NH, N*) and 0.7 for the rest, after the classes of Streubel et al. (2012); the numbers are a
    choice, not TALgetter's.

    No score says how often a place is cut: chromatin, methylation of cytosines, the FokI domains and the dose are not in it.

    TALE-NT passes over places whose right upstream base is the last one of a sequence; they are reported here.
    The number of places grows fast with `cutoff` and with the number of NN.

    Cost: a genome is streamed; some 130 million bases a second and processor, with the reading, both strands and all four
    dimers (half as many for arrays rich in NN, which find a place every 28 bases), plus the decompression of a zipped file,
    and up to 650 MB of memory.

    References
    ----------
    Doyle et al. (2012), TAL Effector-Nucleotide Targeter (TALE-NT) 2.0, Nucleic Acids Res 40:W117.

    Moscou and Bogdanove (2009), A simple cipher governs DNA recognition by TAL effectors, Science 326:1501.

    Meckler et al. (2013), Quantitative analysis of TALE-DNA interactions suggests polarity effects, Nucleic Acids Res 41:4118.

    Fine et al. (2014), An online bioinformatics tool predicts zinc finger and TALE nuclease off-target cleavage, Nucleic
    Acids Res 42:e42.

    Grau et al. (2013), Computational predictions provide insights into the biology of TAL effector target sites, PLoS Comput
    Biol 9:e1002962.

    Streubel et al. (2012), TAL effector RVD specificities and efficiencies, Nat Biotechnol 30:593.
    """
    import numba

    from sctandem.kernels._talens import UPSTREAM, pair_tables, reach

    arrays = _check_pair(pair)
    shortest_longest = check_range(spacer, "spacer", low=0, high=MAX_SPACER)
    check_number(cutoff, "cutoff", low=1, high=100)
    check_option(upstream, list(UPSTREAM), "upstream")
    check_option(dimers, list(_DIMERS), "dimers")
    if n_best is not None:
        check_positive(n_best, "n_best", whole=True)
    if n_threads is not None:
        check_positive(n_threads, "n_threads", whole=True)
    check_option(accelerator, ["cpu", "gpu", "auto"], "accelerator")
    device = None
    if accelerator != "cpu":
        from sctandem.nn._talens_torch import find_device

        device = find_device(accelerator)
    tables = pair_tables(*arrays, float(cutoff))
    search = _Search(
        arrays, tables, spacer=shortest_longest, upstream=upstream, dimers=_DIMERS[dimers], n_best=n_best, device=device
    )
    after = reach(tables.length, shortest_longest[1])
    # one thread feeds a GPU, while this one reads ahead
    n_workers = 1 if device else n_threads or numba.get_num_threads()
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="sctandem") as pool:
        for stretch in stretches(fasta, before=1, after=after, size=_SIZE):
            waiting.append(pool.submit(search.find, stretch, search.worst))
            if len(waiting) > 2 * n_workers:
                search.add(waiting.popleft().result())
        while waiting:
            search.add(waiting.popleft().result())
    return search.table()


def _check_pair(pair: tuple[str, str]) -> tuple[list[str], list[str]]:
    """Check and take apart the two arrays."""
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        msg = f"pair must be two arrays of RVDs, such as ('NI HD NG NN ...', 'HD HD NG NG ...'), got {pair!r:.120}"
        raise ValueError(msg)
    return parse_rvds(pair[0], "the first array of pair"), parse_rvds(pair[1], "the second array of pair")


class _Search:
    """Finds places stretch by stretch, and keeps the best of them."""

    def __init__(
        self,
        arrays: tuple[list[str], list[str]],
        tables: PairTables,
        *,
        spacer: tuple[int, int],
        upstream: str,
        dimers: tuple[bool, bool, bool, bool],
        n_best: int | None,
        device: torch.device | str | None = None,
    ) -> None:
        from sctandem.kernels._talens import importance_matrix, polarity_matrix, scan_pairs

        self.scan: Callable[..., tuple[np.ndarray, np.ndarray, int]] = scan_pairs
        if device is not None:
            from sctandem.nn._talens_torch import scan_pairs_torch

            self.scan = partial(scan_pairs_torch, device=device)
        self.tables, self.spacer, self.upstream, self.dimers, self.n_best = tables, spacer, upstream, dimers, n_best
        self.further = {
            "polarity_score": [polarity_matrix(array) for array in arrays],
            "importance_score": [importance_matrix(array) for array in arrays],
        }
        text = f"S{tables.length.max()}"
        whole = ["left_start", "right_start", "spacer"]
        scores = ["left_score", "right_score", *self.further]
        self.dtype = np.dtype([
            ("sequence", np.int32), ("dimer", np.int8), *((name, np.int64) for name in whole),
            *((name, np.float64) for name in scores), ("left_target", text), ("right_target", text),
        ])  # fmt: skip
        self.names: list[str] = []
        self.parts: list[np.ndarray] = []
        self.worst, self.n_kept, self.n_found, self.n_bases = np.inf, 0, 0, 0

    def find(self, stretch: Stretch, worst: float) -> tuple[Stretch, np.ndarray, int]:
        """Search one stretch; runs on any thread."""
        places, scores, n_found = self.scan(
            stretch.codes,
            stretch.begin,
            stretch.stop,
            self.tables,
            spacer=self.spacer,
            upstream=self.upstream,
            dimers=self.dimers,
            worst=worst,
        )
        dimer, left, right = places.T
        length = self.tables.length
        found = np.zeros(len(places), dtype=self.dtype)
        found["dimer"], found["left_start"] = dimer, left + stretch.offset
        found["right_start"] = right + length[dimer % 2] - 1 + stretch.offset
        found["spacer"] = right - left - length[dimer // 2]
        found["left_score"], found["right_score"] = scores.T
        letters = np.frombuffer(b"ACGT", dtype=np.uint8)
        for array, n in enumerate(length):
            for side, first, step in (("left_target", left, 1), ("right_target", right + n - 1, -1)):
                chosen = np.flatnonzero((dimer // 2 if step > 0 else dimer % 2) == array)
                bases = stretch.codes[first[chosen, None] + step * np.arange(n)]
                bases = bases if step > 0 else 3 - bases
                found[side][chosen] = letters[bases].view(f"S{n}")[:, 0]
                for name, matrices in self.further.items():
                    found[name][chosen] += matrices[array][np.arange(n), bases].sum(axis=1)
        return stretch, found, n_found

    def add(self, result: tuple[Stretch, np.ndarray, int]) -> None:
        """Take in what was found in the next stretch of the file."""
        stretch, found, n_found = result
        if not self.names or self.names[-1] != stretch.name:
            self.names.append(stretch.name)
        self.n_found += n_found
        self.n_bases += stretch.stop - (0 if stretch.offset == 0 else stretch.begin)
        if len(found):
            found["sequence"] = len(self.names) - 1
            self.parts.append(found)
            self.n_kept += len(found)
            if self.n_best is not None and self.n_kept > self.n_best + max(self.n_best // 2, _SLACK):
                self._keep_best()

    def _keep_best(self, *, last: bool = False) -> None:
        """Drop all but the best, and before the last call those that tie with the worst of them."""
        found = np.concatenate([np.zeros(0, self.dtype), *self.parts])
        self.parts.clear()
        if self.n_best is not None and len(found) > self.n_best:
            best, dimer = self.tables.best, found["dimer"]
            total = (found["left_score"] + found["right_score"]) / (best[dimer // 2] + best[dimer % 2])
            self.worst = float(np.partition(total, self.n_best - 1)[self.n_best - 1])
            kept = np.flatnonzero(total <= self.worst)
            if last:
                order = [found[name][kept] for name in ("right_start", "left_start", "dimer", "sequence")]
                kept = np.sort(kept[np.lexsort((*order, total[kept]))[: self.n_best]])
            found = found[kept]
        self.parts, self.n_kept = [found], len(found)

    def table(self) -> pd.DataFrame:
        """Make the table of all that was kept."""
        self._keep_best(last=True)
        if self.n_kept < self.n_found:
            logger.warning(
                "%d places were found, of which the best %d are kept; n_best=None keeps all, a lower cutoff or fewer "
                "spacers find fewer",
                self.n_found,
                self.n_kept,
            )
        found, names = self.parts.pop(), np.array([*self.names, ""], dtype=object)
        rank = np.argsort(np.argsort(names.astype(str)))  # sequences by name, as TALE-NT has them
        order = [found[name] for name in ("right_start", "left_start", "dimer")]
        found = found[np.lexsort((*order, rank[found["sequence"]]))]
        arrays, dimer = np.array(["RVD1", "RVD2"], dtype=object), found["dimer"]
        text = {"sequence": names[found["sequence"]], "left": arrays[dimer // 2], "right": arrays[dimer % 2]}
        for name in ("left_target", "right_target"):
            text[name] = found[name].astype(str).astype(object)
        table = pd.DataFrame({name: text[name] if name in text else found[name].copy() for name in _COLUMNS})
        best = {name: float(score) for name, score in zip(arrays, self.tables.best, strict=True)}
        table.attrs = {"best_scores": best, "n_found": self.n_found, "n_bases": self.n_bases}
        return table
