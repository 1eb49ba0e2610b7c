"""The main job on simulated data, or on your own multiome: `make demo`, `make demo DATA=my.h5mu`.

Trains TAPE, predicts held-out cells and genes, finds peak-gene links, and leaves in a folder the annotated data, four figures, and
the notebook that made them. The folder appears when everything in it is complete.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _demo_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, PAGE, TABLES = "demo.ipynb", "demo.html", "tables.txt"
#: Errors whose message is meant for the user; others come with their traceback.
PLAIN = {"FileNotFoundError", "KeyError", "OSError", "TypeError", "ValueError"}
#: What asks a program to stop, and what to call it.
STOPS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(BaseException):
    """Raised where the program is when a signal asks it to stop."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration; 0 when the folder is there, 1 when something is missing, 130 or 143 when it was stopped."""
    options = _options(argv)
    out = options.out.resolve()
    problem = _problem(options, out)
    if problem:
        return _refuse(problem)
    begin = time.perf_counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists() and any(out.iterdir()):
        print(f"What an earlier run left in {options.out}/ is replaced at the end.", flush=True)
    try:
        with _stoppable():
            problem = _make_whole(_settings(options, out), out)
    except Stopped as stop:
        print(f"\ndemo: stopped by {STOPS[signal.Signals(stop.number)]}; nothing was written.", file=sys.stderr)
        return 128 + stop.number
    if problem:
        return _refuse(problem)
    print(f"\n{(out / TABLES).read_text()}\n{time.perf_counter() - begin:.0f} s. Written to {options.out}/:")
    for path in sorted(out.iterdir()):
        print(f"  {path.name}")
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of the results")
    parser.add_argument(
        "--data", type=Path, help="a multiome: .h5mu, or .h5 of Cell Ranger ARC; without it, simulated data"
    )
    parser.add_argument("--genes", type=Path, help="BED, GTF or GFF3 with the genes, where the data do not hold it")
    parser.add_argument("--groupby", help="column of the cells' table that names groups, such as cell types")
    parser.add_argument("--batch", help="column with the batch")
    parser.add_argument("--size-factor", help="column with the library size, needed where genes are a selection")
    parser.add_argument("--layer", help="layer of the expression that holds counts; otherwise X")
    parser.add_argument("--rna", help="name of the expression in an .h5mu; otherwise rna")
    parser.add_argument("--atac", help="name of the accessibility in an .h5mu; otherwise atac")
    parser.add_argument(
        "--draft", action="store_true", help="small and quick, to try the machinery: the numbers mean nothing"
    )
    return parser.parse_args(argv)


def _problem(options: argparse.Namespace, out: Path) -> str | None:
    """Say what stands in the way before anything is run."""
    for path, name in ((options.data, "--data (DATA=)"), (options.genes, "--genes (GENES=)")):
        if path is not None and not path.is_file():
            return f"there is no file {str(path)!r}, which {name} names."
    if options.data is None:
        for name in ("genes", "groupby", "batch", "size_factor", "layer", "rna", "atac"):
            if getattr(options, name) is not None:
                return f"--{name.replace('_', '-')} says something about your own data; name them with --data (DATA=)."
    elif options.data.suffix != ".h5mu" and (options.rna or options.atac):
        return f"--rna (RNA=) and --atac (ATAC=) name modalities of an .h5mu; {options.data} has none: leave them out."
    if out.exists() and not (out / NOTEBOOK).is_file() and (not out.is_dir() or any(out.iterdir())):
        return (
            f"{options.out} is not empty and not from an earlier run; name another folder with --out, or move it away."
        )
    return None


def _settings(options: argparse.Namespace, out: Path) -> _demo_notebook.Settings:
    """Give what the notebook is told."""
    return _demo_notebook.Settings(
        DATA=str(options.data.resolve()) if options.data else None,
        GENES=str(options.genes.resolve()) if options.genes else None,
        GROUPBY=options.groupby,
        BATCH=options.batch,
        SIZE_FACTOR=options.size_factor,
        LAYER=options.layer,
        RNA=options.rna or "rna",
        ATAC=options.atac or "atac",
        CHECKOUT=os.path.relpath(ROOT, out),
        DRAFT=options.draft,
    )


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the first signal that asks to stop into `Stopped`; others wait until things are in order."""

    def stop(number: int, _: object) -> None:
        for each in STOPS:
            signal.signal(each, lambda *_: None)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_whole(settings: _demo_notebook.Settings, out: Path) -> str | None:
    """Make everything beside its place and put it there by a rename; nothing is left where that fails."""
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        folder.chmod(0o755)
        problem = _make(settings, folder)
        if not problem:
            _replace(folder, out)
        return problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(settings: _demo_notebook.Settings, folder: Path) -> str | None:
    """Write, run and convert the notebook; give the message of an error that the user can mend."""
    import nbformat
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    from benchmarks import _demo_run

    notebook = _demo_notebook.build(settings)
    teller = _demo_run.Teller()
    try:
        _demo_run.execute(notebook, folder, teller)
    except CellExecutionError as error:
        if error.ename in PLAIN:
            return f"{error.ename}: {error.evalue}"
        raise
    except DeadKernelError:
        return "the computation was ended from outside, most likely because there was not enough memory."
    teller.start("Writing the notebook")
    nbformat.write(notebook, folder / NOTEBOOK)
    (folder / PAGE).write_text(_demo_run.to_html(notebook), encoding="utf-8")
    teller.finish()
    return None


def _replace(folder: Path, out: Path) -> None:
    """Put the complete folder in its place, instead of that of an earlier run."""
    if not out.exists():
        folder.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent)) / out.name
    try:
        out.rename(old)
        folder.rename(out)
    except BaseException:
        if not out.exists():
            old.rename(out)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _refuse(problem: str) -> int:
    print(f"demo: {problem}\nNothing was written.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
