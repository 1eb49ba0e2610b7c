"""How the methods of models are called on small valid input: small nets, one epoch, and data that a case may spoil."""

from __future__ import annotations

import warnings
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import fault_objects as make
import numpy as np
import torch
from anndata import AnnData, read_h5ad
from fault_call import OUT, Call, call
from fault_documented import step
from mudata import MuData

from sctandem._compat import copy_mudata
from sctandem.model import RSD, TAPE, CapsuleNet, DeepDE, RegulatoryGraph, SequenceGAN
from sctandem.module import CapsuleConfig, RegulatoryGraphConfig, RSDConfig, SequenceGANConfig
from sctandem.module.base import CountVAEConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

ONE_EPOCH = {"max_epochs": 1, "rng": 0, "progress": False}
TFS = ["G0001", "G0002", "G0003"]
COLUMNS = {"labels_key": "type", "batch_key": "batch", "size_factor_key": "depth"}


def _made(name: str, data: Any) -> Any:
    """Make a small model of data that are set up."""
    if name == "CapsuleNet":
        return CapsuleNet(data, config=CapsuleConfig(n_hidden=16, n_programmes=4, d_pose=4), rng=0)
    if name == "DeepDE":
        return DeepDE(data, config=CountVAEConfig(n_hidden=16, n_latent=4), rng=0)
    if name == "RSD":
        return RSD(data, config=RSDConfig(n_hidden=16), rng=0)
    if name == "RegulatoryGraph":
        return RegulatoryGraph(data, TFS, prior=None, n_states=10, config=RegulatoryGraphConfig(n_hidden=8), rng=0)
    return TAPE(data, config=make.SMALL_TAPE)


#: How each model is set up, and what it learns from.
SET_UP: dict[str, tuple[Callable[..., None], dict[str, Any], Callable[[], Any]]] = {
    "CapsuleNet": (CapsuleNet.setup_anndata, COLUMNS, make.cells),
    "DeepDE": (DeepDE.setup_anndata, {"sample_key": "donor"}, make.cells),
    "RSD": (RSD.setup_anndata, {"cell_type_key": "cell_type", "donor_key": "donor"}, make.reference),
    "RegulatoryGraph": (RegulatoryGraph.setup_mudata, {}, make.multiome),
    "TAPE": (TAPE.setup_mudata, {}, make.multiome),
}


def _own(data: Any) -> Any:
    """Copy an object, which may be of any kind: it is set up, and the error that is looked for comes later."""
    if isinstance(data, AnnData):
        return read_h5ad(data.filename, backed="r") if data.isbacked else data.copy()
    if not isinstance(data, MuData) or data.is_view:
        return data
    with warnings.catch_warnings():  # genes are named alike in the modality of activities
        warnings.simplefilter("ignore")
        return copy_mudata(data)


def _train(name: str, data: Any, **options: Any) -> Any:
    """Set a copy up, and train."""
    setup, names, _ = SET_UP[name]
    data = _own(data)
    with step(setup):
        setup(data, **names)
    with step(setup.__self__):  # type: ignore[attr-defined]
        model = _made(name, data)
    with step(model.train):
        model.train(**options)
    return model


def _built(name: str, data: Any, **arguments: Any) -> Any:
    """Set a copy up, and make a model with the arguments of a case."""
    setup, names, _ = SET_UP[name]
    data = _own(data)
    with step(setup):
        setup(data, **names)
    with step(setup.__self__):  # type: ignore[attr-defined]
        return setup.__self__(data, **arguments)  # type: ignore[attr-defined]


@cache
def folder_of(name: str) -> Path:
    """Where a trained model lies, with its data."""
    folder = make.folder() / f"model_{name}"
    _train(name, SET_UP[name][2](), **ONE_EPOCH).save(folder, save_anndata=True)
    return folder


@cache
def trained(name: str) -> Any:
    """A trained model, which is only read."""
    with warnings.catch_warnings():  # as above
        warnings.simplefilter("ignore")
        return SET_UP[name][0].__self__.load(folder_of(name))  # type: ignore[attr-defined]


