"""The settings of domain-adversarial training, and their defaults, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._check_arguments import check_number, check_positive
from sctandem._checks import check_type


@dataclass(frozen=True, kw_only=True)
class DomainConfig:
    """Settings of domain-adversarial training.

    Parameters
    ----------
    strength
        Weight of what the discriminator tells, in units of the reconstruction loss. :class:`~sctandem.model.CapsuleNet` has 0.3 by
        default, since its poses are held by more than the counts.
    within
        Column of `obs` with groups of cells, within which alone domains are compared; `None` for the labels that the model learns where it
        has some, and for clusters that are matched between domains where it has none.
    width
        Distance at which the discriminator takes states for similar, in units of their spread within a group.
    n_memory
        States that the discriminator is made of, those seen last.
    min_cells
        Fewest of them that a domain needs in a group to be compared there.
    start
        Part of the run after which cells are compared.
    refresh
        Steps between two searches for clusters.

    Raises
    ------
    ValueError
        For a value out of bounds.
    TypeError
        When `within` is not text.

    Examples
    --------
    >>> from sctandem.train import DomainConfig, TrainConfig
    >>> TrainConfig(domain_adversarial="batch", domain=DomainConfig(strength=0.3)).domain.strength
    0.3
    """

    strength: float = 0.03
    within: str | None = None
    width: float = 1.0
    n_memory: int = 1000
    min_cells: int = 5
    start: float = 0.2
    refresh: int = 40

    def __post_init__(self) -> None:
        check_number(self.strength, "strength")
        if self.within is not None:
            check_type(self.within, str, "within")
        check_positive(self.width, "width")
        for name in ("n_memory", "min_cells", "refresh"):
            check_positive(getattr(self, name), name, whole=True)
        check_number(self.start, "start", high=1)
