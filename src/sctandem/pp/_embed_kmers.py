from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._adversarial_keys import VectorKeys
from sctandem._checks import check_number, check_path, check_positive, check_target, working_copy
from sctandem._open_chromatin import open_chromatin
from sctandem._random import draw_seed
from sctandem.genome._coordinates import locate_peaks
from sctandem.genome._fasta import read_sequences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData

    from sctandem._random import RNG


def embed_kmers(
    data: AnnData | MuData,
    fasta: str | Path,
    *,
    k: int = 6,
    window: int = 50,
    n_dims: int = 50,
    modalities: Mapping[str, str] | None = None,
    key_added: str = "kmer_vectors",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    r"""Learn a vector for each word of DNA from the words beside it under the peaks.

    Parameters
    ----------
    data
        An AnnData whose variables are peaks with coordinates (see :func:`sctandem.genome.peak_coordinates`), or a MuData
        with such a modality.
    fasta
        The genome on which the peaks were called, FASTA, plain or compressed.
    k
        Length of the words, 2 to 6; a word and its reverse complement are one.
    window
        Two words are neighbours when they start at most so many bases apart and do not overlap.
    n_dims
        Dimensions of the vectors, fewer than there are words.
    modalities
        From the role ``"atac"`` to the name of the modality, when `data` is a MuData. By default the same.
    key_added
        Name of the result.
    rng
        Seed of the start of the decomposition; `None` draws one.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields (of the accessibility, in a MuData):

    `.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        Words x dimensions, float32, rows of length 1 (zeros for a word that has no neighbours), named by the word.
    `.varm[key_added]` : :class:`numpy.ndarray` (dtype ``float32``)
        Peaks x dimensions: the mean of the vectors of the words of each peak.
    `.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    KeyError
        When the modality is missing.
    ValueError
        For arguments out of range, or peaks that the file does not hold. Nothing is written then.
    TypeError
        When `data` is neither an AnnData nor a MuData, `fasta` no path, or a name not text.

    Notes
    -----
    Positive pointwise mutual information of neighbours, decomposed: what skip-gram vectors factorise, without their chance.
    Memory: words x words, 69 MB for `k` of 6. Time: peaks x width x window.

    References
    ----------
    Levy, Goldberg & Dagan, Improving distributional similarity with lessons learned from word embeddings, TACL 3 (2015).

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     fasta = Path(folder, "genome.fa")
    ...     mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=fasta)
    ...     td.pp.embed_kmers(mdata, fasta, k=3, n_dims=8, rng=0)
    >>> mdata["atac"].uns["kmer_vectors"]["table"].shape
    (32, 8)
    """
    from sctandem.kernels._kmers import canonical_words, count_words
    from sctandem.kernels._vectors import word_vectors

    chromatin = open_chromatin(data, modalities)
    check_target(data, key_added, copy=copy)
    check_path(fasta, "fasta")
    check_number(k, "k", low=2, high=6, whole=True)
    check_number(window, "window", low=k, whole=True)
    check_positive(n_dims, "n_dims", whole=True)
    names = canonical_words(k)[1]
    if n_dims >= len(names) - 1:
        msg = f"n_dims={n_dims} must be below the number of words less one: {len(names) - 1} of {k} letters."
        raise ValueError(msg)
    sequences = read_sequences(locate_peaks(chromatin.adata, chromatin.slot), fasta)
    seed = draw_seed(rng)
    vectors = word_vectors(sequences.codes, sequences.offsets, k, window, n_dims, seed=seed)
    counts = count_words(sequences.codes, sequences.offsets, k)
    peaks = counts @ vectors / np.maximum(np.asarray(counts.sum(1)).reshape(-1, 1), 1)
    keys = VectorKeys(key_added)
    target = working_copy(data, copy=copy)
    atac = chromatin.of(target)
    atac.varm[keys.key] = peaks.astype(np.float32)
    table = pd.DataFrame(vectors, index=names, columns=[str(i) for i in range(n_dims)])
    params = {"fasta": Path(fasta).name, "k": k, "window": window, "n_dims": n_dims, "seed": seed} | chromatin.params
    atac.uns[keys.key] = {keys.table: table, keys.params: params | {"version": version("sctandem")}}
    return target if copy else None