def _read(name: str, method: str, data: Any, **options: Any) -> Any:
    """Call a method that reads other data."""
    function = getattr(trained(name), method)
    with step(function):
        return function(data, **options)


def _own_cells(name: str, method: str, **options: Any) -> Any:
    """Call a method that reads the data of the model."""
    function = getattr(trained(name), method)
    with step(function):
        return function(**options)


@cache
def _with_a_prior() -> Any:
    """A trained model of pairs that a table joins."""
    data = make.multiome()
    RegulatoryGraph.setup_mudata(data)
    model = RegulatoryGraph(
        data, TFS, prior=make.prior_table(), n_states=10, config=RegulatoryGraphConfig(n_hidden=8), rng=0
    )
    model.train(**ONE_EPOCH)
    return model


def _edges_of_a_prior(groups: Any) -> pd.DataFrame:
    function = _with_a_prior().get_edges
    with step(function):
        return function(groups)


def _learn(name: str, adata: Any, **options: Any) -> Any:
    """Learn on; a model that could not is as it was."""
    model = SET_UP[name][0].__self__.load(folder_of(name))  # type: ignore[attr-defined]
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    try:
        with step(model.partial_fit):
            model.partial_fit(adata, **options)
    except Exception:
        after = model.module.state_dict()
        if before.keys() != after.keys() or not all(torch.equal(before[key], after[key]) for key in before):
            raise ZeroDivisionError from None  # which no function documents
        raise
    return model


@cache
def _letters() -> list[str]:
    letters = np.random.default_rng(0).choice(list("ACGT"), (120, 50))
    return ["".join(row) for row in letters]


def _generate(data: Any, **options: Any) -> Any:
    """Learn sequences and write some."""
    with step(SequenceGAN):
        model = SequenceGAN(data, config=SequenceGANConfig(max_motifs=1, critic_epochs=1, n_sweeps=1), **options)
    with step(model.train):
        model.train(progress=False, rng=0)
    with step(model.generate):
        return model.generate(2, rng=0)


def _model(name: str, method: str, how: Callable[..., Any], *, costly: bool = True, **given: Any) -> dict[str, Call]:
    """Name the call of a method."""
    return {f"model.{name}.{method}": call(function=how, costly=costly, **given)}


def _reads(name: str, method: str, **given: Any) -> dict[str, Call]:
    """Name the call of a method that reads data like those of the model."""
    return _model(name, method, partial(_read, name, method), data=SET_UP[name][2], **given)


def _groups() -> Any:
    return trained("RegulatoryGraph").adata["rna"].obs["cell_type"].copy()


