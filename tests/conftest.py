"""Fixtures of all tests."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports pyplot

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 0


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets, named by the environment variable SCTANDEM_DATA."""
    folder = os.environ.get("SCTANDEM_DATA")
    if not folder:
        pytest.skip("real data: set SCTANDEM_DATA to the folder that holds them")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"real data: SCTANDEM_DATA={folder} is not a folder")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts alike in every test."""
    return np.random.default_rng(SEED)


@pytest.fixture(autouse=True)
def fixed_global_seeds() -> None:
    """The package leaves global random states alone; this is for other packages that read them."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """No test sees the figures of another."""
    yield
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")
