from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem._checks import (
    check_number,
    check_path,
    check_target,
    check_type,
    check_unique,
    listed,
    working_copy,
)
from sctandem._chromatin_keys import MotifKeys, SpectrumKeys, WordKeys
from sctandem._open_chromatin import open_chromatin
from sctandem._progress import progress_bar
from sctandem.genome import read_motifs
from sctandem.genome._coordinates import locate_peaks
from sctandem.genome._fasta import read_sequences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData
    from numpy.typing import ArrayLike

    from sctandem.genome._fasta import PeakSequences

logger = logging.getLogger(__name__)


def nucleotide_spectrum(
    data: AnnData | MuData,
    fasta: str | Path,
    *,
    k: int = 6,
    gapped: bool = False,
    motifs: str | Path | Mapping[str, ArrayLike] | None = None,
    p_value: float = 5e-5,
    max_unknown: float = 0.1,
    modalities: Mapping[str, str] | None = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    r"""Read the order of the bases under every peak: words, composition, and hits of motifs.

    Parameters
    ----------
    data
        An AnnData whose variables are peaks with coordinates (see :func:`sctandem.genome.peak_coordinates`), or a MuData
        with such a modality.
    fasta
        The genome on which the peaks were called, FASTA, plain or compressed (gzip or bgzip). Chromosomes may be named
        ``1`` or ``chr1``. Lower case counts as upper case; letters other than A, C, G and T are unknown.
    k
        Length of the words, 1 to 8. A word and its reverse complement are one: 2,080 words of 6.
    gapped
        Count as well words of two halves of `k / 2` letters with 1 to 4 letters between that are not read (``ACGnnTTT``):
        five times as many columns. `k` is even then.
    motifs
        Motifs to look for: the name of a JASPAR release such as ``"JASPAR2024"`` (vertebrates), a file in JASPAR or MEME
        format, or a mapping from name to matrix, width x 4. :func:`sctandem.genome.read_motifs` reads others. `None` leaves
        out the search, and hits of an earlier call as they are. Two collections: ``{**read_motifs(a), **read_motifs(b)}``.
    p_value
        A hit is a place whose score has at most this probability in random sequence, per place and strand.
    max_unknown
        Largest share of unknown bases over all peaks. Open chromatin has been sequenced, so that peaks on their own genome
        hold next to none; more says that the genome is another, or that its repeats were masked with N.
    modalities
        From the role ``"atac"`` to the name of the modality, when `data` is a MuData. By default the same.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields (of the accessibility, in a MuData):

    `.varm["nucleotides"]` : :class:`pandas.DataFrame`
        Peaks x 17, float32. ``a``, ``c``, ``g``, ``t``: shares of the known bases on the forward strand; ``unknown``: share of
        the others; ``gc``: share of G and C; ``cpg_oe``: CpG observed over expected, 0 without C or G; ``rho_AA``,
        ``rho_AC``, ``rho_AG``, ``rho_AT``, ``rho_CA``, ``rho_CC``, ``rho_CG``, ``rho_GA``, ``rho_GC``, ``rho_TA``: how much
        more often a base is followed by the next than if their order were random, :math:`f_{xy} / (f_x f_y)` on both strands
        taken together; 1 where a base is missing.
    `.varm["kmers"]` : :class:`scipy.sparse.csr_matrix`
        Peaks x words, int32: how often each occurs, on both strands taken together.
    `.uns["kmers"]` : :class:`dict`
        ``names`` of the words, in the order of the columns (str), and ``params``.
    `.varm["motifs"]` : :class:`scipy.sparse.csr_matrix`
        Peaks x motifs, int32: number of hits. This and the next only with `motifs`.
    `.uns["motifs"]` : :class:`dict`
        ``names`` of the motifs, in the order of the columns (str); ``table``, a row a motif: ``motif`` and ``name`` (str; the
        latter is the factor of a motif of JASPAR), ``width`` (int32), ``threshold`` (float64, bits; infinite where no hit is possible) and ``n_peaks`` with a hit
        (int32); ``hits``, a row a hit, by peak, start and motif: ``peak`` and ``motif`` (int32, positions in `var` and in
        ``names``), ``start`` (int32, from the start of the peak), ``strand`` (int8, 1 or -1; 0 where both fit alike) and ``score`` (float32, bits);
        and ``params``.
    `.uns["nucleotides"]["params"]` : :class:`dict`
        The arguments.

    Raises
    ------
    FileNotFoundError
        When there is no such file or JASPAR release.
    KeyError
        When the modality is missing.
    TypeError
        When `data` or an argument is of another type.
    ValueError
        For arguments out of range and motifs that are none (see :func:`sctandem.genome.read_motifs`); when a peak lies on a
        chromosome that the file does not hold or reaches beyond its end, or more bases than `max_unknown` are unknown: signs
        of another genome. Nothing is written then.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     fasta = Path(folder, "genome.fa")
    ...     mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=fasta)
    ...     td.pp.nucleotide_spectrum(mdata, fasta, motifs=mdata.uns["truth"]["motifs"])
    >>> mdata["atac"].varm["kmers"].shape
    (400, 2080)
    >>> mdata["atac"].uns["motifs"]["hits"].columns.tolist()
    ['peak', 'motif', 'start', 'strand', 'score']

    Notes
    -----
    *Scores* are log odds of the motif against even odds of the bases, with 1e-4 added to its probabilities, rounded to
    0.01 bit. The distribution of the rounded scores is exact, so the threshold holds `p_value`; a motif whose best match is
    more likely than that (7 positions or fewer under the default: 199 of the 879 of JASPAR 2024) can have no hit, which is
    logged. A motif that hits both strands at one place counts once there, with the better strand. There is no hit across an
    unknown base or the end of a peak.

    *What this does not do*: sequence outside the peaks is not read, composition is not taken off the words or motifs
    (:func:`sctandem.tl.sequence_deviations` compares with peaks of like composition), and dependence between the positions of
    a motif is not modelled.

    *A wrong genome* is not always found: peaks of another version of the same genome may lie within its chromosomes and off
    its gaps, and then nothing tells.

    *Cost*, on one core: 100,000 peaks of 500 bp take about 3 seconds for words of 6 and 350 MB for the result
    (with `gapped` five times that), 800 motifs about 4 seconds for each 10,000 peaks. Reading the genome comes on top (see
    :func:`sctandem.genome.sequence_features`).

    References
    ----------
    Karlin and Burge (1995), Dinucleotide relative abundance extremes, Trends Genet 11:283 (odds ratios). Ghandi et al. (2014),
    gkm-SVM, PLoS Comput Biol 10:e1003711 (gapped words). Grant et al. (2011), FIMO, Bioinformatics 27:1017, and Korhonen et
    al. (2009), MOODS, Bioinformatics 25:3181 (scores with exact p-values).
    """
    peaks = open_chromatin(data, modalities)
    check_target(data, SpectrumKeys().key, copy=copy)
    check_path(fasta, "fasta")
    check_number(k, "k", low=1, high=8, whole=True)
    check_type(gapped, bool, "gapped")
    _check_arguments(k, p_value, max_unknown, gapped=gapped)
    check_unique(peaks.adata.var_names, f"{peaks.slot}.var_names")
    matrices = None if motifs is None else read_motifs(motifs)
    sequences = read_sequences(locate_peaks(peaks.adata, peaks.slot), fasta)
    _check_unknown(sequences, max_unknown, Path(fasta).name)
    given = {"fasta": Path(fasta).name, "k": int(k), "gapped": gapped, "max_unknown": float(max_unknown)}
    given |= peaks.params | {"version": version("sctandem")}
    results = [_composition(sequences, peaks.adata.var_names, given), _words(sequences, given)]
    if matrices is not None:
        results.append(_hits(sequences, matrices, p_value=p_value, given=given))
    target = working_copy(data, copy=copy)
    adata = peaks.of(target)
    for key, values, about in results:
        adata.varm[key] = values
        adata.uns[key] = about
    return target if copy else None


def _check_arguments(k: int, p_value: float, max_unknown: float, *, gapped: bool) -> None:
    """Raise for numbers out of range."""
    if gapped and k % 2:
        msg = f"k={k} is odd, but gapped words have two halves of one length; take an even k, or gapped=False."
        raise ValueError(msg)
    if isinstance(p_value, bool) or not isinstance(p_value, float | int) or not 0 < p_value < 1:
        msg = f"p_value={p_value!r} is not a number between 0 and 1."
        raise ValueError(msg)
    check_number(max_unknown, "max_unknown", high=1)


def _check_unknown(sequences: PeakSequences, most: float, genome: str) -> None:
    """Raise where the peaks hold too many unknown bases."""
    if sequences.unknown > most:
        msg = (
            f"{sequences.unknown:.0%} of the bases under the peaks are unknown (N) in {genome}, more than max_unknown={most:g}. "
            "Is it the version of the genome on which the peaks were called? Of a genome with masked repeats take the soft-masked "
            "file (lower case); max_unknown=1 goes on all the same."
        )
        raise ValueError(msg)


def _composition(
    sequences: PeakSequences, names: pd.Index, given: dict[str, Any]
) -> tuple[str, pd.DataFrame, dict[str, Any]]:
    """Describe composition and the order of neighbours."""
    from sctandem.kernels._kmers import COMPOSITION, nucleotide_order

    keys = SpectrumKeys()
    table = pd.DataFrame(nucleotide_order(sequences.codes, sequences.offsets), index=names, columns=list(COMPOSITION))
    return keys.key, table, {keys.params: dict(given)}


def _words(sequences: PeakSequences, given: dict[str, Any]) -> tuple[str, sparse.csr_matrix, dict[str, Any]]:
    """Count words."""
    from sctandem.kernels._kmers import count_words, word_names

    keys, how = WordKeys(), {"k": given["k"], "gapped": given["gapped"]}
    counts = count_words(sequences.codes, sequences.offsets, how["k"], gapped=how["gapped"])
    names = np.array(word_names(how["k"], gapped=how["gapped"]), dtype=object)
    return keys.key, counts, {keys.params: dict(given), keys.names: names}


def _hits(
    sequences: PeakSequences, motifs: Mapping[str, np.ndarray], *, p_value: float, given: dict[str, Any]
) -> tuple[str, sparse.csr_matrix, dict[str, Any]]:
    """Find and count the hits of motifs."""
    from sctandem.kernels._pwm import scan_motifs

    keys = MotifKeys()
    names = list(motifs)
    codes, offsets = sequences.codes, sequences.offsets
    with progress_bar(len(offsets) - 1, f"{len(names)} motifs", unit="peak") as tick:
        found, thresholds = scan_motifs(codes, offsets, list(motifs.values()), p_value=p_value, tick=tick)
    never = [name for name, threshold in zip(names, thresholds, strict=True) if np.isinf(threshold)]
    if never:
        logger.warning(
            "%d of %d motifs are too short or too vague to have a hit at p_value=%g: %s",
            len(never),
            len(names),
            p_value,
            listed(never, 3),
        )
    shape = (len(sequences.offsets) - 1, len(names))
    counts = sparse.csr_matrix((np.ones(len(found.peak), dtype=np.int32), (found.peak, found.motif)), shape=shape)
    columns = (keys.peak, keys.motif, keys.start, keys.strand, keys.score)
    parts = (found.peak, found.motif, found.start, found.strand, found.score)
    table = pd.DataFrame(
        {
            keys.motif: names,
            # of "MA0004.1 Arnt" the factor
            keys.name: [name.split(" ", 1)[1] if _of_jaspar(name) else name for name in names],
            keys.width: np.array([len(matrix) for matrix in motifs.values()], dtype=np.int32),
            keys.threshold: thresholds,
            keys.n_peaks: np.bincount(counts.indices, minlength=len(names)).astype(np.int32),
        }
    )
    about = {
        keys.params: {**given, "p_value": float(p_value)},
        keys.names: np.array(names, dtype=object),
        keys.table: table,
        keys.hits: pd.DataFrame(dict(zip(columns, parts, strict=True))),
    }
    return keys.key, counts, about


def _of_jaspar(name: str) -> bool:
    """Whether a name is an identifier of JASPAR and a factor."""
    head, _, tail = name.partition(" ")
    return bool(tail) and head[:2] in {"MA", "UN", "PB", "PH"} and head[2:].replace(".", "", 1).isdigit()
