"""Files of the folder with the real data."""

from __future__ import annotations

import os
from pathlib import Path


def real_file(name: str) -> Path:
    """Give a file of the folder that `SCTANDEM_DATA` names."""
    folder = os.environ.get("SCTANDEM_DATA")
    if not folder:
        msg = f"set SCTANDEM_DATA to the folder that holds {name}"
        raise ValueError(msg)
    found = Path(folder) / name
    if not found.exists():
        msg = f"the benchmark needs {found}"
        raise FileNotFoundError(msg)
    return found
