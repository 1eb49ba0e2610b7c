"""Labels and confidence of a trained CapsuleNet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS
from sklearn.linear_model import LogisticRegression

from sctandem._checks import check_number
from sctandem.kernels._group_draws import draw_within_groups
from sctandem.kernels._groups import group_means, group_sums
from sctandem.kernels._label_experts import FEWEST, fit_expert_weights, fit_regressions, label_probabilities
from sctandem.kernels._label_regions import (
    LabelRegions,
    fit_regions,
    labelled_share,
    typicality,
)
from sctandem.model._capsules_elsewhere import weights_elsewhere
from sctandem.model._capsules_moved import RobustExperts, label_logits
from sctandem.model._capsules_read import CapsulesReadMixin
from sctandem.nn import scipy_to_csr
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sctandem.train import AdversarialConfig

#: Most training cells that confidence is learned from, and most labelled ones that the regression and its weight are.
_MOST_CELLS, _MOST_LABELLED = 10_000, 50_000
#: Cells whose logarithms are held at once.
_BLOCK = 16_384


class CapsulesLabelsMixin(CapsulesReadMixin):
    """Labels, how sure they are, and whether a cell is like any that has a label.

    Labels are told by their capsules and by a regression on the logarithms of the counts, weighed by the labelled cells that
    neither was fitted to.
    """

    #: What was learned after the training: the weights of the experts on labels (for cells that were not trained on, and for those
    #: that were), and where labelled cells lie.
    calibration_: dict[str, Any]
    #: Cells that were trained on and whose labels were not.
    _held_back: np.ndarray

    def _calibrate(
        self,
        rng: np.random.Generator,
        sample_weight: np.ndarray | None = None,
        adversary: AdversarialConfig | None = None,
    ) -> None:
        """Learn what turns lengths into probabilities, from halves of molecules and from cells whose labels were not.

        Probabilities are learned from cells as they are, and then shifted to a composition in which cells count by their weights (Saerens, Latinne
        & Decaestecker 2002; logit adjustment, Menon 2021); cells of weight 0 are not there. With an adversary the regression is fitted to cells and
        their boxes, and the experts are weighed by cells as they are and moved.
        """
        self.calibration_ = self._reproducibility(rng)
        self._keep_centres()
        if not self.label_names:
            return
        code = self._label_codes()
        known = np.flatnonzero(code >= 0 if sample_weight is None else (code >= 0) & (sample_weight > 0))
        seen = np.bincount(code[known], minlength=len(self.label_names))
        drawn = known[draw_within_groups(code[known], _MOST_LABELLED, rng)]  # their counts are held together
        if len(drawn) < len(known):  # rare labels are drawn oftener: the shift takes it back
            share = (seen / np.maximum(np.bincount(code[drawn], minlength=len(seen)), 1))[code]
            sample_weight = share if sample_weight is None else sample_weight * share
        known = drawn
        held_out = np.isin(known, np.asarray(self.validation_indices))
        held_back = np.isin(known, self._held_back)
        n_labels, target = len(self.label_names), code[known]
        lengths, poses = self._read_all(["labels", "pose"], None, known, None)
        regions = fit_regions(poses, target, held_out, n_labels)
        # capsules are longer in cells whose counts were trained on, with or without a label
        kinds = [kind for kind in (held_out, held_back) if kind.sum() >= FEWEST] or [held_out]
        if adversary is None:
            logs = self._logs(known)
            judged, used = fit_regressions(logs, target, held_out | held_back, n_labels)
            weights = [fit_expert_weights(lengths[kind], judged.logits(logs[kind]), target[kind]) for kind in kinds]
            self.module.set_direct(judged.weights, judged.intercepts)
            use: Callable[[], None] = partial(self.module.set_direct, used.weights, used.intercepts)
        else:
            experts = RobustExperts(self, known, target, adversary, rng)
            experts.fit(held_out | held_back)
            weights = [experts.weights(kind, lengths) for kind in kinds]
            use = experts.use
        # as long as the module has the regression that has not seen these cells
        elsewhere = weights_elsewhere(self, known[kinds[0]], target[kinds[0]], rng)
        use()
        if elsewhere is not None:
            self._place_batches_without_labels()
        self.calibration_ |= {
            "elsewhere": np.append(weights[0], 0.0) if elsewhere is None else elsewhere,
            "expert_weights": np.array([weights[0], weights[-1]]),
            "regions": {name: np.asarray(value) for name, value in regions._asdict().items()},
            "label_shift": _label_shift(None if sample_weight is None else sample_weight[known], target, n_labels),
            "seen": seen,
        }

    def _keep_centres(self) -> None:
        """Keep mean logarithms of the training cells, by label where there are labels, and their variances: queries are held against them."""
        cells = np.asarray(self.train_indices)
        label = self._label_codes()[cells] if self.label_names else np.zeros(len(cells), dtype=np.int64)
        cells, label = cells[label >= 0], label[label >= 0]
        n_labels = max(1, len(self.label_names))
        sums, square = np.zeros((n_labels, self._counts.shape[1])), np.zeros(self._counts.shape[1])
        for rows, logs in self._blocks_of_logs(cells):
            sums += group_sums(logs, label[rows], n_labels)
            square += np.asarray(logs.multiply(logs).sum(0), dtype=np.float64).ravel()
        sizes = np.bincount(label, minlength=n_labels)
        means = sums / np.maximum(sizes, 1)[:, None]
        means[sizes == 0] = sums.sum(0) / len(cells)
        self.module.centre_logs.copy_(torch.from_numpy(means.T.astype(np.float32)))
        shares = np.bincount(label, minlength=n_labels) / len(cells)
        variance = np.maximum(square / len(cells) - shares @ means**2, 0)
        # half of the genes are hardly ever there: none counts for what a single cell had
        usual = float(np.median(variance[variance > 0])) if (variance > 0).any() else 1.0
        self.module.log_variance.copy_(torch.from_numpy((variance + usual).astype(np.float32)))

    def _logs(self, cells: np.ndarray) -> sparse.csr_matrix:
        """Give the logarithms that the module reads, float32, cells x features."""
        logs = self._counts[cells].astype(np.float32)
        factor = float(self.module.depth) / np.maximum(self._depths()[cells], 1e-6)
        logs.data = np.log1p(logs.data * np.repeat(factor, np.diff(logs.indptr)).astype(np.float32))
        return logs

    def _blocks_of_logs(self, cells: np.ndarray) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Give where a block lies among the cells, and its logarithms: those of a collection are not held together."""
        for start in range(0, len(cells), _BLOCK):
            here = slice(start, start + _BLOCK)
            yield here, self._logs(cells[here])

    def _shown_codes(self) -> np.ndarray:
        """Return the label codes without those that are held back, (cells,)."""
        code = self._label_codes()
        code[self._held_back] = -1
        return code

    def _start_labels(self, poses: np.ndarray) -> None:
        """Let the label capsules start at the poses of the training cells."""
        if self.label_names:
            label = self._shown_codes()[np.asarray(self.train_indices)]
            known = label >= 0
            self.module.start_labels(group_means(poses[known], label[known], len(self.label_names)))

    def _reproducibility(self, rng: np.random.Generator) -> dict[str, Any]:
        """Learn how often half of the molecules of a cell put it where the other half does, by the lead of its capsule."""
        if self.module.n_types < 2:
            return {"slope": 0.0, "intercept": 50.0}
        cells = np.asarray(self.train_indices)
        cells = np.sort(rng.choice(cells, min(len(cells), _MOST_CELLS), replace=False))
        counts = self._counts[cells]
        first = counts.copy()
        first.data = rng.binomial(counts.data.astype(np.int64), 0.5).astype(np.float32)
        # where the depth is given, it is halved as the counts are
        depth = self._depths()[cells] / np.maximum(np.asarray(counts.sum(1)).ravel(), 1)
        presence = [self._presence_of(half, cells, depth) for half in (first, sparse.csr_matrix(counts - first))]
        same = presence[0].argmax(1) == presence[1].argmax(1)
        if same.all():
            return {"slope": 0.0, "intercept": float(np.log(2 * len(cells) + 1))}
        if not same.any():
            return {"slope": 0.0, "intercept": float(-np.log(2 * len(cells) + 1))}
        fit = LogisticRegression(C=1e3).fit(_lead(presence[0])[:, None], same)
        return {"slope": float(fit.coef_[0, 0]), "intercept": float(fit.intercept_[0])}

    @torch_on_one_thread()
    @torch.inference_mode()
    def _presence_of(self, counts: sparse.csr_matrix, cells: np.ndarray, depth_of_count: np.ndarray) -> np.ndarray:
        """Read other counts of cells of the object."""
        self.module.eval()
        batch = self._codes(REGISTRY_KEYS.BATCH_KEY)[cells]
        depth = depth_of_count * np.asarray(counts.sum(1)).ravel()
        parts = []
        for start in range(0, len(cells), 2048):
            rows = slice(start, start + 2048)
            found = self.module.inference(
                scipy_to_csr(counts[rows]).to(self.module.device),
                torch.from_numpy(batch[rows, None]),
                torch.from_numpy(depth[rows, None].astype(np.float32)),
            )
            parts.append(found["presence"].cpu().numpy())
        return np.concatenate(parts)

    def get_confidence(
        self, adata: AnnData | None = None, *, indices: ArrayLike | None = None, batch_size: int | None = None
    ) -> pd.Series:
        """Return how sure the capsule of each cell is.

        Parameters
        ----------
        adata
            Object with the same features; `None` for the one the model was made with.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells a minibatch; bounds the memory, does not change the result.

        Returns
        -------
        float64, in [0, 1]: the share of training cells with such a lead of the longest capsule over the next which one half of
        their molecules puts into the same capsule as the other half does.

        Raises
        ------
        KeyError
            When a layer, a column or a modality that the model reads is missing.
        TypeError
            When the data are not those of a model of this kind, or `indices` no positions and no mask.
        ValueError
            When the data have no cells, are not counts, or lack features or categories of the model; when `indices` or `batch_size` is out of range.
        RuntimeError
            When the model is not trained.
        """
        lead = _lead(self._read("presence", adata, indices, batch_size))
        known = self.calibration_
        values = 1 / (1 + np.exp(-(known["slope"] * lead + known["intercept"])))
        return pd.Series(values, index=self._names(adata, indices), name="confidence")

    def predict(
        self,
        adata: AnnData | None = None,
        *,
        soft: bool = False,
        min_typicality: float = 0.0,
        indices: ArrayLike | None = None,
        batch_size: int | None = None,
    ) -> pd.Series | pd.DataFrame:
        """Return the label of each cell, or where no labels were given its type capsule.

        Parameters
        ----------
        adata
            Object with the same features; `None` for the one the model was made with.
        soft
            Whether to return numbers for all labels, or capsules.
        min_typicality
            Cells less typical than that of any label (`get_typicality`) get the name of cells without a label; 0 for none.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells a minibatch; bounds the memory, does not change the result.

        Returns
        -------
        Category by cell. With `soft` and labels, probabilities, float64, cells x labels, adding up to 1; with `soft` and no labels
        what `get_capsules` returns. For cells that were trained on without a label, probabilities are calibrated on such of which
        the label was held back, for others on labelled cells that were not trained on, and with fewer than 20 of these on the
        other kind. For cells of a batch without any label they are those of cells elsewhere: of a new batch (:func:`sctandem.tl.map_query`).
        Of cells that had a label they say too much: that label was learned.

        Raises
        ------
        ValueError
            For `min_typicality` out of bounds, or above 0 without labels.
        KeyError
            When a layer, a column or a modality that the model reads is missing.
        TypeError
            When the data are not those of a model of this kind, or `indices` no positions and no mask.
        RuntimeError
            When the model is not trained.
        """
        check_number(min_typicality, "min_typicality", high=1)
        names = self.label_names
        if not names:
            if min_typicality > 0:
                msg = f"min_typicality={min_typicality} needs labels: set the object up with labels_key."
                raise ValueError(msg)
            presence = self.get_capsules(adata, indices=indices, batch_size=batch_size)
            codes = presence.to_numpy().argmax(1)
            found = pd.Categorical.from_codes(codes, list(presence.columns))
            return presence if soft else pd.Series(found, index=presence.index, name="capsules")
        elsewhere = self.module.has_placed
        found = self._read_all(
            ["labels", "direct", *(("profiles", "placed") if elsewhere else ())], adata, indices, batch_size
        )
        lengths, logits = found[:2]
        of_new, of_trained = self.calibration_["expert_weights"]
        values = label_probabilities(lengths, logits, tuple(of_new))
        trained = self._trained_on(adata, indices)
        values[trained] = label_probabilities(lengths[trained], logits[trained], tuple(of_trained))
        if elsewhere:
            cosines, placed = found[2:]
            values[placed] = label_probabilities(
                lengths[placed], logits[placed], self._weights_elsewhere(), cosines[placed]
            )
        values *= np.exp(self.calibration_.get("label_shift", 0.0))  # files of before have none
        values /= values.sum(axis=1, keepdims=True)
        cells = self._names(adata, indices)
        if soft:
            return pd.DataFrame(values, index=cells, columns=names)
        state = self.adata_manager.get_state_registry(REGISTRY_KEYS.LABELS_KEY)
        unknown = str(state["unlabeled_category"])
        codes = values.argmax(1)
        if min_typicality > 0:
            typical = self.get_typicality(adata, indices=indices, batch_size=batch_size).to_numpy()
            codes = np.where(typical < min_typicality, len(names), codes)
        return pd.Series(pd.Categorical.from_codes(codes, [*names, unknown]), index=cells, name="label")

    def class_scores(self, found: dict[str, torch.Tensor]) -> torch.Tensor:
        """Give the logits of the labels of new cells, with gradient.

        Parameters
        ----------
        found
            What `inference` of the module gave.

        Returns
        -------
        Cells x labels; the softmax of them is what `predict` gives for cells that were not trained on.
        """
        logits = label_logits(found, self.calibration_["expert_weights"][0].tolist())
        if "placed" not in found:
            return logits
        return torch.where(found["placed"][:, None], label_logits(found, self._weights_elsewhere()), logits)

    def _weights_elsewhere(self) -> list[float]:
        """Return the weights of capsules, regression and profiles in batches that are new or had no label; files of before have none for profiles."""
        known = self.calibration_
        return [float(weight) for weight in known.get("elsewhere", [*known["expert_weights"][0], 0.0])]

    def _trained_on(self, adata: AnnData | None, indices: ArrayLike | None) -> np.ndarray:
        """Say of which of the cells that are read the counts were trained on, (cells,)."""
        if adata is not None:
            return np.full(len(self._names(adata, indices)), fill_value=False)
        trained = np.isin(np.arange(self.adata.n_obs), np.asarray(self.train_indices))
        return trained if indices is None else trained[np.asarray(indices)]

    def get_typicality(
        self, adata: AnnData | None = None, *, indices: ArrayLike | None = None, batch_size: int | None = None
    ) -> pd.Series:
        """Return how much each cell is like those with a label; small for cells of a type that none of the labels names.

        Parameters
        ----------
        adata
            Object with the same features; `None` for the one the model was made with.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells a minibatch; bounds the memory, does not change the result.

        Returns
        -------
        float64, in [0, 1]: the share of labelled cells that lie as far out of the poses of their label. For the cells that the
        model was made with it is multiplied by the share of labelled cells among their neighbours, against the share among
        all, at most 1: a group in which no cell has a label is new. In batches without any label there is no such factor.

        Raises
        ------
        ValueError
            When no labels were given.
        KeyError
            When a layer, a column or a modality that the model reads is missing.
        TypeError
            When the data are not those of a model of this kind, or `indices` no positions and no mask.
        RuntimeError
            When the model is not trained.
        """
        if not self.label_names:
            msg = "typicality needs labels: set the object up with labels_key."
            raise ValueError(msg)
        own = adata is None  # neighbours are among all cells, whichever are asked for
        poses = self._read("pose", adata, None if own else indices, batch_size)
        values = typicality(poses, LabelRegions(**self.calibration_["regions"]))
        if own:
            labelled, batch = self._label_codes() >= 0, self._codes(REGISTRY_KEYS.BATCH_KEY)
            inside = np.isin(batch, batch[labelled])
            values[inside] *= labelled_share(poses[inside], labelled[inside])
            values = values[self._cells(adata, indices)]
        return pd.Series(values, index=self._names(adata, indices), name="typicality")


def _label_shift(weights: np.ndarray | None, target: np.ndarray, n_labels: int) -> np.ndarray:
    """Give the logarithm of the mean weight of the cells with each label, which cells of weight 1 do not shift."""
    if weights is None:
        return np.zeros(n_labels)
    size, total = np.bincount(target, minlength=n_labels), np.bincount(target, weights / weights.mean(), n_labels)
    return np.log(np.where(size > 0, total / np.maximum(size, 1), 1.0))


def _lead(presence: np.ndarray) -> np.ndarray:
    """Give the length of the longest capsule of each cell over that of the next."""
    if presence.shape[1] < 2:
        return np.ones(len(presence))
    top = np.partition(presence, -2, axis=1)[:, -2:]
    return (top[:, 1] - top[:, 0]).astype(np.float64)
