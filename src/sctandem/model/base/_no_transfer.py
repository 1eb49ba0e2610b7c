"""Models that neither map queries nor learn on: they take the same arguments, and say what to do in their place."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from sctandem.model.base._partial_fit import PartialFitMixin
from sctandem.model.base._transfer import TransferMixin

if TYPE_CHECKING:
    from collections.abc import Callable


def refusal(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method with the arguments of another, which refuses with what `_instead` of its class says.

    Parameters
    ----------
    method
        A function whose first parameter is the object or the class.

    Returns
    -------
    The function, with the signature of the other and a docstring of its own.
    """
    signature = inspect.signature(method)
    names = list(signature.parameters)[1:]

    @wraps(method)
    def refuse(owner: Any, *args: Any, **kwargs: Any) -> None:
        signature.bind(owner, *args, **kwargs)
        cls = owner if isinstance(owner, type) else type(owner)
        msg = f"{cls.__name__} has no {method.__name__}: {cls._instead}"
        raise NotImplementedError(msg)

    refuse.__doc__ = (
        "Refuse, and say what to do in its place.\n\n"
        f"Parameters\n----------\n{', '.join(names)}\n    As for other models; not used.\n\n"
        "Returns\n-------\nNothing: it raises.\n\n"
        "Raises\n------\nNotImplementedError\n    Always.\n"
    )
    refuse.__signature__ = signature  # type: ignore[attr-defined]
    refuse.__qualname__ = f"NoTransferMixin.{method.__name__}"
    refuse.__module__ = __name__
    return refuse


class NoTransferMixin:
    """Say why a model neither maps queries nor learns on, and what to do in its place."""

    _instead: ClassVar[str] = ""

    load_query_data = classmethod(refusal(TransferMixin.load_query_data.__func__))  # type: ignore[attr-defined]
    partial_fit = refusal(PartialFitMixin.partial_fit)
