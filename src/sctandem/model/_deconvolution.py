"""What a deconvolution of bulk samples returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Deconvolution(NamedTuple):
    """What :meth:`RSD.deconvolve` returns; tables are samples x types unless said otherwise.

    Attributes
    ----------
    fractions, low, high
        Shares of cells and the ends of their intervals of 90 %; rows of `fractions` add up to 1 - `unknown`.
    rna
        Shares of RNA.
    unknown
        Share of cells of no type of the reference, by sample.
    fit
        Correlation of measured and fitted log expression, by sample.
    signature
        Expected counts per million of each type on the platform of the bulk, genes of the bulk x types; NaN where the reference lacks a gene.
    platform
        Natural log of the factor of each gene of the bulk; NaN where none was fitted.
    contents
        Messenger RNA of a cell of each type that was assumed; relative.
    kind
        What the bulk was taken for, `"counts"` or `"tpm"`.
    expression
        Of each type, when asked for: expected counts per million, samples x genes of the bulk, float32; NaN where the reference lacks a gene.
    """

    fractions: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    rna: pd.DataFrame
    unknown: pd.Series
    fit: pd.Series
    signature: pd.DataFrame
    platform: pd.Series
    contents: dict[str, float]
    kind: str
    expression: dict[str, np.ndarray] | None
