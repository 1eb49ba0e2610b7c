from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._keys import ProgrammeKeys
from sctandem.get._select import read_table

if TYPE_CHECKING:
    import pandas as pd
    from mudata import MuData


def programme_skill(mdata: MuData, *, key: str = "tape_programmes") -> pd.DataFrame:
    """Read which programmes of genes chromatin predicts well and which it does not.

    Needs :func:`sctandem.tl.programme_skill`.

    Parameters
    ----------
    mdata
        The object.
    key
        The `key_added` of :func:`sctandem.tl.programme_skill`.

    Returns
    -------
    One row per programme: ``programme``, ``n_genes`` (found), ``pearson`` and ``gain_mean`` (means over its genes),
    ``score_pearson`` (between the scores of held-out cells from predicted and from measured expression),
    ``random_pearson`` and ``pvalue`` (the same for random sets of genes, and the chance of doing as well as the
    programme), ``verdict`` (category).

    Raises
    ------
    KeyError
        When the programmes were not scored.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> table = pd.DataFrame({"programme": ["cell cycle"], "score_pearson": [0.4]})
    >>> mdata.uns["tape_programmes"] = {"params": {}, "table": table}  # tl.programme_skill writes this
    >>> td.get.programme_skill(mdata).programme.tolist()
    ['cell cycle']
    """
    function = "sctandem.tl.programme_skill(mdata, programmes)"
    return read_table(mdata, key, ProgrammeKeys(key).table, function).reset_index(drop=True)
