"""Counts as gene programmes and types of cells: capsules, routed by agreement, behind a negative binomial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scvi import REGISTRY_KEYS
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from sctandem.module._capsule_attack import CAPSULE_KEY, CapsuleAttackMixin
from sctandem.module._capsule_config import CapsuleConfig
from sctandem.module._capsule_direct import CapsuleDirectMixin
from sctandem.module._capsule_norm import NormByBatch
from sctandem.module._capsule_transfer import TOWARDS, CapsuleTransferMixin
from sctandem.module.base._batches import batch_columns
from sctandem.nn import (
    OrderedLinear,
    SparseLinear,
    TypeCapsules,
    margin_loss,
    nb_linear_log_likelihood,
    row_sums,
    squash,
)
from sctandem.nn._profiles import profile_cosines
from sctandem.nn._sparse import map_by_row
from sctandem.nn._weighted_mean import weighted_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from torch import Tensor

#: Key of the minibatches with several batches of cells: the pose without what parts them.
ALIGNED_KEY = "aligned_pose"
#: Standard deviation of what parts the type capsules at the start.
_SPLIT_NOISE = 0.01


class CapsuleModule(CapsuleAttackMixin, CapsuleDirectMixin, CapsuleTransferMixin, BaseModuleClass):
    r"""Capsules on counts.

    Log-counts at the median depth pass a sparse layer to the primary capsules. These vote for the capsule of the cell, whose sum
    of votes is the pose :math:`z_c`, and for the type capsules, between which the votes are routed by agreement. The counts
    are :math:`NB(\ell_c \rho_{cg}, \theta_g)` with :math:`\rho_c = \mathrm{softmax}(b + W z_c + B s_c)`, where :math:`s_c` is
    the batch. Noise of a fixed width on the pose, and a standard normal prior, give it a scale.

    Parameters
    ----------
    n_genes
        Number of genes.
    n_batch
        Number of batches.
    n_labels
        Number of labels, each with a capsule; 0 for none.
    config
        The architecture.
    shares
        Share of each gene in all counts, where the decoder starts; `None` for even shares.
    depth
        Counts of a cell to which all are scaled before the logarithm.

    Notes
    -----
    There is one type capsule, of no use, until `split` makes more. Minibatches hold `X` (CSR or dense), optionally `batch` and
    `size_factor`, and in later parts of the training `capsule` (the type of each cell), `labels` and `aligned_pose`.

    References
    ----------
    Sabour, Frosst & Hinton, Dynamic routing between capsules, NeurIPS (2017).
    """

    centre_logs: Tensor
    log_variance: Tensor
    placed_shift: Tensor
    without_labels: Tensor
    batch_shift: Tensor | None

    def __init__(
        self,
        n_genes: int,
        *,
        n_batch: int = 1,
        n_labels: int = 0,
        config: CapsuleConfig | None = None,
        shares: ArrayLike | None = None,
        depth: float = 1e4,
    ) -> None:
        super().__init__()
        self.config = config or CapsuleConfig()
        self.n_genes, self.n_batch, self.n_labels = n_genes, n_batch, n_labels
        width, n_lower = self.config.n_hidden, self.config.n_programmes * self.config.d_programme
        kernel = self.config.kernel_size
        self.first = (
            SparseLinear(n_genes, width) if kernel is None else OrderedLinear(n_genes, width, kernel_size=kernel)
        )
        self.norm = NormByBatch(width, n_batch)
        self.dropout = nn.Dropout(self.config.dropout)
        self.primary = nn.Linear(width, n_lower)
        self.cell = TypeCapsules(
            self.config.n_programmes,
            self.config.d_programme,
            n_upper=1,
            d_upper=self.config.d_pose,
            n_iterations=self.config.n_iterations,
        )
        self.types = self.cell.split(1)
        self.labels = self.cell.split(n_labels, noise=_SPLIT_NOISE) if n_labels else None
        self._make_direct()
        self.loadings = nn.Parameter(0.05 * torch.randn(n_genes, self.config.d_pose))
        self.batch_effect = nn.Parameter(torch.zeros(n_genes, n_batch))
        self.log_share = nn.Parameter(torch.zeros(n_genes))
        self.log_theta = nn.Parameter(torch.zeros(n_genes))
        self.register_buffer("depth", torch.tensor(float(depth)))
        # what is known of the training cells: mean logarithms by label, and how many batches they were of
        self.register_buffer("centre_logs", torch.zeros(n_genes, max(1, n_labels)))
        self.register_buffer("log_variance", torch.ones(n_genes))  # within labels
        self.register_buffer("n_known_batches", torch.tensor(n_batch))
        self.register_buffer("n_known_labels", torch.tensor(n_labels))
        self.register_buffer("direct_offset", torch.zeros(n_batch, max(1, n_labels)))
        self.register_buffer("placed_shift", torch.zeros(n_genes, n_batch))
        self.register_buffer("without_labels", torch.zeros(n_batch, dtype=torch.bool))  # batches that were trained on
        self.register_buffer(
            "batch_shift", None, persistent=False
        )  # of the training alone: the norms keep what comes of it
        self._known_batches: list[int] = []
        if shares is not None:
            with torch.no_grad():
                self.log_share.copy_(torch.as_tensor(np.log(shares), dtype=torch.float32))

    @property
    def n_types(self) -> int:
        """Number of type capsules."""
        return self.types.n_upper

    @torch.no_grad()
    def start_from(self, loadings: ArrayLike) -> None:
        """Let the first units of the first layer read principal components, one its positive and one its negative part.

        Parameters
        ----------
        loadings
            Genes x components, columns of unit length; as many are used as there are pairs of units. A convolution starts
            from weights of its own.
        """
        if not isinstance(self.first, SparseLinear):
            return
        directions = torch.as_tensor(np.asarray(loadings), dtype=torch.float32)[:, : self.config.n_hidden // 2]
        stop = 2 * directions.shape[1]
        self.first.weight[:, 0:stop:2] = directions
        self.first.weight[:, 1:stop:2] = -directions

    @torch.no_grad()
    def split(self, n_types: int, centres: ArrayLike | None = None) -> None:
        """Make the type capsules, which start at the capsule of the cell.

        Parameters
        ----------
        n_types
            How many.
        centres
            Mean pose of each type, types x dimensions, towards which the votes for it start; `None` for none.
        """
        self.types = self._towards(centres, n_types)

    @torch.no_grad()
    def start_labels(self, centres: ArrayLike) -> None:
        """Let the label capsules start at the capsule of the cell.

        Parameters
        ----------
        centres
            Mean pose of the cells with each label, labels x dimensions.
        """
        self.labels = self._towards(centres, self.n_labels)

    def _towards(self, centres: ArrayLike | None, n_upper: int) -> TypeCapsules:
        """Make capsules like that of the cell, whose votes start towards given poses."""
        capsules = self.cell.split(n_upper, noise=_SPLIT_NOISE)
        if centres is not None:
            towards = torch.as_tensor(np.asarray(centres), dtype=torch.float32, device=capsules.bias.device)
            capsules.bias.add_(TOWARDS * towards / self.config.n_programmes)
        return capsules

    @property
    def parts_batches(self) -> bool:
        """Whether there are batches that the first layer can be told the shifts of: a convolution cannot."""
        return self.n_batch > 1 and isinstance(self.first, SparseLinear)

    @torch.no_grad()
    def part_batches(self, shift: ArrayLike, known: Sequence[int]) -> None:
        """Tell the training what each batch adds to the logarithms of cells of one kind; the first layer is then normalised for all together.

        Parameters
        ----------
        shift
            Genes x batches.
        known
            Batches that have cells in the training.
        """
        self.batch_shift = torch.as_tensor(np.asarray(shift), dtype=torch.float32, device=self.depth.device)
        self._known_batches = [int(number) for number in known]

    def _shift_of_units(self) -> Tensor | None:
        """Give what each batch adds to the units of the first layer, batches x units; `None` where it was not told."""
        return None if self.batch_shift is None else self.batch_shift.T @ self.first.weight  # type: ignore[operator]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Make as many type capsules as the state has; they are loaded after this module itself."""
        for name in (
            "centre_logs",
            "log_variance",
            "placed_shift",
            "without_labels",
            "n_known_batches",
            "n_known_labels",
            "direct_offset",
        ):  # of which older files know nothing
            state_dict.setdefault(f"{prefix}{name}", getattr(self, name))
        self._match_first(state_dict, prefix)
        saved = state_dict.get(f"{prefix}types.bias")
        if saved is not None and saved.shape[1] != self.n_types:
            self.split(saved.shape[1])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _get_inference_input(self, tensors: dict[str, Tensor], **_: Any) -> dict[str, Tensor | None]:
        """Pick what `inference` needs from a batch."""
        return {
            "x": tensors[REGISTRY_KEYS.X_KEY],
            "batch_index": tensors.get(REGISTRY_KEYS.BATCH_KEY),
            "size_factor": tensors.get(REGISTRY_KEYS.SIZE_FACTOR_KEY),
        }

    def _get_generative_input(
        self, tensors: dict[str, Tensor], inference_outputs: dict[str, Any], **_: Any
    ) -> dict[str, Tensor | None]:
        """Pick what `generative` needs."""
        return {"pose": inference_outputs["pose"], "batch_index": tensors.get(REGISTRY_KEYS.BATCH_KEY)}

    def scaled_logs(self, x: Tensor, size: Tensor | None = None) -> Tensor:
        """Scale counts to the same depth and take `log1p`.

        Parameters
        ----------
        x
            Counts, cells x genes, CSR or dense.
        size
            Depth of each cell, (cells,); `None` for the sum of its counts.

        Returns
        -------
        Of the same layout.
        """
        factor = self.depth / (row_sums(x) if size is None else size).clamp_min(1e-6)
        return map_by_row(x, factor, lambda values, of_row: torch.log1p(values * of_row))

    @auto_move_data
    def inference(
        self, x: Tensor, batch_index: Tensor | None = None, size_factor: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Read cells.

        Parameters
        ----------
        x
            Counts, cells x genes, CSR or dense.
        batch_index
            Batch of each cell, cells x 1; `None` for the first.
        size_factor
            Depth of each cell, cells x 1; `None` for the sum of its counts.

        Returns
        -------
        `pose` (cells x dimensions), `presence` (lengths of the type capsules), `coupling` (cells x programmes x types),
        `programmes` (lengths of the primary capsules), `library` (log of the depth), and with labels `labels` (lengths of
        the label capsules), and outside of the training `direct` (their logits by the regression). With batches that are new to the
        weights, or had no label, also `profiles` (cosines of the cell with the means of the labels) and `placed` (whether the cell is of such a batch).
        """
        batch = x.new_zeros(x.shape[0]) if batch_index is None else batch_index.reshape(-1)
        size = row_sums(x) if size_factor is None else size_factor.reshape(-1)
        logs = self.scaled_logs(x, size)
        shift = self._shift_of_units() if self.training else None
        hidden = self.norm(self.first(logs), batch.long(), shift, self._known_batches)
        hidden = self.dropout(torch.relu(hidden))
        lower = squash(self.primary(hidden).reshape(-1, self.config.n_programmes, self.config.d_programme))
        routed = self.types(lower)
        found = {
            "pose": self.cell(lower).sums[:, 0],
            "presence": routed.presence,
            "coupling": routed.coupling,
            "programmes": lower.norm(dim=-1),
            "library": size.clamp_min(1e-6).log(),
        }
        if self.labels is not None:
            found["labels"] = self.labels(lower).presence
            if self.direct is not None and not self.training:
                found["direct"] = self.direct_logits(x, logs, size, batch.long())
                if self.has_placed:
                    of_labels = self.centre_logs, self.log_variance, self.placed_shift
                    found["profiles"] = profile_cosines(logs, *of_labels, batch.long())
                    found["placed"] = self.is_placed(batch.long())
        return found

    @auto_move_data
    def generative(self, pose: Tensor, batch_index: Tensor | None = None) -> dict[str, Tensor]:
        """Lay out what the decoder reads, with noise on the pose in training.

        Parameters
        ----------
        pose
            Cells x dimensions.
        batch_index
            Batch of each cell, cells x 1; `None` for the average batch.

        Returns
        -------
        `hidden`, cells x (dimensions + batches).
        """
        if self.training:
            pose = pose + self.config.pose_noise * torch.randn_like(pose)
        return {"hidden": torch.cat([pose, batch_columns(batch_index, self.n_batch, pose)], dim=1)}

    def loss(
        self,
        tensors: dict[str, Tensor],
        inference_outputs: dict[str, Tensor],
        generative_outputs: dict[str, Tensor],
        *,
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Negative log-likelihood, the prior of the pose, and where types are known what is asked of the capsules.

        Parameters
        ----------
        tensors
            The batch.
        inference_outputs
            What `inference` gave.
        generative_outputs
            What `generative` gave.
        kl_weight
            Weight of the prior.

        Returns
        -------
        The loss, and its parts a cell.
        """
        reconstruction = -nb_linear_log_likelihood(
            tensors[REGISTRY_KEYS.X_KEY],
            generative_outputs["hidden"],
            self.log_theta,
            weight=torch.cat([self.loadings, self.batch_effect], dim=1),
            bias=self.log_share,
            log_library=inference_outputs["library"],
        )
        prior = 0.5 * inference_outputs["pose"].square().sum(-1)
        loss = weighted_mean(reconstruction, tensors) + kl_weight * weighted_mean(prior, tensors)
        if CAPSULE_KEY in tensors:
            loss = loss + reconstruction.detach().mean() * self._teach(tensors, inference_outputs)
        return LossOutput(
            loss=loss, reconstruction_loss=reconstruction, kl_local=prior, n_obs_minibatch=len(reconstruction)
        )

    def _teach(self, tensors: dict[str, Tensor], found: dict[str, Tensor]) -> Tensor:
        """Sum what is asked of capsules and pose beside giving back the counts."""
        loss = found["pose"].new_zeros(())
        if self.n_types > 1:
            target = tensors[CAPSULE_KEY].reshape(-1)
            loss = loss + self.config.margin_weight * weighted_mean(margin_loss(found["presence"], target), tensors)
        if self.labels is not None:
            code = tensors[REGISTRY_KEYS.LABELS_KEY].reshape(-1).long()
            target = torch.where(code < self.n_labels, code, -1)  # the last code is that of cells without a label
            loss = loss + self.config.margin_weight * weighted_mean(margin_loss(found["labels"], target), tensors)
        if ALIGNED_KEY in tensors:
            distance = (found["pose"] - tensors[ALIGNED_KEY]).square().mean(-1)
            loss = loss + self.config.aligned_weight * weighted_mean(distance, tensors)
        return loss
