"""Every model of the package in turn, and the small multiome with the TAPE that learned from it."""

from __future__ import annotations

import pytest
from models import CASES
from tape import small_multiome, trained


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


@pytest.fixture
def mdata():
    """A small multiome to write to."""
    return small_multiome()


@pytest.fixture(scope="session")
def tape():
    """Trained on the plain `mdata`; tests only read it."""
    return trained(small_multiome())


@pytest.fixture(scope="session")
def expected(tape):
    """What `tape` predicts; tests only read it."""
    return tape.predict_expression()
