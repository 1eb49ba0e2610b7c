"""How the functions of `td.pp` that take cells are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sctandem as td
from benchmarks import _scaling_data as data

if TYPE_CHECKING:
    from pathlib import Path

REGIONS = [(100_000 * i, 100_000 * i + 1_000) for i in range(30)]


def _fragments(folder: Path, n: int) -> tuple[Path, Any]:
    import pandas as pd

    return data.fragment_file(folder, n), pd.DataFrame(REGIONS, columns=["start", "end"]).assign(chrom="chr1")


CALLS = {
    "pp.count_fragments": (_fragments, lambda given: td.pp.count_fragments(*given)),
    "pp.embed_genes": (data.cells, lambda adata: td.pp.embed_genes(adata, n_dims=20, rng=0)),
    "pp.hierarchical_weights": (data.cells, lambda adata: td.pp.hierarchical_weights(adata, rng=0)),
    "pp.long_tail_split": (
        data.cells,
        lambda adata: td.pp.long_tail_split(adata, "cell_type", donor_key="donor", sizes=(0.5, 0.25, 0.25), rng=0),
    ),
}

NOT_MEASURED = {
    "pp.chipexo_sites": "reads tags and peaks, not cells",
    "pp.embed_kmers": "reads the sequence of peaks, not cells",
    "pp.gene_windows": "pairs genes with peaks, without cells",
    "pp.nucleotide_spectrum": "reads the sequence of peaks, not cells",
    "pp.sequence_features": "reads the sequence of peaks, not cells",
}
