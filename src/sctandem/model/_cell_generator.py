"""Fit a generator of cells: a count model first, then what a critic still sees."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from sctandem._progress import wants_progress
from sctandem._random import draw_seed, torch_seeded
from sctandem.module._cell_generator import CellCritic, CellGenerator, GeneratorConfig
from sctandem.module.base import CountVAEConfig
from sctandem.nn._threads import torch_on_one_thread
from sctandem.train import TrainConfig

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG

_BATCH_SIZE = 1024
#: One in so many cells is kept from the critic, to judge what it did; trees of the judge.
_HELD_OUT, _N_TREES = 6, 150
#: Batches that the count model is trained on.
_N_BATCHES = 2000
#: Bounds of the dispersions.
_LEAST, _POISSON = 0.05, 1e3


@dataclass
class _States:
    """What the count model says of the cells it was fitted to."""

    mean: torch.Tensor
    sd: torch.Tensor
    depth: torch.Tensor
    types: torch.Tensor
    batch: torch.Tensor

    def cells_of(self, types: torch.Tensor) -> torch.Tensor:
        """Draw a cell of each of these types."""
        cells = torch.empty(len(types), dtype=torch.int64)
        for code in types.unique():
            pool, where = (torch.nonzero(among == code)[:, 0] for among in (self.types, types))
            cells[where] = pool[torch.randint(len(pool), (len(where),))]
        return cells

    def draw(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw states near those of cells, with their depth, type and batch."""
        z = self.mean[cells] + self.sd[cells] * torch.randn(len(cells), self.mean.shape[1])
        return z, self.depth[cells], self.types[cells], self.batch[cells]


