from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

_MIN_WIDTH = 2
_TOLERANCE = 0.01
"""By how much the probabilities of a position may miss 1: files round them."""


def read_motifs(
    source: str | Path | Mapping[str, ArrayLike], *, taxon: str | None = "vertebrates"
) -> dict[str, np.ndarray]:
    """Read motifs of transcription factors: from JASPAR, from a file, or from matrices at hand.

    Parameters
    ----------
    source
        The name of a JASPAR release, ``"JASPAR2014"`` to ``"JASPAR2026"`` (its collection CORE, latest versions, which come
        with the package pyjaspar: nothing is downloaded); or a file in JASPAR or MEME format, also gzipped; or a mapping from name to
        matrix, width x 4 (A, C, G, T), of probabilities or of counts.
    taxon
        Motifs of a JASPAR release that are taken: ``"vertebrates"``, ``"plants"``, ``"insects"``, ``"fungi"``,
        ``"nematodes"``, ``"urochordates"``, ...; `None` for all.

    Returns
    -------
    From name to probabilities, width x 4 (A, C, G, T), float64, rows add up to 1. Names are as in the mapping or the file;
    with JASPAR the identifier and the factor: ``"MA0004.1 Arnt"``. A dictionary comprehension selects from them.

    Raises
    ------
    FileNotFoundError
        When `source` is neither a release nor a file.
    ValueError
        For a file without motifs, names that are repeated or hold a slash, and matrices that are no motif: of the wrong
        shape, of a single position, with negative or missing entries, or whose rows do not add up to 1 (whole numbers are
        counts and need not). Names the motif.
    TypeError
        When `source` is none of these.

    Examples
    --------
    >>> from sctandem.genome import read_motifs
    >>> motifs = read_motifs({"TATA": [[0, 0, 0, 9], [9, 0, 0, 0], [0, 0, 0, 9], [6, 0, 0, 3]]})
    >>> motifs["TATA"].round(2).tolist()[-1]
    [0.67, 0.0, 0.0, 0.33]

    Notes
    -----
    JASPAR names several motifs of a factor alike, hence the identifiers. Reading a release takes a few seconds.

    References
    ----------
    Rauluseviciute et al. (2024), JASPAR 2024, Nucleic Acids Res 52:D174. Bailey et al. (2015), The MEME Suite, Nucleic
    Acids Res 43:W39.
    """
    if isinstance(source, Mapping):
        return _checked(source.items(), "motifs")
    if not isinstance(source, str | Path):
        msg = (
            "the source of motifs must be a JASPAR release such as 'JASPAR2024', a file, or a mapping from name to matrix (width x ACGT), "
            f"got {type(source).__name__}: {source!r:.80}"
        )
        raise TypeError(msg)
    path = Path(source)
    if path.is_file():
        text = _text(path)
        pairs = list(_meme(text) if re.search(r"^MOTIF\s", text, re.MULTILINE) else _jaspar(text))
        if not pairs:
            msg = f"{path} holds no motif in JASPAR or MEME format."
            raise ValueError(msg)
        return _checked(pairs, path.name)
    return _checked(_release(str(source), taxon), str(source))


def _text(path: Path) -> str:
    """Read a file, which may be gzipped, with ends of lines of any kind."""
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (EOFError, OSError, zlib.error) as error:
        msg = f"{path} is cut off or damaged: it does not unpack ({error}). Copy or download it again."
        raise ValueError(msg) from error
    return raw.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def _release(name: str, taxon: str | None) -> list[tuple[str, np.ndarray]]:
    """Read a JASPAR release from the files of pyjaspar."""
    from pyjaspar import jaspar_releases, jaspardb

    if name not in jaspar_releases:
        msg = (
            f"the source of motifs, {name!r}, is neither a file nor one of the JASPAR releases "
            f"{', '.join(sorted(jaspar_releases))}."
        )
        raise FileNotFoundError(msg)
    database = jaspardb(release=name)
    with closing(database.conn):
        query = "SELECT DISTINCT VAL FROM MATRIX_ANNOTATION WHERE TAG = 'tax_group' ORDER BY VAL"
        taxa = [row[0] for row in database.conn.execute(query)]
        if taxon is not None and taxon not in taxa:
            msg = f"taxon={taxon!r} is not known in {name}; it has {', '.join(map(repr, taxa))}."
            raise ValueError(msg)
        found = database.fetch_motifs(collection="CORE", tax_group=[taxon] if taxon else None)
    return [
        (f"{motif.matrix_id} {motif.name}", _shares(np.array([motif.counts[base] for base in "ACGT"], dtype=float).T))
        for motif in found
    ]


