"""What the demonstration needs of a multiome: the data, groups of cells, genes to hide, sets of genes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.peers import TrainData
from benchmarks.peers._common import log1p_cp10k

if TYPE_CHECKING:
    from collections.abc import Collection

    from anndata import AnnData
    from mudata import MuData
    from scipy import sparse

PREFERRED = ("cell_type", "celltype", "cell_types", "annotation", "leiden", "louvain", "cluster", "clusters")
MOST_GROUPS = 20
HIDDEN_SHARE, MOST_CHROMOSOMES, ENOUGH_GENES = 0.1, 2, 100
FEW_GENES = 5000
#: Fewer windows than this say little about how windows work.
FEW_WINDOWS = 300


def read(
    path: str, *, rna: str = "rna", atac: str = "atac", layer: str | None = None, genes: str | None = None
) -> MuData:
    """Read a file of the user, with counts in `X`, and say at once what is missing for what follows."""
    import sctandem as td
    from sctandem.genome._coordinates import find_columns

    named = Path(path).suffix == ".h5mu"
    if named:
        check_names(path, rna, atac)
    mdata = td.io.read_multiome(path, modalities={"rna": rna, "atac": atac} if named else None)
    expression = mdata["rna"]
    if layer is not None:
        if layer not in expression.layers:
            msg = f"the expression has no layer {layer!r}; it has {_layers(expression)}. Say another with LAYER= (--layer)."
            raise KeyError(msg)
        expression.X = expression.layers[layer].copy()
    check_that_counts(path, mdata, layer)
    if genes is None and find_columns(expression.var) is None and "interval" not in expression.var:
        msg = (
            f"{path} does not say where its genes lie: rna.var has {list(expression.var.columns) or 'no columns'}. Give an "
            "annotation of the assembly of the peaks: make demo DATA=... GENES=genes.gtf (or .bed; --genes on the command line)."
        )
        raise ValueError(msg)
    return mdata


def _layers(adata: AnnData) -> list[str]:
    """List the layers; anndata 0.13 has X among them, as None."""
    return [name for name in adata.layers if name is not None]


def check_names(path: str, rna: str, atac: str) -> None:
    """Refuse names that no modality of an `.h5mu` has, all at once; a file that is no `.h5mu` is left to its reader."""
    import h5py

    if not h5py.is_hdf5(path):
        return
    with h5py.File(path) as file:
        there = sorted(file.get("mod", {}))
    roles = (("RNA=", rna, "the expression"), ("ATAC=", atac, "the accessibility"))
    absent = [(option, name, what) for option, name, what in roles if name not in there]
    if not absent:
        return
    msg = (
        f"{path} has no modality {' and none '.join(f'{name!r} for {what}' for _, name, what in absent)}; it has "
        f"{', '.join(map(repr, there)) or 'none'}. Name what holds {' and '.join(what for *_, what in absent)}: make demo "
        f"DATA={Path(path).name} {' '.join(f'{option}...' for option, *_ in absent)} "
        f"({', '.join('--' + option[:-1].lower() for option, *_ in absent)} on the command line)."
    )
    raise ValueError(msg)


def check_that_counts(path: str, mdata: MuData, layer: str | None) -> None:
    """Refuse what is not counts before anything is computed from it, and say which layers hold some."""
    from sctandem._checks import check_counts

    expression = mdata["rna"]
    try:
        check_counts(expression.X, "the expression")
    except ValueError as error:
        where = "X" if layer is None else f"the layer {layer!r}"
        layers = _layers(expression)
        holding = [name for name in layers if _counts(expression.layers[name])]
        msg = (
            f"{path}: {where} of {str(error).partition('. ')[0]}. The model learns from raw counts; the expression has "
            f"{'the layers ' + ', '.join(map(repr, layers)) if layers else 'no layers'}"
        )
        if holding:
            msg += f". Counts are in {', '.join(map(repr, holding))}: make demo DATA=... LAYER={holding[0]} (--layer {holding[0]} on the command line)."
        else:
            msg += ", and none with counts. Write the counts to a layer of it and name that with LAYER= (--layer)."
        raise ValueError(msg) from None
    try:
        check_counts(mdata["atac"].X, "the accessibility")
    except ValueError as error:
        msg = f"{path}: X of {str(error).partition('. ')[0]}. The model learns from raw counts of the peaks: write them to its X."
        raise ValueError(msg) from None


def _counts(matrix: sparse.csr_matrix | np.ndarray) -> bool:
    """Whether a matrix holds counts."""
    from sctandem._checks import check_counts

    try:
        check_counts(matrix, "")
    except ValueError:
        return False
    return True


def check_column(mdata: MuData, column: str | None, option: str) -> None:
    """Refuse a column that no table of cells has."""
    tables = (mdata.obs, mdata["rna"].obs, mdata["atac"].obs)
    if column is None or any(column in table for table in tables):
        return
    known = sorted({str(name) for table in tables for name in table})
    msg = f"no table of cells has the column {column!r} that {option} names; there are {', '.join(known) or 'none'}."
    raise KeyError(msg)


def choose_groups(mdata: MuData, column: str | None = None) -> str:
    """Name the column whose groups of cells are drawn: the one given, a categorical one, or clusters made here."""
    check_column(mdata, column, "--groupby")
    tables = (mdata.obs, mdata["rna"].obs, mdata["atac"].obs)
    if column is None:
        usable = [name for table in tables for name in table if _is_grouping(table[name])]
        column = next((name for name in PREFERRED if name in usable), usable[0] if usable else None)
    if column is None:
        column = "leiden"
        mdata.obs[column] = _clusters(mdata)
    elif column not in mdata.obs:
        mdata.obs[column] = next(table[column] for table in tables if column in table).reindex(mdata.obs_names)
    values = mdata.obs[column]
    if not isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(str).astype("category")
    mdata.obs[column] = values.cat.rename_categories(str)
    return column


def note_on_sizes(mdata: MuData, size_factor: str | None, hidden: Collection[str] = ()) -> str:
    """Say what the counts of a cell are divided by, and warn where this is likely to be wrong."""
    if size_factor is not None:
        return f"Library sizes are read from {size_factor!r}."
    n_genes = mdata["rna"].n_vars
    which = "of the genes that are not held out" if len(hidden) else "of the cells"
    if n_genes >= FEW_GENES or "truth" in mdata.uns:
        return f"Library sizes are the total counts {which}."
    which = (
        f"over the {n_genes - len(hidden):,} genes that are not held out" if len(hidden) else f"over {n_genes:,} genes"
    )
    return (
        f"Library sizes are the total counts {which}. If these are a selection, name a column that holds the "
        "totals over all genes: make demo DATA=... SIZE_FACTOR=column."
    )


def cautions(mdata: MuData) -> list[str]:
    """Say what the windows are that the results rest on, where they are not what they should be."""
    from sctandem.genome._place import ENOUGH_STARTS, LEAST_NEAR

    said = []
    found = mdata.uns["gene_windows"]
    how, n = found["params"], int((found["genes"]["n_peaks"] > 0).sum())
    if how["renamed_chromosomes"]:
        said.append(f"Chromosomes of the genes were renamed as in the peaks: {how['renamed_chromosomes']}.")
    if how["n_annotated"] < how["n_genes"] / 2:
        said.append(
            f"CAUTION: only {how['n_annotated']:,} of {how['n_genes']:,} genes are in the annotation. Are the genes named as there?"
        )
    if how["share_near_start"] < LEAST_NEAR and n >= ENOUGH_STARTS:
        said.append(
            f"CAUTION: only {how['share_near_start']:.0%} of the genes have a peak within 1 kb of their start; are genes and peaks of the "
            "same assembly? With the right annotation it is more than half of them. If it is another, nothing below means anything."
        )
    if how["n_without_strand"]:
        said.append(
            f"The strand of {how['n_without_strand']:,} of {how['n_annotated']:,} genes is not known. They are read as if on +, so that "
            "upstream and downstream are mixed up for about half of them, and their figures show no direction. Give an annotation of "
            "the assembly of the peaks to mend it: make demo DATA=... GENES=genes.gtf (or .bed)."
        )
    if n < FEW_WINDOWS:
        said.append(
            f"CAUTION: only {n:,} genes have peaks in their windows. What is said of how well each gene is predicted holds: it is "
            "measured in held-out cells. The links are not reliable: how the order and the distance of peaks matter is learned from "
            "genes, and their false discovery rates from windows handed to other genes; both want some hundreds. Genes on hidden "
            "chromosomes, if any, say little too. Give all expressed genes, not a selection, if you have them."
        )
    return said


def library_size(mdata: MuData, size_factor: str | None, hidden: Collection[str] = ()) -> np.ndarray:
    """Give the library size of each cell: as in the model, totals leave the hidden genes out."""
    rna = mdata["rna"]
    if size_factor is None:
        return np.asarray(rna.X[:, ~rna.var_names.isin(list(hidden))].sum(axis=1), dtype=np.float64).ravel()
    table = rna.obs if size_factor in rna.obs else mdata.obs
    return table[size_factor].to_numpy(dtype=np.float64)


def genes_to_hide(mdata: MuData) -> tuple[list[str], list[str]]:
    """Choose one or two whole chromosomes whose genes the model does not learn from, about a tenth of all genes.

    Returns the chromosomes and the genes; both are empty where there are too few genes to spare.
    """
    placed = mdata.uns["gene_windows"]["genes"]
    placed = placed[placed["n_peaks"] > 0]
    sizes = placed["chrom"].astype(str).value_counts()
    wanted = HIDDEN_SHARE * len(placed)
    chosen: list[str] = []
    for chrom in sorted(sizes.index, key=_chromosome_order, reverse=True):
        # not much less than half of what is wanted each, and never above a fifth: windows are learned from genes
        if sizes[chrom] >= wanted / MOST_CHROMOSOMES and sizes[[*chosen, chrom]].sum() <= 2 * wanted:
            chosen.append(chrom)
        if sizes[chosen].sum() >= wanted or len(chosen) == MOST_CHROMOSOMES:
            break
    if len(placed) < ENOUGH_GENES:
        return [], []
    return sorted(chosen, key=_chromosome_order), placed.index[placed["chrom"].astype(str).isin(chosen)].tolist()


def train_data(mdata: MuData, cells: np.ndarray, *, size_factor: str | None, hidden: Collection[str] = ()) -> TrainData:
    """Give what the baselines may see of the training cells."""
    rna, atac = mdata["rna"], mdata["atac"]
    return TrainData(
        counts=rna.X[cells],
        atac=atac.X[cells],
        library_size=library_size(mdata, size_factor, hidden)[cells],
        genes=rna.var_names,
        peaks=atac.var_names,
        pairs=mdata.uns["gene_windows"]["pairs"],
    )


def programmes(mdata: MuData, groupby: str, *, size_factor: str | None, n_genes: int = 30) -> dict[str, list[str]]:
    """Collect sets of genes: the phases of the cell cycle where they are measured, and what marks each group of cells.

    The markers are those with the largest t-statistic in the training cells, so that held-out cells can judge them.
    """
    from sctandem.tl._cell_cycle import CELL_CYCLE

    rna = mdata["rna"]
    train = ~mdata.obs["tape_heldout"].to_numpy(dtype=bool)
    sets = {name: [gene for gene in genes if gene in rna.var_names] for name, genes in CELL_CYCLE.items()}
    values = log1p_cp10k(rna.X[train], library_size(mdata, size_factor)[train])
    groups = mdata.obs[groupby].to_numpy()[train]
    n_markers = min(n_genes, rna.n_vars // 4)
    for group in pd.unique(groups):
        inside, outside = values[groups == group], values[groups != group]
        if len(inside) < 3 or len(outside) < 3:
            continue
        error = np.sqrt(inside.var(axis=0) / len(inside) + outside.var(axis=0) / len(outside))
        score = (inside.mean(axis=0) - outside.mean(axis=0)) / np.maximum(error, 1e-6)
        best = np.argsort(-score)[:n_markers]
        sets[f"markers of {group}"] = rna.var_names[best[score[best] > 0]].tolist()
    return {name: genes for name, genes in sets.items() if len(genes) >= 5}


def _is_grouping(values: pd.Series) -> bool:
    """Whether a column says groups of cells worth drawing."""
    categorical = isinstance(values.dtype, pd.CategoricalDtype | pd.StringDtype) or values.dtype == object
    return bool(categorical and 2 <= values.nunique() <= MOST_GROUPS)


def _clusters(mdata: MuData) -> pd.Series:
    """Cluster the cells by their chromatin."""
    import anndata as ad
    import scanpy as sc

    from benchmarks.peers._embedding import lsi

    space = ad.AnnData(lsi(mdata["atac"].X, "TF-IDF", seed=0, n_components=min(30, mdata["atac"].n_vars - 1)))
    sc.pp.neighbors(space, use_rep="X")
    sc.tl.leiden(space, flavor="igraph", n_iterations=2, directed=False, random_state=0)
    return space.obs["leiden"].set_axis(mdata.obs_names)


def _chromosome_order(chrom: str) -> tuple[int, str]:
    """Sort chromosomes by number, the others behind."""
    digits = chrom.removeprefix("chr")
    return (int(digits), "") if digits.isdigit() else (1000, chrom)
