"""Run one case and judge it: success, or a documented error that the package raised itself, and the input unchanged."""

from __future__ import annotations

import contextlib
import linecache
import logging
import resource
import signal
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from fault_calls import CALLS, documented, public
from fault_documented import STEP, documented_errors
from fault_messages import names_a_place
from fault_mutations import retype, spoil
from fault_numbers import barren, gaps
from fault_slots import changed, fingerprint, hashes, slots
from hypothesis import reject
from mudata import MuData
from scipy import sparse

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Self

    from fault_draw import Draw

SOURCE = str(Path(td.__file__).parent)
#: Packages whose functions change nothing, also when they succeed.
READ_ONLY = ("pl.", "get.", "genome.", "io.")
LIMIT_SECONDS = 30
LIMIT_WARNINGS = 20
#: Elsewhere the system does not say how much memory a process has.
_LINUX = Path("/proc/self/statm").exists()
#: How much more than at its start a case may ask the system for.
LIMIT_BYTES = 4 * 2**30
#: What docstrings name; RuntimeError is that of a model that is not trained.
DOCUMENTED = (
    ValueError, KeyError, TypeError, OSError, ImportError, NotImplementedError, FloatingPointError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its description, what is wrong with it (`None` for nothing), and what was raised."""

    case: str
    problem: str | None
    detail: str = ""
    error: Exception | None = None


class TookTooLongError(BaseException):
    """A case ran past the limit; no `except Exception` on the way may catch it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop what works past the limit (time of the processor: the machine may be busy), or waits past ten times as long."""

    def stop(*_: Any) -> None:
        raise TookTooLongError

    before = [signal.signal(each, stop) for each in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(each, handler)


@contextlib.contextmanager
def memory_limit(n_bytes: int) -> Iterator[None]:
    """Let no call take much more memory than the process has: it fails, rather than all that runs beside it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _LINUX else 0
    if _LINUX:
        resource.setrlimit(resource.RLIMIT_AS, (held + n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class _Counter(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.n = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.n += 1


def run_case(name: str, draw: Draw, folder: Path) -> Outcome:
    """Spoil the first argument of a valid call, or another, or both, and run it.

    Where an argument is as it was (what was to be spoiled is not there), the case is refused, and another is drawn.
    """
    call = CALLS[name]
    arguments = call.build()
    valid = Valid.of(name, arguments)
    for argument in _spoiled(list(arguments), draw):
        draw.words.append(f"{argument}:")
        before = fingerprint(arguments[argument])
        arguments[argument] = spoil(arguments[argument], draw, folder)
        if fingerprint(arguments[argument]) == before:
            reject()
    arguments |= call.build_fixed(folder)
    case = f"{name} of {draw}" if draw.words else name
    return judge(case, public(name), arguments, valid)


def _spoiled(names: list[str], draw: Draw) -> list[str]:
    """Draw which arguments are spoiled; the first is the object, the commonest to be wrong."""
    if len(names) < 2 or not draw.chance("another argument"):
        return names[:1]
    other = draw.choice("namely", names[1:])
    return [names[0], other] if draw.chance("and the first") else [other]


def run_type(name: str, kind: str, folder: Path) -> Outcome:
    """Call a function on objects whose columns of names are of another type."""
    call = CALLS[name]
    built = call.build()
    arguments = {
        key: retype(value, kind) if isinstance(value, AnnData | MuData) else value for key, value in built.items()
    }
    arguments |= call.build_fixed(folder)
    case = f"{name}[{kind}]"
    return judge(case, public(name), arguments, Valid.of(name, built))


@dataclass(frozen=True)
class Valid:
    """What is known of a function and its valid call.

    Attributes
    ----------
    reads_only
        Whether it changes nothing.
    writes
        Keys under which it writes, beside its `key_added`.
    blank
        Numbers that the documentation says may all be missing, each with the arguments with which they may.
    few
        What may be empty, or be there in a smaller share.
    outputs
        Arguments that say where it writes.
    share
        How much of what it gives must be there, beside that something must.
    read
        The hash of what a function reads, where it changes nothing: what is missing there is missing in what it returns.
    gaps
        What is missing in valid arguments.
    errors
        What it may raise.
    """

    reads_only: bool = False
    writes: Collection[str] = ()
    blank: Mapping[str, Callable[[dict[str, Any]], bool]] = field(default_factory=dict)
    few: Collection[str] = ()
    outputs: Collection[str] = ()
    share: float = 0.0
    read: str | None = None
    gaps: Collection[str] = ()
    errors: tuple[type[Exception], ...] = DOCUMENTED

    @classmethod
    def of(cls, name: str, arguments: dict[str, Any]) -> Self:
        """Read the table of calls."""
        call = CALLS[name]
        return cls(
            reads_only=name.startswith(READ_ONLY),
            writes=call.writes,
            blank=call.blank,
            few=call.few,
            outputs=call.outputs,
            read=_read(arguments) if name.startswith(READ_ONLY) else None,
            gaps=gaps(arguments),
            errors=documented(name),
        )


def judge(case: str, function: Any, arguments: dict[str, Any], valid: Valid = Valid()) -> Outcome:
    """Call a function and say what is wrong with what it does, if anything."""
    watched = {key: _file_of(value) for key, value in arguments.items() if key not in valid.outputs}
    before = {key: fingerprint(value) for key, value in watched.items()}
    kept = {key: hashes(value) for key, value in watched.items()}
    blank = [name for name, may in valid.blank.items() if may(arguments)]
    whole = gaps(arguments) <= set(valid.gaps)
    counter, logger = _Counter(), logging.getLogger("sctandem")
    logger.addHandler(counter)
    error: Exception | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with time_limit(LIMIT_SECONDS), memory_limit(LIMIT_BYTES):
                returned = function(**arguments)
        except TookTooLongError:
            return Outcome(case, "hangs")
        except Exception as raised:  # noqa: BLE001 - what it may be is judged below
            error = raised
        finally:
            logger.removeHandler(counter)
    problem = _problem(error, caught, counter.n, arguments, function, valid.errors)
    if problem is None:
        # nothing but an object of cells is written to, whatever becomes of the call: least of all the files it reads
        still = [key for key in watched if error is not None or valid.reads_only or not _holds_cells(watched[key])]
        lost = [key for key in still if fingerprint(watched[key]) != before[key]]
        if lost:
            problem = f"changes {', '.join(lost)}", repr(error)[:200]
    if problem is None and error is None:
        own = {name for key in ("key_added", "key") if isinstance(name := arguments.get(key), str)} | set(valid.writes)
        after = {key: hashes(arguments[key]) for key in kept}
        touched = [f"{key}.{slot}" for key, held in kept.items() for slot in changed(held, after[key], own)]
        if touched:
            problem = f"changes {', '.join(touched)[:200]}", "success"
        elif (
            whole
            and (not valid.reads_only or _read(arguments) == valid.read)
            and not (valid.share == 0 and any(map(_holds_nothing, arguments.values())))  # of nothing comes nothing
            and (empty := _empty(returned, arguments, kept, after, blank, valid))
        ):
            problem = f"gives no number in {', '.join(empty)[:200]}", "success"
    if problem is not None:
        return Outcome(case, *problem, error)
    return Outcome(case, None, "success" if error is None else type(error).__name__, error)


def _holds_nothing(value: Any) -> bool:
    """Whether there are no cells, no rows or columns, or no items in what is given."""
    if isinstance(value, AnnData | MuData):
        return value.n_obs == 0
    if isinstance(value, pd.DataFrame | pd.Series | np.ndarray) or sparse.issparse(value):
        return 0 in value.shape
    return isinstance(value, list | tuple) and not value


def _file_of(value: Any) -> Any:
    """Return the file or folder that a text names, and anything else as it is."""
    if isinstance(value, str) and "/" in value and "\0" not in value:
        with contextlib.suppress(OSError):
            return Path(value) if Path(value).exists() else value
    return value


def _holds_cells(value: Any) -> bool:
    """Whether a function may write to what it is given."""
    return isinstance(value, AnnData | MuData | td.data.Collection)


def _read(arguments: dict[str, Any]) -> str:
    """Hash what is read of the arguments: objects, tables and files."""
    return fingerprint(
        {
            key: value
            for key, value in arguments.items()
            if not isinstance(value, str | int | float | list | tuple | type(None))
        }
    )


def _empty(
    returned: Any,
    arguments: dict[str, Any],
    before: dict[str, dict[str, str]],
    after: dict[str, dict[str, str]],
    blank: Collection[str],
    valid: Valid,
) -> list[str]:
    """List what a call has returned or written that says nothing."""
    found = list(barren(returned, "what is returned", valid.share, valid.few))
    for key, held in after.items():
        new = {slot for slot, value in held.items() if before[key].get(slot) != value}
        found += [
            part
            for slot, value in slots(arguments[key]).items()
            if slot in new
            for part in barren(value, f"{key}.{slot}", valid.share, valid.few)
        ]
    return [part for part in found if not any(part == name or part.endswith(f"[{name!r}]") for name in blank)]


def _problem(
    error: Exception | None,
    caught: list[warnings.WarningMessage],
    n_logged: int,
    arguments: dict[str, Any],
    function: Callable[..., Any],
    errors: tuple[type[Exception], ...],
) -> tuple[str, str] | None:
    """Say what is wrong with what a call said, whether by warnings or by an error."""
    if len(caught) + n_logged > LIMIT_WARNINGS:
        return "flood of warnings", str(caught[0].message) if caught else "of the logger"
    if error is None:
        return None
    step = getattr(error, STEP, None)
    if problem := error_problem(error, errors if step is None else documented_errors(step)):
        return problem
    if not names_a_place(error, arguments, step or function):
        return "names neither an argument nor a slot", f"{type(error).__name__}: {str(error)[:200]!r}"
    return None


def error_problem(error: Exception, errors: tuple[type[Exception], ...] = DOCUMENTED) -> tuple[str, str] | None:
    """Say why an error is not one that the package means: of another type, or raised elsewhere, or by accident."""
    frames = traceback.extract_tb(error.__traceback__)
    last, own = frames[-1], [frame for frame in frames if frame.filename.startswith(SOURCE)]
    where = f"{Path(own[-1].filename).relative_to(SOURCE)}:{own[-1].lineno}" if own else "no frame of the package"
    detail = f"{where} {type(error).__name__}: {str(error)[:160]!r} at {last.filename[-40:]}:{last.lineno}"
    if not isinstance(error, DOCUMENTED) or isinstance(error, UnicodeError):
        return f"error of type {type(error).__name__}", detail
    undocumented = f"error that the documentation does not name: {type(error).__name__}", detail
    if isinstance(error, OSError) and error.filename is not None and "site-packages" not in last.filename:
        return None if isinstance(error, errors) else undocumented  # the system's own, which names the file
    if not last.filename.startswith(SOURCE):
        return "error from inside a dependency", detail
    if not linecache.getline(last.filename, last.lineno).strip().startswith("raise"):
        return "error by accident", detail
    return None if isinstance(error, errors) else undocumented