def _shares(counts: np.ndarray) -> np.ndarray:
    """Turn counts into probabilities; what is no count stays, and is found by the check."""
    total = counts.sum(axis=1, keepdims=True)
    return counts / total if counts.size and (total > 0).all() and (counts >= 0).all() else counts


def _meme(text: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the motifs of a file in MEME's minimal format."""
    for block in re.split(r"^MOTIF\s+", text, flags=re.MULTILINE)[1:]:
        header, _, rest = block.partition("\n")
        rows = []
        for line in rest.partition("letter-probability matrix")[2].splitlines()[1:]:
            values = _numbers(line.split())
            if not values:
                break
            rows.append(values)
        yield " ".join(header.split()), _matrix(rows)


def _jaspar(text: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the motifs of a file in JASPAR's format, with or without letters and brackets."""
    for block in re.split(r"^>", text, flags=re.MULTILINE)[1:]:
        header, _, rest = block.partition("\n")
        lines = [re.sub(r"^\s*[ACGT]\b|[\[\]]", " ", line).split() for line in rest.splitlines() if line.strip()]
        rows = [_numbers(line) for line in lines]
        # four lines of a number a position
        yield " ".join(header.split()), _shares(_matrix(rows).T)


def _numbers(words: list[str]) -> list[float]:
    """Read numbers, or nothing where a word is none."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return []


def _matrix(rows: list[list[float]]) -> np.ndarray:
    """Make a matrix of rows; an empty one where they differ in length."""
    return np.array(rows) if rows and len({len(row) for row in rows}) == 1 else np.empty((0, 0))


def _checked(pairs: object, where: str) -> dict[str, np.ndarray]:
    """Check names and matrices."""
    motifs: dict[str, np.ndarray] = {}
    for name, given in pairs:  # type: ignore[attr-defined]
        if not isinstance(name, str) or not name or "/" in name:
            better = f" Call it {name.replace('/', '_')!r}." if isinstance(name, str) and name else ""
            msg = f"{where} has a motif {name!r}; a name is text without a slash: files could not give it back.{better}"
            raise ValueError(msg)
        if name in motifs:
            msg = f"{where} has the motif {name!r} more than once; names must differ."
            raise ValueError(msg)
        motifs[name] = _probabilities(given, f"the motif {name!r} of {where}")
    if not motifs:
        msg = f"{where} holds no motif."
        raise ValueError(msg)
    return motifs


def _probabilities(given: object, what: str) -> np.ndarray:
    """Check a matrix, and turn counts into probabilities."""
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{what} is no matrix of numbers: {given!r:.80}"
        raise ValueError(msg) from error
    if matrix.ndim != 2 or matrix.shape[1] != 4:
        turned = "; it seems to be turned: give its transpose" if matrix.ndim == 2 and matrix.shape[0] == 4 else ""
        shape = " x ".join(map(str, matrix.shape))
        msg = f"{what} has the shape {shape}, not width x 4 (A, C, G, T){turned}."
        raise ValueError(msg)
    if len(matrix) < _MIN_WIDTH:
        msg = f"{what} has {len(matrix)} position; a motif has at least {_MIN_WIDTH}."
        raise ValueError(msg)
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        bad = matrix[~np.isfinite(matrix) | (matrix < 0)][0]
        msg = f"{what} has the entry {bad:g}; probabilities and counts are finite and not negative."
        raise ValueError(msg)
    total = matrix.sum(axis=1)
    counts = (matrix == np.floor(matrix)).all()
    wrong = total <= 0 if counts else np.abs(total - 1) > _TOLERANCE
    if wrong.any():
        row = int(np.argmax(wrong))
        msg = (
            f"{what} adds up to {total[row]:g} at position {row + 1}, not to 1. Rows are positions, columns A, C, G and T; "
            "counts are whole numbers."
        )
        raise ValueError(msg)
    return matrix / total[:, None]
