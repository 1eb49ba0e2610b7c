"""What attacks of growing strength leave of the classes that a model reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scvi import REGISTRY_KEYS
from sklearn.metrics import adjusted_rand_score

from sctandem._check_arguments import check_number, check_positive, check_type
from sctandem._random import torch_generator
from sctandem.nn._gene_attack import change_genes
from sctandem.nn._perturbation import count_ball, perturb
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from sctandem.model.base._class_reader import ClassReader

_BATCH_SIZE = 512
#: Quantile of the expression of a gene, over the cells that express it, that counts as much.
_MUCH = 0.99
#: Steps of the largest share of genes that can be changed, for the means of classes.
_SHARES = np.linspace(0, 1, 41)


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """Attacks and their strengths, at least one each, the weakest first: what it finds counts for those after it.

    Parameters
    ----------
    radii
        Of `pgd`: most that log1p of counts per 10,000 moves, rising.
    n_steps
        Steps of `pgd`.
    max_sd, unexpressed
        Of `pgd`, as in :class:`~sctandem.train.AdversarialConfig`.
    n_genes
        Of `genes`: numbers of genes that are set to nothing or to much, rising.
    dropout
        Of `dropout`: parts of the genes with counts that lose them, rising.
    depth
        Of `depth`: parts of the molecules that are left, falling.

    Raises
    ------
    ValueError
        For a value out of bounds, no strength of an attack, or strengths of which the weakest is not the first.
    TypeError
        For a strength that is not in a tuple.

    Examples
    --------
    >>> from sctandem.model.base import AttackConfig
    >>> AttackConfig(radii=(0.1,)).n_steps
    10
    """

    radii: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5)
    n_steps: int = 10
    max_sd: float = 2.0
    unexpressed: bool = False
    n_genes: tuple[int, ...] = (1, 3, 10)
    dropout: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)
    depth: tuple[float, ...] = (0.5, 0.25, 0.1)

    def __post_init__(self) -> None:
        check_positive(self.n_steps, "n_steps", whole=True)
        check_positive(self.max_sd, "max_sd")
        for name in ("radii", "n_genes", "dropout", "depth"):
            values = getattr(self, name)
            check_type(values, tuple | list, name, hint=f"Give its strengths in a tuple, such as {name}=(value,).")
            for value in values:
                if name in {"radii", "n_genes"}:
                    check_positive(value, name, whole=name == "n_genes")
                else:
                    check_number(value, name, high=1)
            _check_order(values, name, falling=name == "depth")


def _check_order(values: Sequence[float], name: str, *, falling: bool) -> None:
    """Check that there are strengths, the weakest first: an attack takes over what the one before it found."""
    weak = sorted(set(values), reverse=falling)
    if not weak or list(values) != weak:
        wanted = "strictly falling" if falling else "strictly rising"
        fault = "has no strength" if not weak else f"does not begin with the weakest attack: give {tuple(weak)}"
        msg = f"{name}={values!r} {fault}; it holds at least one, {wanted}."
        raise ValueError(msg)


@dataclass
class Attacked:
    """What attacks left.

    Parameters
    ----------
    clean
        Class that is read off each cell as it is.
    read
        By attack and strength, the class that is read off the attacked cells.
    largest
        By class, the largest share of genes of its mean that can be set to much with the class kept.
    """

    clean: np.ndarray
    read: dict[tuple[str, float], np.ndarray] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)

    def rows(self, codes: np.ndarray) -> list[dict[str, Any]]:
        """Score each attack against the classes that are true."""
        return [
            {
                "attack": attack,
                "strength": float(strength),
                "accuracy": float(np.mean(read == codes)),
                "kept": float(np.mean(read == self.clean)),
                "ari": float(adjusted_rand_score(self.clean, read)),
            }
            for (attack, strength), read in self.read.items()
        ]


@torch_on_one_thread()
def attack(reader: ClassReader, codes: np.ndarray, config: AttackConfig, *, seed: int) -> Attacked:
    """Attack cells in every way.

    Parameters
    ----------
    reader
        Of the model.
    codes
        True class of each cell, as a position in `reader.names`; negative for another, which only chance attacks.
    config
        Attacks.
    seed
        Of random starts and of molecules that are lost.

    Returns
    -------
    What is read off the cells under each attack. Attacks by gradient (`pgd`, `genes`) leave a cell as it is where they do not
    find a place at which it is read otherwise.
    """
    parts: list[dict[tuple[str, float], Tensor]] = []
    device = reader.module.device
    generator = torch_generator(seed, device=device)
    highest, profiles, start = _much(reader), [], 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in reader.batches(_BATCH_SIZE):
            counts = batch[REGISTRY_KEYS.X_KEY].to_dense()
            truth = torch.from_numpy(codes[start : start + len(counts)]).to(device)
            start += len(counts)
            parts.append(
                dict(_attacks(reader, batch, counts, truth, highest=highest, config=config, generator=generator))
            )
            profiles.append((counts, batch))
    joined = {key: torch.cat([part[key] for part in parts]).cpu().numpy() for key in parts[0]}
    clean = joined.pop(("none", 0.0))
    return Attacked(clean, joined, _largest_changes(reader, profiles, clean, highest))


def _attacks(
    reader: ClassReader,
    batch: dict[str, Tensor],
    counts: Tensor,
    truth: Tensor,
    *,
    highest: Tensor,
    config: AttackConfig,
    generator: torch.Generator,
) -> Iterator[tuple[tuple[str, float], Tensor]]:
    """Give what is read off the cells of a minibatch under each attack."""
    clean = _read(reader, batch, counts)
    yield ("none", 0.0), clean
    aim = torch.where(truth >= 0, truth, clean)
    margin = reader.losses(aim, batch)
    depth = batch.get(REGISTRY_KEYS.SIZE_FACTOR_KEY)
    found = clean
    for radius in config.radii:
        ball = count_ball(counts, radius, max_sd=config.max_sd, unexpressed=config.unexpressed, depth=depth)
        moved = perturb(ball, lambda cells: margin(cells).sum(), n_steps=config.n_steps)
        # the smaller ball lies in the larger one: what was found in it stays found
        found = torch.where(found == aim, _read(reader, batch, moved), found)
        yield ("pgd", radius), found
    found = clean
    changed = enumerate(change_genes(counts, highest, margin, config.n_genes[-1]), start=1)
    for n_genes, cells in changed:
        found = torch.where(found == aim, _read(reader, batch, cells), found)
        if n_genes in config.n_genes:
            yield ("genes", n_genes), found
    order = torch.rand(counts.shape, generator=generator, device=counts.device)
    for part in config.dropout:
        yield ("dropout", part), _read(reader, batch, counts * (order >= part), counts)
    for part in config.depth:
        left = torch.binomial(counts.round(), torch.full_like(counts, part), generator=generator)
        yield ("depth", part), _read(reader, batch, left, counts)


@torch.no_grad()
def _read(reader: ClassReader, batch: dict[str, Tensor], counts: Tensor, before: Tensor | None = None) -> Tensor:
    """Read the class of each cell; a depth that was registered shrinks with the counts where some were lost."""
    size = batch.get(REGISTRY_KEYS.SIZE_FACTOR_KEY)
    if before is not None and size is not None:
        left = counts.sum(1, keepdim=True) / before.sum(1, keepdim=True).clamp_min(1)
        batch = {**batch, REGISTRY_KEYS.SIZE_FACTOR_KEY: size * left.clamp_min(1e-6)}
    return reader.scores(counts, batch).argmax(1)


def _much(reader: ClassReader) -> Tensor:
    """Give what is much for each gene, as a share of the counts of a cell."""
    shares = []
    for batch in reader.batches(_BATCH_SIZE):
        counts = batch[REGISTRY_KEYS.X_KEY].to_dense()
        shares.append((counts / counts.sum(1, keepdim=True).clamp_min(1)).cpu().numpy())
    stacked = np.concatenate(shares)
    stacked[stacked == 0] = np.nan
    expressed = ~np.isnan(stacked).all(0)
    much = np.zeros(stacked.shape[1], dtype=np.float32)
    much[expressed] = np.nanquantile(stacked[:, expressed], _MUCH, axis=0)
    return torch.from_numpy(much).to(reader.module.device)


def _largest_changes(
    reader: ClassReader, profiles: list[tuple[Tensor, dict[str, Tensor]]], clean: np.ndarray, highest: Tensor
) -> dict[str, float]:
    """Find how much of the mean of each class can be set to much, the genes that matter least first."""
    counts = torch.cat([part for part, _ in profiles])
    read, found = torch.from_numpy(clean).to(counts.device), {}
    for code in np.unique(clean):
        mean = counts[read == code].mean(0, keepdim=True)
        first = int(np.flatnonzero(clean == code)[0])
        batch = _row(profiles, first)
        margin = reader.losses(torch.tensor([code], device=counts.device), batch)
        cells = mean.clone().requires_grad_()
        slope = torch.autograd.grad(margin(cells).sum(), cells)[0]
        target = torch.maximum(highest * mean.sum(), mean)
        order = (slope * (target - mean)).abs()[0].argsort()
        kept = [0.0]
        for share in _SHARES[1:]:
            changed = mean.clone()
            genes = order[: round(share * len(order))]
            changed[0, genes] = target[0, genes]
            if int(_read(reader, batch, changed)) != code:
                break
            kept.append(float(share))
        found[reader.names[code]] = kept[-1]
    return found


def _row(profiles: list[tuple[Tensor, dict[str, Tensor]]], cell: int) -> dict[str, Tensor]:
    """Give what the model registered of one cell."""
    for counts, batch in profiles:
        if cell < len(counts):
            return {k: v[cell : cell + 1] for k, v in batch.items() if k != REGISTRY_KEYS.X_KEY}
        cell -= len(counts)
    raise IndexError(cell)
