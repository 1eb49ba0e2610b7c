"""States that are to hide a covariate from the best discriminator among smooth functions."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from sctandem.kernels._matched_clusters import match_clusters
from sctandem.train._loop_state import check_alike
from sctandem.train._terms import with_term

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scvi.module.base import BaseModuleClass, LossOutput
    from torch import Tensor

    from sctandem.train._config import TrainConfig

#: Keys of the minibatches: the domain of each cell, and the group within which domains are compared, negative for none.
DOMAIN_KEY, WITHIN_KEY = "domain", "domain_within"


class Hiding(Protocol):
    """What a module says of itself so that its states can hide a covariate."""

    @abstractmethod
    def state_of(self, found: dict[str, Any]) -> Tensor:
        """Pick the states from what `inference` gave, cells x dimensions."""

    @abstractmethod
    def domain_groups(self, tensors: dict[str, Tensor]) -> Tensor | None:
        """Give the group of each cell, (cells,), negative where it is not known; `None` while states are not to be compared."""


class _Memory(NamedTuple):
    """States seen last, and of each cell its domain, known group and cluster."""

    state: Tensor
    domain: Tensor
    group: Tensor
    cluster: Tensor


class _Clusters(NamedTuple):
    """Clusters within domains, their matches, and the mean square spread within groups."""

    centres: Tensor
    domain: Tensor
    matched: Tensor
    spread: Tensor


class DomainAdversary:
    r"""The discriminator, in closed form, and what states have to pay for being told apart.

    For a cell with state :math:`z` of domain `b` the discriminator is the function
    :math:`f_b(z) = \mathrm{mean}_{j \in b} k(z, z_j) - \mathrm{mean}_j k(z, z_j)` over the states seen last of its peers: that which, among
    functions of a norm, tells the domain best from all. States go down its mean, which is the squared maximum mean discrepancy.
    Peers are cells of the same group, where the groups of both are known, and of matched clusters else.

    Parameters
    ----------
    module
        With the methods of :class:`Hiding`.
    config
        Settings; `domain_adversarial` names the covariate, `domain` says all else.

    Raises
    ------
    ValueError
        When the module has no such state.

    Notes
    -----
    The discriminator is fitted anew for each minibatch, exactly, to cells of earlier ones: it does not lag behind, and what it tells
    of a cell that it has not seen is by chance 0 where nothing is to be told. A network that is trained in turn, whose loss is raised,
    has no best answer: it can be made to fail by states that another one tells apart.

    References
    ----------
    Gretton et al., A kernel two-sample test, JMLR 13 (2012).
    """

    def __init__(self, module: BaseModuleClass, config: TrainConfig) -> None:
        if not hasattr(module, "domain_groups"):
            msg = (
                f"domain_adversarial={config.domain_adversarial!r} needs a model that gives each cell a state, and "
                f"{type(module).__name__} has none; leave it out."
            )
            raise ValueError(msg)
        self.module, self.config = module, config.domain
        self._seed, self._n_searches = int(torch.randint(2**31, ()).item()), 0
        self._memory: _Memory | None = None
        self._clusters: _Clusters | None = None
        self._since = 0

    def add_to(
        self, output: LossOutput, batch: dict[str, Tensor], found: dict[str, Any], *, progress: float, n_cells: int
    ) -> LossOutput:
        """Add what the states of a minibatch have to pay to its loss.

        Parameters
        ----------
        output
            The loss of the batch; not changed.
        batch
            From registry key to tensor.
        found
            What `inference` gave.
        progress
            Part of the run that is done.
        n_cells
            Cells in the training.

        Returns
        -------
        The loss and its parts, with `domain_adversarial` among them.
        """
        group = self.module.domain_groups(batch)
        if group is None or DOMAIN_KEY not in batch:
            return output
        if WITHIN_KEY in batch:
            group = batch[WITHIN_KEY].reshape(-1)
        state, domain = self.module.state_of(found), batch[DOMAIN_KEY].reshape(-1)
        told = self.told(state, domain, group.long())
        self._remember(state.detach(), domain, group.long(), progress, n_cells)
        unit = output.reconstruction_loss_sum.detach() / output.n_obs_minibatch
        return with_term(output, "domain_adversarial", self.config.strength * unit * told)

    def run_state(self) -> dict[str, Any]:
        """Return what is remembered, so that a run can go on.

        Returns
        -------
        Numbers, and dictionaries of tensors, empty where nothing is remembered yet.
        """
        kept = {"memory": self._memory, "clusters": self._clusters}
        tensors = {name: {} if value is None else value._asdict() for name, value in kept.items()}
        return {"seed": self._seed, "searches": self._n_searches, "since": self._since, **tensors}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on where a run was.

        Parameters
        ----------
        state
            From `run_state`.
        """
        self._seed, self._n_searches, self._since = (int(state[name]) for name in ("seed", "searches", "since"))
        # files hold tensors of the processor
        device = self.module.device
        memory, clusters = (
            {name: value.to(device) for name, value in state[kept].items()} for kept in ("memory", "clusters")
        )
        _check_kept(memory, clusters)
        self._memory = _Memory(**memory) if memory else None
        self._clusters = _Clusters(**clusters) if clusters else None

    def told(self, state: Tensor, domain: Tensor, group: Tensor) -> Tensor:
        """Say how well the discriminator tells domains from states, a mean over cells; 0 before there is one."""
        if self._memory is None or self._clusters is None:
            return state.new_zeros(())
        memory, clusters = self._memory, self._clusters
        peers = _peers(memory, clusters, self._cluster_of(state.detach(), domain), group)
        of_domain = torch.nn.functional.one_hot(memory.domain, max(int(memory.domain.max()), int(domain.max())) + 1).to(
            state.dtype
        )
        counts = peers @ of_domain
        enough = (counts >= self.config.min_cells).to(state.dtype)
        peers = peers * (enough @ of_domain.T)
        counts = counts * enough
        own = counts.gather(1, domain[:, None]).squeeze(1)
        compared = ((own > 0) & ((counts > 0).sum(1) > 1)).to(state.dtype)
        same = (domain[:, None] == memory.domain).to(state.dtype)
        weight = peers * (same / own.clamp_min(1)[:, None] - 1 / counts.sum(1).clamp_min(1)[:, None])
        squares = torch.cdist(state, memory.state, compute_mode="donot_use_mm_for_euclid_dist").square()
        kernel = 1 / (1 + squares / (self.config.width**2 * clusters.spread))
        return ((weight * kernel).sum(1) * compared).mean()

    def _cluster_of(self, state: Tensor, domain: Tensor) -> Tensor:
        """Give the nearest cluster of the own domain; -1 where it has none yet."""
        if self._clusters is None:
            return torch.full_like(domain, -1)
        clusters = self._clusters
        far = torch.cdist(state, clusters.centres)
        nearest = far.masked_fill(domain[:, None] != clusters.domain, torch.inf).min(1)
        return torch.where(nearest.values.isfinite(), nearest.indices, -1)

    def _remember(self, state: Tensor, domain: Tensor, group: Tensor, progress: float, n_cells: int) -> None:
        """Put states into the memory, and find clusters when it is time."""
        new = _Memory(state, domain, group, self._cluster_of(state, domain))
        size = self.config.n_memory
        self._memory = (
            new
            if self._memory is None
            else _Memory(*(torch.cat(both)[-size:] for both in zip(self._memory, new, strict=True)))
        )
        self._since += 1
        full = len(self._memory.state) >= min(size, n_cells)
        due = self._clusters is None or self._since >= self.config.refresh
        if full and due and progress >= self.config.start:
            self._find_clusters(self._memory)

    def _find_clusters(self, memory: _Memory) -> None:
        """Cluster the states in memory within domains, and match the clusters."""
        self._since = 0
        rng = np.random.default_rng([self._seed, self._n_searches])
        self._n_searches += 1
        found = match_clusters(memory.state.cpu().numpy(), memory.domain.cpu().numpy(), rng=rng)
        cluster = torch.from_numpy(found.cluster).to(memory.domain)
        self._memory = memory._replace(cluster=cluster)
        # known groups are wider than clusters: a cell is compared within the former where it has one
        n_domains = int(memory.domain.max()) + 1
        known = memory.group * n_domains + memory.domain
        parts = torch.where(memory.group >= 0, known, known.max() + 1 + cluster)
        centres = memory.state.new_zeros(int(parts.max()) + 1, memory.state.shape[1])
        sizes = torch.bincount(parts, minlength=len(centres)).clamp_min(1)
        centres = centres.index_add(0, parts, memory.state) / sizes[:, None]
        spread = 2 * (memory.state - centres[parts]).square().sum(1).mean()
        self._clusters = _Clusters(
            torch.from_numpy(found.centres).to(memory.state),
            torch.from_numpy(found.domain).to(memory.domain),
            torch.from_numpy(found.matched).to(memory.domain.device),
            spread.clamp_min(1e-12),
        )


