from __future__ import annotations

from collections.abc import Iterable

from sctandem._checks import check_texts, check_type

_MITOCHONDRION = ("M", "MT")


def _spellings(name: str) -> list[str]:
    """Return the other ways in which a chromosome is written."""
    bare = name[3:] if name.lower().startswith("chr") else name
    bares = _MITOCHONDRION if bare.upper() in _MITOCHONDRION else (bare,)
    ways = [way for b in bares for way in (b, f"chr{b}", f"Chr{b}", f"CHR{b}")]
    return [way for way in dict.fromkeys(ways) if way != name]


def match_chromosomes(names: Iterable[str], reference: Iterable[str]) -> dict[str, str]:
    """Match the names of chromosomes to those of a reference, across ``1`` / ``chr1`` and ``MT`` / ``chrM``.

    Parameters
    ----------
    names
        Names to translate.
    reference
        Names to translate them to.

    Returns
    -------
    From name to reference name. A name that the reference has as well stays as it is. Names that match nothing or
    more than one name, or whose match is taken by another name, are left out.

    Raises
    ------
    TypeError
        When `names` or `reference` is not a list of names.

    Examples
    --------
    >>> from sctandem.genome import match_chromosomes
    >>> match_chromosomes(["1", "MT", "chrX", "decoy"], ["chr1", "chrM", "chrX"])
    {'1': 'chr1', 'MT': 'chrM', 'chrX': 'chrX'}
    """
    for name, given in (("names", names), ("reference", reference)):
        check_type(given, Iterable, name, hint="It holds the names of chromosomes.")
    names, reference = list(names), list(reference)
    for name, given in (("names", names), ("reference", reference)):
        check_texts(given, f"the name of a chromosome in {name}")
    names, known = list(dict.fromkeys(names)), set(reference)
    present = set(names)
    matched: dict[str, str] = {}
    claims: dict[str, int] = {}
    for name in names:
        if name in known:
            matched[name] = name
            continue
        ways = [way for way in _spellings(name) if way in known]
        if len(ways) == 1 and ways[0] not in present:
            matched[name] = ways[0]
            claims[ways[0]] = claims.get(ways[0], 0) + 1
    return {name: way for name, way in matched.items() if claims.get(way, 1) == 1}
