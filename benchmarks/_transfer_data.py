"""Cells to be mapped onto a reference, and streams of cells: what the benchmark `transfer` measures on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
from anndata import AnnData
from scipy import sparse

from benchmarks._labelled_sets import BATCH, FOLDER, LABEL, read
from benchmarks._real_data import real_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KANG = {"kang": "kang_harmony_ctrl1000_stim1000.h5ad", "kang_large": "kang_ctrl_8donors_1287genes.h5ad"}
#: What the sorted populations of the reference are called together in the query; the others are none of its types.
GROUPS = {
    "CD14+ Monocyte": "monocytes",
    "CD19+ B": "B",
    "CD56+ NK": "NK",
    "CD4+ T Helper2": "CD4 T",
    "CD4+/CD25 T Reg": "CD4 T",
    "CD4+/CD45RA+/CD25- Naive T": "CD4 T",
    "CD4+/CD45RO+ Memory": "CD4 T",
    "CD8+ Cytotoxic T": "CD8 T",
    "CD8+/CD45RA+ Naive Cytotoxic": "CD8 T",
}
IN_QUERY = {
    "CD14+ Monocytes": "monocytes",
    "FCGR3A+ Monocytes": "monocytes",
    "B cells": "B",
    "NK cells": "NK",
    "CD4 T cells": "CD4 T",
    "CD8 T cells": "CD8 T",
}
#: Name of the batch of a reference that is one.
REFERENCE_BATCH = "reference"


@dataclass(frozen=True)
class Pair:
    """A reference with `obs["label"]` and a query whose `obs["label"]` is the truth; both have `obs["batch"]`.

    `groups` leads from labels of the reference to what the query calls them, where these differ.
    """

    name: str
    reference: AnnData
    query: AnnData
    groups: dict[str, str] = field(default_factory=dict)
    reference_name: str = ""

    def named(self, labels: np.ndarray) -> np.ndarray:
        """Give labels of the reference the names of the query."""
        return np.array([self.groups.get(name, name) for name in labels])


def kang(name: str) -> Pair:
    """Sorted blood cells, and control cells of eight donors measured elsewhere, whose genes are a part of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        query = anndata.read_h5ad(kang_path(name))
    truth = query.obs["cell_type"].astype(str)
    query = query[(query.obs["condition"] == "ctrl") & (truth != "unknown")].copy()
    query.obs[LABEL] = [IN_QUERY.get(kind, kind) for kind in query.obs["cell_type"].astype(str)]
    query.obs[BATCH] = name
    query.var_names_make_unique()
    reference = read("zheng")
    reference.obs[BATCH] = REFERENCE_BATCH
    reference.var_names_make_unique()
    return Pair(name, _bare(reference), _bare(query), GROUPS, "zheng")


def kang_path(name: str) -> Path:
    """Give the file of a query."""
    return real_file(f"{FOLDER}/{KANG[name]}")


def mixology() -> Iterator[Pair]:
    """Five cell lines in five batches: each batch onto the others."""
    cells = mixology_cells()
    for batch in sorted(cells.obs[BATCH].unique()):
        held_out = (cells.obs[BATCH] == batch).to_numpy()
        name = f"mixology, {batch}"
        yield Pair(name, cells[~held_out].copy(), cells[held_out].copy(), reference_name=name)


def mixology_cells() -> AnnData:
    """Give the cell lines with labels and batches."""
    return _bare(read("mixology"))


def trained_net(cells: AnnData, seed: int) -> Any:
    """Train CapsuleNet at its defaults on a copy of cells with labels and batches."""
    from sctandem.model import CapsuleNet

    cells = cells.copy()
    CapsuleNet.setup_anndata(cells, labels_key=LABEL, batch_key=BATCH)
    model = CapsuleNet(cells, rng=seed)
    model.train(rng=seed, progress=False, accelerator="cpu")
    return model


def _bare(adata: AnnData) -> AnnData:
    """Keep counts, labels and batches."""
    obs = adata.obs[[LABEL, BATCH]].astype(str)
    counts = sparse.csr_matrix(adata.X).astype(np.float32)
    return AnnData(counts, obs=obs, var=adata.var[[]].copy())
