"""Interferon beta against control in the Kang cells: does a method find what independent bulk experiments found?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from scipy import sparse
from scipy.stats import false_discovery_control, spearmanr

from benchmarks._de_data import DONOR, FOLDER, GROUP, TYPE
from benchmarks._de_runs import assessed

EIGHT = FOLDER / "rna" / "kang_harmony_ctrl1000_stim1000.h5ad"
TWO = FOLDER / "rna" / "kang_muscat_2donors_ctrl_stim.h5ad"
BULK_DC = FOLDER / "de" / "bulk_ifn_DC_DESeq2.csv.gz"
BULK_T = FOLDER / "de" / "bulk_ifn_Tcell_foldchange.csv.gz"
FILES = (EIGHT, TWO, BULK_DC, BULK_T)
LINEAGE = {
    "CD4 T cells": "T cells",
    "CD8 T cells": "T cells",
    "NK cells": "NK cells",
    "B cells": "B cells",
    "CD14+ Monocytes": "monocytes",
    "FCGR3A+ Monocytes": "monocytes",
    "Dendritic cells": "monocytes",
}
#: Genes at the top that are compared, by type.
FIRST = {"monocytes": 500, "T cells": 100}
#: Probability at which a cell whose type is not known is given to a lineage.
SURE = 0.9
PERSON = "person"


def _logs(counts: Any) -> np.ndarray:
    dense = np.asarray(counts.todense() if sparse.issparse(counts) else counts, dtype=float)
    return np.log1p(1e4 * dense / np.maximum(dense.sum(1, keepdims=True), 1))


def eight_donors() -> AnnData:
    """Read singlets of eight donors; a logistic regression on labelled cells gives the others, most of the stimulated, a lineage."""
    from sklearn.linear_model import LogisticRegression

    found, two = read_h5ad(EIGHT), read_h5ad(TWO)
    found = found[(found.obs["demuxlet"] == "SNG") & (found.obs["donor"] != "none")].copy()
    shared = found.var_names.intersection(two.var_names)
    known = found.obs["cell_type"].astype(str).map(LINEAGE)
    labelled = known.notna().to_numpy()
    own = _logs(found[:, shared].X)
    model = LogisticRegression(C=0.02, max_iter=500)
    answers = [*known[labelled], *two.obs["cell_type"].astype(str).map(LINEAGE)]
    model.fit(np.vstack([own[labelled], _logs(two[:, shared].X)]), answers)
    chance = model.predict_proba(own)
    given = np.where(chance.max(1) >= SURE, model.classes_[chance.argmax(1)], "unsure")
    return _laid_out(found, np.where(labelled, known.fillna("").to_numpy(dtype=object), given).astype(str))


def two_donors() -> AnnData:
    """Read the cells of two donors, whose types are known."""
    found = read_h5ad(TWO)
    return _laid_out(found, found.obs["cell_type"].astype(str).map(LINEAGE).to_numpy(dtype=str))


def _laid_out(found: AnnData, lineage: np.ndarray) -> AnnData:
    kept = np.isin(lineage, list(FIRST))
    obs = pd.DataFrame(index=found.obs_names)
    obs[TYPE], obs[PERSON] = lineage, found.obs["donor"].astype(str)
    obs[GROUP] = np.where(found.obs["condition"] == "stim", "B", "A")
    obs[DONOR] = obs[PERSON] + " " + obs[GROUP]
    return AnnData(sparse.csr_matrix(found.X, dtype=np.float32), obs=obs, var=found.var[[]])[kept].copy()


def bulk() -> dict[str, pd.DataFrame]:
    """Read the bulk tables by type: `log2fc`, up under interferon, and `order`, by which genes are ranked, highest first."""
    dc = pd.read_csv(BULK_DC).dropna(subset=["stat"]).drop_duplicates("gene").set_index("gene")
    t = pd.read_csv(BULK_T).dropna().drop_duplicates("gene").set_index("gene")["fold change"]
    return {
        "monocytes": pd.DataFrame({"log2fc": -dc["log2FoldChange"], "order": dc["stat"].abs()}),
        "T cells": pd.DataFrame({"log2fc": t, "order": t.abs()}),
    }


def concordance(first: np.ndarray, second: np.ndarray, top: int) -> float:
    """Give the area under the curve of concordance: the mean share of common genes among the first k of two orders, weighed by k.

    `first` and `second` rank the same genes, highest first. 1 for equal orders; about `2 top / 3 genes` by chance.
    """
    places = np.maximum(*(np.argsort(np.argsort(-values, kind="stable"), kind="stable") for values in (first, second)))
    common = np.cumsum(np.bincount(places[places < top], minlength=top))
    return float(common.sum() / (top * (top + 1) / 2))


def agreement(name: str, *, deseq: bool = True) -> list[dict[str, Any]]:
    """Compare all methods with bulk on `"eight donors"` or `"two donors"`; a row a type and method.

    `log2fc` and `shrunken` are Spearman's correlations of these fold changes.
    """
    adata = eight_donors() if name == "eight donors" else two_donors()
    table = assessed(adata, covariates=(PERSON,), deseq=deseq, cells=True, shrink=True)
    rows = []
    truth = bulk()
    for (kind, method), part in table.groupby(["type", "method"], sort=False):
        both = part.set_index("gene").join(truth[kind].add_prefix("bulk_"), how="inner")
        order = -np.log(np.maximum(both["p"], 1e-300)) + 1e-9 * both["log2fc"].abs()
        top = min(FIRST[kind], len(both))
        row = {"set": name, "type": kind, "method": method, "genes": len(both), "top": top}
        for column in ("log2fc", "shrunken"):
            one = both[column]
            row[column] = None if one.isna().any() else float(spearmanr(one, both["bulk_log2fc"]).statistic)
        row["aucc"] = concordance(order.to_numpy(), both["bulk_order"].to_numpy(), top)
        row["significant"] = int((false_discovery_control(both["p"]) < 0.05).sum())
        rows.append({**row, "chance": 2 * top / (3 * len(both)), "s": float(part["seconds"].iloc[0])})
    return rows
