"""Networks that several models build on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.module.base._count_vae import (
        CountDecoder,
        CountEncoder,
        CountVAE,
        CountVAEConfig,
        kl_to_standard_normal,
    )

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CountDecoder": "._count_coders",
        "CountEncoder": "._count_coders",
        "CountVAE": "._count_vae",
        "CountVAEConfig": "._count_coders",
        "kl_to_standard_normal": "._count_vae",
    },
)
