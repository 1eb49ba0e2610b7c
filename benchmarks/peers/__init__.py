"""Peers that predict expression from chromatin, all tuned on the training cells alone.

Every peer is `fit_predict(train, atac_test, *, seed) -> Prediction` with values on the scale of `train.rna` (log1p of counts per
10,000). All of them see the same: RNA and ATAC of the training cells and ATAC of the test cells.
"""

from benchmarks.peers._common import Peer, Prediction, TrainData
from benchmarks.peers._gene_score import GeneScore
from benchmarks.peers._multivi import MultiVI
from benchmarks.peers._smoothers import (
    AverageOfRegressions,
    KernelRidge,
    LinearKernelAllPeaks,
    MeanPerGene,
    NearestNeighbours,
    RidgeOnLSI,
)

__all__ = [
    "AverageOfRegressions",
    "GeneScore",
    "KernelRidge",
    "LinearKernelAllPeaks",
    "MeanPerGene",
    "MultiVI",
    "NearestNeighbours",
    "Peer",
    "Prediction",
    "RidgeOnLSI",
    "TrainData",
]
