"""How TAPE takes its data: what is registered, under which names, and what only training needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scvi import REGISTRY_KEYS
from scvi.data import fields

from sctandem._checks import article, check_slot_names, check_type
from sctandem._compat import ModelLayout
from sctandem.model._tape_data import ATAC_KEY, assemble, check_inputs
from sctandem.model.base._manager import ModelManager, register
from sctandem.model.base._text_fields import MuDataTextObsField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData

    from sctandem.data import Collection


class TAPESetupMixin:
    """Set-up methods and names of :class:`~sctandem.model.TAPE`."""

    _training_only: ClassVar[tuple[str, ...]] = (
        REGISTRY_KEYS.X_KEY,
        REGISTRY_KEYS.BATCH_KEY,
        REGISTRY_KEYS.SIZE_FACTOR_KEY,
    )

    adata: MuData
    adata_manager: ModelManager
    heldout_genes: list[str]
    _data: Any

    def _load_inputs(self) -> None:
        """Read and check what is registered."""
        absent = self.adata_manager.absent()
        if absent:
            msg = (
                f"the model was loaded with data that hold no {absent}, which training needs: they have the modalities "
                f"{list(self.adata.mod)}, and the model was set up with {self.setup_args}. Load it with all of these."
            )
            raise KeyError(msg)
        self._data = assemble(
            self.adata,
            self.modalities,
            manager=self.adata_manager,
            heldout_genes=self.heldout_genes,
            windows_key=self.setup_args["windows_key"],
            sequence_key=self.setup_args["sequence_key"],
        )

    def _depends_on(self) -> dict[str, Any]:
        """Return what the training reads beside what is registered."""
        if self._data is None:
            self._load_inputs()
        return {"chromatin, windows or sequence": self._data}

    def _cells_to_learn(self) -> np.ndarray:
        """Return the cells with counts in both modalities: nothing is learned from the others."""
        if self._data is None:
            self._load_inputs()
        return self._data.cells

    @property
    def modalities(self) -> dict[str, str]:
        """Names of the modalities by role."""
        given = self.setup_args["modalities"] or {}
        return {"rna": "rna", "atac": "atac", **given}

    @property
    def setup_args(self) -> dict[str, Any]:
        """Arguments of `setup_mudata`."""
        return self.adata_manager.registry[ModelLayout().setup_args]

    @property
    def gene_names(self) -> pd.Index:
        """Names of the genes."""
        state = self.adata_manager.registry[ModelLayout().fields][REGISTRY_KEYS.X_KEY][ModelLayout().field_state]
        return pd.Index(np.asarray(state[ModelLayout().column_names]).astype(object))

    @property
    def peak_names(self) -> pd.Index:
        """Names of the peaks."""
        return self.adata.mod[self.modalities["atac"]].var_names

    @classmethod
    def setup_mudata(
        cls,
        mdata: MuData,
        *,
        rna_layer: str | None = None,
        atac_layer: str | None = None,
        size_factor_key: str | None = None,
        batch_key: str | None = None,
        modalities: Mapping[str, str] | None = None,
        windows_key: str = "gene_windows",
        sequence_key: str = "sequence",
        source_registry: dict[str, Any] | None = None,
    ) -> None:
        """Register the data.

        Parameters
        ----------
        mdata
            Holds counts of genes and of peaks of the same cells in the same order.
        rna_layer, atac_layer
            Layers of the counts; `None` for `X`.
        size_factor_key
            Column of `rna.obs` or `mdata.obs` with the library size of each cell in counts; `None` for the total counts.
            Needed where the genes are a selection.
        batch_key
            Column of `rna.obs` or `mdata.obs` with the batch; predictions average over batches.
        modalities
            From `"rna"` and `"atac"` to the names of the modalities; `None` when they are called so.
        windows_key
            The `key_added` of :func:`~sctandem.pp.gene_windows`; the windows may be made later, before the model is.
        sequence_key
            The `key_added` of :func:`~sctandem.pp.sequence_features`, or ``"kmers"``, ``"motifs"`` or ``"nucleotides"`` of
            :func:`~sctandem.pp.nucleotide_spectrum`. Under the default, the features in ``atac.varm`` are used when present;
            any other name must be there when the model is made.
        source_registry
            Registry of a saved model, whose categories are taken over; `TAPE.load` passes it. RNA, batch and library
            sizes, which only training needs, may then be missing, and there may be any number of cells.

        Returns
        -------
        None. `mdata.uns` gets the identifiers of scvi-tools, ``_scvi_uuid`` and ``_scvi_manager_uuid``. The codes of the
        batches, ``_scvi_batch``, stand beside `batch_key`, in `rna.obs` or `mdata.obs`; without it zeros in `mdata.obs`.

        Raises
        ------
        KeyError
            For a modality, layer or column that is not there.
        TypeError
            For `modalities` that are not a mapping, and names that are not text.
        ValueError
            For values that are not counts, repeated names, one modality in two roles, or modalities whose cells differ.
        """
        given = dict(locals())
        for name in ("windows_key", "sequence_key"):
            check_type(given[name], str, name)
        check_slot_names(given)
        loading = given.pop("source_registry") is not None
        names, columns = check_inputs(
            mdata,
            modalities,
            layers=(rna_layer, atac_layer),
            size_factor_key=size_factor_key,
            batch_key=batch_key,
            loading=loading,
        )
        setup_method_args = cls._get_setup_method_args(
            **{**given, "modalities": dict(modalities) if modalities else None}
        )
        # `check_inputs` has seen that these are counts, in more formats than scvi-tools would
        registered: list[Any] = [
            fields.MuDataLayerField(
                key, layer, mod_key=names[role], mod_required=True, is_count_data=False, correct_data_format=False
            )
            for key, layer, role in ((REGISTRY_KEYS.X_KEY, rna_layer, "rna"), (ATAC_KEY, atac_layer, "atac"))
            if role in names
        ]
        if batch_key is None or "batch" in columns:
            registered.append(MuDataTextObsField(REGISTRY_KEYS.BATCH_KEY, batch_key, mod_key=columns.get("batch")))
        if size_factor_key is None or "size_factor" in columns:
            registered.append(
                fields.MuDataNumericalObsField(
                    REGISTRY_KEYS.SIZE_FACTOR_KEY, size_factor_key, mod_key=columns.get("size_factor"), required=False
                )
            )
        register(cls, mdata, registered, setup_method_args, source_registry)

    @classmethod
    def setup_anndata(cls, adata: AnnData) -> None:
        """Say that two modalities are needed; scvi-tools asks every model for this method.

        Parameters
        ----------
        adata
            Any object.

        Returns
        -------
        Nothing: it raises.

        Raises
        ------
        TypeError
            Always.
        """
        msg = f"TAPE learns from a MuData with RNA and ATAC, not from {article(type(adata).__name__)}; use TAPE.setup_mudata."
        raise TypeError(msg)

    @classmethod
    def setup_collection(cls, collection: Collection) -> None:
        """Say that two modalities are needed, of which a collection holds one.

        Parameters
        ----------
        collection
            Any object.

        Returns
        -------
        Nothing: it raises.

        Raises
        ------
        TypeError
            Always.
        """
        msg = (
            f"TAPE learns from a MuData with RNA and ATAC, not from {article(type(collection).__name__)}, which holds counts of one modality: read its cells "
            "with collection.to_adata(query), put them and the ATAC of the same cells into a MuData, and use TAPE.setup_mudata(mdata)."
        )
        raise TypeError(msg)
