"""What a loop over steps holds, in a form that goes into a file and comes back checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sctandem._plain import from_plain, to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping


def streams_of(device: torch.device) -> dict[str, Any]:
    """Return the state of torch's global generators, on the processor and on the device in use."""
    streams: dict[str, Any] = {"cpu": torch.random.get_rng_state()}
    if device.type == "cuda":
        streams["cuda"] = torch.cuda.get_rng_state(device)
    return streams


def set_streams(streams: Mapping[str, Any], device: torch.device) -> None:
    """Put torch's global generators into a state that `streams_of` gave."""
    torch.random.set_rng_state(streams["cpu"])
    if device.type == "cuda" and "cuda" in streams:
        torch.cuda.set_rng_state(streams["cuda"], device)


def loop_state(module: Any, optimizer: torch.optim.Optimizer, schedule: Any = None) -> dict[str, Any]:
    """Return what a plain loop over steps holds: weights, optimizer, schedule and random streams."""
    device = next(iter(module.parameters())).device
    state = {"module": dict(module.state_dict()), "optimizer": optimizer.state_dict(), "streams": streams_of(device)}
    return state if schedule is None else {**state, "schedule": schedule.state_dict()}


def take_up_loop(state: Mapping[str, Any], module: Any, optimizer: torch.optim.Optimizer, schedule: Any = None) -> None:
    """Put a plain loop where `loop_state` found it; nothing is changed unless all of it fits.

    Raises
    ------
    ValueError
        When it is of another form than what the loop holds: such a part would not fail before the next step, or never.
    """
    own = from_plain(to_plain(loop_state(module, optimizer, schedule), "the state of the training"))
    own["optimizer"]["state"] = _adam_state(optimizer, set(state["optimizer"]["state"]))
    check_alike({key: state[key] for key in own if key in state}, own, "the state")
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    if schedule is not None:
        schedule.load_state_dict(state["schedule"])
    set_streams(state["streams"], next(iter(module.parameters())).device)


def taken_losses(state: Mapping[str, Any], n_steps: int) -> list[float]:
    """Return the losses of epochs that are over, checked against the steps that Adam has taken, `n_steps` an epoch."""
    losses = state["losses"]
    check_alike(losses, [0.0] * len(losses), "the list of losses")
    taken = max(float(of_one["step"]) for of_one in state["optimizer"]["state"].values())
    if taken != n_steps * len(losses):
        msg = f"there are {len(losses)} losses after {taken:g} steps"
        raise ValueError(msg)
    return list(losses)


def _adam_state(optimizer: torch.optim.Optimizer, seen: set[Any]) -> dict[int, dict[str, torch.Tensor]]:
    """Return a state of Adam as it is for the parameters that have had a gradient."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        number: {"step": torch.zeros(()), "exp_avg": parameter.detach(), "exp_avg_sq": parameter.detach()}
        for number, parameter in enumerate(parameters)
        if number in seen
    }


def check_alike(found: Any, wanted: Any, name: str) -> None:
    """Check that plain data are of the form of others: kinds, keys, lengths, shapes and types of numbers; not their values.

    Parameters
    ----------
    found, wanted
        Both.
    name
        Of what was found, in messages.

    Raises
    ------
    ValueError
        Says where they differ.
    """
    if isinstance(wanted, torch.Tensor):
        if not isinstance(found, torch.Tensor):
            fault: Any = type(found).__name__
        elif (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            fault = f"{tuple(found.shape)} of {found.dtype}"
        else:
            return
        msg = f"{name} is {fault}, not {tuple(wanted.shape)} of {wanted.dtype}"
        raise ValueError(msg)
    if type(found) is not type(wanted):
        msg = f"{name} is of the kind {type(found).__name__}, not {type(wanted).__name__}"
        raise ValueError(msg)
    if isinstance(wanted, dict):
        if different := found.keys() ^ wanted.keys():
            msg = f"{name} lacks or does not know {sorted(map(str, different))[:3]}"
            raise ValueError(msg)
        for key, value in wanted.items():
            check_alike(found[key], value, f"{name}[{key!r}]")
    elif isinstance(wanted, (list, tuple)):
        if len(found) != len(wanted):
            msg = f"{name} has {len(found)} entries, not {len(wanted)}"
            raise ValueError(msg)
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            check_alike(one, other, f"{name}[{number}]")
