"""Model files: written whole or not at all, read without running anything that is in them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from anndata import AnnData

from sctandem._check_files import check_format
from sctandem._checks import check_path, check_type
from sctandem._compat import ModelLayout, torch_device, write_model_data
from sctandem._plain import from_plain, to_plain
from sctandem._plain_files import DAMAGED, read_plain
from sctandem._random import torch_seeded
from sctandem._whole import check_room, whole_folder
from sctandem.data import Collection
from sctandem.data._streamed import streams_counts
from sctandem.model.base._manager import check_not_view, marks_as_before
from sctandem.model.base._saved_data import check_features, least_bytes, listed_features, needed_modalities, read_data

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Self

    from mudata import MuData

#: Version of what the files hold; those of a newer one are refused.
FORMAT = 1
#: The attribute in a file that says so.
_MADE_BY = "sctandem_"
_SETUP_METHODS = ("setup_anndata", "setup_mudata")


class FilesMixin:
    """Save and load a model.

    A model that takes a configuration names its class in `_config_classes`; no other class is made from a file. Its
    set-up method takes `source_registry`, and registers with a `ModelManager`. Registry keys of what only training needs
    are named in `_training_only`: a saved model loads without them. A model may have a method `_before_saving`, which gets ready
    what the file is to hold, and `_before_loading`, which takes from the attributes in a file what the model is to be made with; it is
    called on the model before that is made.
    """

    _config_classes: ClassVar[tuple[type, ...]] = ()
    _training_only: ClassVar[tuple[str, ...]] = ()

    def save(
        self,
        dir_path: str | os.PathLike[str],
        prefix: str | None = None,
        *,
        overwrite: bool = False,
        save_anndata: bool = False,
        save_kwargs: Mapping[str, Any] | None = None,
        legacy_mudata_format: bool = False,
    ) -> None:
        """Write the model to a folder, whole or not at all.

        Parameters
        ----------
        dir_path
            The folder; it is made when it does not exist.
        prefix
            Put before the names of the files.
        overwrite
            Whether an existing folder may be used. Files of the same names are replaced in it, others stay.
        save_anndata
            Whether to write the data as well; not those of a collection, which stays where it is.
        save_kwargs
            More arguments of :func:`torch.save`.
        legacy_mudata_format
            Whether to write the names of the features of all modalities as one list, as old scvi-tools did.

        Returns
        -------
        None. The folder holds `model.pt`, and `adata.h5ad` or `mdata.h5mu` when asked for: the layout of scvi-tools.

        Raises
        ------
        ValueError
            When the folder exists and `overwrite` is `False`, or the data of a collection were asked for.
        TypeError
            When the model holds something that a file cannot hold, or an argument is of another type.
        OSError
            When the disk does not take the files; names the folder, which is as it was.

        Notes
        -----
        Everything is written beside its place and put there when it is complete and on the disk. After an error or
        an interruption the folder is as it was. When both data and model replace older ones, a power failure between
        the two can leave the new data with the old model; each of the files is whole.

        The file holds plain data only: the configuration as a dictionary, arrays as tensors or lists. Neither the
        state of the optimiser nor a random generator is kept.
        """
        for name, value in (("overwrite", overwrite), ("save_anndata", save_anndata)):
            check_type(value, bool, name)
        check_type(prefix, str | None, "prefix")
        target = check_target(dir_path, overwrite=overwrite)
        if save_anndata and streams_counts(self.adata_manager):
            msg = (
                f"save_anndata=True, but the data of this {type(self).__name__} are a collection, which stays on the disk where it is: save without, and "
                f"read the model with `{type(self).__name__}.load({str(dir_path)!r}, collection)`. `collection.to_adata(query).write_h5ad(path)` writes "
                "cells of it to a file."
            )
            raise ValueError(msg)
        layout, prefix = ModelLayout(), prefix or ""
        if (prepare := getattr(self, "_before_saving", None)) is not None:
            prepare()
        content = self._file_content(layout, legacy_mudata_format=legacy_mudata_format)
        if save_anndata:
            # HDF5 does not get over a disk that fills up: objects stay open, which end the process
            check_room(target, least_bytes(self.adata))
        with whole_folder(target, last=f"{prefix}{layout.model_file}") as folder:
            if save_anndata:
                self._write_data(folder, prefix)
            torch.save(content, folder / f"{prefix}{layout.model_file}", **dict(save_kwargs or {}))

    @classmethod
    def load(
        cls,
        dir_path: str | os.PathLike[str],
        adata: AnnData | MuData | Collection | None = None,
        *,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
    ) -> Self:
        """Read a model from a folder, without running anything that its files hold.

        Parameters
        ----------
        dir_path
            The folder that `save` has written.
        adata
            Data with the features of the model, in the same order; they need not be set up, and what only training
            needs may be missing; or a collection. `None` reads those that were saved with the model.
        accelerator
            `"auto"`, `"cpu"`, `"gpu"`, ... as in scvi-tools.
        device
            The number of the device, or `"auto"`.
        prefix
            What was put before the names of the files.

        Returns
        -------
        The model, with its history; it can be used at once, and trained where `adata` hold what that needs.

        Raises
        ------
        FileNotFoundError
            When the folder does not hold a model, or no data were given and none are there.
        ValueError
            When there is no such accelerator, the file is damaged, made by a newer version, holds more than plain data, is of another class, or `adata` lacks features or has
            categories that the model does not know; `adata` is then as it was.
        TypeError
            When `adata` is an AnnData or a collection and the model was set up with a MuData, or the reverse, or is something else.

        Notes
        -----
        Files are read by :func:`torch.load` with `weights_only=True` and nothing allowed on top; a file that names
        any other function or class is refused before it is called. For files from others, keep torch up to date:
        flaws in this reader were mended in its versions 2.6 and 2.10.
        """
        layout, folder = ModelLayout(), model_folder(dir_path)
        where = torch_device(accelerator, device)
        path = folder / f"{prefix or ''}{layout.model_file}"
        content = _read_content(path, layout, cls._config_classes)
        state, attributes = content[layout.state], dict(content[layout.attributes])
        registry, parameters = attributes.pop(layout.registry), attributes.pop(layout.init_params)
        name = registry.get(layout.model_name)
        if name != cls.__name__:
            msg = f"{path} holds a model of a different class: {name}, not {cls.__name__}."
            raise ValueError(msg)
        if registry.get(layout.setup_method) not in _SETUP_METHODS:
            msg = f"{path} was set up by {registry.get(layout.setup_method)!r}, not by one of {_SETUP_METHODS}."
            raise ValueError(msg)
        if adata is None:
            adata = read_data(folder, prefix or "", registry)
        elif isinstance(adata, Collection):
            adata = adata.adata
        modalities = needed_modalities(registry, cls._training_only)
        check_features(adata, content[layout.features], str(path), modalities=modalities)
        check_not_view(adata)
        with marks_as_before(adata):
            # compares the categories with those of the model before anything is written
            getattr(cls, registry[layout.setup_method])(adata, source_registry=registry, **registry[layout.setup_args])
            new: Any = cls
            model = new.__new__(cls)
            if (prepare := getattr(model, "_before_loading", None)) is not None:
                prepare(attributes)
            with torch_seeded(0):  # the initial weights are replaced: the global state is not to be spent on them
                model.__init__(adata, **parameters["non_kwargs"])
            for key, value in attributes.items():
                setattr(model, key, value)
            model.module.on_load(model, pyro_param_store=None)
            try:
                model.module.load_state_dict(state)
            except RuntimeError as error:
                msg = f"{path} is damaged, or of another version: its weights do not fit the network. {error}"
                raise ValueError(msg) from error
        model.to_device(where)
        model.module.eval()
        model._validate_anndata(adata)
        return model

    @staticmethod
    def load_registry(dir_path: str | os.PathLike[str], prefix: str | None = None) -> dict[str, Any]:
        """Read how the data of a saved model were set up.

        Parameters
        ----------
        dir_path
            The folder that `save` has written.
        prefix
            What was put before the names of the files.

        Returns
        -------
        The registry of scvi-tools.
        """
        layout = ModelLayout()
        raw = read_model_file(model_folder(dir_path) / f"{prefix or ''}{layout.model_file}")
        return from_plain(raw[layout.attributes][layout.registry])

    @classmethod
    def convert_legacy_save(
        cls,
        dir_path: str | os.PathLike[str],
        output_dir_path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        prefix: str | None = None,
    ) -> None:
        """Refuse: files of scvi-tools before 0.15 can only be read by running what is in them.

        Parameters
        ----------
        dir_path, output_dir_path, overwrite, prefix
            As in scvi-tools; not used.

        Raises
        ------
        ValueError
            Always. No model of this package was ever saved in that format.
        """
        where, to = Path(dir_path), Path(output_dir_path)
        msg = (
            f"{where} was not converted to {to} (prefix={prefix!r}, overwrite={overwrite}): no {cls.__name__} was ever "
            "saved in the format of scvi-tools before 0.15, and reading it would run code from the file."
        )
        raise ValueError(msg)

    def _file_content(self, layout: ModelLayout, *, legacy_mudata_format: bool) -> dict[str, Any]:
        """Return what the file holds, in the layout of scvi-tools, as plain data."""
        state = self.module.state_dict()
        foreign = [key for key, value in state.items() if not isinstance(value, torch.Tensor)]
        if foreign:
            msg = f"the state of the module holds more than tensors: {foreign[:3]}."
            raise TypeError(msg)
        state[layout.pyro] = {"params": {}, "constraints": {}}
        attributes = {key: value for key, value in self._get_user_attributes() if key.endswith("_")}
        names = self.get_var_names(legacy_mudata_format=legacy_mudata_format)
        listed = listed_features(names, attributes[layout.registry])
        return {
            layout.state: state,
            layout.features: to_plain(listed, "the names of the features"),
            layout.attributes: {key: to_plain(value, f"the attribute {key}") for key, value in attributes.items()}
            | made_by(),
        }

    def _write_data(self, folder: Path, prefix: str) -> None:
        """Write the data; an object that is backed by a file stays with its own file."""
        layout, data = ModelLayout(), self.adata
        name = layout.anndata_file if isinstance(data, AnnData) else layout.mudata_file
        backing = data.file.filename if data.isbacked else None
        try:
            write_model_data(data, folder / f"{prefix}{name}")
        finally:
            if backing is not None:
                data.file.filename = backing


def made_by() -> dict[str, Any]:
    """Return the attribute that says what a model file was made by."""
    return {_MADE_BY: {"format": FORMAT, "version": version("sctandem")}}


def model_folder(dir_path: str | os.PathLike[str]) -> Path:
    """Check the argument that names the folder of a model, and return the path."""
    check_path(dir_path, "dir_path", to="the folder of a model")
    return Path(dir_path)


def check_target(dir_path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Check where a model is to be written.

    Parameters
    ----------
    dir_path
        The folder.
    overwrite
        Whether it may be there already.

    Returns
    -------
    Its path.

    Raises
    ------
    ValueError
        When it is there and must not be, or is a file.
    """
    target = model_folder(dir_path)
    if target.exists() and not (overwrite and target.is_dir()):
        what = "Name another folder, or replace the model in it with overwrite=True."
        msg = f"{target} already exists. {what if target.is_dir() else 'It is a file: name a folder.'}"
        raise ValueError(msg)
    return target


