"""How `model.RegulatoryGraph` takes its data: what is registered, and under which names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from scvi import REGISTRY_KEYS
from scvi.data import fields

from sctandem._checks import check_adata, check_layer, check_slot_names
from sctandem._compat import ModelLayout
from sctandem._keys import MODALITIES
from sctandem.model._regulatory_cells import saved_cells
from sctandem.model._regulatory_data import expression_slot, named_parts
from sctandem.model._tape_data import ATAC_KEY
from sctandem.model.base._collection import collection_setup
from sctandem.model.base._manager import ModelManager, register

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData
    from mudata import MuData

#: What is read of a collection.
_READ = """\
Nothing is read until the model is made, and then not all cells: as many as `n_cells` of the model says are drawn by its seed, evenly over the groups of
`balance_key` where one is named, and held in memory, dense. The model is that of an AnnData of these cells; those that it read are `model.cells`. Without
`n_cells` they are 20,000, or fewer (2,000 at the least) where cells x genes would be above 10^8. So memory does not grow with cells but for their
metadata: about 30 bytes for each of cells drawn x genes."""


class RegulatoryGraphSetupMixin:
    """Set-up methods of :class:`~sctandem.model.RegulatoryGraph`."""

    adata_manager: ModelManager
    _get_setup_method_args: ClassVar[Callable[..., dict[str, Any]]]
    _inputs: Any
    prior: list[str]
    prior_: list[str]
    _read_before: dict[str, Any] | None = None

    def _before_loading(self, attributes: dict[str, Any]) -> None:
        """Take from a file which cells the model read: they are read again, whatever would be drawn now. Files of before do not say."""
        kept = attributes.pop("read_cells_", None)
        self._read_before = None if kept is None else saved_cells(kept)

    def _depends_on(self) -> dict[str, Any]:
        """Return what the training reads beside what is registered."""
        return {"groups of cells, prior edges or evidence": self._inputs}

    def check_same_evidence(self) -> None:
        """Check that the data of a loaded model hold the kinds of evidence that it was trained on.

        Raises
        ------
        ValueError
            Says which kinds there were and are.
        """
        if self.prior_ != self.prior:
            msg = (
                f"the model was trained with the prior edges {self.prior_}, and these data hold {self.prior}: write the same slots "
                "(motifs, ChIP-exo, windows) to them first, or save the model with save_anndata=True."
            )
            raise ValueError(msg)

    @property
    def _setup_args(self) -> dict[str, Any]:
        return self.adata_manager.registry[ModelLayout().setup_args]

    @property
    def layer(self) -> str | None:
        """Layer of the expression; `None` for `X`."""
        return self._setup_args["layer"]

    @property
    def modalities(self) -> dict[str, str] | None:
        """Names of the modalities by role, as given to `setup_mudata`."""
        return self._setup_args.get("modalities")

    @classmethod
    def setup_anndata(
        cls, adata: AnnData, *, layer: str | None = None, source_registry: dict[str, Any] | None = None
    ) -> None:
        """Register expression alone.

        Parameters
        ----------
        adata
            Holds expression as counts or log-normalised.
        layer
            Layer of the expression; `None` for `X`.
        source_registry
            Registry of a saved model; `load` passes it.

        Returns
        -------
        None. `adata.uns` gets the identifiers of scvi-tools.

        Raises
        ------
        KeyError
            When the layer is not there.
        TypeError
            When `adata` is not an AnnData, or a name not text.
        ValueError
            When `adata` is a view, or has no cells.
        """
        check_slot_names({"layer": layer})
        check_adata(adata)
        check_layer(adata, layer, "adata")
        setup_method_args = cls._get_setup_method_args(cls=cls, adata=adata, layer=layer)
        field = fields.LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False, correct_data_format=False)
        register(cls, adata, [field], setup_method_args, source_registry)

    setup_collection = collection_setup(setup_anndata, notes=_READ)

    @classmethod
    def setup_mudata(
        cls,
        mdata: MuData,
        *,
        layer: str | None = None,
        modalities: Mapping[str, str] | None = None,
        source_registry: dict[str, Any] | None = None,
    ) -> None:
        """Register expression, and accessibility where there is any.

        Parameters
        ----------
        mdata
            Holds expression as counts or log-normalised, and counts of peaks of the same cells.
        layer
            Layer of the expression; `None` for `X`.
        modalities
            From `"rna"` and `"atac"` to the names of the modalities; `None` when they are called so. With `"rna"` alone, and no
            modality that is called ``atac``, expression is all there is.
        source_registry
            Registry of a saved model; `load` passes it.

        Returns
        -------
        None. `mdata.uns` gets the identifiers of scvi-tools.

        Raises
        ------
        KeyError
            When a modality or the layer is not there.
        TypeError
            When `mdata` is not a MuData, or a name not text.
        ValueError
            When the modalities have different cells.
        """
        check_slot_names({"layer": layer})
        named = named_parts(mdata, modalities)
        check_layer(mdata.mod[named[MODALITIES[0]]], layer, expression_slot(named))
        setup_method_args = cls._get_setup_method_args(
            cls=cls, mdata=mdata, layer=layer, modalities=dict(modalities) if modalities else None
        )
        registered = [
            fields.MuDataLayerField(
                key, where, mod_key=named[role], mod_required=True, is_count_data=False, correct_data_format=False
            )
            for key, where, role in ((REGISTRY_KEYS.X_KEY, layer, MODALITIES[0]), (ATAC_KEY, None, MODALITIES[1]))
            if role in named
        ]
        register(cls, mdata, registered, setup_method_args, source_registry)
