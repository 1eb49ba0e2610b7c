from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem.genome._coordinates import peak_coordinates
from sctandem.genome._fasta import read_sequences

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 21
"""Bases whose k-mers are counted in one go."""


def sequence_features(peaks: pd.DataFrame, fasta: str | Path, *, k: int = 4) -> pd.DataFrame:
    r"""Describe the DNA sequence of peaks: GC content, CpG enrichment and k-mer frequencies.

    Parameters
    ----------
    peaks
        Peaks with coordinates, as :func:`sctandem.genome.peak_coordinates` takes or returns them.
    fasta
        The genome, FASTA, may be compressed (gzip or bgzip). Chromosomes may be named ``1`` or ``chr1`` (see
        :func:`sctandem.genome.match_chromosomes`).
    k
        Length of the k-mers, 1 to 6. A k-mer and its reverse complement count as one: 136 for 4, 512 for 5.

    Returns
    -------
    Peaks x features, float32, indexed as `peaks`: ``gc`` (share of G and C), ``cpg_oe`` (CpG observed over expected
    from the C and G of the peak; 0 where it has none), and ``kmer_AAAA``, ... (shares that add up to 1). Lower case
    counts as upper case. Bases other than A, C, G and T are left out; a peak that has only such has zeros throughout.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no FASTA, is cut off, or has lines of different lengths within a sequence; when a peak lies on a
        chromosome that it does not hold or reaches beyond its end; names the peak.
    TypeError
        When `peaks` is neither an AnnData nor a table, or `fasta` no path.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> from sctandem.genome import sequence_features
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "genome.fa").write_text(">chr1\nACGCGTTTNN\n")
    ...     features = sequence_features(pd.DataFrame(index=["chr1:0-10"]), Path(folder, "genome.fa"), k=2)
    >>> features[["gc", "cpg_oe", "kmer_CG"]].astype(float).round(3).to_numpy().tolist()
    [[0.5, 4.0, 0.286]]

    Notes
    -----
    An index made by ``samtools faidx`` beside the file is used when it is not older than the file. Without one it is made
    in a temporary folder at every call, about half a minute for a human genome, and a compressed genome is unpacked there
    first (3 GB, about a minute more); nothing is written beside the genome. 50,000 peaks of 500 bp then take a few seconds.

    References
    ----------
    Gardiner-Garden and Frommer (1987), CpG islands in vertebrate genomes, J Mol Biol 196:261 (CpG observed / expected).
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= 6:
        msg = f"k={k!r} is not an integer between 1 and 6."
        raise ValueError(msg)
    from sctandem.kernels._kmers import COMPOSITION, count_words, nucleotide_order, word_names

    where = peak_coordinates(peaks)
    sequences = read_sequences(where, fasta)
    codes, offsets = sequences.codes, sequences.offsets
    names = word_names(k)
    values = np.zeros((len(where), 2 + len(names)), dtype=np.float32)
    chosen = [COMPOSITION.index(column) for column in ("gc", "cpg_oe")]
    values[:, :2] = nucleotide_order(codes, offsets)[:, chosen]
    # few peaks at a time: the table of counts is what takes the memory
    steps = offsets[1:] // _CHUNK + np.arange(len(where)) // 8192
    for rows in np.split(np.arange(len(where)), np.flatnonzero(np.diff(steps)) + 1):
        if rows.size:
            counts = count_words(codes, offsets[rows[0] : rows[-1] + 2], k).toarray()
            values[rows, 2:] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns = ["gc", "cpg_oe", *(f"kmer_{name}" for name in names)]
    return pd.DataFrame(values, index=where.index, columns=columns)
