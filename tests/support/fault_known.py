"""Cases that are known to fail, each with its reason; a case that is mended is taken out."""

from __future__ import annotations

KNOWN: dict[str, str] = {
    "pl.peak_gene_links[27]": "a multiome without cells: the smallest of no values is asked of numpy, which refuses",
    "tl.programme_skill[30]": "arrays in place of the genes of a programme: they are asked for in a set, which refuses",
}
