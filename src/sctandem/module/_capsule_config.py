"""Architecture of the capsule network."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._checks import check_number, check_positive


@dataclass(frozen=True, kw_only=True)
class CapsuleConfig:
    """Architecture of :class:`CapsuleModule`.

    Parameters
    ----------
    n_hidden
        Width of the sparse first layer.
    n_programmes, d_programme
        Number of primary capsules (gene programmes) and their dimensions.
    d_pose
        Dimensions of the poses of cell and types; those of the cell are the embedding.
    n_iterations
        Iterations of the routing.
    dropout
        Part of the hidden units that is dropped in training.
    pose_noise
        Standard deviation of the noise on the pose in training, in units of the pose's prior: what is nearer than that is
        not told apart.
    margin_weight
        Weight of the margin losses of type and label capsules, in units of the reconstruction loss, which grows with the
        depth.
    aligned_weight
        Weight of the squared distance of the pose to the one without batches, in the same units; with one batch of no use.
    n_types
        Number of type capsules; `None` finds it.
    kernel_size
        Features in a window of a convolution, where the features are in order along the genome; `None` for none: each
        feature has weights of its own.

    Raises
    ------
    ValueError
        For a value out of bounds.

    Examples
    --------
    >>> from sctandem.module import CapsuleConfig
    >>> CapsuleConfig(d_pose=10).n_programmes
    16
    """

    n_hidden: int = 64
    n_programmes: int = 16
    d_programme: int = 8
    d_pose: int = 30
    n_iterations: int = 3
    dropout: float = 0.1
    pose_noise: float = 0.3
    margin_weight: float = 0.2
    aligned_weight: float = 0.1
    n_types: int | None = None
    kernel_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_hidden", "n_programmes", "d_programme", "d_pose", "n_iterations"):
            check_positive(getattr(self, name), name, whole=True)
        if self.n_types is not None:
            check_positive(self.n_types, "n_types", whole=True)
        if self.kernel_size is not None:
            check_number(self.kernel_size, "kernel_size", low=2, whole=True)
        check_number(self.dropout, "dropout", high=1)
        check_positive(self.pose_noise, "pose_noise")
        check_number(self.margin_weight, "margin_weight")
        check_number(self.aligned_weight, "aligned_weight")
