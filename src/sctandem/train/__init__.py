"""Training: splitters, plans and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.train._adversarial import AdversarialTrainingPlan
    from sctandem.train._adversarial_config import AdversarialConfig
    from sctandem.train._config import TrainConfig
    from sctandem.train._domain_config import DomainConfig
    from sctandem.train._early_stopping import EarlyStopping
    from sctandem.train._plan import CountTrainingPlan, kl_weight
    from sctandem.train._runner import CountTrainRunner
    from sctandem.train._splitter import CountDataSplitter

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AdversarialConfig": "._adversarial_config",
        "AdversarialTrainingPlan": "._adversarial",
        "CountDataSplitter": "._splitter",
        "CountTrainRunner": "._runner",
        "CountTrainingPlan": "._plan",
        "DomainConfig": "._domain_config",
        "EarlyStopping": "._early_stopping",
        "TrainConfig": "._config",
        "kl_weight": "._plan",
    },
)
