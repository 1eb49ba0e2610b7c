"""Fit window networks to the profiles of genes: no cell is visited."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from sctandem._random import as_generator, spawn, torch_seeded
from sctandem.nn import WindowLSTM
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sctandem._random import RNG
    from sctandem.nn import WindowConfig


@dataclass(frozen=True)
class WindowData:
    """What a window network is fitted to.

    Parameters
    ----------
    features
        Genes x peaks x features.
    mask
        1 where there is a peak, genes x peaks.
    response
        Change of each peak with each function of the cells, genes x peaks x functions.
    target
        Profile of each gene, genes x (weights * functions).
    information
        Fisher information of each gene, (genes,).
    whiten
        Matrix from the raw functions to the white ones in which `target` is expressed.
    """

    features: Tensor
    mask: Tensor
    response: Tensor
    target: Tensor
    information: Tensor
    whiten: Tensor

    def profile(self, weights: Tensor, genes: Tensor, n_peaks: int) -> Tensor:
        """Sum the weighted peaks of genes: genes x (weights * functions), in white functions."""
        raw = torch.einsum("gpk,gpf->gkf", weights, self.response[genes, :n_peaks])
        return raw.flatten(1) @ self.whiten

    def gain(self, profile: Tensor, genes: Tensor) -> Tensor:
        """Log-likelihood gained over a constant rate, (genes,)."""
        return self.information[genes] * ((profile * self.target[genes]).sum(1) - 0.5 * (profile**2).sum(1))


class WindowNetwork(nn.Module):
    """A window LSTM and what all genes have in common.

    Parameters
    ----------
    n_features, n_weights, n_functions
        Features of a peak, weights a peak, and functions of the cells.
    config
        Settings.
    """

    def __init__(self, n_features: int, n_weights: int, n_functions: int, config: WindowConfig) -> None:
        super().__init__()
        self.lstm = WindowLSTM(n_features, n_weights, n_hidden=config.n_hidden, dropout=config.dropout)
        # shares of a total and depth move all genes together; without this every peak would have to explain it
        self.common = nn.Parameter(torch.zeros(n_weights * n_functions))
        #: Genes that were kept from this member altogether; for all others see what it was fitted to.
        self.unseen = np.zeros(0, dtype=np.int64)


def fit_windows(
    data: WindowData, genes: np.ndarray, config: WindowConfig, *, rng: RNG = 0, progress: bool = False
) -> list[WindowNetwork]:
    """Fit an ensemble of window networks.

    Parameters
    ----------
    data
        Features, responses and profiles of all genes.
    genes
        Positions of the genes to learn from.
    config
        Settings.
    rng
        Seed.
    progress
        Whether to show a progress bar.

    Returns
    -------
    The networks, in evaluation mode. Of several members each never sees one fold of the genes, so that every gene can be
    tested with weights that do not know it; the rest it divides in genes to fit and genes to choose its best step by.
    """
    first, *children = spawn(rng, config.n_members + 1)
    total = config.n_members * config.n_steps
    with torch_on_one_thread(), tqdm(total=total, desc="Reading windows", unit="step", disable=not progress) as bar:
        return _fit_members(data, genes, config, first, children, advance=bar.update)


def _fit_members(
    data: WindowData,
    genes: np.ndarray,
    config: WindowConfig,
    first: np.random.Generator,
    children: list[np.random.Generator],
    *,
    advance: Callable[[], Any],
) -> list[WindowNetwork]:
    """Fit the members, each without its fold."""
    if config.n_members < 2:
        return [_fit_one(data, genes, config, child, advance=advance) for child in children]
    folds = np.array_split(first.permutation(genes), config.n_members)
    networks = []
    for fold, child in zip(folds, children, strict=True):
        network = _fit_one(data, np.setdiff1d(genes, fold), config, child, advance=advance)
        network.unseen = np.sort(fold)
        networks.append(network)
    return networks


def _fit_one(
    data: WindowData,
    genes: np.ndarray,
    config: WindowConfig,
    rng: np.random.Generator,
    *,
    advance: Callable[[], Any],
) -> WindowNetwork:
    """Fit one member."""
    rng = as_generator(rng)
    order = rng.permutation(genes)
    n_validation = round(config.validation_size * len(order)) if len(order) >= 20 else 0
    held, order = torch.from_numpy(np.sort(order[:n_validation])), order[n_validation:]
    n_functions = data.response.shape[2]
    n_weights = data.target.shape[1] // n_functions
    unit = float(data.information[torch.from_numpy(genes)].mean())
    with torch_seeded(rng):
        network = WindowNetwork(data.features.shape[2], n_weights, n_functions, config)
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=max(config.n_steps, 10) + 1, pct_start=0.2
        )
        best, kept = -np.inf, copy.deepcopy(network.state_dict())
        done, every = 0, max(1, config.n_steps // 40)
        while done < config.n_steps:
            shuffled = rng.permutation(order)
            for batch in np.array_split(shuffled, max(1, len(order) // config.batch_size)):
                network.train()
                loss = -_mean_gain(network, data, torch.from_numpy(np.sort(batch))) / unit
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                done += 1
                advance()
                if n_validation and done % every == 0:
                    score = _evaluate(network, data, held)
                    if score > best:
                        best, kept = score, copy.deepcopy(network.state_dict())
                if done >= config.n_steps:
                    break
        if n_validation:
            network.load_state_dict(kept)
    return network.eval()


def _mean_gain(network: WindowNetwork, data: WindowData, genes: Tensor) -> Tensor:
    """Mean gain of some genes."""
    n_peaks = max(1, int(data.mask[genes].sum(1).max()))
    weights = network.lstm(data.features[genes, :n_peaks], data.mask[genes, :n_peaks])
    return data.gain(data.profile(weights, genes, n_peaks) + network.common, genes).mean()


@torch.no_grad()
def _evaluate(network: WindowNetwork, data: WindowData, genes: Tensor) -> float:
    """Mean gain of validation genes."""
    network.eval()
    return float(_mean_gain(network, data, genes))


@torch.no_grad()
def mean_weights(networks: list[WindowNetwork], data: WindowData) -> tuple[Tensor, Tensor]:
    """Average an ensemble.

    Parameters
    ----------
    networks
        From `fit_windows`.
    data
        The windows.

    Returns
    -------
    Weights, genes x peaks x weights, and what all genes have in common, (weights * functions,).
    """
    parts = [_weights(network, data) for network in networks]
    common = torch.stack([network.common.detach() for network in networks]).mean(0)
    return torch.stack(parts).mean(0), common


@torch.no_grad()
def unseen_weights(networks: list[WindowNetwork], data: WindowData) -> tuple[Tensor, np.ndarray]:
    """Weigh the windows of each gene by the member that never saw the gene.

    Parameters
    ----------
    networks
        From `fit_windows`.
    data
        The windows.

    Returns
    -------
    Weights, genes x peaks x weights, and which genes have such a member, (genes,).
    """
    n_weights = data.target.shape[1] // data.response.shape[2]
    out = torch.zeros(*data.mask.shape, n_weights)
    known = np.zeros(len(data.mask), dtype=bool)
    for network in networks:
        genes = torch.from_numpy(network.unseen)
        if len(genes):
            out[genes] = network.lstm(data.features[genes], data.mask[genes])
            known[network.unseen] = True
    return out, known


def _weights(network: WindowNetwork, data: WindowData) -> Tensor:
    """Weigh all windows by one network, some genes at a time."""
    blocks = torch.arange(len(data.mask)).split(512)
    return torch.cat([network.lstm(data.features[block], data.mask[block]) for block in blocks])
