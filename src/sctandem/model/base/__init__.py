"""Parts that several models share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.model.base._collection import CollectionMixin
    from sctandem.model.base._count_vae_model import CountVAEModel
    from sctandem.model.base._files import FilesMixin
    from sctandem.model.base._latent import LatentMixin
    from sctandem.model.base._no_transfer import NoTransferMixin
    from sctandem.model.base._partial_fit import PartialFitMixin
    from sctandem.model.base._robustness import AttackConfig
    from sctandem.model.base._train import TrainMixin
    from sctandem.model.base._train_method import TrainMethodMixin
    from sctandem.model.base._transfer import TransferMixin
    from sctandem.model.base._warm_start import WarmStartMixin

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AttackConfig": "._robustness",
        "CollectionMixin": "._collection",
        "CountVAEModel": "._count_vae_model",
        "FilesMixin": "._files",
        "LatentMixin": "._latent",
        "NoTransferMixin": "._no_transfer",
        "PartialFitMixin": "._partial_fit",
        "TrainMethodMixin": "._train_method",
        "TrainMixin": "._train",
        "TransferMixin": "._transfer",
        "WarmStartMixin": "._warm_start",
    },
)
