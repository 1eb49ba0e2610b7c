from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from sctandem.genome import parse_intervals

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

GENES, PEAKS = "Gene Expression", "Peaks"
"""Feature types of Cell Ranger ARC."""


def read_tenx(path: Path) -> tuple[AnnData, AnnData]:
    """Read expression and accessibility from a feature-barcode matrix of Cell Ranger ARC.

    Parameters
    ----------
    path
        The `.h5` file.

    Returns
    -------
    Genes and peaks of the same cells, counts in CSR.

    Raises
    ------
    ValueError
        For a file without such a matrix, or without one of the two feature types; names those that are there.
    """
    with h5py.File(path) as file:
        if "matrix" not in file or "features" not in file["matrix"]:
            msg = (
                f"{path} is no feature-barcode matrix of Cell Ranger 3 or newer: it lacks 'matrix/features' and has "
                f"{', '.join(map(repr, file)) or 'nothing'}. A multiome is in ARC's 'filtered_feature_bc_matrix.h5'."
            )
            raise ValueError(msg)
        matrix = file["matrix"]
        kinds = _text(matrix["features/feature_type"])
        found, counts = np.unique(kinds, return_counts=True)
        for wanted in (GENES, PEAKS):
            if wanted not in found:
                there = ", ".join(f"{kind!r} ({n})" for kind, n in zip(found, counts, strict=True)) or "none"
                msg = f"{path} has no features of the type {wanted!r}, only {there}; a multiome has {GENES!r} and {PEAKS!r}."
                raise ValueError(msg)
        left = [kind for kind in found if kind not in {GENES, PEAKS}]
        if left:
            logger.warning("%s: features of the types %s were left out", path, ", ".join(left))
        features = pd.DataFrame(
            {
                name: _text(matrix[f"features/{name}"])
                for name in ("id", "name", "genome", "interval")
                if _has(matrix, name)
            }
        )
        names = pd.Index(_text(matrix["barcodes"]))
        n_features, n_cells = (int(n) for n in matrix["shape"][:])
        # features x cells in CSC is cells x features in CSR
        parts = matrix["data"][:].astype(np.int32, copy=False), matrix["indices"][:], matrix["indptr"][:]
    counted = sparse.csr_matrix(parts, shape=(n_cells, n_features))
    counted.sort_indices()
    rna = AnnData(counted[:, kinds == GENES], obs=pd.DataFrame(index=names), var=_genes(features[kinds == GENES]))
    atac = AnnData(counted[:, kinds == PEAKS], obs=pd.DataFrame(index=names), var=_peaks(features[kinds == PEAKS]))
    return rna, atac


def _text(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:]


def _has(matrix: h5py.Group, name: str) -> bool:
    return f"features/{name}" in matrix


def _genes(features: pd.DataFrame) -> pd.DataFrame:
    """Describe genes by their unique names; the interval spans their transcription start sites, `NA` where unknown."""
    index = pd.Index(features["name"].to_numpy())
    repeated = int(index.duplicated().sum())
    if repeated:
        logger.info("%d genes have the name of another; they were numbered, see var['gene_ids']", repeated)
    var = pd.DataFrame({"gene_ids": features["id"].to_numpy()}, index=make_index_unique(index))
    if "genome" in features:
        var["genome"] = pd.Categorical(features["genome"])
    if "interval" in features:
        var["interval"] = features["interval"].to_numpy()
        where = parse_intervals(var["interval"])
        known = where["start"].notna().all()
        var["chrom"] = pd.Categorical(where["chrom"])
        for column in ("start", "end"):
            var[column] = where[column].astype(np.int64 if known else "Int64")
    return var


def _peaks(features: pd.DataFrame) -> pd.DataFrame:
    var = pd.DataFrame(index=pd.Index(features["id"].to_numpy()))
    if "genome" in features:
        var["genome"] = pd.Categorical(features["genome"])
    if "interval" in features:
        var["interval"] = features["interval"].to_numpy()
    return var
