"""The only file that may touch private or version-dependent names of other packages."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version


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
