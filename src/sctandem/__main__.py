"""`python -m sctandem`: collections from the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sctandem._check_files import existing_file, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sctandem.data import Collection

#: Arguments that messages name, and the options that stand for them here.
_OPTIONS = {
    "skip_broken=True": "--skip-broken",
    "resume=True": "--resume",
    "name the layer": "name by --layer the layer",
}
_TABLES = ("sources", "words", "mapping", "duplicates", "genes")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m sctandem", description="Deep learning for single-cell multiomes.")
    groups = top.add_subparsers(dest="group", required=True)
    collection = groups.add_parser("collection", help="many files of cells as one, on disk")
    actions = collection.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="bring files onto one axis of genes, shuffle them, write them as one")
    build.add_argument("sources", nargs="+", type=Path, help=".h5ad, .h5mu, 10x .h5, zarr, or folders of them")
    build.add_argument("--out", required=True, type=Path, help="folder of the collection; it must not exist")
    build.add_argument("--organism", required=True, help="human, mouse, ...")
    build.add_argument("--genes", default="union", help="union, intersection, or a file with a gene a line")
    build.add_argument(
        "--obs",
        action="append",
        default=[],
        metavar="COLUMN=NAME[,NAME...]",
        help="a column of the collection and its names in the sources; may be given several times",
    )
    build.add_argument("--layer", help="with the counts, of all sources that are named")
    build.add_argument("--words", type=Path, help="CSV with the columns column, word and becomes")
    build.add_argument("--gene-names", type=Path, help="CSV with the columns id and symbol")
    build.add_argument("--skip-broken", action="store_true", help="go on without sources that cannot be read")
    build.add_argument("--resume", action="store_true", help="go on with a build that was interrupted")
    build.add_argument("--seed", type=int, help="of the order of the cells")
    inspect = actions.add_parser("inspect", help="say what a collection holds and what became of its sources")
    inspect.add_argument("path", type=Path)
    inspect.add_argument("--table", choices=_TABLES, help="write one of its tables as CSV instead")
    verify = actions.add_parser("verify", help="compare every file of a collection with its checksum")
    verify.add_argument("path", type=Path)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        Its words; `None` for those of the command line.

    Returns
    -------
    0; 1 where a collection is not as it was written; 2 where something cannot be done, which is said.
    """
    options = parser().parse_args(argv)
    try:
        return {"build": _build, "inspect": _inspect, "verify": _verify}[options.action](options)
    except KeyboardInterrupt:
        _say("Stopped. The same command with --resume goes on where it was.", error=True)
        return 130
    except (OSError, ValueError, KeyError, TypeError) as error:
        notes = getattr(error, "__notes__", [])
        said = " ".join([str(error).strip("'\""), *notes])
        for argument, option in _OPTIONS.items():
            said = said.replace(argument, option)
        _say(said, error=True)
        return 2


def _build(options: argparse.Namespace) -> int:
    from sctandem.data import Source, build_collection

    genes = options.genes
    if genes not in {"union", "intersection"}:
        with readable(existing_file(genes, "--genes"), "a list of genes"):
            genes = [line.strip() for line in Path(genes).read_text().splitlines() if line.strip()]
    obs = {}
    for entry in options.obs:
        column, _, names = entry.partition("=")
        obs[column] = names.split(",") if names else [column]
    sources = [Source(path, layer=options.layer) for path in options.sources]
    collection = build_collection(
        sources,
        options.out,
        organism=options.organism,
        genes=genes,
        obs=obs or None,
        words=options.words,
        gene_names=options.gene_names,
        skip_broken=options.skip_broken,
        resume=options.resume,
        rng=options.seed,
    )
    _say(summary(collection))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from sctandem.data import open_collection

    collection = open_collection(options.path)
    if options.table is None:
        _say(summary(collection))
    else:
        table = getattr(collection, options.table)
        _say(table.to_csv(index=options.table == "genes").rstrip())
    return 0


def _verify(options: argparse.Namespace) -> int:
    from sctandem.data import open_collection

    collection = open_collection(options.path)
    found = collection.verify()
    for fault in found:
        _say(fault, error=True)
    if not found:
        _say(f"{options.path}: all {len(collection.manifest['files'])} files are as they were written.")
    return int(bool(found))


def summary(collection: Collection) -> str:
    """Say what a collection holds, and what became of its sources, genes and words.

    Parameters
    ----------
    collection
        An open one.

    Returns
    -------
    Text of several lines.
    """
    sources, mapping, words = collection.sources, collection.mapping, collection.words
    lines = [repr(collection), ""]
    for row in sources.to_dict("records"):
        if row["status"] != "read":
            lines.append(f"  {row['source']}: {row['status']}")
            continue
        lines.append(
            f"  {row['source']}: {int(row['n_kept']):,} cells, {int(row['n_duplicates']):,} duplicates left out, "
            f"{int(row['n_genes']):,} genes, {float(row['counts_left_out']):.1%} of its counts on genes left out"
        )
    lines.append("\nGenes of the sources:")
    lines += [f"  {n:>9,}  {how}" for how, n in mapping["how"].value_counts().items()]
    summed = int((mapping["summed"] > 1).sum())
    if summed:
        lines.append(f"  {summed:>9,}  added up with another of the same source")
    lines.append("\nWords of the metadata:")
    for status, rows in words.groupby("status"):
        named = [word for word in rows["word"].unique() if word]
        shown = ", ".join(named[:4]) + (", ..." if len(named) > 4 else "")
        lines.append(f"  {len(rows):>9,}  {status}" + (f": {shown}" if named else ""))
    if (words["status"] == "new").any():
        lines.append(
            "  New words stay as they are; write collection.words to a file, edit `becomes`, and build with it."
        )
    return "\n".join(lines)


def _say(text: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