def read_model_file(path: Path) -> dict[str, Any]:
    """Read a model file as plain data.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    What it holds, in the layout of scvi-tools, without what it was made by.

    Raises
    ------
    FileNotFoundError
        When it is not there.
    ValueError
        When it is damaged, made by a newer version, holds more than plain data, or is of another kind.
    """
    if not path.is_file():
        folder = path.parent
        found = (
            ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing" if folder.is_dir() else "no such folder"
        )
        msg = f"there is no model file {path} (there: {found}); `model.save` writes it."
        raise FileNotFoundError(msg)
    layout = ModelLayout()
    raw = read_plain(path, "model file", (layout.state, layout.features, layout.attributes))
    try:
        number = raw[layout.attributes].pop(_MADE_BY, {}).get("format", FORMAT)
    except DAMAGED as error:
        msg = f"{path} is damaged: {error}"
        raise ValueError(msg) from error
    check_format(number, FORMAT, str(path))
    return raw


def _read_content(path: Path, layout: ModelLayout, configs: tuple[type, ...]) -> dict[str, Any]:
    """Read a model file."""
    raw = read_model_file(path)
    raw[layout.state].pop(layout.pyro, None)
    try:
        attributes = from_plain(raw[layout.attributes], configs)
    except DAMAGED as error:
        msg = f"{path} is damaged: {error}"
        raise ValueError(msg) from error
    missing = [key for key in (layout.registry, layout.init_params) if not isinstance(attributes.get(key), dict)]
    strange = [key for key in attributes if not key.endswith("_") or key.startswith("_")]
    if missing or strange:
        fault = f"lacks {', '.join(missing)}" if missing else f"has the attributes {strange}"
        msg = f"{path} is not a model file of this package: it {fault}."
        raise ValueError(msg)
    return {**raw, layout.attributes: attributes}
