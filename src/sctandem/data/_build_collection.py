"""Scattered files into one collection."""

from __future__ import annotations

import json
import shutil
import warnings
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._alone import alone
from sctandem._checks import check_option, check_path, check_type, listed, texts
from sctandem._progress import progress_bar
from sctandem._random import draw_seed
from sctandem._whole import disk_errors
from sctandem.data._collection import Collection, open_collection
from sctandem.data._copies import fill_from_copies, find_duplicates
from sctandem.data._manifest import (
    FORMAT,
    checksums,
    files_of,
    identity,
    make_root,
    put_in_place,
    read_manifest,
    work_folder,
    write_report,
)
from sctandem.data._plan import Plan, Settings, make_plan
from sctandem.data._shards import shard_name, units_of, write_shards
from sctandem.data._sources import Source, SourceError, find_sources
from sctandem.data._stage import Unit, stage
from sctandem.data._words import DEFAULT_COLUMNS, columns_to_find, read_texts, read_words
from sctandem.kernels._gene_names import ENSEMBL_PREFIXES, organism_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    from sctandem._random import RNG

_NEARLY = 0.88
"""Likeness of two names from which one is taken for the other misspelt: a zebra finch is no zebrafish, and a cat no rat."""


def build_collection(
    sources: str | PathLike[str] | Source | Sequence[str | PathLike[str] | Source],
    out: str | PathLike[str],
    *,
    organism: str,
    genes: str | Sequence[str] = "union",
    obs: Mapping[str, str | Sequence[str]] | None = None,
    words: pd.DataFrame | str | PathLike[str] | None = None,
    gene_names: pd.DataFrame | str | PathLike[str] | None = None,
    skip_broken: bool = False,
    resume: bool = False,
    rng: RNG = None,
) -> Collection:
    """Bring files of cells onto one axis of genes and one set of words, shuffle them, and write them as one collection.

    Parameters
    ----------
    sources
        Files (`.h5ad`, `.h5mu`, 10x `.h5`, zarr) or folders of them, or :class:`~sctandem.data.Source` where the reader has to be
        told more. They are only read. Of cells that two sources have, the one of the source named first is kept, with what only
        the others know of it; the files of a folder come by name.
    out
        Folder of the collection, which must not exist.
    organism
        Whose genes: `"human"`, `"mouse"`, ..., or in Latin. A source whose Ensembl ids are of another one counts as broken. Others than those whose
        ids are known here give a warning, for then that cannot be noticed.
    genes
        `"union"`, `"intersection"`, or the genes as Ensembl ids or symbols.
    obs
        Columns of the collection, and the names under which sources have them, the first that is there being taken, and at last its
        own: such as ``{"cell_type": ["celltype", "annotation"], "donor": "patient"}``. They replace the default columns, which `None` takes:
        `cell_type`, `tissue`, `disease`, `donor` and `assay` under their usual names, which the guide lists.
    words
        What words of the sources become: a table, or a CSV file, with the columns `column`, `word` and `becomes`, and `source` where
        that holds for one of them only. The collection has one of this form, `collection.words`: write it to a file, edit it,
        and build again with it.
    gene_names
        Which symbols are which genes: a table, or a CSV file, with the columns `id` and `symbol`. It goes before what the
        sources say themselves, whose `var` may hold both.
    skip_broken
        Whether to go on without sources that cannot be read; the others are then read anew where genes depended on them.
    resume
        Whether to go on with a build of the same name that was interrupted.
    rng
        Seed of the order of the cells. A build that is resumed keeps that of its beginning.

    Returns
    -------
    The collection, opened. Its reports say what became of each gene, word, duplicate and source.

    Raises
    ------
    FileNotFoundError
        When a source does not exist.
    FileExistsError
        When `out` exists, or an unfinished build of it and `resume` is `False`.
    SourceError
        When a source cannot be read; a ValueError.
    ValueError
        For arguments that do not fit, an organism whose name is nearly one that is known, or an unfinished build of other sources or settings.
    TypeError
        For arguments of another kind.
    OSError
        When the disk does not take it; `out` is then not there, and `resume` goes on once there is room.

    Notes
    -----
    *Genes.* Versions of Ensembl ids are taken off. A symbol becomes an id where the sources, or `gene_names`, know exactly one for
    it. Genes of one source that come to the same place are added up. Each is listed in `collection.mapping`.

    *Words.* Words that differ in case, spaces and signs become the commonest spelling; names of donors are kept apart by source;
    what is missing becomes `unknown`. Each is listed in `collection.words`.

    *Duplicates.* Cells with the same barcode (the letters of DNA in their name) and the same counts of the genes that both sources
    have, of which these must be at least 200, and 25 above zero in the cell; 10 where the sources have the same genes. Sources
    with more than 16 different sets of genes: the first 16 sets are compared. Where the cell that stays has no word in a column, it
    takes that of its copy; where both have one and they differ, its own holds and a warning tells. Each is listed in `collection.duplicates`.

    *Cost.* Two passes over the counts. Memory is bounded by blocks of 8 million entries (about 1 GB, whatever the number of
    cells); the disk holds 4 to 6 bytes an entry beside the result while it is built. Matrices stored by columns are gone through
    once a block, which is slow for large files.

    *Interruption.* The work lies in a hidden folder beside `out`; `out` appears when all of it is there. What was done before an
    interruption is kept where its checksum is right, and gives the same bytes.

    Examples
    --------
    >>> import numpy as np, pandas as pd, tempfile
    >>> from pathlib import Path
    >>> from anndata import AnnData
    >>> import sctandem as td
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name, genes in (("a", ["TP53", "MYC", "GATA1"]), ("b", ["MYC", "TP53", "SPI1"])):
    ...     counts = np.random.default_rng(0).poisson(1.0, (50, 3)).astype("float32")
    ...     AnnData(counts, var=pd.DataFrame(index=genes)).write_h5ad(folder / f"{name}.h5ad")
    >>> collection = td.data.build_collection(folder, folder / "both", organism="human", rng=0)
    >>> collection.shape
    (100, 4)
    """
    check_type(organism, str, "organism")
    check_path(out, "out")
    if isinstance(genes, str):
        check_option(genes, ("union", "intersection"), "genes")
    elif not (genes := texts(genes, "genes")):
        msg = "genes is an empty list: name genes, or take 'union' or 'intersection'."
        raise ValueError(msg)
    found = find_sources(sources)
    columns = columns_to_find(obs)
    for source in found:
        _check_declared(source.obs, columns, f"the Source {source.name!r} says words for")
    organism = organism_name(organism)
    if organism not in ENSEMBL_PREFIXES:
        if near := get_close_matches(organism.casefold(), ENSEMBL_PREFIXES, n=1, cutoff=_NEARLY):
            msg = f"organism={organism!r} is not known; did you mean {near[0]!r}?"
            raise ValueError(msg)
        warnings.warn(
            f"organism={organism!r} is not one of {listed(ENSEMBL_PREFIXES)}: sources with genes of another organism are not noticed.",
            stacklevel=2,
        )
    table = read_words(words)
    if table is not None:
        _check_declared(table["column"], columns, "words is about")
    settings = Settings(organism, genes, columns, table, _read_gene_names(gene_names))
    return build(found, Path(out), settings, skip_broken=skip_broken, resume=resume, rng=rng)


