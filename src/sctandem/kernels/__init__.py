"""Kernels: maths on arrays, without AnnData and without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from ._alignment import align_batches
    from ._cell_state import CellState, fit_cell_state
    from ._expected_log import expected_log1p
    from ._gene_profiles import GeneProfiles, gene_profiles, whiten
    from ._rna_factors import RnaFactors, rna_factors
    from ._skill import auroc, correlation, gain, log_fold_changes, pearson, rmse, within_group_pearson
    from ._window_features import Windows, pair_features, peak_response

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CellState": "._cell_state",
        "GeneProfiles": "._gene_profiles",
        "RnaFactors": "._rna_factors",
        "Windows": "._window_features",
        "align_batches": "._alignment",
        "auroc": "._skill",
        "correlation": "._skill",
        "expected_log1p": "._expected_log",
        "fit_cell_state": "._cell_state",
        "gain": "._skill",
        "gene_profiles": "._gene_profiles",
        "log_fold_changes": "._skill",
        "pair_features": "._window_features",
        "peak_response": "._window_features",
        "pearson": "._skill",
        "rmse": "._skill",
        "rna_factors": "._rna_factors",
        "whiten": "._gene_profiles",
        "within_group_pearson": "._skill",
    },
)
