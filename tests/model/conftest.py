"""Every model of the package in turn."""

from __future__ import annotations

import pytest
from models import CASES


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def model(case):
    """A trained model; tests only read it."""
    return case.trained()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """A folder with model and data; tests only read it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder, save_anndata=True)
    return folder
