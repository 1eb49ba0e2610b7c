"""How many processes train a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sctandem._check_arguments import check_positive

if TYPE_CHECKING:
    from sctandem.train import TrainConfig


def check_devices(model: Any, devices: int, config: TrainConfig | None = None) -> None:
    """Check the number of processes; a model for which several make no sense says why in `_one_process`.

    Parameters
    ----------
    model
        A model.
    devices
        The number.
    config
        Of the training, where it has one.

    Raises
    ------
    ValueError
        When it is none, or one process trains the model, or trains it in this way.
    """
    check_positive(devices, "devices", whole=True)
    if devices > 1 and (reason := getattr(model, "_one_process", "")):
        msg = f"devices={devices}: one process trains {type(model).__name__}, since {reason}; leave it out."
        raise ValueError(msg)
    if devices > 1 and config is not None and config.domain_adversarial is not None:
        msg = (
            f"devices={devices}: one process trains with domain_adversarial={config.domain_adversarial!r}, since each of several would "
            "compare its own cells alone; leave one of the two out."
        )
        raise ValueError(msg)
