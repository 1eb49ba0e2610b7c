from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sctandem._checks import check_modalities, check_target, check_unique, working_copy
from sctandem._keys import SequenceKeys
from sctandem.genome import sequence_features as describe
from sctandem.genome._coordinates import locate_peaks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mudata import MuData


def sequence_features(
    mdata: MuData,
    fasta: str | Path,
    *,
    k: int = 4,
    modalities: Mapping[str, str] | None = None,
    key_added: str = "sequence",
    copy: bool = False,
) -> MuData | None:
    """Describe the DNA sequence of every peak: GC content, CpG enrichment and k-mer frequencies.

    Parameters
    ----------
    mdata
        An object with accessibility, whose peaks have coordinates (see :func:`sctandem.genome.peak_coordinates`).
    fasta
        The genome on which the peaks were called, FASTA, may be gzipped.
    k
        Length of the k-mers, 1 to 6.
    modalities
        From the role ``"atac"`` to the name of the modality in `mdata`. By default the same.
    key_added
        Name of the result in ``varm`` and ``uns`` of the accessibility.
    copy
        Return a copy with the result instead of writing it to `mdata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields of the accessibility ``mdata["atac"]``:

    `.varm[key_added]` : :class:`pandas.DataFrame`
        Peaks x features, float32: ``gc``, ``cpg_oe``, ``kmer_AAAA``, ... (see
        :func:`sctandem.genome.sequence_features`).
    `.uns[key_added]["params"]` : :class:`dict`
        The arguments.

    Raises
    ------
    KeyError
        When the modality is missing.
    FileNotFoundError
        When there is no such file.
    ValueError
        When `key_added` has a slash, a peak has no coordinates or lies outside the sequences of the file. Nothing is written then.
    TypeError
        When `mdata` is not a MuData, `fasta` no path, or a name not text.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     fasta = Path(folder, "genome.fa")
    ...     mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=fasta)
    ...     td.pp.sequence_features(mdata, fasta)
    >>> mdata["atac"].varm["sequence"].shape
    (400, 138)

    Notes
    -----
    The table takes 4 bytes per peak and feature: 55 MB for 100,000 peaks at the default `k`, 205 MB at 5.
    """
    named = check_modalities(mdata, modalities, required=("atac",))
    check_target(mdata, key_added, copy=copy)
    atac = mdata.mod[named["atac"]]
    slot = f"mdata[{named['atac']!r}]"
    check_unique(atac.var_names, f"{slot}.var_names")
    table = describe(locate_peaks(atac, slot), fasta, k=k)
    keys = SequenceKeys(key_added)
    target = working_copy(mdata, copy=copy)
    atac = target.mod[named["atac"]]
    atac.varm[keys.key] = table
    atac.uns[keys.key] = {keys.params: {"fasta": Path(fasta).name, "k": k, **named}}
    return target if copy else None
