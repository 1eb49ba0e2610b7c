from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from sctandem._checks import check_option, check_path, check_texts, check_type, listed
from sctandem._chromatin_keys import FragmentKeys
from sctandem.genome import match_chromosomes
from sctandem.genome._fragment_file import FragmentFile
from sctandem.genome._fragments import accounts, check_cells, count_in_regions
from sctandem.genome._place import arrows
from sctandem.genome._regions import read_regions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sctandem.genome._fragments import FragmentCounts

logger = logging.getLogger(__name__)

COUNTING = ("insertions", "fragments")
READ = ("file", "regions")


def count_fragments(
    fragments: str | Path,
    regions: str | Path | pd.DataFrame | AnnData,
    cells: Sequence[str] | AnnData | MuData | None = None,
    *,
    counting: Literal["insertions", "fragments"] = "insertions",
    read: Literal["file", "regions"] = "file",
) -> AnnData:
    r"""Count the fragments of every cell in regions of the genome, from a fragment file.

    Parameters
    ----------
    fragments
        The ``fragments.tsv.gz`` of Cell Ranger and others: chromosome, start, end (0-based, half open), barcode, and perhaps the
        number of duplicates, sorted, compressed by bgzip, with its index (``.tbi``; ``.csi`` for `read="file"`) beside it.
    regions
        Peaks, genes, tiles: a BED file, a table, or an AnnData, with coordinates 0-based and half open (see
        :func:`sctandem.genome.peak_coordinates`). They may overlap: each gets its own count. Regions of a BED file are named by
        its 4th column where all names in it differ, else ``chrom:start-end``.
    cells
        Barcodes of the cells, as in the file, or an object with them in its ``obs_names``. By default every barcode with at
        least one fragment in what is read, sorted; most of them are no cells.
    counting
        ``"insertions"``: each end of a fragment is a cut of the transposase, at ``start`` and at ``end - 1``, and counts where
        it lies in a region (``region.start <= cut < region.end``), so that a fragment inside a region counts 2.
        ``"fragments"``: a fragment counts 1 in every region that it overlaps. Duplicates (the 5th column) are no weight.
    read
        ``"file"``: the whole file. ``"regions"``: the index leads to the places of the regions, and only fragments that overlap a
        region are taken note of: quicker for up to some hundred regions, with the same counts.

    Returns
    -------
    A new object with the cells in the order given (or sorted) and the regions in the order given:

    `.X` : :class:`scipy.sparse.csr_matrix`
        Counts, int32.
    `.obs["n_fragments"]` : int64
        Fragments of the cell in the file, wherever they lie; with `read="regions"` those that overlap at least one region.
    `.var["chrom"]`, `.var["start"]`, `.var["end"]` : str, int64, int64
        The regions, with the chromosomes named as they were given.
    `.uns["count_fragments"]["params"]` : :class:`dict`
        The arguments and where the signal went: ``n_fragments`` (read) = ``n_fragments_in_cells`` +
        ``n_fragments_other_barcodes``; ``n_in_cells`` (fragments of the cells, or their insertions, two each) =
        ``n_in_regions`` + ``n_outside_regions``; ``n_counts`` (the sum of ``X``) exceeds ``n_in_regions`` by what counts in
        several regions. ``n_cells_found``: cells with a fragment. ``renamed_chromosomes``; ``n_regions_elsewhere``: regions on
        chromosomes that the file does not have; ``n_regions_beyond``: regions that start beyond the last fragment.

    Raises
    ------
    FileNotFoundError
        When the fragment file, its index or the file of regions is missing.
    TypeError
        When `fragments` is no path, or `cells` is one text instead of several.
    ValueError
        When the file is empty, not compressed by bgzip, truncated, not sorted, or a line is malformed (names it); when a region
        has impossible coordinates, names of regions or cells repeat, regions and file share no chromosome, no barcode is in the
        file (shows both sides), or nothing at all was counted.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> import pysam
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     text = Path(folder, "fragments.tsv")
    ...     _ = text.write_text("chr1\t100\t180\tAAAC-1\t1\nchr1\t150\t900\tTTTG-1\t2\n")
    ...     file = pysam.tabix_index(str(text), preset="bed", keep_original=True)
    ...     counts = td.pp.count_fragments(file, pd.DataFrame(index=["chr1:90-200"]))
    >>> counts.to_df()["chr1:90-200"].to_dict()
    {'AAAC-1': 2, 'TTTG-1': 1}

    Notes
    -----
    SnapATAC2 and the definition of the file format take ``end - 1`` for the second cut, as here. The peak matrices of Cell Ranger
    ARC count it at ``end``; the two differ where a fragment ends on the border of a peak (one count in 7,000 of a PBMC multiome).

    That a region reaches beyond the end of its chromosome cannot be seen from fragments; regions that start beyond the last
    fragment of the file (with `read="regions"` beyond the end of the index) are logged.

    One pass over the file in blocks of 4 MB, on one core: at most some 100 MB beside the counts that are not zero, 12 bytes each
    and as much again while they are put in order. A bar shows how far it is, in a terminal or notebook.
    """
    check_path(fragments, "fragments")
    check_option(counting, COUNTING, "counting")
    check_option(read, READ, "read")
    where = read_regions(regions)
    barcodes = _barcodes(cells)
    file = FragmentFile.open(Path(fragments))
    if not file.contigs:
        msg = f"{file.path} holds no fragments."
        raise ValueError(msg)
    known = _match(where, file)
    code = {name: i for i, name in enumerate(file.contigs)}
    chrom = where["chrom"].map({name: code[way] for name, way in known.items()}).fillna(-1).to_numpy(np.int64)
    insertions, only_regions = counting == "insertions", read == "regions"
    places = chrom, where["start"].to_numpy(), where["end"].to_numpy()
    found = count_in_regions(file, places, barcodes, insertions=insertions, only_regions=only_regions)
    beyond = (chrom >= 0) & (places[1] >= found.reached[chrom])
    if beyond.any():
        first = where.index[int(np.argmax(beyond))]
        logger.warning(
            "%d of %d regions start beyond the last fragment of their chromosome, the first is %r; are they of this assembly?",
            *(int(beyond.sum()), len(where), str(first)),
        )
    _check_found(found, file, where, barcodes, only_regions=only_regions)
    keys = FragmentKeys()
    params = {
        "fragments": file.path.name,
        "counting": counting,
        "read": read,
        **accounts(found, insertions=insertions),
        "n_cells_found": int((found.per_cell > 0).sum()),
        "renamed_chromosomes": arrows({old: new for old, new in known.items() if old != new}),
        "n_regions_elsewhere": int((chrom < 0).sum()),
        "n_regions_beyond": int(beyond.sum()),
        "version": version("sctandem"),
    }
    return AnnData(
        found.counts,
        obs=pd.DataFrame(
            {keys.n_fragments: found.per_cell}, index=pd.Index(found.barcodes if barcodes is None else barcodes)
        ),
        var=where[[keys.chrom, keys.start, keys.end]],
        uns={keys.key: {keys.params: params}},
    )


