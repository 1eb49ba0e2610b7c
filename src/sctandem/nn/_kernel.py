"""Compiled kernels: functions that fill arrays, called with numpy arrays and kept as machine code."""

from __future__ import annotations

import ctypes
import logging
from array import array
from functools import partial, update_wrapper
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from sctandem.nn._code_files import read_code, write_code
from sctandem.nn._machine_code import load, machine_code

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_lock = RLock()
_UNUSED = (ctypes.c_void_p * 2)()  # where numba's functions would leave a result and an exception
_Anything = ctypes.c_char * 0
_SIGNATURE = types.void(types.int64, types.int64, types.CPointer(types.int64))


class Kernel:
    """A function compiled by numba that fills arrays for some rows, called with `start`, `stop` and arrays.

    Parameters
    ----------
    function
        From :func:`numba.njit`. Its first two parameters are the rows, the others are arrays and tuples of arrays. It
        gives no result, raises nothing and makes no array: what it needs room for is handed to it.
    options
        Those of :func:`numba.njit`.

    Notes
    -----
    The interpreter lock is released in a call. Each combination of types is compiled once, when it first comes; the machine
    code is kept beside the source, or in the folder that numba was told to use (`NUMBA_CACHE_DIR`), or in the user's cache
    folder, and is made anew when the source of this folder, numba or the processor is another.
    """

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        self.function = function
        self._options = {name: value for name, value in options.items() if name not in {"nogil", "cache"}}
        self._found: dict[tuple, Callable] = {}
        self._compiled: list[Any] = []  # what numba has compiled and keeps itself
        source = getattr(function, "py_func", function)
        self._name = f"{source.__module__.rpartition('.')[2]}.{source.__name__}"
        update_wrapper(self, source)

    def __call__(self, start: int, stop: int, *arrays: Any) -> None:
        """Fill the arrays for some rows."""
        self.bind(*arrays)(start, stop)

    def bind(self, *arrays: Any) -> Callable[[int, int], None]:
        """Return a function of the rows alone, which is quicker when there are several blocks of rows.

        Parameters
        ----------
        arrays
            What comes after the rows. The function returned keeps them.

        Raises
        ------
        ValueError
            For an array that is not C-contiguous, aligned and writeable.
        """
        if numba.config.DISABLE_JIT:
            return lambda start, stop: self.function(start, stop, *arrays)
        numbers: list[int] = []
        layout = _read(arrays, numbers)
        compiled = self._found.get(layout) or self._find(layout)
        table = array("q", numbers)
        where = table.buffer_info()[0]

        def fill(start: int, stop: int, _: Any = (table, arrays)) -> None:
            status = compiled(start, stop, where)
            if status:
                msg = f"the compiled {self._name} ended with status {status}: it raised an exception"
                raise RuntimeError(msg)

        return fill

    def _find(self, layout: tuple) -> Callable:
        """Return the function compiled for these types: loaded from a file, or made."""
        with _lock:
            if layout not in self._found:
                name = f"{self._name}-{_text(layout)}"
                code = read_code(name)
                address = None if code is None else load(code)
                self._found[layout] = self._made(name, layout) if address is None else _native(address)
            return self._found[layout]

    def _made(self, name: str, layout: tuple) -> Callable:
        """Compile the function, keep it in a file where that is possible, and return it."""
        compiled = numba.cfunc(_SIGNATURE, **self._options)(_entry(self.function, layout))
        code = machine_code(compiled)
        address = None if code is None else load(code)
        if code is None or address is None:
            logger.debug("%s is compiled anew in every process: it calls more than the C library", name)
            self._compiled.append(compiled)
            return ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(compiled.address)
        write_code(name, code)
        return _native(address)


def kernel(**options: Any) -> Callable[[Any], Kernel]:
    """Make a :class:`Kernel` of a Python function, which numba compiles with these options."""
    return lambda function: Kernel(numba.njit(**options)(function), options)


def _read(part: tuple, numbers: list[int]) -> tuple:
    """Return types and dimensions of arrays, nested as they are; add the address and the lengths of each to `numbers`."""
    layout: list[tuple] = []
    for each in part:
        if isinstance(each, tuple):
            layout.append(_read(each, numbers))
            continue
        if not (each.flags.carray and each.dtype.isnative):
            msg = (
                f"a kernel needs arrays that are C-contiguous, aligned and writeable, got {each.dtype.str} {each.flags}"
            )
            raise ValueError(msg)
        layout.append((each.dtype.char, each.ndim))
        numbers.append(ctypes.addressof(_Anything.from_buffer(each)))  # much quicker than `each.ctypes.data`
        numbers.extend(each.shape)
    return tuple(layout)


def _is_array(layout: tuple) -> bool:
    """Whether a layout is that of one array."""
    return bool(layout) and isinstance(layout[0], str)


def _text(layout: tuple) -> str:
    """Write a layout as text that can be part of the name of a file."""
    return f"{layout[0]}{layout[1]}" if _is_array(layout) else "".join(map(_text, layout))


@intrinsic
def _pointer(_: Any, address: Any) -> Any:
    """Turn an address into a pointer."""
    return types.voidptr(address), lambda _, builder, __, given: builder.inttoptr(given[0], cgutils.voidptr_t)


def _entry(function: Any, layout: tuple) -> Callable:
    """Return a function that reads addresses and lengths from a table and calls `function` with the arrays.

    Its source is written out, as the arrays differ in type.
    """
    space: dict[str, Any] = {"function": function, "carray": carray, "pointer": _pointer}
    n = count()

    def expression(part: tuple) -> str:
        if not _is_array(part):
            return f"({''.join(expression(each) + ', ' for each in part)})"
        name = f"dtype{len(space)}"
        space[name] = np.dtype(part[0])
        address, *lengths = (f"table[{next(n)}]" for _ in range(part[1] + 1))
        return f"carray(pointer({address}), ({', '.join(lengths)},), {name})"

    given = ", ".join(expression(part) for part in layout)
    head = f"    table = carray(numbers, ({next(n)},))\n"
    exec(f"def entry(start, stop, numbers):\n{head}    function(start, stop, {given})\n", space)
    return space["entry"]


def _native(address: int) -> Callable:
    """Return the function at an address; see `native_ir` for its first two parameters."""
    kinds = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    first = ctypes.addressof(_UNUSED)
    return partial(ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(address), first, first + ctypes.sizeof(ctypes.c_void_p))