MODES = {"batch_size": 64, "learning_rate": 1e-3, "train_size": 0.8, "sample_weight": "hcm_weight"}
CELLS = [0, 3, 5]
MODEL_CALLS: dict[str, Call] = {
    **_model("CapsuleNet", "setup_anndata", CapsuleNet.setup_anndata, costly=False, adata=make.cells, layer="counts",
             **COLUMNS, unlabeled_category="unknown"),
    **_model("CapsuleNet", "train", partial(_train, "CapsuleNet"), data=make.cells, **MODES,
             domain_adversarial="condition", adversarial="fgsm", accelerator="cpu", fixed=ONE_EPOCH),
    **_model("CapsuleNet", "partial_fit", partial(_learn, "CapsuleNet"), adata=make.cells, replay="cells", n_replay=50,
             elastic=1.0, new_features="add", accelerator="cpu", fixed=ONE_EPOCH),
    **_model("CapsuleNet", "load_query_data", CapsuleNet.load_query_data, adata=make.cells,
             reference=lambda: trained("CapsuleNet"), trained=["new_batches"]),
    **_reads("CapsuleNet", "predict", soft=False, min_typicality=0.1, indices=CELLS, batch_size=50),
    **_reads("CapsuleNet", "get_latent_representation", indices=CELLS, batch_size=50),
    **_reads("CapsuleNet", "get_capsules", indices=CELLS, batch_size=50),
    **_reads("CapsuleNet", "get_confidence", indices=CELLS),
    **_reads("CapsuleNet", "get_typicality", indices=CELLS),
    **_model("CapsuleNet", "save", partial(_own_cells, "CapsuleNet", "save"), prefix="a", overwrite=False, save_anndata=True,
             fixed={"dir_path": OUT}, outputs=("dir_path",)),
    **_model("CapsuleNet", "load", CapsuleNet.load, dir_path=lambda: folder_of("CapsuleNet"), adata=make.cells,
             accelerator="cpu"),
    **_model("DeepDE", "setup_anndata", DeepDE.setup_anndata, costly=False, adata=make.cells, sample_key="donor",
             layer="counts"),
    **_model("DeepDE", "train", partial(_train, "DeepDE"), data=make.cells, **MODES, early_stopping=True,
             domain_adversarial="condition", adversarial="vat", fixed=ONE_EPOCH),
    **_model("DeepDE", "partial_fit", partial(_learn, "DeepDE"), adata=make.cells, replay="generated", n_replay=50,
             elastic=1.0, new_features="ignore", fixed=ONE_EPOCH),
    **_model("DeepDE", "load_query_data", DeepDE.load_query_data, adata=make.cells, reference=lambda: folder_of("DeepDE"),
             trained=["encoder"]),
    **_reads("DeepDE", "get_latent_representation", indices=CELLS, batch_size=50),
    **_reads("DeepDE", "get_elbo", indices=CELLS, batch_size=50),
    **_reads("CapsuleNet", "get_elbo", indices=CELLS, batch_size=50),
    **_reads("DeepDE", "get_state_weights", n_states=2, fixed={"rng": 0}),
    **_model("DeepDE", "compare_cells", partial(_own_cells, "DeepDE", "compare_cells"), first=CELLS, second=[1, 2], delta=0.2, fixed={"n_draws": 20, "rng": 0}),
    **_model("DeepDE", "load", DeepDE.load, dir_path=lambda: folder_of("DeepDE"), adata=make.cells),
    **_model("RSD", "setup_anndata", RSD.setup_anndata, costly=False, adata=make.reference, cell_type_key="cell_type",
             donor_key="donor"),
    **_model("RSD", "train", partial(_train, "RSD"), data=make.reference, batch_size=16, devices=1, fixed=ONE_EPOCH),
    **_model("RSD", "deconvolve", partial(_own_cells, "RSD", "deconvolve"), bulk=make.bulk, kind="tpm",
             expression=True, fixed={"rng": 0}),
    **_model("RSD", "load", RSD.load, dir_path=lambda: folder_of("RSD"), adata=make.reference),
    **_model("RegulatoryGraph", "setup_anndata", RegulatoryGraph.setup_anndata, costly=False, adata=make.cells,
             layer="counts"),
    **_model("RegulatoryGraph", "setup_mudata", RegulatoryGraph.setup_mudata, mdata=make.multiome,
             modalities={"rna": "rna", "atac": "atac"}),
    **_model("RegulatoryGraph", "train", partial(_train, "RegulatoryGraph"), data=make.multiome, accelerator="cpu",
             fixed=ONE_EPOCH),
    **_model("RegulatoryGraph", "get_edges", partial(_own_cells, "RegulatoryGraph", "get_edges"),
             groups=_groups, blank={"fdr_rewired": lambda given: True}),  # this one has no prior
    **_model("RegulatoryGraph", "get_edges of a prior", _edges_of_a_prior, groups=_groups),
    **_model("RegulatoryGraph", "load", RegulatoryGraph.load, dir_path=lambda: folder_of("RegulatoryGraph"),
             adata=make.multiome),
    **_model("TAPE", "setup_mudata", TAPE.setup_mudata, mdata=make.multiome, batch_key="batch",
             modalities={"rna": "rna", "atac": "atac"}, windows_key="gene_windows", sequence_key="sequence"),
    **_model("TAPE", "train", partial(_train, "TAPE"), data=make.multiome, batch_size=64, train_size=0.8, fixed=ONE_EPOCH),
    **_reads("TAPE", "predict_expression", scale="log1p", library_size=1000.0, indices=CELLS, batch_size=50),
    **_reads("TAPE", "get_latent_representation", indices=CELLS, batch_size=50),
    **_reads("TAPE", "get_components", n_components=3, indices=CELLS),
    **_model("TAPE", "load", TAPE.load, dir_path=lambda: folder_of("TAPE"), adata=make.multiome),
    **_model("SequenceGAN", "generate", _generate, data=_letters, width=40),
}  # fmt: skip

