"""What a motif does for the openness of a peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from sctandem._checks import check_slot
from sctandem._chromatin_keys import MotifKeys
from sctandem.get._select import close_names

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem.kernels._knockout import GroupCounts

#: Penalty of the regression per peak, counts that are added to those of a group, and draws of the part that is lost.
PENALTY, PRIOR_COUNTS, N_DRAWS = 1e-3, 1.0, 200
CALL = "sctandem.pp.nucleotide_spectrum(mdata, fasta, motifs=...)"


def motif_loss(
    atac: AnnData, motif: tuple[str, str], counts: GroupCounts, *, slot: str, rng: np.random.Generator
) -> np.ndarray:
    """Draw the part of the openness of a peak that goes with its hits of a motif, in each group.

    Parameters
    ----------
    atac
        The peaks, with their motifs.
    motif
        Names of the peak and of the motif.
    counts
        Of peaks in groups.
    slot
        Name of `atac` in messages.
    rng
        Draws.

    Returns
    -------
    Draws x groups, between 0 and 1.
    """
    keys = MotifKeys()
    hits = check_slot(atac.varm, keys.key, f"{slot}.varm", CALL)
    names = [str(name) for name in check_slot(atac.uns, keys.key, f"{slot}.uns", CALL)[keys.names]]
    if motif[1] not in names:
        msg = f"motif names {motif[1]!r}, which was not searched{close_names(motif[1], names)}"
        raise KeyError(msg)
    hits = sparse.csr_matrix(hits)
    at = names.index(motif[1])
    n_hits = float(hits[atac.var_names.get_loc(motif[0]), at])
    if n_hits == 0:
        msg = f"the peak {motif[0]!r} has no hit of {motif[1]!r}: there is nothing to disrupt."
        raise ValueError(msg)
    design = np.sqrt(hits.toarray().astype(np.float64))  # the second hit adds less than the first
    centre = design.mean(axis=0)
    design -= centre
    gram = design.T @ design + PENALTY * len(design) * np.eye(len(names))
    inverse = np.linalg.inv(gram)
    depth = counts.counts.sum(axis=0)
    target = np.log((counts.counts + PRIOR_COUNTS) / np.maximum(depth / max(depth.mean(), 1.0), 1e-12))
    target -= target.mean(axis=0)
    slope = inverse @ (design.T @ target)
    noise = ((target - design @ slope) ** 2).sum(axis=0) / max(len(design) - len(names) - 1, 1)
    error = np.sqrt(inverse[at, at] * noise)
    drawn = slope[at] + error * rng.normal(size=(N_DRAWS, target.shape[1]))
    return np.clip(1 - np.exp(-drawn * np.sqrt(n_hits)), 0.0, 1.0)
