"""The only file that may touch private or version-dependent names of other packages."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from anndata import AnnData
    from mudata import MuData


def installed(package: str, minimum: str) -> bool:
    """Whether a package is installed in at least this version.

    Parameters
    ----------
    package
        Name of the distribution, e.g. `"scvi-tools"`.
    minimum
        The version that is asked for.

    Returns
    -------
    `True` where the installed version is the same or newer.
    """
    return Version(version(package)) >= Version(minimum)


def new_mudata(modalities: Mapping[str, AnnData]) -> MuData:
    """Make a MuData whose columns are not copies of the modalities' (mudata 0.4's way, on 0.3 as well).

    Parameters
    ----------
    modalities
        The AnnData objects by name.

    Returns
    -------
    The MuData; `obs` and `var` hold no columns of the modalities.
    """
    import mudata

    if installed("mudata", "0.4"):
        return mudata.MuData(dict(modalities))
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData(dict(modalities))


def add_modality(mdata: MuData, name: str, adata: AnnData) -> None:
    """Add a modality with the cells of the others, in place, without pulling its columns.

    Parameters
    ----------
    mdata
        The object.
    name
        Name of the new modality.
    adata
        The modality.
    """
    import mudata

    before = mdata.obs.copy()
    mdata.mod[name] = adata
    with warnings.catch_warnings():
        # genes may well be named alike in two modalities; renaming them, which is what it asks for, would change the others
        warnings.filterwarnings("ignore", message="var_names are not unique", category=UserWarning)
        if installed("mudata", "0.4"):
            mdata.update()
        else:
            with mudata.set_options(pull_on_update=False):
                mdata.update()
    if mdata.obs_names.equals(before.index):  # it makes whole numbers of floats that happen to be whole
        for column in before.columns.intersection(mdata.obs.columns):
            mdata.obs[column] = before[column]


def copy_mudata(mdata: MuData) -> MuData:
    """Copy a MuData as it is (mudata 0.3 would pull the columns of the modalities into the copy, and say so).

    Parameters
    ----------
    mdata
        The object, in memory.

    Returns
    -------
    The copy.
    """
    import mudata

    if installed("mudata", "0.4"):
        return mdata.copy()
    with mudata.set_options(pull_on_update=False):
        return mdata.copy()


def read_h5mu(path: str | os.PathLike[str]) -> MuData:
    """Read a MuData as it was written (mudata 0.3 would pull the columns of the modalities, and say so).

    Parameters
    ----------
    path
        The `.h5mu` file.

    Returns
    -------
    The MuData, in memory.
    """
    import mudata

    if installed("mudata", "0.4"):
        return mudata.read_h5mu(path)
    with mudata.set_options(pull_on_update=False):
        return mudata.read_h5mu(path)


@cache
def _quiet_csr() -> None:
    """Let torch give its one notice that the CSR layout is in beta where nobody hears it."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        nothing = torch.zeros(0, dtype=torch.int64)
        torch.sparse_csr_tensor(torch.zeros(1, dtype=torch.int64), nothing, [], size=(0, 1), check_invariants=False)