def build(
    sources: list[Source], out: Path, settings: Settings, *, skip_broken: bool, resume: bool, rng: RNG
) -> Collection:
    """Build a collection; see :func:`build_collection`."""
    work = work_folder(out)
    if out.exists() and not resume:
        msg = f"{out} already exists: name another folder, or delete it."
        raise FileExistsError(msg)
    if work.exists() and not resume:
        msg = f"An unfinished build lies in {work}: resume=True goes on with it, or delete that folder."
        raise FileExistsError(msg)
    journal = _read_journal(work)
    seed = journal["seed"] if journal else draw_seed(rng)
    broken: dict[str, str] = dict(journal["broken"]) if journal and skip_broken else {}
    while True:
        with progress_bar(len(sources), "Looking at sources", unit="source") as tick:
            plan = make_plan(sources, settings, broken, skip_broken=skip_broken, tick=tick)
        if out.exists():
            return _finished(out, work, plan)
        if journal and journal["digest"] != plan.digest:
            msg = (
                f"The unfinished build in {work} was of other sources or settings, or a source has changed since: delete that "
                "folder to begin anew."
            )
            raise ValueError(msg)
        left = f"{out} is not there yet; what was done lies in {work}, and resume=True goes on with it"
        with disk_errors(out, left), _alone(work):
            journal = {"digest": plan.digest, "seed": seed, "broken": broken}
            _write_journal(work, journal)
            try:
                with progress_bar(sum(s.n_cells for s in plan.sources), "Reading", unit="cell") as tick:
                    stage(plan, work, seed, tick)
            except SourceError as error:
                if not skip_broken:
                    error.add_note(_after_broken(work))
                    raise
                # genes may have come from it alone: all blocks are made anew
                broken[error.source] = str(error)
                shutil.rmtree(work / "units", ignore_errors=True)
                journal = None
                continue
            _finish(plan, work, out, seed, sources)
        shutil.rmtree(work, ignore_errors=True)
        return open_collection(out)


