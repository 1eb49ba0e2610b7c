"""The settings of adversarial training, and their defaults, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._check_arguments import check_number, check_positive


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """Settings of adversarial training.

    Parameters
    ----------
    radius
        Most that the normalised expression of a gene moves, log1p of counts per 10,000.
    max_sd
        Most that a count moves, in standard deviations of a Poisson count: what is within is plausible as another draw of the
        same cell. Both bounds hold.
    unexpressed
        Whether genes without a count may be given one; else zeros stay.
    n_steps
        Steps of `"pgd"`.
    weight
        Weight of the loss of the perturbed cells, where the loss of the cells as they are has 1. For the regression of
        :class:`~sctandem.model.CapsuleNet` it is the most: perturbed cells count for less where held-out cells as they are would be told worse.

    Raises
    ------
    ValueError
        For a value out of bounds.

    Examples
    --------
    >>> from sctandem.train import AdversarialConfig, TrainConfig
    >>> TrainConfig(adversarial="pgd", adversary=AdversarialConfig(n_steps=3)).adversary.n_steps
    3
    """

    radius: float = 0.2
    max_sd: float = 2.0
    unexpressed: bool = False
    n_steps: int = 5
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("radius", "max_sd"):
            check_positive(getattr(self, name), name)
        check_positive(self.n_steps, "n_steps", whole=True)
        check_number(self.weight, "weight")
