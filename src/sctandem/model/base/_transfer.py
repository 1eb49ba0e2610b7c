"""Cells of a query, read by a model that was trained on others."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem._checks import check_option, check_type, listed
from sctandem._compat import ModelLayout
from sctandem.model.base._manager import given_categories
from sctandem.model.base._mapping import MappingMixin
from sctandem.model.base._query import (
    bare_object,
    feature_map,
    read_columns,
    read_counts,
    shared_features,
)
from sctandem.module.base._take_over import chosen_pieces
from sctandem.train._frozen import FrozenTrainingPlan

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Self

    from anndata import AnnData

    from sctandem.train import TrainConfig

#: What a query trains by default.
NEW_BATCHES = "new_batches"


class TransferMixin(MappingMixin):
    """Read a query with a reference.

    The module of the model has `take_over` and `parts`; what was learned outside of it is named in `_learned`.
    """

    _learned: ClassVar[tuple[str, ...]] = ()

    #: Of a model made by `load_query_data`: what `train` trains, and features of the reference that the query lacks. Else empty.
    query_: dict[str, Any] = {}  # replaced, never changed

    @classmethod
    def load_query_data(
        cls, adata: AnnData, reference: Self | str | os.PathLike[str], *, trained: Sequence[str] = (NEW_BATCHES,)
    ) -> Self:
        """Make a model that reads a query as the reference reads its own cells.

        Parameters
        ----------
        adata
            The query, with counts; it need not be set up. Nothing is written to it: the model takes a copy of what it reads, which is its `adata`.
        reference
            A trained model of this class, or the folder that it was saved to, with or without its data.
        trained
            What `train` may change afterwards, as parts of the module that it names itself (`model.module.parts()`): by default what
            belongs to new batches alone. All else stays to the last bit, whatever parameters are called. Parts are
            `"new_batches"`, `"encoder"`, `"decoder"`, and of a :class:`~sctandem.model.CapsuleNet` `"capsules"` and `"labels"`. Empty for nothing.

        Returns
        -------
        The model. It can be used at once; `train` then fits what new batches add.

        Raises
        ------
        ValueError
            For a reference that is not trained, values that are not counts, missing batches, less than a twentieth of the features,
            or a part that the module does not have.
        TypeError
            When the reference is of another class, or `adata` is not an AnnData.
        FileNotFoundError
            When there is no model in the folder.

        Notes
        -----
        Features of the reference that the query lacks are left out of the model, not set to 0: in the first layer they count with their mean over the
        reference, and the likelihood is that of the others given their sum. Features that the reference does not know are ignored.
        Batches may be new; where the column of the batches is absent all cells are one new batch, `"query"`. Labels may be absent; cells with a label
        that the reference does not know count as unlabelled, and the log names these. The reference is not changed.
        """
        reference = cls._as_reference(reference)
        counts = read_counts(adata, reference._setup_args().get("layer"))
        features = shared_features(adata, reference.adata.var_names)
        columns = read_columns(adata, reference, learn_labels=False)
        bare = reference._bare(counts[:, adata.var_names.get_indexer(features)], columns, features)
        model = reference._again(bare)
        check_option_names(trained, model.module.parts())
        model.query_ = {
            "trained": [str(name) for name in trained],
            "absent": [str(name) for name in reference.adata.var_names.difference(features)],
        }
        model.train_indices = model.validation_indices = model.test_indices = np.empty(0, dtype=np.int64)
        model.module.eval()
        if (place := getattr(model, "_place_new_batches", None)) is not None:  # before anything is trained
            place()
        return model

    @classmethod
    def _as_reference(cls, reference: Any) -> Self:
        """Return the reference as a model; from a folder without data it is made on a stand-in that has its categories."""
        if isinstance(reference, str | Path):
            registry = cls.load_registry(reference)
            layout = ModelLayout()
            here = Path(reference) / layout.anndata_file
            reference = cls.load(reference, None if here.is_file() else stand_in(registry), accelerator="cpu")
        check_type(reference, cls, "reference", hint=f"It is a trained {cls.__name__}, or the folder of one.")
        reference._check_if_trained(warn=False, message="reference is not trained; call `reference.train()` first.")
        return reference

    @classmethod
    def _set_up(cls, bare: AnnData, setup_args: dict[str, Any]) -> None:
        """Register an object that was made for a model that exists."""
        cls.setup_anndata(bare, **setup_args)

    def _setup_args(self) -> dict[str, Any]:
        """Return the arguments with which the data were set up."""
        return self.registry_[ModelLayout().setup_args]

    def _bare(self, counts: sparse.csr_matrix, columns: pd.DataFrame, features: Sequence[str]) -> AnnData:
        """Return an object as this model reads it."""
        return bare_object(sparse.csr_matrix(counts), columns, features, self._setup_args().get("layer"))

    def _again(self, bare: AnnData) -> Self:
        """Make a model of the same kind on other data, with the weights of this one."""
        cls: Any = type(self)
        with warnings.catch_warnings():  # comes also where cells are only read
            warnings.filterwarnings("ignore", "Category .* has fewer than 3 cells", UserWarning)
            cls._set_up(bare, self._setup_args())
        model = cls(bare, config=self.module.config, rng=0)
        model.module.to(self.module.device)
        model.module.take_over(
            self.module,
            feature_map(bare.var_names, self.adata.var_names),
            own_depth=self._setup_args().get("size_factor_key") is not None,
        )
        for name in self._learned:
            if hasattr(self, name):
                setattr(model, name, getattr(self, name))
        model.is_trained_ = True
        return model

    def _plan_of(self, config: TrainConfig) -> Any:
        """Train what a query may train, and otherwise everything."""
        if not self.query_:
            return super()._plan_of(config)  # type: ignore[misc] # of TrainMixin beside it
        if config.domain_adversarial is not None:
            msg = (
                f"domain_adversarial={config.domain_adversarial!r} trains all of a model, and this query trains "
                f"{listed(self.query_['trained'])} alone; leave it out."
            )
            raise ValueError(msg)
        if config.is_adversarial:  # moved cells would train all of the reference
            msg = f"adversarial= trains all of a model, and this query trains {listed(self.query_['trained'])} alone; leave it out."
            raise ValueError(msg)
        pieces = chosen_pieces(self.module.parts(), self.query_["trained"])
        return partial(FrozenTrainingPlan, pieces=[(piece.parameter, piece.entries) for piece in pieces.values()])


def check_option_names(names: Sequence[str], parts: dict[str, Any]) -> None:
    """Check the names of parts of a module."""
    if isinstance(names, str):
        msg = f"trained={names!r} is text; give a list of parts: trained=[{names!r}]."
        raise TypeError(msg)
    check_type(names, list | tuple, "trained", hint=f"It names parts: {listed(parts)}.")
    for name in names:
        check_option(name, tuple(parts), "trained")


def stand_in(registry: dict[str, Any]) -> AnnData:
    """Make cells without counts that have the features and categories of a saved model, for one whose data are not there."""
    layout = ModelLayout()
    fields, args = registry[layout.fields], registry[layout.setup_args]
    features = [str(name) for name in fields["X"][layout.field_state][layout.column_names]]
    columns = dict(filter(None, map(given_categories, fields.values())))
    n_cells = 3 * max([1, *(len(known) for known in columns.values())])  # scvi-tools warns of fewer than 3 of a kind
    table = pd.DataFrame(index=[f"none{i}" for i in range(n_cells)])
    for column, known in columns.items():
        table[column] = pd.Categorical([known[i % len(known)] for i in range(n_cells)], known)
    if args.get("size_factor_key") is not None:
        table[args["size_factor_key"]] = 1.0
    return bare_object(
        sparse.csr_matrix((n_cells, len(features)), dtype=np.float32), table, features, args.get("layer")
    )
