"""Kernels: maths on arrays, without AnnData and without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from ._skill import auroc, correlation, gain, log_fold_changes, pearson, rmse, within_group_pearson

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "auroc": "._skill",
        "correlation": "._skill",
        "gain": "._skill",
        "log_fold_changes": "._skill",
        "pearson": "._skill",
        "rmse": "._skill",
        "within_group_pearson": "._skill",
    },
)