def csr_tensor(indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Make a sparse CSR tensor without checks of its content, and without torch's notice that the layout is in beta.

    Parameters
    ----------
    indptr, indices, values
        Of the CSR format, all on one device.
    shape
        Rows and columns.

    Returns
    -------
    The tensor; it shares the memory of its parts.
    """
    import torch

    _quiet_csr()
    return torch.sparse_csr_tensor(indptr, indices, values, size=tuple(shape), check_invariants=False)


def torch_device(accelerator: str, devices: int | str | list[int]) -> torch.device:
    """Turn the device arguments of scvi-tools into one torch device.

    Parameters
    ----------
    accelerator
        `"auto"`, `"cpu"`, `"gpu"` or another name that lightning knows.
    devices
        `"auto"` or the number of one device.

    Returns
    -------
    The device.

    Raises
    ------
    ValueError
        When there is no such accelerator, or no such device of it; names both arguments and what there is.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from scvi.model._utils import parse_device_args

    from sctandem._check_devices import no_accelerator

    try:
        _, _, device = parse_device_args(
            accelerator=accelerator, devices=devices, return_device="torch", validate_single_device=True
        )
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        raise ValueError(no_accelerator(accelerator, devices)) from error
    return device


def registry_dtype(key: str) -> Any:
    """Return the numpy type in which scvi-tools loads what is registered under a key."""
    from scvi.data._utils import registry_key_to_default_dtype

    return registry_key_to_default_dtype(key)


@cache
def _onednn_linear() -> Any:
    """Return oneDNN's product of single-precision matrices, or `None` where this build of torch does not have it."""
    import torch

    if not torch.backends.mkldnn.is_available():
        return None
    try:
        operation = torch.ops.mkldnn._linear_pointwise
        eye = torch.eye(2)
        if not torch.equal(operation(eye, 2 * eye, None, "none", [], ""), 2 * eye):
            return None
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    return operation


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Multiply two matrices, without gradient: on the CPU in single precision by oneDNN.

    `torch.mm` takes MKL there, which runs at a quarter of the speed on processors that are not Intel's.

    Parameters
    ----------
    a, b
        Matrices of n x k and k x m.
    bias
        Added to every row, (m,).

    Returns
    -------
    n x m.
    """
    import torch

    operation = _onednn_linear() if a.device.type == "cpu" and a.dtype is torch.float32 else None
    if operation is None or 0 in (*a.shape, *b.shape):
        return a @ b if bias is None else torch.addmm(bias, a, b)
    return operation(a, b.t(), bias, "none", [], "")


def import_printer() -> None:
    """Import the part of rich with which scvi-tools prints a setup: 1.4 does so without importing it."""
    import rich.pretty  # noqa: F401


@dataclass(frozen=True, slots=True)
class ModelLayout:
    """Names of the files of a saved model, of what is in them, and of what marks data that are set up: those of scvi-tools."""

    model_file: str = "model.pt"
    anndata_file: str = "adata.h5ad"
    mudata_file: str = "mdata.h5mu"
    state: str = "model_state_dict"
    features: str = "var_names"
    attributes: str = "attr_dict"
    pyro: str = "pyro_param_store"
    registry: str = "registry_"
    init_params: str = "init_params_"
    model_name: str = "model_name"
    setup_method: str = "setup_method_name"
    setup_args: str = "setup_args"
    fields: str = "field_registries"
    field_data: str = "data_registry"
    field_state: str = "state_registry"
    modality: str = "mod_key"
    column_names: str = "column_names"
    categories: str = "categorical_mapping"
    original_key: str = "original_key"
    data_ids: tuple[str, str] = ("_scvi_uuid", "_scvi_manager_uuid")
    code_prefix: str = "_scvi_"


def forget_data(model: Any, data: AnnData | MuData) -> None:
    """Let a model and its class forget an object that was set up for them, which they would otherwise keep in memory.

    (`deregister_manager` of scvi-tools does not find what a model took over by itself, when it read another object.)

    Parameters
    ----------
    model
        A model of scvi-tools.
    data
        The object.
    """
    mark = data.uns.get(ModelLayout().data_ids[0])
    for managers in (model._setup_adata_manager_store, model._per_instance_manager_store[model.id]):
        managers.pop(mark, None)


def become(model: Any, other: Any) -> None:
    """Let a model be another one of its class.

    Parameters
    ----------
    model
        A model of scvi-tools; what refers to it sees the other one from now on.
    other
        The other one, which is not used any more by itself.
    """
    type(model)._per_instance_manager_store.pop(model.id, None)
    vars(model).clear()
    vars(model).update(vars(other))


def write_model_data(data: AnnData | MuData, path: Path) -> None:
    """Write the data of a model (scvi-tools 1.5 leaves out the layer without name that anndata 0.13 has).

    Parameters
    ----------
    data
        The data of the model.
    path
        The `.h5ad` or `.h5mu` file.
    """
    if installed("scvi-tools", "1.5"):
        from scvi.model.base._base_model import _write_adata

        _write_adata(data, path)
    else:
        data.write(path)


class ObjectCode(NamedTuple):
    """One compiled function as an object file.

    Attributes
    ----------
    symbol
        Name of the function.
    externals
        Names of the functions that it calls and does not hold; those that LLVM calls by itself, of the C library, are left
        out.
    code
        The object file.
    """

    symbol: str
    externals: tuple[str, ...]
    code: bytes


def cached_njit(**options: Any) -> Callable:
    """Compile by :func:`numba.njit`, kept on disk where numba finds a folder that it may write to.

    Parameters
    ----------
    options
        Those of :func:`numba.njit`, but `cache`.

    Returns
    -------
    A decorator.
    """
    import numba

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(**options, cache=True)(function)
        except RuntimeError:  # "no locator available": compiled anew in every process
            return numba.njit(**options)(function)

    return decorate


def object_code(function: Callable, arguments: tuple[Any, ...], options: dict[str, Any]) -> ObjectCode | None:
    """Compile a function that allocates nothing, and take the object file that numba would write into its cache.

    Parameters
    ----------
    function
        A Python function without result that makes no array.
    arguments
        Numba's types of its parameters.
    options
        Those of :func:`numba.njit`.

    Returns
    -------
    The object file. The function has two parameters before its own, where to leave a result and an exception, and
    returns 0 where it has raised none; an array comes as two null pointers, size, bytes an item, address, shape and
    strides. `None` where numba names these things otherwise than in 0.60 to 0.68.
    """
    import numba
    from llvmlite import binding

    alone = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    try:
        compiled = numba.njit(**options, **alone)(function)
        compiled.compile(arguments)
        result = compiled.overloads[arguments]
        symbol, library = result.fndesc.llvm_func_name, result.library
        _, kind, (code, *_) = library.serialize_using_object_code()
        module = binding.parse_assembly(library.get_llvm_str())
    except (AttributeError, KeyError, RuntimeError, ValueError):
        return None
    if kind != "object":
        return None
    called = (each.name for each in module.functions if each.is_declaration and not each.name.startswith("llvm."))
    return ObjectCode(symbol, tuple(sorted(called)), code)
