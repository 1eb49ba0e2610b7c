"""Settings of the window networks."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._checks import check_number, check_positive


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Settings of the window networks.

    Parameters
    ----------
    n_members
        Networks in the ensemble.
    n_hidden
        Units of each network.
    dropout
        Part of the units dropped in training.
    learning_rate
        Peak rate of Adam on its one-cycle schedule.
    weight_decay
        Of Adam, decoupled.
    batch_size
        Genes a step.
    n_steps
        Steps of the optimizer at most.
    validation_size
        Part of the genes on which each member chooses its best moment; every member has others.

    Raises
    ------
    ValueError
        For a value out of bounds.
    """

    n_members: int = 4
    n_hidden: int = 32
    dropout: float = 0.3
    learning_rate: float = 5e-3
    weight_decay: float = 1e-3
    batch_size: int = 64
    n_steps: int = 1200
    validation_size: float = 0.15

    def __post_init__(self) -> None:
        for name in ("n_members", "batch_size", "n_steps"):
            check_positive(getattr(self, name), name, whole=True)
        check_number(self.n_hidden, "n_hidden", low=2, whole=True)
        check_positive(self.learning_rate, "learning_rate")
        check_number(self.weight_decay, "weight_decay")
        for name in ("dropout", "validation_size"):
            check_number(getattr(self, name), name, high=0.9)
