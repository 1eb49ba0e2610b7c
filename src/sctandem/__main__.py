"""`python -m sctandem`: collections from the command line."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sctandem._check_files import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

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
    from sctandem.data._words import default_columns

    top = argparse.ArgumentParser(prog="python -m sctandem", description="Deep learning for single-cell multiomes.")
    groups = top.add_subparsers(dest="group", required=True)
    collection = groups.add_parser("collection", help="many files of cells as one, on disk")
    actions = collection.add_subparsers(dest="action", required=True)
    build = actions.add_parser(
        "build",
        help="bring files onto one axis of genes, shuffle them, write them as one",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="default columns, each taken under the first of these names that a source has:\n" + default_columns(),
    )
    build.add_argument(
        "sources",
        nargs="+",
        type=Path,
        help=".h5ad, .h5mu, 10x .h5, zarr, or folders of them, whose files come by name; of cells that two have, that of the first is kept",
    )
    build.add_argument("--out", required=True, type=Path, help="folder of the collection; it must not exist")
    build.add_argument("--organism", required=True, help="human, mouse, ...")
    build.add_argument("--genes", default="union", help="union, intersection, or a file with a gene a line")
    build.add_argument(
        "--obs",
        action="append",
        default=[],
        metavar="COLUMN=NAME[,NAME...]",
        help="a column of the collection and its names in the sources, or a default column alone (--obs disease) for its usual names; "
        "may be given several times; replaces all default columns, which are listed below",
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
        _say(_as_options(" ".join(_sentence(text) for text in (_said(error), *notes))), error=True)
        return 2


def _said(error: Exception) -> str:
    """Return what an error says; a KeyError by itself says it in quotes."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _sentence(text: str) -> str:
    """End a sentence."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _as_options(text: str) -> str:
    """Write the options of the command line where a message names arguments of Python."""
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    # obs={'a': 'a', 'b': 'b'} is --obs a --obs b
    text = re.sub(r"obs=\{(.*?)\}", lambda found: re.sub(r"'([^']*)': '\1'(, )?", r"--obs \1 ", found[1]).strip(), text)
    return text.replace("obs replaces the default", "--obs replaces the default")


def _build(options: argparse.Namespace) -> int:
    from sctandem.data import Source, build_collection
    from sctandem.data._words import DEFAULT_COLUMNS

    genes = options.genes
    if genes not in {"union", "intersection"}:
        if not Path(genes).is_file():
            msg = f"--genes={genes!r} is neither 'union' nor 'intersection', nor a file with a gene a line."
            raise FileNotFoundError(msg)
        with readable(genes, "a list of genes"):
            genes = [line.strip() for line in Path(genes).read_text().splitlines() if line.strip()]
    obs = {}
    for entry in options.obs:
        column, _, names = entry.partition("=")
        obs[column] = names.split(",") if names else list(DEFAULT_COLUMNS.get(column, [column]))
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
            lines.append("  " + _sentence(f"Not read: {str(row['status']).removeprefix('broken: ')}"))
            continue
        lines.append(
            f"  {row['source']}: {int(row['n_kept']):,} cells, {int(row['n_duplicates']):,} duplicates left out, "
            f"{int(row['n_genes']):,} genes, {float(row['counts_left_out']):.1%} of its counts on genes left out"
        )
    lines += _of_duplicates(collection.duplicates)
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


def _of_duplicates(duplicates: pd.DataFrame) -> list[str]:
    """Say what cells took from their copies, and where those say something else."""
    lines = []
    for name, what in (
        ("filled", "Words that cells took from duplicates, having none"),
        ("differs", "Words of duplicates that differ from those of the cells that stay, which hold"),
    ):
        if name not in duplicates:  # a collection of an older version
            continue
        counted = duplicates.loc[duplicates[name] != "", name].str.split(", ").explode().value_counts().sort_index()
        if len(counted):
            lines.append(f"  {what}: " + ", ".join(f"{n:,} of {column}" for column, n in counted.items()))
    return lines


def _say(text: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
