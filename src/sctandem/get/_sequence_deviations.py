from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_option, check_slot, check_table
from sctandem._chromatin_keys import DEVIATION_KEYS, DeviationKeys
from sctandem._open_chromatin import open_chromatin

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData
    from mudata import MuData


def sequence_deviations(
    data: AnnData | MuData,
    features: str = "motifs",
    *,
    modalities: Mapping[str, str] | None = None,
    key: str | None = None,
) -> pd.DataFrame:
    """Read how much the openness of the peaks with each motif or word varies between cells.

    Needs :func:`sctandem.tl.sequence_deviations`.

    Parameters
    ----------
    data
        Peaks, or an object with such a modality.
    features
        ``"motifs"`` or ``"kmers"``.
    modalities
        From the role ``"atac"`` to the name of the modality in `data`. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.sequence_deviations`.

    Returns
    -------
    A row a motif or word, the most variable first: ``name``, ``n_peaks``, ``n_cells``, ``variability``, ``pvalue``, ``fdr``.

    Raises
    ------
    KeyError
        When nothing was computed under `key`, or there is no such modality.
    ValueError
        When `features` is neither.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rows = {
    ...     "name": ["GATA1", "SPI1"],
    ...     "n_peaks": 90,
    ...     "n_cells": 50,
    ...     "variability": [1.1, 2.5],
    ...     "pvalue": 0.1,
    ...     "fdr": 0.1,
    ... }
    >>> atac = AnnData(uns={"motif_deviations": {"table": pd.DataFrame(rows)}})  # tl.sequence_deviations writes this
    >>> td.get.sequence_deviations(atac)["name"].tolist()
    ['SPI1', 'GATA1']
    """
    check_option(features, tuple(DEVIATION_KEYS), "features")
    peaks = open_chromatin(data, modalities)
    keys = DeviationKeys(DEVIATION_KEYS[features] if key is None else key)
    function = f"td.tl.sequence_deviations(data, {features!r})"
    held = check_slot(peaks.adata.uns, keys.result, f"{peaks.slot}.uns", function)
    table = check_table(held, keys.table, f"{peaks.slot}.uns[{keys.result!r}]", function, (keys.variability,))
    return table.sort_values(keys.variability, ascending=False, kind="stable", ignore_index=True)
