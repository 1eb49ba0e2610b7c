"""Labels of CapsuleNet under cells that are moved against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem.kernels._label_experts import DEFAULT_WEIGHTS, EPS
from sctandem.nn._perturbation import TARGET, log_bounds, perturb
from sctandem.nn._threads import torch_on_one_thread
from sctandem.train._adversarial import ball_of, inferred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sctandem.train import AdversarialConfig

_BATCH_SIZE = 512


def log_boxes(
    counts: sparse.csr_matrix, depths: np.ndarray, depth: float, adversary: AdversarialConfig
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Give the bounds of the logarithms that the module reads, as the adversary has them.

    Parameters
    ----------
    counts
        Cells x features.
    depths
        Depth of each cell.
    depth
        To which all are scaled before the logarithm.
    adversary
        Its `radius` and `max_sd`; genes without a count stay so.

    Returns
    -------
    Lower and upper bounds, cells x features, with the entries of `counts`.
    """
    per_cell = 1 / np.maximum(depths, 1e-6)
    rows = np.repeat(per_cell, np.diff(counts.indptr))
    values, scale = torch.from_numpy(counts.data.astype(np.float64)), torch.from_numpy(rows)
    bounds = log_bounds(values, TARGET * scale, adversary.radius, adversary.max_sd)
    found = []
    for bound in bounds:
        logs = torch.log1p(torch.expm1(bound) * (depth / TARGET)).numpy()
        found.append(sparse.csr_matrix((logs, counts.indices, counts.indptr), shape=counts.shape))
    return found[0], found[1]


def label_logits(found: dict[str, torch.Tensor], weights: Sequence[float] = DEFAULT_WEIGHTS) -> torch.Tensor:
    """Give the logits of the labels with gradient, cells x labels; see `label_probabilities`.

    Parameters
    ----------
    found
        What `inference` of the module gave.
    weights
        Of capsules and regression, and of profiles where a third is given.
    """
    of_capsules, of_regression, *of_profiles = weights
    logits = of_capsules * torch.logit(found["labels"].clamp(EPS, 1 - EPS)) + of_regression * found["direct"]
    return logits + of_profiles[0] * found["profiles"] if of_profiles else logits


@torch_on_one_thread()
def read_moved(
    model: Any, cells: np.ndarray, labels: np.ndarray, adversary: AdversarialConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Move cells against capsules and regression together, and read both.

    Parameters
    ----------
    model
        A CapsuleNet with labels and a regression.
    cells
        Positions.
    labels
        Label of each.
    adversary
        How they are moved.

    Returns
    -------
    Lengths of the label capsules and logits of the regression, cells x labels each.
    """
    module = model.module.eval()
    parts, start = [], 0
    for batch in model._batches(None, cells, _BATCH_SIZE):
        counts = batch[REGISTRY_KEYS.X_KEY]
        code = torch.from_numpy(labels[start : start + counts.shape[0]]).to(counts.device)
        start += len(code)

        def loss(moved: torch.Tensor, code: torch.Tensor = code, batch: dict[str, Any] = batch) -> torch.Tensor:
            logits = label_logits(inferred(module, batch, moved))
            return torch.nn.functional.cross_entropy(logits, code, reduction="sum")

        with torch.no_grad():
            found = inferred(module, batch, perturb(ball_of(batch, adversary), loss, n_steps=adversary.n_steps))
        parts.append((found["labels"].cpu().numpy(), found["direct"].cpu().numpy()))
    lengths, logits = zip(*parts, strict=True)
    return np.concatenate(lengths), np.concatenate(logits)
