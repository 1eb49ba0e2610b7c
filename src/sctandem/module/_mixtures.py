"""Bulk samples simulated from profiles of types."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.distributions import Dirichlet, StudentT

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MixtureConfig:
    """What simulated mixtures vary in.

    Attributes
    ----------
    absent
        Chance that a type is not in a mixture.
    unknown
        Chance that a mixture holds RNA of a type that is not in the reference.
    platform
        Largest scale of the log factors of genes; each mixture draws its own between 0 and this.
    noise
        Largest standard deviation of the log expression of a sample.
    unmeasured
        Largest part of the genes that are not measured.
    """

    absent: float = 0.2
    unknown: float = 0.3
    platform: float = 1.0
    noise: float = 0.3
    unmeasured: float = 0.3


def simulate_mixtures(shares: Tensor, spread: Tensor, n_mixtures: int, config: MixtureConfig) -> dict[str, Tensor]:
    """Simulate mixtures with torch's generator.

    Parameters
    ----------
    shares
        Share of each gene in the molecules of a type, types x genes.
    spread
        Standard deviation of log expression between donors, types x genes.
    n_mixtures
        How many.
    config
        What varies.

    Returns
    -------
    `rna`, shares of RNA (mixtures x (types + 1), the last is unknown); `logs`, log of the shares of genes, and `measured`, 1 or 0 (both
    mixtures x genes); float32.
    """
    (n_types, n_genes), device = shares.shape, shares.device
    uniform, normal = partial(torch.rand, device=device), partial(torch.randn, device=device)
    concentration = torch.where(uniform(n_mixtures, 1) < 0.5, 1.0, 3.0).expand(-1, n_types)
    known = Dirichlet(concentration).sample()
    present = torch.rand_like(known) >= config.absent
    kept = torch.randint(n_types, (n_mixtures,), device=device)
    present[torch.arange(n_mixtures, device=device), kept] = True
    known = known * present
    known = known / known.sum(1, keepdim=True)
    unknown = uniform(n_mixtures, 1) ** 2 * 0.6 * (uniform(n_mixtures, 1) < config.unknown)
    rna = torch.cat([known * (1 - unknown), unknown], dim=1)
    single = shares.float()
    profiles = single * torch.exp(spread.float() * normal(n_mixtures, n_types, n_genes))
    other = single.mean(0) * torch.exp(normal(n_mixtures, n_genes))
    mean = torch.einsum("mt,mtg->mg", rna[:, :n_types], profiles) + rna[:, n_types:] * other
    scale = uniform(n_mixtures, 1)
    heavy = StudentT(torch.tensor(3.0, device=device)).sample((n_mixtures, n_genes))
    factor = config.platform * scale * heavy / 1.7
    noise = config.noise * uniform(n_mixtures, 1) * normal(n_mixtures, n_genes)
    missing = config.unmeasured * uniform(n_mixtures, 1)
    measured = (uniform(n_mixtures, n_genes) >= missing).float()
    return {"rna": rna, "logs": torch.log(mean + 1e-9) + factor + noise, "measured": measured}
