"""With which arguments parts of a result may be missing, as the documentation says; each is tried without the exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Conditions = Mapping[str, Callable[[dict[str, Any]], bool]]


def _one_member(given: dict[str, Any]) -> bool:
    """Whether a model predicts each gene once: there is no test without genes that others were learned from."""
    model = given["model"]
    return model is None or (isinstance(model, td.model.TAPE) and model.config.windows.n_members == 1)


def _unlikely(given: dict[str, Any]) -> bool:
    """Whether hits are to be as unlikely as none of the motifs can be."""
    return isinstance(given["p_value"], float) and given["p_value"] < 1e-9


def _with_sites(given: dict[str, Any]) -> bool:
    return given["sites"] is not None


CHIPEXO: Conditions = {"pvalue": _with_sites, "fdr": _with_sites, "profile": lambda given: given["tags"] is None}
SPECTRUM: Conditions = dict.fromkeys(("threshold", "hits"), _unlikely)
LINKS: Conditions = dict.fromkeys(("pvalue", "fdr"), _one_member)
EDGES: Conditions = {"what is returned": lambda given: given["fdr"] == 0}
#: Arguments with which something may be missing that is there in the valid call.
LETS: dict[tuple[str, str], dict[str, Any]] = {
    ("pp.chipexo_sites", "profile"): {"tags": None},
    ("pp.nucleotide_spectrum", "threshold"): {"p_value": 1e-300},
    ("pp.nucleotide_spectrum", "hits"): {"p_value": 1e-300},
    ("get.regulatory_graph", "what is returned"): {"fdr": 0},
}