#: What the classes themselves are called with.
MODEL_CALLS |= {
    **_model("CapsuleNet", "made", partial(_built, "CapsuleNet"), data=make.cells, config=CapsuleConfig(n_hidden=16),
             fixed={"rng": 0}),
    **_model("DeepDE", "made", partial(_built, "DeepDE"), data=make.cells, config=CountVAEConfig(n_hidden=16),
             fixed={"rng": 0}),
    **_model("RSD", "made", partial(_built, "RSD"), data=make.reference, config=RSDConfig(n_hidden=16), fixed={"rng": 0}),
    **_model("RegulatoryGraph", "made", partial(_built, "RegulatoryGraph"), data=make.multiome, tfs=TFS, prior=make.prior_table,
             n_states=10, n_cells=40, balance_key="cell_type", config=RegulatoryGraphConfig(n_hidden=8), fixed={"rng": 0}),
    **_model("TAPE", "made", partial(_built, "TAPE"), data=make.multiome, heldout_genes=["G0005", "G0006"],
             config=make.SMALL_TAPE),
}  # fmt: skip

#: The same of a collection: that it is one, and the names of its columns.
MODEL_CALLS |= {
    **_model("CapsuleNet", "setup_collection", CapsuleNet.setup_collection, costly=False, collection=make.collection,
             labels_key="cell_type", batch_key="donor", size_factor_key="n_counts", unlabeled_category="unknown"),
    **_model("DeepDE", "setup_collection", DeepDE.setup_collection, costly=False, collection=make.collection,
             sample_key="donor"),
    **_model("RSD", "setup_collection", RSD.setup_collection, costly=False, collection=make.collection,
             cell_type_key="cell_type", donor_key="donor", unlabeled_category="unknown"),
    **_model("RegulatoryGraph", "setup_collection", RegulatoryGraph.setup_collection, costly=False,
             collection=make.collection),
}  # fmt: skip

_ONCE = "written once, for all models, and called of another one"
_NOTHING = "takes no data"
_REFUSES = "refuses whatever it is given: tests/model/base/test_modes.py"
#: Public methods that no case calls, each with its reason.
MODEL_NOT_CALLED = {
    "save": _ONCE,
    "load_registry": "reads a file that `load` reads as well",
    "convert_legacy_save": "refuses whatever it is given: tests/model/test_files_safety.py",
    "map_cells": "is what tl.map_query calls",
    "class_scores": "takes what the module gave",
    "check_same_evidence": _NOTHING,
    "get_gene_weights": _NOTHING,
    "get_coupling": _NOTHING,
    "get_sample_effects": _NOTHING,
    "get_tf_activity": _NOTHING,
    "get_expression": _NOTHING,
    "get_skill": _NOTHING,
    "get_elbo": _ONCE,
    "recovery": _NOTHING,
    "warm_start": _NOTHING,
    "get_peak_gene_links": "is what tl.peak_gene_links calls",
    "RSD.load_query_data": _REFUSES,
    "RSD.partial_fit": _REFUSES,
    "RegulatoryGraph.load_query_data": _REFUSES,
    "RegulatoryGraph.partial_fit": _REFUSES,
    "TAPE.load_query_data": _REFUSES,
    "TAPE.partial_fit": _REFUSES,
    "TAPE.setup_anndata": _REFUSES,
    "TAPE.setup_collection": _REFUSES,
    "SequenceGAN.train": "is part of the case of generate",
    "SequenceGAN.load": "tests/model/test_sequence_gan.py",
}