def _check_kept(memory: dict[str, Tensor], clusters: dict[str, Tensor]) -> None:
    """Check that what a run remembered is of one form: a size of memory, of states and of clusters."""
    if not memory and not clusters:
        return
    states = memory["state"]
    code = states.new_zeros(len(states), dtype=torch.int64)
    table = states.reshape(len(states), -1)
    wanted = {"state": table if table.is_floating_point() else table.float()}
    check_alike(memory, wanted | dict.fromkeys(("domain", "group", "cluster"), code), "the memory of states")
    if clusters:
        n = len(clusters["domain"])
        wanted = {
            "centres": states.new_zeros(n, states.shape[1]),
            "domain": states.new_zeros(n, dtype=torch.int64),
            "matched": states.new_zeros(n, n, dtype=torch.bool),
            "spread": states.new_zeros(()),
        }
        check_alike(clusters, wanted, "the clusters of states")


def _peers(memory: _Memory, clusters: _Clusters, cluster: Tensor, group: Tensor) -> Tensor:
    """Say which states of the memory are peers of each cell, cells x memory, 0 or 1."""
    known = (group >= 0)[:, None] & (memory.group >= 0)
    alike = clusters.matched[cluster][:, memory.cluster] & (cluster >= 0)[:, None] & (memory.cluster >= 0)
    return torch.where(known, group[:, None] == memory.group, alike).to(memory.state.dtype)
