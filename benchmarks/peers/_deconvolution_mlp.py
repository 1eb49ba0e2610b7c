"""Three networks trained on simulated mixtures, and their mean: after Scaden (Menden 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from benchmarks.peers._deconvolution import Composition, Task, per_million

if TYPE_CHECKING:
    import torch

#: Widths and dropout of the three networks, as published.
NETWORKS = (
    ((256, 128, 64, 32), (0.0, 0.0, 0.0, 0.0)),
    ((512, 256, 128, 64), (0.0, 0.3, 0.2, 0.1)),
    ((1024, 512, 256, 128), (0.0, 0.6, 0.3, 0.1)),
)
N_MIXTURES, N_CELLS, N_GENES = 2000, 500, 2000
#: Published are 5,000 steps at 1e-4 on 128 mixtures; ten times the rate, falling to 0, is done after 500.
STEPS, BATCH, RATE = 500, 128, 1e-3


def simulate(task: Task, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Add up 500 cells with random shares of the types, of which half of the mixtures lack some; give mixtures and shares."""
    types = len(task.types)
    share = rng.dirichlet(np.ones(types), N_MIXTURES)
    for row in share[: N_MIXTURES // 2]:
        row[rng.choice(types, rng.integers(1, max(types // 2, 1) + 1), replace=False)] = 0
    numbers = np.floor(N_CELLS * share / share.sum(axis=1, keepdims=True)).astype(int)
    pools = [np.flatnonzero(task.labels == kind) for kind in task.types]
    picks = [np.concatenate([rng.choice(p, n) for p, n in zip(pools, row, strict=True)]) for row in numbers]
    rows = np.repeat(np.arange(N_MIXTURES), [len(one) for one in picks])
    shape = (N_MIXTURES, task.counts.shape[0])
    chosen = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, np.concatenate(picks))), shape=shape)
    return (chosen @ task.counts).toarray(), numbers / numbers.sum(axis=1, keepdims=True)


def scaled(values: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Give log2(1 + counts per million), from 0 to 1 in every sample."""
    found = np.log2(per_million(values)[:, genes] + 1)
    low, high = found.min(axis=1, keepdims=True), found.max(axis=1, keepdims=True)
    return ((found - low) / (high - low)).astype(np.float32)


def networks(task: Task) -> Composition:
    """Train on the genes of the bulk that vary most in the simulated mixtures; shares of cells under the counts of the reference."""
    import torch

    rng = np.random.default_rng(task.seed)
    mixtures, share = simulate(task, rng)
    logged = np.log2(per_million(mixtures) + 1)
    there = (task.bulk > 0).mean(axis=0) >= 0.5
    genes = np.sort(np.argsort(-np.where(there, logged.var(axis=0), -1.0))[: min(N_GENES, there.sum())])
    inputs, targets = torch.from_numpy(scaled(mixtures, genes)), torch.from_numpy(share.astype(np.float32))
    asked = torch.from_numpy(scaled(task.bulk, genes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        answers = [_trained(inputs, targets, *one)(asked).detach().numpy() for one in NETWORKS]
    return Composition(np.mean(answers, axis=0).astype(float), task.cell_content / task.cell_content.mean())


def _trained(inputs: torch.Tensor, targets: torch.Tensor, widths: tuple[int, ...], dropout: tuple[float, ...]) -> Any:
    """Train one network on the mean absolute difference of shares."""
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    before = inputs.shape[1]
    for width, rate in zip(widths, dropout, strict=True):
        layers += [nn.Linear(before, width), nn.Dropout(rate), nn.ReLU()]
        before = width
    network = nn.Sequential(*layers, nn.Linear(before, targets.shape[1]), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(inputs), (BATCH,))
        optimizer.zero_grad()
        loss = nn.functional.l1_loss(network(inputs[rows]), targets[rows])
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()
