"""What `pp.nucleotide_spectrum` has written, as the functions that need it read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sctandem._checks import check_slot
from sctandem._chromatin_keys import SpectrumKeys

if TYPE_CHECKING:
    from anndata import AnnData

#: The call that writes motifs, and the one that writes words and composition.
CALLS: Final = {
    "motifs": "td.pp.nucleotide_spectrum(data, fasta, motifs=...)",
    "kmers": "td.pp.nucleotide_spectrum(data, fasta)",
}


def gc_content(atac: AnnData, slot: str) -> np.ndarray:
    """Return the GC content of each peak, float64, NaN where no base is known.

    Parameters
    ----------
    atac
        The peaks.
    slot
        What to call them in messages.

    Returns
    -------
    The GC content, (peaks,).

    Raises
    ------
    KeyError
        Names the function that writes it.
    """
    keys, call = SpectrumKeys(), CALLS["kmers"]
    table = check_slot(atac.varm, keys.key, f"{slot}.varm", call)
    return np.asarray(check_slot(table, keys.gc, f"{slot}.varm[{keys.key!r}]", call), dtype=np.float64)
