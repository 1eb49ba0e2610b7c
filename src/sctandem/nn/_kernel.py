"""Compiled kernels: functions that fill arrays, kept as object files and loaded without numba's compiler.

To load one function from its own cache, numba first describes all the types and functions it knows, and has LLVM compile
its reference counting: 40 MB and half a second in every process. A function that only reads and fills arrays needs none of
it, so that its object file can be handed to LLVM's loader as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cached_property, partial, update_wrapper
from threading import RLock
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import binding as llvm
from numba import types

from sctandem._compat import cached_njit, object_code
from sctandem.nn._code_files import read_code, write_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from sctandem._compat import ObjectCode

_lock = RLock()


def _renew_lock() -> None:
    """Take a free lock in a forked child: the thread that held the old one does not exist there."""
    global _lock
    _lock = RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_lock)
_engines: list[Any] = []  # what is loaded lives as long as the process
_nowhere = (ctypes.c_void_p * 2)()  # where a result and an exception would be left


class Kernel:
    """A function compiled by numba that fills arrays for some rows, called with `start`, `stop` and arrays.

    Parameters
    ----------
    function
        Its first two parameters are the rows, the others are arrays and tuples of arrays. It gives no result, raises
        nothing and makes no array: what it needs room for is handed to it. It may call functions of :func:`numba.njit`.
    options
        Those of :func:`numba.njit`.

    Notes
    -----
    The interpreter lock is released in a call. Each combination of types is compiled once, when it first comes. The object
    file is kept where numba would keep it, beside the source, in `NUMBA_CACHE_DIR` or in the user's cache folder, and is made
    anew when the source, numba or the processor is another. Like numba's own cache files and Python's
    `__pycache__` it is code: what may write to these folders may run code, and nothing else is ever loaded this way.
    """

    def __init__(self, function: Callable, options: dict[str, Any]) -> None:
        self.function = function
        self._options = options
        self._found: dict[tuple, Callable[..., int] | None] = {}
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        update_wrapper(self, function)

    def __call__(self, start: int, stop: int, *arrays: Any) -> None:
        """Fill the arrays for some rows."""
        self.bind(*arrays)(start, stop)

    def bind(self, *arrays: Any) -> Callable[[int, int], None]:
        """Return a function of the rows alone, which is quicker when there are several blocks of rows.

        Parameters
        ----------
        arrays
            What comes after the rows. The function returned keeps them. Those that are filled must be writeable: it is not
            looked at which these are.

        Raises
        ------
        ValueError
            For an array that is not C-contiguous, aligned and in the byte order of the machine.
        """
        if numba.config.DISABLE_JIT:
            return lambda start, stop: self.function(start, stop, *arrays)
        numbers: list[int] = []
        compiled = self._find(_read(arrays, numbers), len(numbers))
        if compiled is None:
            return lambda start, stop: self._dispatcher(start, stop, *arrays)

        def fill(start: int, stop: int, _: Any = arrays) -> None:
            if compiled(start, stop, *numbers):
                msg = f"the compiled {self._name} raised an exception"
                raise RuntimeError(msg)

        return fill

    def _find(self, layout: tuple, n_numbers: int) -> Callable[..., int] | None:
        """Return the function compiled for these types, loaded from a file or made; `None` for numba's own way."""
        if layout in self._found:
            return self._found[layout]
        with _lock:
            if layout not in self._found:
                name = f"{self._name}-{_text(layout)}"
                kept = read_code(name)
                address = kept and _load(kept)
                if not address:
                    made = object_code(self.function, (types.intp, types.intp, *map(_type, layout)), self._options)
                    address = made and _load(made)
                    if made and address:
                        write_code(name, made)
                self._found[layout] = _native(address, n_numbers) if address else None
            return self._found[layout]

    @cached_property
    def _dispatcher(self) -> Callable[..., None]:
        """Return numba's own way, for where its object files cannot be taken or loaded."""
        return cached_njit(**self._options)(self.function)


def kernel(**options: Any) -> Callable[[Callable], Kernel]:
    """Make a :class:`Kernel` of a Python function, which numba compiles with these options."""
    return lambda function: Kernel(function, options)


def _read(part: tuple, numbers: list[int]) -> tuple:
    """Return types and dimensions of arrays, nested as they are; add what the function takes of each to `numbers`."""
    layout: list[tuple] = []
    for each in part:
        if isinstance(each, tuple):
            layout.append(_read(each, numbers))
            continue
        if not (each.flags.c_contiguous and each.flags.aligned and each.dtype.isnative):
            msg = f"a kernel needs arrays that are C-contiguous, aligned and native, got {each.dtype.str} {each.flags}"
            raise ValueError(msg)
        layout.append((each.dtype.char, each.ndim))
        address = each.__array_interface__["data"][0]  # quicker than `each.ctypes.data`
        numbers += [0, 0, each.size, each.itemsize, address, *each.shape, *each.strides]
    return tuple(layout)


def _is_array(layout: tuple) -> bool:
    """Whether a layout is that of one array."""
    return bool(layout) and isinstance(layout[0], str)


def _text(layout: tuple) -> str:
    """Write a layout as text that can be part of the name of a file, nested as it is."""
    return f"{layout[0]}{layout[1]}" if _is_array(layout) else f"({''.join(map(_text, layout))})"


def _type(layout: tuple) -> Any:
    """Return numba's type of a layout."""
    if _is_array(layout):
        return types.Array(numba.from_dtype(np.dtype(layout[0])), layout[1], "C")
    return types.Tuple([_type(each) for each in layout])


def _load(code: ObjectCode) -> int | None:
    """Load an object file; return the address of its function, `None` when this process lacks what it calls."""
    if sys.platform == "win32":  # LLVM does not know the C library's functions by their names there
        return None
    if not all(map(llvm.address_of_symbol, code.externals)):  # LLVM would end the process
        return None
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine(jit=True))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(code.symbol) or None


def _native(address: int, n_numbers: int) -> Callable[..., int]:
    """Return the function at an address, called with the rows and the numbers of `_read`."""
    kinds = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * (2 + n_numbers)
    first = ctypes.addressof(_nowhere)
    return partial(ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(address), first, first + ctypes.sizeof(ctypes.c_void_p))