def _after_broken(work: Path) -> str:
    """Say what to do where a source turned out to be broken while it was read; take the folder away if nothing is in it."""
    if not any((work / "units").glob("*")):
        shutil.rmtree(work, ignore_errors=True)
        return "Leave it out, or pass skip_broken=True to go on without it."
    return (
        f"What was read before it is kept in {work}: pass skip_broken=True and resume=True to go on without it, or delete "
        "that folder to leave it out or mend it."
    )


def _finish(plan: Plan, work: Path, out: Path, seed: int, sources: list[Source]) -> None:
    """Second pass, reports, checksums, and into place."""
    whole, units = work / "whole", units_of(plan, work)
    make_root(whole)
    duplicates, filled = fill_from_copies(plan, units, find_duplicates(plan, units))
    n_cells = sum(source.n_cells for source in plan.sources) - len(duplicates)
    with progress_bar(n_cells, "Writing", unit="cell") as tick:
        write_shards(plan, work, seed, units=units, duplicates=duplicates, filled=filled, tick=tick)
    shards, n_counts, n_above = _shard_table(plan, whole)
    names = np.array([source.name for source in plan.sources], dtype=object)
    write_report(whole, "genes", plan.var.assign(n_counts=n_counts, n_cells=n_above).reset_index(names="gene"))
    write_report(whole, "mapping", plan.mapping)
    write_report(whole, "words", plan.words)
    named = duplicates.assign(
        source=names[duplicates["source"].to_numpy(dtype=np.int64)],
        kept_source=names[duplicates["kept_source"].to_numpy(dtype=np.int64)],
    )
    write_report(whole, "duplicates", named)
    write_report(whole, "sources", _source_table(plan, units, duplicates, sources))
    with progress_bar(sum(p.stat().st_size for p in files_of(whole)), "Checksums", unit="B") as tick:
        files = checksums(whole, tick)
    manifest = {
        "format": FORMAT,
        "organism": plan.settings.organism,
        "n_obs": int(sum(shard["n_obs"] for shard in shards)),
        "n_vars": len(plan.var),
        "n_entries": int(sum(shard["n_entries"] for shard in shards)),
        "columns": list(plan.settings.columns),
        "seed": seed,
        "digest": plan.digest,
        "identity": identity(files),
        "shards": shards,
        "files": files,
    }
    put_in_place(whole, out, manifest)


