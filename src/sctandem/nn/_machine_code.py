"""Functions that numba compiles, as machine code that can be kept in a file and loaded without numba's compiler.

To load one function from its own cache, numba first describes all the types and functions it knows, and has LLVM compile
its reference counting: 40 MB and half a second in every process. A function that only reads and fills arrays needs none
of it, so that its machine code can be handed to LLVM's loader as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from llvmlite import binding as llvm
from numba.core import config

from sctandem._compat import native_ir

if TYPE_CHECKING:
    from numba.core.ccallback import CFunc

_engines: list[Any] = []  # what is loaded lives as long as the process


@dataclass(frozen=True)
class MachineCode:
    """An object file with one function.

    Parameters
    ----------
    symbol
        Name of the function.
    externals
        Names of the functions of the C library that it calls.
    code
        The object file.
    """

    symbol: str
    externals: tuple[str, ...]
    code: bytes


@cache
def processor() -> str:
    """Describe the processor that code is compiled for."""
    return f"{llvm.get_process_triple()} {config.CPU_NAME or llvm.get_host_cpu_name()} {_features()}"


def _features() -> str:
    """Return the instructions that the processor has, as LLVM names them."""
    if config.CPU_FEATURES is not None:
        return config.CPU_FEATURES
    return llvm.get_host_cpu_features().flatten()


def _target_machine() -> Any:
    """Return LLVM's description of this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    cpu = config.CPU_NAME or llvm.get_host_cpu_name()
    return target.create_target_machine(cpu=cpu, features=_features(), opt=3, codemodel="jitdefault", jit=True)


def machine_code(compiled: CFunc) -> MachineCode | None:
    """Return the machine code of a compiled function.

    Parameters
    ----------
    compiled
        From :func:`numba.cfunc`, without a result.

    Returns
    -------
    The code; `None` when it calls anything but the C library: numba's memory or exceptions, or Python.
    """
    found = native_ir(compiled)
    if found is None or not _all_known(found.externals):
        return None
    code = _target_machine().emit_object(llvm.parse_assembly(found.ir))
    return MachineCode(found.symbol, found.externals, code)


def load(code: MachineCode) -> int | None:
    """Load a function.

    Parameters
    ----------
    code
        Of a function that was compiled for this processor.

    Returns
    -------
    The address of the function; `None` when this process does not have what it calls.
    """
    if not _all_known(code.externals):  # LLVM would end the process
        return None
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.code))
    _engines.append(engine)
    return engine.get_function_address(code.symbol) or None


def _all_known(externals: tuple[str, ...]) -> bool:
    """Whether the process has functions of these names."""
    return all(llvm.address_of_symbol(name) for name in externals)
