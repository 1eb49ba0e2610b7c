"""Whether genes and peaks belong together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sctandem.genome._place import share_near_start


def _places(n: int, first: int) -> pd.DataFrame:
    start = first + 100_000 * np.arange(n)
    return pd.DataFrame(
        {"chrom": "chr1", "start": start, "end": start + 500, "tss": start, "strand": "+"},
        index=[f"g{i}" for i in range(n)],
    )


@pytest.mark.parametrize(
    ("n_peaks", "shift", "said"),
    [
        (100, 0, ""),
        (100, 50_000, "only 0 % of the genes have a peak within 1 kb of their start"),
        (20, 0, "20 peaks are too few to tell whether they are of the same assembly as the 100 genes"),
    ],
)
def test_a_selection_of_peaks_is_not_called_another_assembly(n_peaks, shift, said, caplog):
    genes, peaks = _places(100, 10_000), _places(n_peaks, 10_000 + shift)
    share = share_near_start(genes, peaks[["chrom", "start", "end"]])
    assert share == (0 if shift else n_peaks / 100)
    assert said in caplog.text
    assert caplog.text.count("WARNING") == (said != "")
