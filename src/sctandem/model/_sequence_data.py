"""Sequences of one length for a generator: given as text, or under the peaks of an object."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import check_path, check_positive
from sctandem._open_chromatin import open_chromatin
from sctandem.genome._coordinates import locate_peaks
from sctandem.genome._fasta import UNKNOWN, encode, read_sequences

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

#: Sequences that a generator needs, and the fewest bases of one.
FEWEST, SHORTEST = 100, 40


def read_codes(
    data: Any, fasta: str | Path | None, *, width: int | None, modalities: Mapping[str, str] | None
) -> np.ndarray:
    """Read sequences as codes; those with unknown bases are left out, which is logged.

    Parameters
    ----------
    data
        Texts, or an object with peaks.
    fasta
        The genome, with peaks only.
    width
        Bases around the middle that are taken; `None` for all, which then are of one length.
    modalities
        As in `open_chromatin`.

    Returns
    -------
    Sequences x bases, 0 to 3, uint8.
    """
    if width is not None:
        check_positive(width, "width", whole=True)
        if width < SHORTEST:
            msg = f"width={width} is less than {SHORTEST} bases, in which motifs have no room."
            raise ValueError(msg)
    if isinstance(data, str) or (isinstance(data, Sequence | pd.Series | pd.Index | np.ndarray) and fasta is not None):
        what = "a single text" if isinstance(data, str) else "sequences, which need no fasta"
        msg = f"data is {what}: give a list of sequences, or an object with peaks together with fasta."
        raise TypeError(msg)
    rows = _of_texts(data, width) if fasta is None else _of_peaks(data, fasta, width, modalities)
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        msg = (
            f"sequences have lengths of {min(lengths)} to {max(lengths)} bases; give width, at most {min(lengths)}, and as many "
            "are taken around the middle of each."
        )
        raise ValueError(msg)
    codes = np.array(rows, dtype=np.uint8).reshape(len(rows), max(lengths, default=0))
    if len(codes) and codes.shape[1] < SHORTEST:
        msg = f"the sequences of data have {codes.shape[1]} bases; at least {SHORTEST} are needed."
        raise ValueError(msg)
    known = (codes != UNKNOWN).all(1)
    if not known.all():
        logger.warning("%d of %d sequences have unknown bases (N) and are left out.", (~known).sum(), len(known))
    if known.sum() < FEWEST:
        msg = f"data has {known.sum()} sequences without unknown bases; at least {FEWEST} are needed to learn motifs from."
        raise ValueError(msg)
    return codes[known]


def _of_texts(data: Any, width: int | None) -> list[np.ndarray]:
    """Turn texts into codes."""
    if not isinstance(data, Sequence | pd.Series | pd.Index | np.ndarray):
        msg = f"data must be a list of sequences, or an AnnData or MuData with peaks together with fasta, got {type(data).__name__}."
        raise TypeError(msg)
    rows = []
    for i, text in enumerate(data):
        if not isinstance(text, str):
            msg = f"data[{i}] must be a text of A, C, G and T, got {type(text).__name__}: {text!r:.60}"
            raise TypeError(msg)
        if odd := set(text.upper()) - set("ACGTRYSWKMBDHVN"):
            msg = f"data[{i}] holds {sorted(odd)[0]!r}, which is no base; sequences are of A, C, G, T and N."
            raise ValueError(msg)
        if width is not None and len(text) < width:
            msg = f"data[{i}] has {len(text)} bases, fewer than width={width}."
            raise ValueError(msg)
        start = 0 if width is None else (len(text) - width) // 2
        part = text if width is None else text[start : start + width]
        rows.append(encode(part))
    return rows


def _of_peaks(
    data: Any, fasta: str | Path, width: int | None, modalities: Mapping[str, str] | None
) -> list[np.ndarray]:
    """Read the bases of peaks."""
    peaks = open_chromatin(data, modalities)
    check_path(fasta, "fasta")
    where = locate_peaks(peaks.adata, peaks.slot).copy()
    if width is not None:
        middle = (where["start"] + where["end"]) // 2
        where["start"] = (middle - width // 2).clip(lower=0)
        where["end"] = where["start"] + width
    found = read_sequences(where, fasta)
    return np.split(found.codes, found.offsets[1:-1])
