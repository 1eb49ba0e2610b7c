"""What a training is of, so that only the same one goes on from its checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from anndata.abc import CSRDataset
from scipy import sparse

from sctandem._check_arguments import check_path
from sctandem._compat import ModelLayout, torch_device
from sctandem._plain import to_plain
from sctandem._random import as_generator
from sctandem.model.base._domains import read_domains
from sctandem.model.base._weights import read_weights
from sctandem.train import TrainConfig
from sctandem.train._checkpoint import Checkpoint, TrainingPart

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from sctandem._random import RNG

#: Longest text of a setting that messages show whole.
_LONGEST = 80


class CheckpointMixin:
    """Keep how far a training is in a file, and go on from it.

    A model whose training depends on more than its arguments, its registered data and the settings of the run has a method `_depends_on`.
    """

    #: The checkpoint of a training that was interrupted, and what the model was before it.
    _unfinished: tuple[Path, str] | None = None

    def _depends_on(self) -> dict[str, Any]:
        """Return what else the training depends on, by name."""
        return {}

    def _open_checkpoint(
        self,
        checkpoint: str | os.PathLike[str] | None,
        settings: Any,
        *,
        accelerator: str,
        rng: RNG,
        devices: int = 1,
    ) -> Checkpoint | None:
        """Make or read the checkpoint; the seed is then that of it, and the history that of before the training."""
        if checkpoint is None:
            return None
        check_path(checkpoint, "checkpoint")
        model: Any = self
        path = Path(checkpoint).absolute()
        generator = as_generator(rng)
        given = None if rng is None else int(rng) if not isinstance(rng, np.random.Generator) else _seed(generator)
        start = self._start_of(path)
        about = {
            "the model": type(model).__name__,
            **_versions(),
            "the device": torch_device(accelerator, "auto").type,
            "the number of devices": devices,
            "rng": given,
            "the start": start,
            **_described(settings, "the setting"),
            **_described(model.registry_[ModelLayout().setup_args], "the setup argument"),
            **_described(model.init_params_["non_kwargs"], "the argument of the model"),
            **{name: digest(value) for name, value in (_learned_from(model, settings) | self._depends_on()).items()},
        }
        seed = int(torch.randint(2**31, ()).item()) if given is None else given
        kept = Checkpoint(path, about, seed=seed, before=model.history_)
        if kept.is_resumed:
            model.history_ = kept.before
        self._unfinished = (path, start)
        return kept

    def _start_of(self, path: Path) -> str:
        """Say what the model is before the training: new, or weights that were learned already."""
        if self._unfinished is not None and self._unfinished[0] == path and path.exists():
            return self._unfinished[1]
        model: Any = self
        if not model.is_trained_ and not getattr(model, "query_", None):
            return "a new model"
        return f"a trained model ({digest(dict(model.module.state_dict()))})"

    def _end_plain_loop(self, losses: list[float], n_epochs: int, kept: Checkpoint | None) -> None:
        """Leave a model trained after a loop that gave a loss an epoch."""
        model: Any = self
        table = pd.DataFrame({"train_loss": losses}, index=pd.RangeIndex(len(losses), name="epoch"))
        model.history_ = {"train_loss": table}
        model.is_trained_ = True
        self._close_checkpoint(kept, finished=len(losses) == n_epochs)

    def _close_checkpoint(self, kept: Checkpoint | None, *, finished: bool) -> None:
        """Delete the file of a training that has come to its end; raise what kept it from being written."""
        if kept is not None:
            kept.check()
        if finished:
            self._unfinished = None
            if kept is not None:
                kept.remove()


def part_of(kept: Checkpoint | None, number: int = 0) -> TrainingPart:
    """Return a part of a training, which is kept where there is a checkpoint."""
    return TrainingPart() if kept is None else kept.part(number)


def _seed(generator: np.random.Generator) -> int:
    return int(generator.integers(2**31))


def _versions() -> dict[str, str]:
    """Return the versions of what computes: the same result is promised for the same ones only."""
    import sctandem

    return {"the version of sctandem": sctandem.__version__, "the version of torch": str(torch.__version__)}


def _named(values: Any) -> Mapping[str, Any]:
    """Return settings by name."""
    return {f.name: getattr(values, f.name) for f in fields(values)} if is_dataclass(values) else values


def _described(values: Any, what: str) -> dict[str, Any]:
    """Return settings by name, as messages show them."""
    values = _named(values)
    return {f"{what} {name}": _shown(value) for name, value in values.items()}


def _shown(value: Any) -> Any:
    """Return a number or a short text as it is, and the digest of anything longer."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str) or (is_dataclass(value) and not isinstance(value, type)):
        text = str(value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({digest(text)})"
    return f"{type(value).__name__} ({digest(value)})"


def _learned_from(model: Any, settings: Any) -> dict[str, Any]:
    """Return the names of cells and features, what is registered, and the weights of the cells."""
    manager = model.adata_manager
    data = manager.adata
    cells = data.obs_names.to_numpy()
    # those of a collection are numbers, and text of them would be ten times the memory
    found: dict[str, Any] = {"the cells": cells if cells.dtype.kind == "i" else cells.astype(str)}
    names = model.get_var_names()
    found["the genes"] = [
        np.asarray(part).astype(str) for part in (names.values() if isinstance(names, dict) else [names])
    ]
    for key in manager.data_registry:
        value = manager.get_from_registry(key)
        if not isinstance(value, str):
            found[f"the data {key!r}"] = value
    if (weights := read_weights(data, _named(settings)["sample_weight"])) is not None:
        found["the weights of the cells"] = weights
    if isinstance(settings, TrainConfig) and (hidden := read_domains(data, settings)):
        found["the covariate to hide"] = hidden
    return found


def digest(value: Any) -> str:
    """Return a short text that differs when a value does.

    Parameters
    ----------
    value
        Plain data, arrays, tables, and matrices, of which the sums over rows and over columns count.

    Returns
    -------
    Number of entries at the top, and 12 hexadecimal digits.
    """
    mark = hashlib.blake2b(digest_size=6)
    for part in _bytes_of(value):
        mark.update(part)
    size = getattr(value, "shape", None)
    size = len(value) if size is None and hasattr(value, "__len__") else size
    return f"{size}, {mark.hexdigest()}" if size is not None else mark.hexdigest()


def _bytes_of(value: Any) -> Iterator[bytes]:
    """Yield what tells a value from others."""
    if sparse.issparse(value) or isinstance(value, CSRDataset):
        for axis in (0, 1):
            yield np.asarray(value.sum(axis=axis), dtype=np.float64).tobytes()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif (inside := _inside(value)) is not None:
        yield f"{len(inside)}".encode()
        for item in inside:
            yield from _bytes_of(item)
    else:
        yield repr(to_plain(value, "what the training depends on")).encode()


def _inside(value: Any) -> list[Any] | None:
    """Return what a value is made of; `None` for numbers and text."""
    if isinstance(value, torch.Tensor):
        return [value.detach().cpu().numpy()]
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if is_dataclass(value) and not isinstance(value, type):
        return _inside(_named(value))
    if hasattr(value, "to_numpy"):  # a table or a column
        return [list(getattr(value, "columns", ())), value.to_numpy()]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, (list, tuple)) else None