def _shard_table(plan: Plan, whole: Path) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Return name, cells and entries of each shard, and counts and cells of each gene over all."""
    import anndata
    import zarr

    shards, n_counts = [], np.zeros(len(plan.var), dtype=np.int64)
    n_cells = np.zeros(len(plan.var), dtype=np.int64)
    for bucket in range(plan.n_buckets):
        group = zarr.open_group(whole / shard_name(bucket), mode="r")
        n_counts += anndata.io.read_elem(group["var/n_counts"])
        n_cells += anndata.io.read_elem(group["var/n_cells"])
        n_obs = group["X/indptr"].shape[0] - 1  # type: ignore[union-attr]
        shards.append({"name": shard_name(bucket), "n_obs": n_obs, "n_entries": group["X/data"].shape[0]})  # type: ignore[union-attr]
    return shards, n_counts, n_cells


def _source_table(
    plan: Plan, units: list[tuple[int, Unit]], duplicates: pd.DataFrame, sources: list[Source]
) -> pd.DataFrame:
    """Say of each source what was read of it."""
    read = {source.name: number for number, source in enumerate(plan.sources)}
    left_out = duplicates["source"].value_counts()
    rows = []
    for source in sources:
        name = str(source.name)
        row: dict[str, Any] = {"source": name, "path": str(source.path), "status": "read"}
        if name not in read:
            rows.append({**row, "status": f"broken: {plan.broken[name]}"})
            continue
        number = read[name]
        found, own = plan.sources[number], [unit for i, unit in units if i == number]
        outside = sum(unit.table["outside"] for unit in own)
        totals = np.concatenate([unit.read("n_counts") for unit in own])
        n_duplicates = int(left_out.get(number, 0))
        row |= {
            "counts": found.slot,
            "n_cells": found.n_cells,
            "n_duplicates": n_duplicates,
            "n_kept": found.n_cells - n_duplicates,
            "n_without_counts": int((totals == 0).sum()),
            "n_genes": len(np.unique(found.positions[found.positions >= 0])),
            "counts_left_out": outside / max(1.0, outside + totals.sum()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _check_declared(named: Iterable[str], columns: Mapping[str, Any], what: str) -> None:
    """Check that the collection has the columns that something names; what is said of others would be lost."""
    if unknown := sorted(set(named) - set(columns)):
        default = "" if set(columns) >= set(DEFAULT_COLUMNS) else "obs replaces the default columns, "
        declared = ", ".join(f"{name!r}: {name!r}" for name in unknown)
        msg = (
            f"{what} {listed(unknown)}, which the collection has no column for; it has {listed(columns)}: {default}"
            f"declare others by obs={{{declared}}}."
        )
        raise ValueError(msg)


def _finished(out: Path, work: Path, plan: Plan) -> Collection:
    """Open what was finished before, if it is what is asked for."""
    if read_manifest(out)["digest"] != plan.digest:
        msg = f"{out} already exists, and was built of other sources or settings: name another folder, or delete it."
        raise FileExistsError(msg)
    shutil.rmtree(work, ignore_errors=True)
    return open_collection(out)


def _read_gene_names(gene_names: Any) -> pd.DataFrame | None:
    """Read the table of ids and symbols."""
    if gene_names is None:
        return None
    table = gene_names if isinstance(gene_names, pd.DataFrame) else read_texts(gene_names, "gene_names")
    if not {"id", "symbol"} <= set(table.columns):
        msg = f"gene_names needs the columns 'id' and 'symbol'; it has {list(table.columns)}."
        raise ValueError(msg)
    table = table[["id", "symbol"]].dropna().astype(str)
    return table[(table != "").all(axis=1)]


def _read_journal(work: Path) -> dict[str, Any] | None:
    """Read what is known of an unfinished build; nothing where it had not begun."""
    path = work / "build.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _write_journal(work: Path, journal: dict[str, Any]) -> None:
    partial = work / "build.json.part"
    partial.write_text(json.dumps(journal))
    partial.replace(work / "build.json")


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Refuse to build where another process is building; make the folder."""
    work.mkdir(parents=True, exist_ok=True)
    with alone(work / "lock", f"Another process is building in {work}: wait for it."):
        yield
