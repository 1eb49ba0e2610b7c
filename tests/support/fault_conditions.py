"""With which arguments parts of a result may be missing, as the documentation says; each is tried without the exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anndata import AnnData

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


def _nothing_to_compare(given: dict[str, Any]) -> bool:
    """Whether no differential expression of these samples says which conditions there are."""
    compared = (
        isinstance(given["key"], str) and isinstance(given["adata"], AnnData) and given["key"] in given["adata"].uns
    )
    return not compared or given["sample_key"] != "donor"


CHIPEXO: Conditions = {"pvalue": _with_sites, "fdr": _with_sites, "profile": lambda given: given["tags"] is None}
SPECTRUM: Conditions = dict.fromkeys(("threshold", "hits"), _unlikely)
LINKS: Conditions = dict.fromkeys(("pvalue", "fdr"), _one_member)
CHANGES: Conditions = dict.fromkeys(("change", "change_p_value", "change_q_value"), _nothing_to_compare)
EDGES: Conditions = {"what is returned": lambda given: given["fdr"] == 0}
#: Arguments with which something may be missing that is there in the valid call.
LETS: dict[tuple[str, str], dict[str, Any]] = {
    ("pp.chipexo_sites", "profile"): {"tags": None},
    ("pp.nucleotide_spectrum", "threshold"): {"p_value": 1e-300},
    ("pp.nucleotide_spectrum", "hits"): {"p_value": 1e-300},
    **{("tl.gene_associations", name): {"key": "elsewhere"} for name in CHANGES},
    ("get.regulatory_graph", "what is returned"): {"fdr": 0},
}
