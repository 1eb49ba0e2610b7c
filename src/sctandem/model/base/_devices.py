"""How many processes train a model."""

from __future__ import annotations

from typing import Any

from sctandem._check_arguments import check_positive


def check_devices(model: Any, devices: int) -> None:
    """Check the number of processes; a model for which several make no sense says why in `_one_process`.

    Parameters
    ----------
    model
        A model.
    devices
        The number.

    Raises
    ------
    ValueError
        When it is none, or the model is trained by one process.
    """
    check_positive(devices, "devices", whole=True)
    if devices > 1 and (reason := getattr(model, "_one_process", "")):
        msg = f"devices={devices}: one process trains {type(model).__name__}, since {reason}; leave it out."
        raise ValueError(msg)
