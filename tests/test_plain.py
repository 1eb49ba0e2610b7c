"""Plain data: whatever goes in comes back, and anything else is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from sctandem._plain import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 3


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str
    inner: Inner = Inner()
    rates: tuple[float, ...] = (0.1, 0.2)


class Named(NamedTuple):
    first: int


def there_and_back(value, tmp_path, configs=()):
    """Through a file that is read with nothing allowed."""
    torch.save(to_plain(value, "value"), tmp_path / "plain.pt")
    return from_plain(torch.load(tmp_path / "plain.pt", weights_only=True), configs)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -(10**30),
        0.1,
        float("inf"),
        "täxt",
        [],
        (1, (2.5, "a")),
        {"a": [1, {"b": None}], 3: False},
    ],
    ids=repr,
)
def test_scalars_and_containers(value, tmp_path):
    found = there_and_back(value, tmp_path)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.array([True, False]),
        np.array([1.5, np.nan], dtype=np.float32),
        np.arange(4, dtype=np.uint32),
        np.arange(4, dtype=">i4"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3)),
        np.array(5.0),
        np.array(["a", "long text"]),
        np.array([["a", None], [1, "b"]], dtype=object),
        np.array([], dtype=object),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}",
)
def test_arrays(value, tmp_path):
    found = there_and_back({"x": value}, tmp_path)["x"]
    np.testing.assert_array_equal(found, value)
    assert found.shape == value.shape
    assert found.dtype == value.dtype.newbyteorder("=")
    assert found.flags.writeable


def test_numpy_scalars_become_those_of_python(tmp_path):
    found = there_and_back({np.str_("k"): [np.float32(0.5), np.int64(3), np.bool_(True)]}, tmp_path)
    assert found == {"k": [0.5, 3, True]}
    assert [type(item) for item in found["k"]] == [float, int, bool]


@pytest.mark.parametrize("index", [None, pd.Index([3, 4, 9], name="epoch"), pd.Index(list("abc"))], ids=str)
def test_tables(index, tmp_path):
    table = pd.DataFrame({"loss": [0.5, 0.25, np.nan], "n": [1, 2, 3], "gene": ["A", "B", "A"]}, index=index)
    table["group"] = pd.Categorical(["x", None, "y"], categories=["y", "x"], ordered=True)
    found = there_and_back(table, tmp_path)
    pd.testing.assert_frame_equal(found, table, check_index_type=False)
    assert found.index.name == table.index.name
    assert there_and_back(pd.DataFrame(index=list("ab")), tmp_path).shape == (2, 0)


def test_configurations_are_made_of_known_classes_only(tmp_path):
    config = Config(name="a", inner=Inner(width=7))
    assert there_and_back(config, tmp_path, (Config, Inner)) == config
    with pytest.raises(ValueError, match=r"holds no config 'Inner'; it knows \['Config'\]"):
        there_and_back(config, tmp_path, (Config,))


def test_generators_are_not_kept(tmp_path):
    assert there_and_back({"rng": np.random.default_rng(0)}, tmp_path) == {"rng": None}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (Path("a"), r"value\['x'\] is a \w*Path"),
        (Named(1), r"value\['x'\] is a Named"),
        ({1, 2}, r"value\['x'\] is a set"),
        (print, r"value\['x'\] is a builtin_function"),
        (np.array([], dtype="datetime64[s]"), r"value\['x'\] is an array of datetime64"),
        (np.array([(1, 2)], dtype="i4,i4"), r"value\['x'\] is an array of \["),
        (np.array([print], dtype=object), r"value\['x'\]\[0\] is a builtin_function"),
        ({(1, 2): 3}, r"value\['x'\] has the key \(1, 2\)"),
        ({"sctandem_kind": "numbers"}, r"has the key 'sctandem_kind'"),
    ],
    ids=str,
)
def test_other_types_are_refused(value, fault):
    with pytest.raises(TypeError, match=fault):
        to_plain({"x": value}, "value")
