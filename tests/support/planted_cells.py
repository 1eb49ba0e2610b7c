"""Counts with types, donors and factors that drive genes, under names of the simulated sources."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scattered import IDS
from scipy import sparse

N_CELLS, N_GENES, N_TFS = 3000, 150, 4
TFS = IDS[:N_TFS]
TYPES = np.repeat(["common", "second", "rare"], [2400, 570, 30])


def planted() -> AnnData:
    """Cells of three types and four donors, where factor i drives the genes i, i + 4, ... of the first 40."""
    rng = np.random.default_rng(0)
    types = np.unique(TYPES, return_inverse=True)[1]
    donors = rng.integers(4, size=N_CELLS)
    level = rng.gamma(0.7, 3, (3, N_GENES))[types] * np.exp(0.3 * rng.standard_normal((4, N_GENES)))[donors]
    drive = np.exp(rng.standard_normal((N_CELLS, N_TFS)))
    level[:, :40] = 0.5 + 2 * drive[:, np.arange(40) % N_TFS]
    obs = pd.DataFrame({"cell_type": TYPES, "donor": np.array(list("abcd"))[donors]})
    obs.index = [f"cell{i}" for i in range(N_CELLS)]
    counts = sparse.csr_matrix(rng.poisson(level).astype(np.float32))
    return AnnData(counts, obs=obs, var=pd.DataFrame(index=IDS[:N_GENES]))
