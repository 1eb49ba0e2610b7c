from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from sctandem._compat import installed, new_mudata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mudata import MuData

GENES = pd.DataFrame(
    {
        "chrom": ["chr1", "chr1", "chr2"],
        "start": [10_000, 30_000, 5_000],
        "end": [12_000, 40_000, 9_000],
        "strand": list("+-+"),
    },
    index=["A", "B", "C"],
)
PEAKS = ["chr1:9000-9500", "chr1:10000-10200", "chr1:39000-39500", "chr1:45000-45100", "chr2:5000-5300", "chr3:1-50"]


@pytest.fixture
def make() -> Callable[..., MuData]:
    """A small multiome whose windows can be worked out by hand."""

    def made(
        form: Callable[[np.ndarray], Any] = sparse.csr_matrix, genes: list[str] | None = None, **changes: Any
    ) -> MuData:
        rng = np.random.default_rng(0)
        genes, peaks = genes or ["A", "B", "C"], changes.get("peaks", PEAKS)
        cells = pd.DataFrame(index=[f"cell{i}" for i in range(5)])
        counts = {n: rng.poisson(1.0, (5, n)).astype(np.float32) for n in (len(genes), len(peaks))}
        rna = AnnData(form(counts[len(genes)]), obs=cells.copy(), var=pd.DataFrame(index=genes))
        atac = AnnData(form(counts[len(peaks)]), obs=cells.copy(), var=pd.DataFrame(index=peaks))
        return new_mudata({"rna": rna, "atac": atac})

    return made


@pytest.fixture
def genes() -> pd.DataFrame:
    return GENES.copy()


@pytest.fixture
def contents() -> Callable[[MuData], dict[str, Any]]:
    """Everything an object holds, copied, for a comparison before and after."""

    def read(mdata: MuData) -> dict[str, Any]:
        held: dict[str, Any] = {"uns": deepcopy(dict(mdata.uns)), "obs": mdata.obs.copy(), "names": list(mdata.mod)}
        for name, adata in mdata.mod.items():
            values = adata.X[:] if adata.isbacked else adata.X
            held[name] = {
                "X": values.toarray() if sparse.issparse(values) else np.array(values),
                "obs": adata.obs.copy(),
                "var": adata.var.copy(),
                "uns": deepcopy(dict(adata.uns)),
                "varm": sorted(adata.varm),
                "layers": sorted(adata.layers),
            }
        return held

    return read


@pytest.fixture
def same() -> Callable[[Any, Any], None]:
    """Compare what `contents` has read."""

    def compare(before: Any, after: Any) -> None:
        assert type(before) is type(after)
        if isinstance(before, dict):
            assert list(before) == list(after)
            for key in before:
                compare(before[key], after[key])
        elif isinstance(before, pd.DataFrame):
            pd.testing.assert_frame_equal(before, after)
        elif isinstance(before, np.ndarray):
            np.testing.assert_array_equal(before, after)
        else:
            assert before == after

    return compare


@pytest.fixture
def reread() -> Iterator[Callable[..., MuData]]:
    """Write to a file and read it back; files that are backed are closed at the end of the test."""
    opened: list[MuData] = []

    def read(mdata: MuData, path: Path, **how: Any) -> MuData:
        zarr = path.suffix == ".zarr"
        (mdata.write_zarr if zarr else mdata.write_h5mu)(path)
        if installed("mudata", "0.4"):
            found = mudata.read_zarr(path) if zarr else mudata.read_h5mu(path, **how)
        else:
            with mudata.set_options(pull_on_update=False):
                found = mudata.read_zarr(path) if zarr else mudata.read_h5mu(path, **how)
        opened.append(found)
        return found

    yield read
    for mdata in opened:
        if mdata.isbacked:
            mdata.file.close()
