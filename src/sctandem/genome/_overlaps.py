from __future__ import annotations

import numpy as np
import pandas as pd


def peaks_over(
    peaks: pd.DataFrame, chrom: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the peaks over positions.

    Parameters
    ----------
    peaks
        ``chrom``, ``start``, ``end``.
    chrom, position
        Where to look, with chromosomes named as in `peaks`.

    Returns
    -------
    Position and peak of each pair, as numbers of rows; and the first peak over each position, -1 where there is none.
    """
    import bioframe

    first = np.full(len(position), -1, dtype=np.int64)
    if not len(position) or not len(peaks):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), first
    points = pd.DataFrame({"chrom": np.asarray(chrom, dtype=object), "start": position, "end": position + 1})
    places = peaks.reset_index(drop=True).astype({"chrom": object})
    found = bioframe.overlap(points, places, how="inner", return_index=True, return_input=False)
    at, peak = (found[column].to_numpy(np.int64) for column in ("index", "index_"))
    order = np.lexsort((peak, at))[::-1]  # of several peaks the first is written last
    first[at[order]] = peak[order]
    return at, peak, first
