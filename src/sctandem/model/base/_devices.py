"""How many processes train a model."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from sctandem._check_arguments import check_positive
from sctandem._compat import torch_device
from sctandem.train._crew_checks import check_gpus, check_importable, check_shares

if TYPE_CHECKING:
    from sctandem.train import TrainConfig


def check_devices(model: Any, devices: int, config: TrainConfig | None = None, *, accelerator: str = "cpu") -> None:
    """Check the number of processes; a model for which several make no sense says why in `_one_process`.

    Parameters
    ----------
    model
        A model.
    devices
        The number.
    config
        Of the training, where it has one.
    accelerator
        On what it trains.

    Raises
    ------
    ValueError
        When it is none, or one process trains the model, or trains it in this way; when there are too few cells in a batch or too few GPUs, or
        the network is defined where other processes do not find it.
    """
    check_positive(devices, "devices", whole=True)
    if devices > 1 and (reason := getattr(model, "_one_process", "")):
        msg = f"devices={devices}: one process trains {type(model).__name__}, since {reason}; leave it out."
        raise ValueError(msg)
    if devices == 1 or config is None:
        return
    if config.domain_adversarial is not None:
        msg = (
            f"devices={devices}: one process trains with domain_adversarial={config.domain_adversarial!r}, since each of several would "
            "compare its own cells alone; leave one of the two out."
        )
        raise ValueError(msg)
    # here as well as of the loop itself: a model that is trained in parts has forgotten what it was by then
    n_cells = model._training_cells(config)[1]
    check_shares(n_cells, ceil(n_cells / config.resolve_batch_size(n_cells)), devices)
    check_gpus(torch_device(accelerator, "auto"), devices)
    check_importable((model.module, config, model._plan_of(config), model._data_loader_cls), devices)
