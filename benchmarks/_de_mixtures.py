"""Titration of RNA mixtures (sc_mixology): is an estimated fold change as large as the true one?"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from scipy import sparse
from scipy.optimize import nnls

from benchmarks._de_data import DONOR, FOLDER, GROUP, TYPE
from benchmarks._de_runs import assessed

MIXTURES = FOLDER / "rna" / "sc_mixology_RNAmix.h5ad"
LINES = FOLDER / "rna" / "sc_mixology_cell_lines.h5ad"
FILES = (MIXTURES, LINES)
#: The lines, in the order of the columns of the file after the exchange.
NAMES = ("HCC827", "H1975", "H2228")
COLUMNS = ("H2228_prop", "H1975_prop", "HCC827_prop")
#: Fewest counts of a gene in the pure wells, so that the truth has next to no noise.
MIN_PURE = 500
#: Shares that differ by less are those of the same mixture.
NEAR = 0.02
PROTOCOL, AMOUNT = "protocol", "amount"
SETTINGS = {"all wells": None, "3 v 3": ("RNAmix_celseq2", (7.5, 15.0, 30.0))}


def wells() -> tuple[AnnData, np.ndarray]:
    """Read the wells and the true share of each line in each, wells x lines."""
    found = read_h5ad(MIXTURES)
    shares = found.obs[list(COLUMNS)].to_numpy(dtype=float)
    return found, shares / shares.sum(1, keepdims=True)


def evidence() -> pd.DataFrame:
    """Correlate pure wells (rows, as the file names them) with single cells of the lines (columns), genes around their mean."""
    found, cells = read_h5ad(MIXTURES), read_h5ad(LINES)
    genes = found.var_names.intersection(cells.var_names)
    cells = cells[cells.obs["demuxlet_cls"] == "SNG"]

    def profile(block: Any) -> np.ndarray:
        total = np.asarray(block.sum(0)).ravel()
        return np.log2(total / total.sum() * 1e6 + 5)

    pure = {c: profile(found[(found.obs[c] == 1).to_numpy(), genes].X) for c in COLUMNS}
    single = {n: profile(cells[(cells.obs["cell_type"] == n).to_numpy(), genes].X) for n in NAMES}
    middle = [np.mean(list(part.values()), axis=0) for part in (pure, single)]
    values = [[float(np.corrcoef(a - middle[0], b - middle[1])[0, 1]) for b in single.values()] for a in pure.values()]
    return pd.DataFrame(values, index=list(pure), columns=list(single))


def comparisons() -> list[tuple[np.ndarray, np.ndarray]]:
    """List pairs of mixtures: two lines at 0.68 against each other, and each against equal shares."""
    rich = [np.where(np.arange(3) == i, 0.68, 0.16) for i in range(3)]
    equal = np.full(3, 0.33)
    return [*itertools.combinations(rich, 2), *((equal, one) for one in rich)]


def slopes(setting: str, pair: int, *, deseq: bool = True) -> list[dict[str, Any]]:
    """Compare two mixtures; a row a method with the slope of estimated on true log2 fold changes."""
    found, shares = wells()
    low, high = (one / one.sum() for one in comparisons()[pair])
    inside = [np.abs(shares - one).max(1) < NEAR for one in (low, high)]
    chosen = inside[0] | inside[1]
    if SETTINGS[setting] is not None:
        protocol, amounts = SETTINGS[setting]
        chosen &= ((found.obs["batch"] == protocol) & found.obs["mRNA_amount"].isin(amounts)).to_numpy()
    true = true_changes(found, shares, low, high)
    part = found[chosen]
    obs = pd.DataFrame(index=part.obs_names)
    obs[GROUP] = np.where(inside[1][chosen], "B", "A")
    obs[PROTOCOL], obs[AMOUNT] = part.obs["batch"].astype(str), part.obs["mRNA_amount"].astype(str)
    obs[DONOR], obs[TYPE] = obs[GROUP] + " " + obs[PROTOCOL] + " " + obs[AMOUNT], "wells"
    adata = AnnData(sparse.csr_matrix(part.X, dtype=np.float32), obs=obs, var=part.var[[]])
    covariates = (PROTOCOL, AMOUNT) if obs[PROTOCOL].nunique() > 1 else ()
    rows = []
    table = assessed(adata, covariates=covariates, deseq=deseq, shrink=True)
    for method, one in table.groupby("method", sort=False):
        both = one.set_index("gene").join(true, how="inner").dropna(subset=list(true))
        row = {"method": method, "genes": len(both)}
        for column in ("log2fc", "shrunken"):
            if both[column].isna().any():
                continue
            for name in true:
                row[f"{column}, {name}"] = float(np.polyfit(both[name], both[column], 1)[0])
            row[f"{column}, error"] = float(np.sqrt(((both[column] - both["measured"]) ** 2).mean()))
        rows.append(row)
    return rows


def true_changes(found: AnnData, shares: np.ndarray, low: np.ndarray, high: np.ndarray) -> pd.DataFrame:
    """Give the log2 fold changes between two mixtures that the pure wells lead to expect, for genes with enough counts there.

    `nominal` takes the shares of the mixtures as they were pipetted, `measured` as a non-negative regression of the profile of each
    mixture on those of the pure wells finds them over all genes: lines differ in their content of messenger RNA.
    """
    pure = np.array([np.asarray(found.X[shares[:, i] > 0.99].sum(0)).ravel() for i in range(shares.shape[1])])
    kept = pure.sum(0) >= MIN_PURE
    level = (pure / pure.sum(1, keepdims=True))[:, kept]

    def measured(mixture: np.ndarray) -> np.ndarray:
        total = np.asarray(found.X[np.abs(shares - mixture).max(1) < NEAR].sum(0)).ravel()[kept]
        weight = np.sqrt(total.sum() / np.maximum(total, 1))
        share, _ = nnls((level * weight).T, total / total.sum() * weight)
        return share / share.sum()

    pairs = {"nominal": (low, high), "measured": (measured(low), measured(high))}
    changes = {name: np.log2(two @ level) - np.log2(one @ level) for name, (one, two) in pairs.items()}
    return pd.DataFrame(changes, index=found.var_names[kept])
