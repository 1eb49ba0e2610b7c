"""Gene matrices of SnapATAC2 and muon from a fragment file; both are optional."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence


def installed(package: str) -> bool:
    """Say whether a peer is there; what needs one that is not is reported as not measured."""
    return importlib.util.find_spec(package) is not None


def write_gtf(genes: pd.DataFrame, path: Path) -> None:
    """Write genes (`chrom`, `start`, `end`, `strand`, named by the index) as a GTF of one transcript a gene."""
    with path.open("w") as file:
        for name, row in genes.iterrows():
            place = f"{row['chrom']}\tbed\t{{}}\t{row['start'] + 1}\t{row['end']}\t.\t{row['strand']}\t.\t"
            names = f'gene_id "{name}"; gene_name "{name}";'
            file.write(place.format("gene") + names + "\n")
            names += f' transcript_id "{name}.1"; transcript_name "{name}.1";'
            file.write(place.format("transcript") + names + "\n")
            file.write(place.format("exon") + names + "\n")


def snapatac2_import(fragments: Path, cells: Sequence[str], sizes: dict[str, int]):
    """Read the fragments, which SnapATAC2 does before anything else."""
    import snapatac2

    with _quiet():
        return snapatac2.pp.import_fragments(
            fragments, sizes, min_num_fragments=0, sorted_by_barcode=False, whitelist=list(cells), n_jobs=1
        )


def snapatac2_matrix(data, gtf: Path, strategy: str, cells: Sequence[str], genes: pd.Index) -> sparse.csr_matrix:
    """Count cut sites in genes and 2 kb before them (SnapATAC2's defaults but for the strategy), in the given order."""
    import snapatac2

    with _quiet():
        found = snapatac2.pp.make_gene_matrix(data, gtf, counting_strategy=strategy)
    rows, columns = pd.Index(found.obs_names).get_indexer(cells), pd.Index(found.var_names).get_indexer(genes)
    full = sparse.csr_matrix(found.X[:], dtype=np.float64)
    placed = sparse.lil_matrix((len(cells), len(genes)))
    here, there = np.flatnonzero(rows >= 0), np.flatnonzero(columns >= 0)
    placed[np.ix_(here, there)] = full[rows[here]][:, columns[there]]
    return placed.tocsr()


def muon_matrix(fragments: Path, cells: Sequence[str], regions: pd.DataFrame) -> sparse.csr_matrix:
    """Count fragments in regions, as muon does (`count_reads=False`), cells x regions."""
    import muon
    from anndata import AnnData

    data = AnnData(obs=pd.DataFrame(index=list(cells)), uns={"files": {"fragments": str(fragments)}})
    features = regions.rename(columns={"chrom": "Chromosome", "start": "Start", "end": "End"})
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = muon.atac.tl.count_fragments_features(
            data, features[["Chromosome", "Start", "End"]], extend_upstream=0, extend_downstream=0, count_reads=False
        )
    counts = sparse.csr_matrix(found.X, dtype=np.float64)
    counts.sum_duplicates()
    return counts


@contextlib.contextmanager
def _quiet():
    """Keep progress bars off the screen, and temporary files together."""
    with Path(os.devnull).open("w") as nowhere, tempfile.TemporaryDirectory() as folder:
        before = tempfile.tempdir
        tempfile.tempdir = folder
        try:
            with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
                yield
        finally:
            tempfile.tempdir = before
