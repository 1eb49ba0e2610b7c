"""The one reader of genomes: the bases of peaks as codes, from a FASTA file that may be compressed."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sctandem._check_files import existing_file
from sctandem.genome._chromosomes import match_chromosomes
from sctandem.genome._sequence_stream import not_fasta

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from pyfaidx import Faidx

#: Code of every letter that is not A, C, G or T.
UNKNOWN = 4
_CODES = np.full(256, UNKNOWN, dtype=np.uint8)
for _code, _base in enumerate("ACGT"):
    _CODES[[ord(_base), ord(_base.lower())]] = _code

_GZIP = b"\x1f\x8b"


def encode(bases: str) -> np.ndarray:
    """Turn bases into codes, uint8: A, C, G, T of either case as 0 to 3, all else as `UNKNOWN`."""
    return _CODES[np.frombuffer(bases.encode("latin-1"), dtype=np.uint8)]


@dataclass(frozen=True, slots=True)
class PeakSequences:
    """The bases of peaks, one peak after the other.

    Attributes
    ----------
    codes
        0 to 3 for A, C, G and T in either case, 4 for every other letter, uint8.
    offsets
        Where each peak starts in `codes`, and the end of the last, int64, (peaks + 1,).
    """

    codes: np.ndarray
    offsets: np.ndarray

    @property
    def unknown(self) -> float:
        """Share of the bases that are not A, C, G or T."""
        return float(np.mean(self.codes == UNKNOWN)) if self.codes.size else 0.0


def read_sequences(where: pd.DataFrame, fasta: str | Path) -> PeakSequences:
    """Read the bases of peaks, in their order.

    Parameters
    ----------
    where
        From `peak_coordinates`.
    fasta
        The genome, FASTA, plain or compressed with gzip or bgzip. Nothing is written beside it: an index (``.fai``, and
        ``.gzi`` with bgzip) that is there and not older than the file is used, else one is made in a temporary folder.
        A compressed file without indices is unpacked there.

    Returns
    -------
    The sequences.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no FASTA, or cut off, when a peak lies on a chromosome that it does not hold or reaches beyond
        its end; names the peak.
    """
    path = existing_file(fasta, "fasta")
    start, end = where["start"].to_numpy(), where["end"].to_numpy()
    offsets = np.concatenate([[0], np.cumsum(end - start)]).astype(np.int64)
    with _opened(path) as genome:
        lengths = {name: record.rlen for name, record in genome.index.items()}
        rows_of = {str(chrom): rows for chrom, rows in where.groupby("chrom", sort=False).indices.items()}
        names = _match(rows_of, lengths, where.index, path)
        for chrom, rows in rows_of.items():
            _check_ends(where.iloc[rows], lengths[names[chrom]], names[chrom], path)
        codes = np.empty(offsets[-1], dtype=np.uint8)
        for chrom, rows in rows_of.items():
            # in the order of the file, which is the quick way through it
            for row in rows[np.argsort(start[rows], kind="stable")]:
                bases = genome.fetch(names[chrom], int(start[row]) + 1, int(end[row]))
                if len(bases) != end[row] - start[row]:
                    msg = f"{path.name}.fai does not fit {path.name}; delete it, or make it anew with `samtools faidx`."
                    raise ValueError(msg)
                codes[offsets[row] : offsets[row + 1]] = encode(bases)
    return PeakSequences(codes, offsets)


@contextmanager
def _opened(path: Path) -> Iterator[Faidx]:
    """Open a genome, with what has to be made for it in a temporary folder."""
    with path.open("rb") as handle:
        packed = handle.read(2) == _GZIP
    suffixes = (".fai", ".gzi") if packed else (".fai",)
    indices = [path.with_name(path.name + suffix) for suffix in suffixes]
    known = all(index.is_file() and index.stat().st_mtime >= path.stat().st_mtime for index in indices)
    with tempfile.TemporaryDirectory(prefix="sctandem-") as folder:
        source = path
        if packed and not (known and path.suffix in {".gz", ".bgz"}):
            # without its indices a compressed file has to be read whole, and unpacking takes a third of indexing it
            source, known = _unpacked(path, Path(folder, "genome.fa")), False
        elif not packed and path.suffix in {".gz", ".bgz"}:  # pyfaidx goes by the name
            source, known = Path(folder, "genome.fa"), False
            source.symlink_to(path.resolve())
        _check_start(source, path, packed=packed and source == path)
        genome = _index(source, path, indices[0] if known else Path(folder, "genome.fa.fai"))
        try:
            yield genome
        finally:
            genome.close()


def _unpacked(path: Path, target: Path) -> Path:
    """Unpack a gzipped file."""
    try:
        with gzip.open(path, "rb") as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = f"{path} is cut off or damaged: it does not unpack ({error}). Copy or download it again."
        raise ValueError(msg) from error
    return target


def _check_start(source: Path, path: Path, *, packed: bool) -> None:
    """Raise for a file that does not start like FASTA."""
    with gzip.open(source, "rb") if packed else source.open("rb") as handle:
        for line in handle:
            if line.startswith(b">"):
                return
            if line.strip() and not line.startswith(b";"):
                raise not_fasta(path, line)
    msg = f"{path} holds no sequence."
    raise ValueError(msg)


def _index(source: Path, path: Path, index: Path) -> Faidx:
    """Open with pyfaidx, the index at the place given; one that is missing there is made."""
    from pyfaidx import Faidx, FastaIndexingError

    try:
        return Faidx(str(source), indexname=str(index), as_raw=True, strict_bounds=True)
    except FastaIndexingError as error:
        msg = (
            f"{path} cannot be indexed: {str(error).replace(str(source), path.name)} Lines of a sequence must have one "
            f"length, except the last: `seqkit seq -w 60 {path.name}` writes it so."
        )
        raise ValueError(msg) from error
    except (ValueError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read with {index.name}: {error}. Are names of sequences repeated, or is the index damaged?"
        raise ValueError(msg) from error


def _match(rows_of: dict[str, np.ndarray], lengths: dict[str, int], peaks: pd.Index, path: Path) -> dict[str, str]:
    """Find the sequence of each chromosome; raise for those that have none or more than one."""
    names: dict[str, str] = {}
    missing = []
    for chrom in rows_of:
        found = match_chromosomes([chrom], lengths)
        if chrom in found:
            names[chrom] = found[chrom]
            continue
        ways = [name for name in lengths if match_chromosomes([name], [chrom])]
        if len(ways) > 1:
            msg = f"{path.name} has {' and '.join(map(repr, ways))}; which of them the peaks on {chrom!r} mean is not clear."
            raise ValueError(msg)
        missing.append(chrom)
    if missing:
        n_peaks = sum(len(rows_of[chrom]) for chrom in missing)
        first = peaks[rows_of[missing[0]][0]]
        msg = (
            f"{path.name} has no chromosome {missing[0]!r}, where the peak {str(first)!r} lies ({n_peaks} peaks lie on "
            f"{len(missing)} chromosomes that are not there). It has {', '.join(map(repr, list(lengths)[:3]))} "
            f"({len(lengths)} sequences in all). Take the genome they were called on, or leave "
            "those peaks out: `adata[:, td.genome.peak_coordinates(adata)['chrom'].isin([...])].copy()`."
        )
        raise ValueError(msg)
    return names


def _check_ends(where: pd.DataFrame, length: int, name: str, path: Path) -> None:
    """Raise for peaks that reach beyond the end of their chromosome."""
    beyond = where[where["end"] > length]
    if len(beyond):
        msg = (
            f"The peak {str(beyond.index[0])!r} ends at {beyond['end'].iloc[0]}, beyond the end of {name!r} in "
            f"{path.name} ({length} bp), as do {len(beyond)} peaks there in all. "
            "Is this the genome they were called on?"
        )
        raise ValueError(msg)
