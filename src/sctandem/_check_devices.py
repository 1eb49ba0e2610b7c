"""What is said of an accelerator that is not there."""

from __future__ import annotations

from typing import Any


def no_accelerator(accelerator: Any, devices: Any) -> str:
    """Name the argument, what was given and what the machine has.

    Parameters
    ----------
    accelerator, devices
        The arguments.

    Returns
    -------
    The message.
    """
    import torch

    others = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    here = ", ".join(map(repr, ["auto", "cpu", *(name for name, is_there in others.items() if is_there)]))
    number = "" if devices == "auto" else f" with the device {devices!r}"
    return f"accelerator={accelerator!r}{number} is not there on this machine, which has {here}: choose one of these."