class FittedGenerator:
    """A generator that has been fitted to cells.

    Parameters
    ----------
    adata
        Counts in `X`, and columns of `obs` as named.
    types
        Type of each cell, 0, 1, ...
    batch_key
        Column of `obs` with the batch; `None` for none.
    config
        Settings.
    rng
        Seed.
    progress
        Whether to show progress bars; `None` for in a terminal or notebook.
    """

    def __init__(
        self,
        adata: AnnData,
        types: np.ndarray,
        *,
        batch_key: str | None = None,
        config: GeneratorConfig,
        rng: RNG = None,
        progress: bool | None = None,
    ) -> None:
        from sctandem.model.base import CountVAEModel

        seed = draw_seed(rng)
        self.config, self.types = config, types
        CountVAEModel.setup_anndata(adata, batch_key=batch_key)
        model = CountVAEModel(adata, config=CountVAEConfig(n_latent=config.n_latent), rng=seed)
        model.train(config.max_epochs or _epochs(adata.n_obs), rng=seed, progress=progress, train_size=1.0)
        model.to_device("cpu")  # where what follows is computed
        self.counts = sparse.csr_matrix(adata.X, dtype=np.float32)
        self.states = self._read(model)
        #: AUC of a classifier of held-out and made cells, before and after the critic.
        self.told: dict[str, float] = {}
        with torch_seeded(seed + 1):
            self.network = CellGenerator(model.module.eval(), int(types.max()) + 1, config)
            self.network.log_theta.data[:] = self._dispersions()
            self._train(progress=progress)

    @torch.no_grad()
    def _read(self, model: Any) -> _States:
        """Read the states of all cells."""
        means, sds, batches = [], [], []
        for batch in model._batches(None, None, _BATCH_SIZE):
            found = model.module.inference(**model.module._get_inference_input(batch))["qz"]
            means.append(found.loc)
            sds.append(found.scale)
            batches.append(batch[REGISTRY_KEYS.BATCH_KEY])
        depth = torch.from_numpy(np.asarray(self.counts.sum(1), dtype=np.float32).ravel()).clamp_min(1)
        return _States(torch.cat(means), torch.cat(sds), depth, torch.from_numpy(self.types), torch.cat(batches))

    @torch.no_grad()
    def _dispersions(self) -> torch.Tensor:
        """Find the dispersion of each gene by its moments, (genes,), log: few epochs hardly move it from where it starts."""
        states, vae = self.states, self.network.vae
        squares, excess = (torch.zeros(vae.n_genes, dtype=torch.float64) for _ in range(2))
        for cells in torch.arange(len(states.mean)).split(_BATCH_SIZE):
            drawn = states.draw(cells)
            hidden = vae.generative(drawn[0], drawn[1].log(), drawn[3])
            mean = (vae.shares(hidden) * drawn[1][:, None]).double()
            counts = torch.from_numpy(self.counts[cells.numpy()].toarray()).double()
            squares += mean.square().sum(0)
            excess += ((counts - mean).square() - mean).sum(0)
        return (
            torch.where(excess > 0, squares / excess.clamp_min(1e-8), torch.full_like(squares, _POISSON))
            .clamp(_LEAST, _POISSON)
            .log()
            .float()
        )

    @torch_on_one_thread()
    def _train(self, *, progress: bool | None) -> None:
        """Let critic and generator learn from each other; what was learned is kept where held-out cells say that it helped."""
        config, network = self.config, self.network
        for parameter in network.vae.parameters():
            parameter.requires_grad = False
        if config.n_steps == 0:
            return
        order = torch.randperm(len(self.types))
        held, shown = order[: max(2, len(order) // _HELD_OUT)], order[max(2, len(order) // _HELD_OUT) :]
        before = copy.deepcopy(network.state_dict())
        critic = CellCritic(self.counts.shape[1], len(network.offset), config.critic_hidden)
        learned = [p for p in network.parameters() if p.requires_grad]
        betas = (0.5, 0.9)
        of_network = torch.optim.Adam(learned, lr=config.learning_rate, betas=betas, fused=True)
        of_critic = torch.optim.Adam(critic.parameters(), lr=config.critic_learning_rate, betas=betas, fused=True)
        self.told["before"] = self._told(held)
        with tqdm(total=config.n_steps, desc="Critic", unit="step", disable=not wants_progress(progress)) as bar:
            for step in range(config.n_steps):
                # a critic that knows nothing yet leads astray
                for _ in range(config.critic_steps if step else config.critic_start):
                    self._teach(critic, of_critic, shown[torch.randint(len(shown), (config.batch_size,))])
                drawn = self.states.draw(shown[torch.randint(len(shown), (config.batch_size,))])
                of_network.zero_grad(set_to_none=True)
                (-critic(critic.features(network(*drawn)), drawn[2]).mean()).backward()
                of_network.step()
                bar.update()
        self.told["after"] = self._told(held)
        if self.told["after"] >= self.told["before"]:
            network.load_state_dict(before)

    def _teach(self, critic: CellCritic, optimizer: torch.optim.Optimizer, cells: torch.Tensor) -> None:
        """Show the critic real cells, and made ones of the same types."""
        real, types = torch.from_numpy(self.counts[cells.numpy()].toarray()), self.states.types[cells]
        with torch.no_grad():
            made = self.network(*self.states.draw(self.states.cells_of(types)))
        optimizer.zero_grad(set_to_none=True)
        critic.loss(critic.features(real), critic.features(made), types, self.config.penalty).backward()
        optimizer.step()

    @torch.no_grad()
    def _told(self, cells: torch.Tensor) -> float:
        """Give the AUC of a random forest that tells held-out cells from made ones of the same types, out of bag."""
        made = self.network(*self.states.draw(self.states.cells_of(self.states.types[cells])))
        real = torch.from_numpy(self.counts[cells.numpy()].toarray())
        features = torch.cat([CellCritic.features(real), CellCritic.features(made)]).numpy()
        truth = np.repeat([0, 1], len(cells))
        forest = RandomForestClassifier(_N_TREES, oob_score=True, min_samples_leaf=2, random_state=0)
        return float(
            roc_auc_score(truth, np.nan_to_num(forest.fit(features, truth).oob_decision_function_[:, 1], nan=0.5))
        )

    @torch_on_one_thread()
    @torch.no_grad()
    def draw(self, types: np.ndarray, *, rng: RNG = None) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Draw new cells.

        Parameters
        ----------
        types
            Type of each new cell.
        rng
            Seed.

        Returns
        -------
        Counts, CSR float32, cells x genes, and the cell of the data near whose state each was drawn.
        """
        self.network.eval()
        parts, origins = [], []
        with torch_seeded(rng):
            for cells in self.states.cells_of(torch.from_numpy(types)).split(_BATCH_SIZE):
                parts.append(sparse.csr_matrix(self.network(*self.states.draw(cells)).numpy()))
                origins.append(cells.numpy())
        return sparse.vstack(parts).tocsr(), np.concatenate(origins)


def _epochs(n_cells: int) -> int:
    """Give the epochs after which the count model no longer shows in its cells: more batches than for an embedding."""
    n_batches = max(1, n_cells // TrainConfig().resolve_batch_size(n_cells))
    return int(np.clip(_N_BATCHES // n_batches, 20, 150))
