"""Two that train together, as threads that stand in for processes: the model is that of one who sees all cells."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models import CASES
from two_processes import Rates

from sctandem.data import CountLoader
from sctandem.train import CountTrainingPlan, TrainConfig
from sctandem.train._checkpoint import TrainingPart
from sctandem.train._crew import Crew
from sctandem.train._loop import EpochLoop

SIZE = 2


class Fabric:
    """What Lightning Fabric gives a process, for one thread: gradients are averaged after each backward pass."""

    device = torch.device("cpu")
    world_size = SIZE

    def __init__(self, rank, table):
        self.global_rank, self.table = rank, table

    def gathered(self, value):
        """Give what all have handed in, by rank."""
        self.table.values[self.global_rank] = value
        self.table.barrier.wait(30)
        found = list(self.table.values)
        self.table.barrier.wait(30)
        return found

    def all_reduce(self, value, reduce_op):
        assert reduce_op == "sum"
        return torch.stack(self.gathered(value)).sum(0)

    def broadcast(self, value):
        return self.gathered(value)[0]

    def setup_module(self, module):
        self.module = module
        return module

    def backward(self, loss):
        loss.backward()
        for parameter in self.module.parameters():
            parameter.grad = torch.stack(self.gathered(parameter.grad.clone())).mean(0)


class Seeing(CountTrainingPlan):
    """Keep which cells each step saw."""

    def step(self, batch):
        self.seen = [*getattr(self, "seen", []), *batch["cell"].ravel().tolist()]
        return super().step(batch)


def loop_of(cells, *, batch_size, validated):
    case = CASES["CountVAEModel"]
    data = case.data()
    case.set_up(data)
    manager = case.make(data).adata_manager
    config = TrainConfig(learning_rate=0.05, schedule="constant", validate_every=1)
    options = {"batch_size": batch_size, "rng": 3, "entries": {"cell": torch.arange(data.n_obs)[:, None]}}
    return EpochLoop(
        Seeing(Rates(data.n_vars), config=config),
        CountLoader(manager, cells, shuffle=True, **options),
        CountLoader(manager, validated, **options),
        max_epochs=3,
        n_cells=len(cells),
        device=torch.device("cpu"),
        part=TrainingPart(),
    )


# parts of the same size, and the last batch of 13 cells: 7 and 6, so that shares count
@pytest.mark.parametrize("n_cells", [120, 113])
def test_two_threads_learn_what_one_does(n_cells):
    cells, validated = np.arange(n_cells), np.arange(n_cells, 149)
    options = {"batch_size": 20, "validated": validated}
    whole = loop_of(cells, **options)
    whole.begin()
    whole.run(progress=False)
    table = SimpleNamespace(values=[None] * SIZE, barrier=threading.Barrier(SIZE))
    loops = [loop_of(cells, **options) for _ in range(SIZE)]

    def train(rank):
        try:
            Crew(Fabric(rank, table), 0).join(loops[rank])
            loops[rank].run(progress=False)
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(SIZE) as pool:
        for done in [pool.submit(train, rank) for rank in range(SIZE)]:
            done.result()
    seen = [loop.plan.seen for loop in loops]
    np.testing.assert_array_equal(np.bincount(sum(seen, []), minlength=n_cells), np.full(n_cells, 3))
    assert abs(len(seen[0]) - len(seen[1])) <= 3 * len(whole.loader)  # at most one a batch
    start = Rates(30).weight.detach()
    learned = whole.plan.module.weight.detach()
    assert float((learned - start).abs().max()) > 0.1
    for loop in loops:
        torch.testing.assert_close(loop.plan.module.weight.detach(), learned, rtol=1e-6, atol=1e-6)
        assert len(loop.rows) == 3
        for row, expected in zip(loop.rows, whole.rows, strict=True):
            assert row.keys() == expected.keys()
            for key in ("elbo_train", "elbo_validation", "reconstruction_loss_train"):
                assert row[key] == pytest.approx(expected[key], rel=1e-6), key


def test_each_draws_its_own_and_a_run_that_goes_on_draws_the_same():
    drawn = {}
    for rank in range(SIZE):
        crew = Crew(Fabric(rank, None), 5)
        for epoch in (0, 1, 0):
            crew.seed(epoch)
            value = float(torch.rand(()))
            assert drawn.setdefault((rank, epoch), value) == value
    assert len(set(drawn.values())) == 4
