from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_modalities
from sctandem._keys import PredictionKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from mudata import MuData


def expression_skill(mdata: MuData, *, modalities: Mapping[str, str] | None = None, key: str = "tape") -> pd.DataFrame:
    """Read how well the expression of each gene is predicted.

    Needs :func:`sctandem.tl.predict_expression` on data with measured expression.

    Parameters
    ----------
    mdata
        The object.
    modalities
        From the role ``"rna"`` to the name of the modality in `mdata`. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.predict_expression`.

    Returns
    -------
    Genes x measures, in the order of ``var_names``: ``pearson``, ``auroc`` (of detection), ``rmse``, ``gain_mean`` and
    ``gain_knn`` (over the mean of the gene and over the nearest neighbours), ``gain`` (the smaller of them), and
    ``verdict`` (category). Measures are NaN for genes that were not scored.

    Raises
    ------
    KeyError
        When no prediction was scored.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> mdata["rna"].var["tape_pearson"] = 0.5  # tl.predict_expression writes this
    >>> td.get.expression_skill(mdata).columns.tolist()
    ['pearson']
    """
    name = check_modalities(mdata, modalities, required=("rna",))["rna"]
    var, keys = mdata.mod[name].var, PredictionKeys(key)
    columns = {
        "pearson": keys.pearson,
        "auroc": keys.auroc,
        "rmse": keys.rmse,
        "gain_mean": keys.gain_mean,
        "gain_knn": keys.gain_knn,
        "gain": keys.gain,
        "verdict": keys.verdict,
    }
    found = {measure: column for measure, column in columns.items() if column in var.columns}
    if "pearson" not in found:
        msg = (
            f"mdata[{name!r}].var has no column {keys.pearson!r}; run `sctandem.tl.predict_expression(mdata, model)` first, "
            "on data with measured expression."
        )
        raise KeyError(msg)
    return var[list(found.values())].set_axis(list(found), axis=1)
