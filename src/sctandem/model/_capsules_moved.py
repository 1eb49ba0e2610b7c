"""Labels of CapsuleNet under cells that are moved against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS

from sctandem.kernels._label_experts import DEFAULT_WEIGHTS, EPS, Regression, fit_expert_weights
from sctandem.kernels._robust_regression import CellBoxes, fit_robust_regressions
from sctandem.nn._first_molecule import first_molecule
from sctandem.nn._perturbation import TARGET, log_bounds, perturb
from sctandem.nn._threads import torch_on_one_thread
from sctandem.train._adversarial import ball_of, inferred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sctandem.train import AdversarialConfig

_BATCH_SIZE = 512
#: Places between the bounds of a count at which what it adds is looked up.
_N_PLACES = 5
#: Part of the molecules that copies of the cells keep.
_KEPT = 0.5


def parted_boxes(
    counts: sparse.csr_matrix, depths: np.ndarray, depth: float, adversary: AdversarialConfig
) -> CellBoxes:
    """Part the logarithms that the module reads into what first molecules add and the rest, and bound both as the adversary does.

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
    Both parts side by side, cells x (2 features), with their bounds. The rest need not rise with the count: its bounds are those of a few
    places from the lower to the upper bound of the count.
    """
    per_cell = 1 / np.maximum(depths, 1e-6)
    rows = torch.from_numpy(np.repeat(per_cell, np.diff(counts.indptr)))
    values = torch.from_numpy(counts.data.astype(np.float64))
    bounds = log_bounds(values, TARGET * rows, adversary.radius, adversary.max_sd)
    low, high = (torch.expm1(bound) / (TARGET * rows) for bound in bounds)
    factor = depth * rows
    places = torch.stack([low + (high - low) * part for part in torch.linspace(0, 1, _N_PLACES)])

    def whole(first: torch.Tensor, rest: torch.Tensor) -> sparse.csr_matrix:
        parts = [
            sparse.csr_matrix((part.numpy(), counts.indices, counts.indptr), shape=counts.shape)
            for part in (first, rest)
        ]
        return sparse.hstack(parts).tocsr()

    def parted(moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = first_molecule(moved, factor)
        return first, torch.log1p(moved * factor) - first

    first, rest = parted(places)
    return CellBoxes(whole(*parted(values)), whole(first.amin(0), rest.amin(0)), whole(first.amax(0), rest.amax(0)))


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


class RobustExperts:
    """Regression and weights of the experts on labels, learned from cells as they are and as an adversary may have them.

    Parameters
    ----------
    model
        A CapsuleNet with labels, trained.
    cells
        Labelled cells, positions.
    labels
        Label of each.
    adversary
        How cells are moved, and how much that counts.
    rng
        Draws the molecules that copies of the cells keep: first molecules alone would hang on the depth.
    """

    def __init__(
        self,
        model: Any,
        cells: np.ndarray,
        labels: np.ndarray,
        adversary: AdversarialConfig,
        rng: np.random.Generator,
    ) -> None:
        self.model, self.known, self.labels, self.adversary = model, cells, labels, adversary
        counts, depths, depth = model._counts[cells], model._depths()[cells], float(model.module.depth)
        self.boxes = parted_boxes(counts, depths, depth, adversary)
        self.copies = parted_boxes(*_thinned(counts, depths, rng), depth, adversary)
        n_genes = self.boxes.points.shape[1] // 2
        first, rest = np.asarray(self.boxes.points.mean(0)).ravel().reshape(2, n_genes)
        self.share = first / np.where(first + rest > 0, first + rest, 1)

    def fit(self, held_out: np.ndarray) -> None:
        """Fit the regression, with and without the cells that choose its penalty, and let the module read the one without."""
        n_labels = len(self.model.label_names)
        self.judged, self.used = fit_robust_regressions(
            self.boxes, self.labels, held_out, n_labels, weight=self.adversary.weight, copies=self.copies
        )
        self._set(self.judged)

    def weights(self, kind: np.ndarray, lengths: np.ndarray) -> tuple[float, ...]:
        """Weigh capsules and regression by some of the cells, given the lengths of the label capsules of all."""
        moved = read_moved(self.model, self.known[kind], self.labels[kind], self.adversary)
        logits = self.judged.logits(self.boxes.points[kind])
        both = [lengths[kind], moved[0]], [logits, moved[1]], [self.labels[kind]] * 2
        return fit_expert_weights(*map(np.concatenate, both))

    def use(self) -> None:
        """Let the module read the regression of all cells."""
        self._set(self.used)

    def _set(self, regression: Regression) -> None:
        first, rest = np.split(regression.weights, 2)
        self.model.module.set_direct_parts(first, rest, regression.intercepts, self.share)


def _thinned(
    counts: sparse.csr_matrix, depths: np.ndarray, rng: np.random.Generator
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Keep each molecule of cells with an even chance; give counts and depths, which shrink alike."""
    kept = counts.copy()
    kept.data = rng.binomial(counts.data.astype(np.int64), _KEPT).astype(counts.dtype)
    kept.eliminate_zeros()
    before, after = (np.asarray(matrix.sum(1)).ravel() for matrix in (counts, kept))
    return kept, depths * np.maximum(after, 1) / np.maximum(before, 1)
