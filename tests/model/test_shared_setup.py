"""What the set-up methods of all models refuse alike."""

from __future__ import annotations

import inspect

import pytest
from tests.support.models import CASES


def setup_of(name):
    cls = CASES[name].cls
    return cls.setup_mudata if name in {"TAPE", "RegulatoryGraph"} else cls.setup_anndata


NAMES = [
    (name, argument)
    for name in CASES
    for argument in inspect.signature(setup_of(name)).parameters
    if argument.endswith(("_key", "layer"))
]


@pytest.mark.parametrize(("name", "argument"), NAMES)
@pytest.mark.parametrize("value", [3, ["a"]])
def test_names_of_columns_and_layers_are_text(name, argument, value):
    data = CASES[name].data()
    needed = {"DeepDE": {"sample_key": "batch"}, "RSD": {"cell_type_key": "cell_type"}}.get(name, {})
    given = needed | {argument: value}
    before = sorted(data.uns), list(data.obs)
    with pytest.raises(TypeError, match=rf"{argument} must be a str, got (int|list)"):
        setup_of(name)(data, **given)
    assert (sorted(data.uns), list(data.obs)) == before
