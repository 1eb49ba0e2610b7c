from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._bulk_keys import RSDKeys
from sctandem._checks import check_adata, check_key, check_slot, listed, numeric_column, numeric_table, texts
from sctandem._keys import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

_RUN = "td.tl.deconvolve(adata, reference, cell_type)"


def fractions(adata: AnnData, obs: str | Sequence[str] = (), *, key: str = "rsd") -> pd.DataFrame:
    """Read which share of the cells of each bulk sample each type has, as one long table.

    Needs :func:`sctandem.tl.deconvolve`.

    Parameters
    ----------
    adata
        The bulk.
    obs
        Columns of ``obs`` that go with each row, such as ``"condition"``.
    key
        The `key_added` of :func:`sctandem.tl.deconvolve`.

    Returns
    -------
    A row a sample and type, by sample: ``sample``, ``cell_type``, ``fraction``, ``low`` and ``high`` (the ends of the interval of 90 %), and the
    columns `obs`. The last row of a sample is its unknown share, ``"unknown"``, which has no interval; with it the fractions of a sample add up to 1.

    Raises
    ------
    KeyError
        When nothing was deconvolved under `key`, or there is no such column.
    ValueError
        When a column of `obs` has the name of a column of the table, such as ``"sample"``.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(np.ones((2, 3)), obs=pd.DataFrame({"rsd_unknown": [0.0, 0.2]}, index=["s1", "s2"]))
    >>> shares = pd.DataFrame({"B": [0.3, 0.4], "T": [0.7, 0.4]}, index=adata.obs_names)
    >>> for name, off in (("fractions", 0), ("low", -0.1), ("high", 0.1)):
    ...     adata.obsm[f"rsd_{name}"] = shares + off  # tl.deconvolve writes these
    >>> td.get.fractions(adata)["cell_type"].tolist()
    ['B', 'T', 'unknown', 'B', 'T', 'unknown']
    """
    check_adata(adata)
    keys = RSDKeys(key)
    unknown = sample_values(adata, keys.unknown, key).to_numpy(dtype=float)
    missing = np.full(adata.n_obs, np.nan)
    tables = {
        "fraction": (sample_table(adata, keys.fractions, key), unknown),
        "low": (sample_table(adata, keys.low, key), missing),
        "high": (sample_table(adata, keys.high, key), missing),
    }
    added = [obs] if isinstance(obs, str) else texts(obs, "obs")
    columns = {name: check_key(adata.obs, name, "adata.obs") for name in added}
    names = [*map(str, tables["fraction"][0].columns), UNKNOWN]
    found = pd.DataFrame(
        {
            "sample": np.repeat(adata.obs_names.astype(str).to_numpy(), len(names)),
            "cell_type": pd.Categorical(names * adata.n_obs, categories=list(dict.fromkeys(names))),
        }
    )
    for name, (table, last) in tables.items():
        found[name] = np.column_stack([table.to_numpy(dtype=float), last]).ravel()
    taken = [name for name in columns if name in found]
    if taken:
        msg = f"obs={added!r} has {listed(taken)}, which the table has itself: {listed(found.columns)}. Rename in adata.obs, or leave it out."
        raise ValueError(msg)
    for name, values in columns.items():
        found[name] = values.iloc[np.repeat(np.arange(adata.n_obs), len(names))].array
    return found


def sample_table(adata: AnnData, name: str, key: str) -> pd.DataFrame:
    """Return a table of samples x types that :func:`sctandem.tl.deconvolve` has written, or raise a KeyError that says what to run."""
    return numeric_table(adata.obsm, name, "adata.obsm", deconvolve_call(key))


def sample_values(adata: AnnData, name: str, key: str) -> pd.Series:
    """Return what :func:`sctandem.tl.deconvolve` has written of each sample, or raise a KeyError that says what to run."""
    found = check_slot(adata.obs, name, "adata.obs", deconvolve_call(key))
    numeric_column(adata.obs, name, "adata.obs")
    return found


def deconvolve_call(key: str) -> str:
    """Write the call that writes under `key`."""
    return _RUN if key == RSDKeys().key else f"{_RUN[:-1]}, key_added={key!r})"