def _barcodes(cells: Any) -> list[str] | None:
    """Return the barcodes that are asked for, checked."""
    if cells is None:
        return None
    if isinstance(cells, AnnData | MuData):
        names, slot = cells.obs_names, "cells.obs_names"
    elif isinstance(cells, pd.DataFrame):
        names, slot = cells.index, "cells.index"
    else:
        if isinstance(cells, str | bytes | Path):
            msg = f"cells={cells!r} is one text; give a list of barcodes, or an AnnData."
            raise TypeError(msg)
        check_type(cells, Iterable, "cells", hint="Give a list of barcodes, or an AnnData.")
        names, slot = pd.Index(list(cells), dtype=object), "cells"
    check_texts(names, "a barcode of cells")
    if not len(names):
        msg = f"{slot} names no cells; cells=None takes every barcode of the file."
        raise ValueError(msg)
    if not names.is_unique:
        msg = f"{slot} has repeated barcodes: {listed(names[names.duplicated()].unique(), 3)}. Each may be there once."
        raise ValueError(msg)
    return names.tolist()


def _match(where: pd.DataFrame, file: FragmentFile) -> dict[str, str]:
    """Match the chromosomes of the regions to those of the file; log what is renamed and what is not there."""
    names = where["chrom"].unique()
    known = match_chromosomes(names, file.contigs)
    if not known:
        msg = (
            f"Regions and fragments share no chromosome: the regions are on {listed(names, 3)}, {file.path.name} has "
            f"{listed(file.contigs, 3)}. Name the chromosomes alike, or take the regions of this assembly."
        )
        raise ValueError(msg)
    renamed = {old: new for old, new in known.items() if old != new}
    if renamed:
        logger.warning("Chromosomes of the regions were read as those of the fragments: %s", arrows(renamed))
    elsewhere = ~where["chrom"].isin(known)
    if elsewhere.any():
        logger.warning(
            "%d of %d regions lie on chromosomes without fragments (%s) and count 0",
            *(int(elsewhere.sum()), len(where), listed(where["chrom"][elsewhere].unique(), 3)),
        )
    return known


def _check_found(
    found: FragmentCounts, file: FragmentFile, where: pd.DataFrame, barcodes: list[str] | None, *, only_regions: bool
) -> None:
    """Raise when nothing was read, no cell was found or nothing was counted."""
    what = "overlap a region" if only_regions else "are in the file"
    places = ", ".join(f"{row.chrom}:{row.start}-{row.end}" for row in where.head(3).itertuples())
    if not found.n_read:
        msg = f"{file.path}: no fragments {what}; the first regions are {places}."
        raise ValueError(msg)
    if barcodes is not None:
        check_cells(file, barcodes, found.per_cell, only_regions=only_regions)
    if not found.counts.nnz:
        msg = (
            f"Nothing was counted: none of the {found.n_in_cells} fragments of the cells in {file.path.name} "
            f"has to do with a region. The first regions are {places}. Are regions and fragments of the same assembly?"
        )
        raise ValueError(msg)
