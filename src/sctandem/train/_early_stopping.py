"""When to stop: a decision apart from acting on it."""

from __future__ import annotations

import math
from typing import NamedTuple


class Decision(NamedTuple):
    """What an epoch's validation loss leads to."""

    improved: bool
    stop: bool
    reason: str


class EarlyStopping:
    """Stop when the validation loss has not improved for some validations.

    Parameters
    ----------
    patience
        Validations without improvement after which to stop.
    min_delta
        Least relative change that counts as an improvement.

    Examples
    --------
    >>> from sctandem.train import EarlyStopping
    >>> stopping = EarlyStopping(patience=2)
    >>> [stopping.update(loss).stop for loss in (3.0, 2.0, 2.1, 2.2)]
    [False, False, False, True]
    """

    def __init__(self, patience: int, *, min_delta: float = 1e-5) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best, self.waited = math.inf, 0

    def update(self, loss: float) -> Decision:
        """Take in a validation loss.

        Parameters
        ----------
        loss
            Lower is better.

        Returns
        -------
        Whether it improved, whether to stop, and why.
        """
        if not math.isfinite(loss):
            return Decision(improved=False, stop=True, reason=f"the validation loss is {loss}")
        margin = self.min_delta * abs(self.best) if math.isfinite(self.best) else 0.0
        if loss < self.best - margin:
            self.best, self.waited = loss, 0
            return Decision(improved=True, stop=False, reason="")
        self.waited += 1
        stop = self.waited >= self.patience
        reason = (
            f"the validation loss has not fallen below {self.best:.6g} in {self.waited} validations" if stop else ""
        )
        return Decision(improved=False, stop=stop, reason=reason)
