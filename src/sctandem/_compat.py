"""The only file that may touch private or version-dependent names of other packages."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData


def installed(package: str, minimum: str) -> bool:
    """Whether a package is installed in at least this version.

    Parameters
    ----------
    package
        Name of the distribution, e.g. `"scvi-tools"`.
    minimum
        The version that is asked for.

    Returns
    -------
    `True` where the installed version is the same or newer.

    Examples
    --------
    >>> from sctandem._compat import installed
    >>> installed("numpy", "2.0")
    True
    """
    return Version(version(package)) >= Version(minimum)


def new_mudata(modalities: Mapping[str, AnnData]) -> MuData:
    """Make a MuData whose columns are not copies of the modalities' (mudata 0.4's way, on 0.3 as well).

    Parameters
    ----------
    modalities
        The AnnData objects by name.

    Returns
    -------
    The MuData; `obs` and `var` hold no columns of the modalities.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> from sctandem._compat import new_mudata
    >>> new_mudata({"rna": AnnData(np.ones((3, 2), dtype=np.float32))}).n_obs
    3
    """
    import mudata

    if installed("mudata", "0.4"):
        return mudata.MuData(dict(modalities))
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData(dict(modalities))
