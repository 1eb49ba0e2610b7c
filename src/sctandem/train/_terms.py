"""What a training plan adds to the loss of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scvi.module.base import LossOutput

if TYPE_CHECKING:
    from torch import Tensor


def with_term(output: LossOutput, name: str, added: Tensor) -> LossOutput:
    """Add a term to a loss, in a new object: the loss without it stays what it was.

    Parameters
    ----------
    output
        The loss of a batch.
    name
        Under which the history has the term.
    added
        One number, with gradient.

    Returns
    -------
    The loss; its parts are those of `output`.
    """
    return LossOutput(
        loss=output.loss + added,
        reconstruction_loss=output.reconstruction_loss,
        kl_local=output.kl_local,
        n_obs_minibatch=output.n_obs_minibatch,
        extra_metrics={**output.extra_metrics, name: added.detach()},
    )
