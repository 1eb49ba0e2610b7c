"""A discriminator of where cells come from, and states that hide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS
from sklearn.decomposition import TruncatedSVD
from torch import nn

from sctandem._checks import check_key
from sctandem.data import as_csr
from sctandem.kernels._overlap import shares_by_counterparts, shares_by_label

if TYPE_CHECKING:
    from scvi.model.base import BaseModelClass
    from torch import Tensor

    from sctandem.train._adversarial_config import AdversarialConfig

#: Keys of the minibatches: category of each cell, and the shares of the categories among cells like it.
DOMAIN_KEY, EXPECTED_KEY = "domain", "expected_domain"
_N_COMPONENTS = 30


class Domain:
    r"""Hide a covariate from a discriminator, for the cells that have counterparts.

    The discriminator learns the category :math:`d` of a cell from its state. States learn that it finds no more than the shares
    :math:`p_c` of the categories among cells like this one: :math:`w_c \mathrm{KL}(p_c \| D(z_c))`, where
    :math:`w_c = 1 - p_c(d_c)` is 0 for a cell without counterpart.

    Parameters
    ----------
    model
        That is trained.
    key
        Column of `obs` with the covariate.
    config
        Settings.

    Raises
    ------
    KeyError
        When there is no such column.
    ValueError
        When it has fewer than two categories, or is missing in a cell.
    """

    def __init__(self, model: BaseModelClass, key: str, config: AdversarialConfig) -> None:
        self.config = config
        column = check_key(model.adata.obs, key, "adata.obs").astype("category")
        slot = f"domain_adversarial={key!r}: adata.obs[{key!r}]"
        if column.isna().any():
            msg = f"{slot} is missing for {int(column.isna().sum())} cells; every cell needs one."
            raise ValueError(msg)
        codes = column.cat.remove_unused_categories().cat.codes.to_numpy().astype(np.int64)
        self.n_domains = int(codes.max()) + 1
        if self.n_domains < 2:
            msg = f"{slot} has one category, {column.iloc[0]!r}: there is nothing to hide; leave it out."
            raise ValueError(msg)
        expected = _expected(model, codes) if config.domain_guard else shares_by_label(np.zeros(len(codes)), codes)
        self.entries = {DOMAIN_KEY: torch.from_numpy(codes[:, None]), EXPECTED_KEY: torch.from_numpy(expected)}
        self._made: tuple[nn.Sequential, torch.optim.Optimizer] | None = None

    def _make(self, state: Tensor) -> tuple[nn.Sequential, torch.optim.Optimizer]:
        """Make the discriminator, once the width of the states is known."""
        layers: list[nn.Module] = []
        width = state.shape[1]
        for _ in range(self.config.domain_layers):
            layers += [nn.Linear(width, self.config.domain_hidden), nn.LeakyReLU(0.2)]
            width = self.config.domain_hidden
        network = nn.Sequential(*layers, nn.Linear(width, self.n_domains)).to(state.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.config.domain_learning_rate, betas=(0.5, 0.99))
        return network, optimizer

    def loss(self, state: Tensor, batch: dict[str, Any]) -> Tensor:
        """Let the discriminator learn from the states, and score how little they hide.

        Parameters
        ----------
        state
            Cells x dimensions, with gradient.
        batch
            With `domain` and `expected_domain`.

        Returns
        -------
        In nats, mean over cells.
        """
        if self._made is None:
            self._made = self._make(state)
        network, optimizer = self._made
        code, expected = batch[DOMAIN_KEY].reshape(-1), batch[EXPECTED_KEY]
        fixed = state.detach()
        network.requires_grad_(requires_grad=True)
        for _ in range(self.config.domain_steps):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(fixed), code).backward()
            optimizer.step()
        # the states learn from it and it does not learn from this
        network.requires_grad_(requires_grad=False)
        told = torch.log_softmax(network(state), dim=1)
        weight = 1 - expected.gather(1, code[:, None]).reshape(-1)
        return (weight * nn.functional.kl_div(told, expected, reduction="none").sum(1)).mean()


def _expected(model: BaseModelClass, codes: np.ndarray) -> np.ndarray:
    """Give the shares of the categories among the cells like each: of its label, or without one by counterparts."""
    labels = model._label_codes() if getattr(model, "label_names", None) else np.full(len(codes), -1)
    known = labels >= 0
    expected = np.zeros((len(codes), codes.max() + 1), dtype=np.float32)
    if known.any():
        by_label = shares_by_label(labels[known], codes[known])
        expected[known, : by_label.shape[1]] = by_label
    if not known.all():
        counts = as_csr(model.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)).astype(np.float64)
        totals = np.maximum(np.asarray(counts.sum(1)).ravel(), 1)
        logs = (sparse.diags_array(np.median(totals) / totals) @ counts).tocsr().log1p()
        n_components = min(_N_COMPONENTS, min(logs.shape) - 1)
        points = TruncatedSVD(n_components, random_state=0).fit_transform(logs)
        expected[~known] = shares_by_counterparts(points, codes)[~known]
    return expected
