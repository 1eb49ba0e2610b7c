"""The settings of adversarial training, and their defaults, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._check_arguments import check_number, check_positive


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """Settings of adversarial training and of domain-adversarial training.

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
        Weight of the loss of the perturbed cells, where the loss of the cells as they are has 1.
    domain_weight
        Weight of hiding the covariate from the discriminator, against a nat of the evidence of the counts. Large ones make states run from the
        discriminator and carry more of the covariate than before.
    domain_hidden, domain_layers
        Units of a hidden layer of the discriminator, and number of such layers.
    domain_learning_rate
        Learning rate of its Adam.
    domain_steps
        Its steps a minibatch.
    domain_rise
        Part of the run over which `domain_weight` rises from 0 to its value.
    domain_guard
        Whether only cells that have a counterpart in another category are mixed with it (same label, or mutual nearest
        neighbours where there are no labels): types that one category alone has are left where they are.

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
    domain_weight: float = 1.0
    domain_hidden: int = 64
    domain_layers: int = 1
    domain_learning_rate: float = 2e-3
    domain_steps: int = 2
    domain_rise: float = 0.3
    domain_guard: bool = True

    def __post_init__(self) -> None:
        for name in ("radius", "max_sd", "domain_learning_rate"):
            check_positive(getattr(self, name), name)
        for name in ("n_steps", "domain_hidden", "domain_layers", "domain_steps"):
            check_positive(getattr(self, name), name, whole=True)
        for name in ("weight", "domain_weight"):
            check_number(getattr(self, name), name)
        check_number(self.domain_rise, "domain_rise", high=1)
