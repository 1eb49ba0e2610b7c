"""Layers and likelihoods, torch only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.nn._capsules import TypeCapsules, margin_loss, route, squash
    from sctandem.nn._gene_attack import change_genes
    from sctandem.nn._likelihood import nb_linear_log_likelihood, nb_log_likelihood, zinb_log_likelihood
    from sctandem.nn._matmul import matmul
    from sctandem.nn._ordered import OrderedLinear
    from sctandem.nn._perturbation import count_ball, perturb
    from sctandem.nn._sparse import SparseLinear, dense_to_csr, map_values, row_sums, scipy_to_csr

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "OrderedLinear": "._ordered",
        "SparseLinear": "._sparse",
        "TypeCapsules": "._capsules",
        "WindowConfig": "._window_config",
        "WindowLSTM": "._window_lstm",
        "change_genes": "._gene_attack",
        "count_ball": "._perturbation",
        "dense_to_csr": "._sparse",
        "map_values": "._sparse",
        "margin_loss": "._capsules",
        "matmul": "._matmul",
        "nb_linear_log_likelihood": "._likelihood",
        "nb_log_likelihood": "._likelihood",
        "perturb": "._perturbation",
        "route": "._capsules",
        "row_sums": "._sparse",
        "scipy_to_csr": "._sparse",
        "squash": "._capsules",
        "zinb_log_likelihood": "._likelihood",
    },
)
