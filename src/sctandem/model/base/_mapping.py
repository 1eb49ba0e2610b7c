"""Labels of a query by what is known of a reference, and how well each cell fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scvi import REGISTRY_KEYS

from sctandem._checks import check_key
from sctandem._random import as_generator
from sctandem.kernels._label_regions import LabelRegions, fit_regions, nearest_regions
from sctandem.kernels._latent_memory import latent_groups
from sctandem.kernels._placing import matched_distances, misfit_pvalues
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG

#: Share of the cells of a reference that only set the scale of the scores.
_HELD_OUT = 0.2


class Mapped(NamedTuple):
    """A query on a reference."""

    latent: np.ndarray
    """Cells x dimensions, float32."""
    probabilities: pd.DataFrame | None
    """Cells x labels; `None` where there are no labels."""
    score: pd.Series
    """How well each cell fits the reference, in [0, 1]."""
    moved: dict[str, float]
    """By how many interquartile ranges the cells of each batch that is new lie further out than those of the reference."""


class MappingMixin:
    """Map a query onto the model, which stays as it is."""

    def map_cells(self, adata: AnnData, labels: str | None = None, *, rng: RNG = None) -> Mapped:
        """Map cells, without training.

        Parameters
        ----------
        adata
            The query; see :meth:`load_query_data`.
        labels
            Column of the `obs` of the model's own cells with labels to hand on, for a model that has learned none; `None` for none.
        rng
            Seed of the cells of the reference that set the scale of the scores.

        Returns
        -------
        Latent states, probabilities of the labels, and a score of each cell.

        Raises
        ------
        KeyError
            When the column of labels is not there.
        ValueError
            For a query that cannot be read, labels for a model that has its own, or a model that was loaded without the cells that are needed.

        Notes
        -----
        The score is the smaller of two p-values, doubled: the share of cells of the reference that lie as far out of the regions of the
        labels, and how usual it is among the cells of the same batch and region to be given back so badly by the decoder at their depth. The cells of a
        new batch lie further out all together; as far as the half of them does that lies least far out, it is taken off. Where more than
        half of a batch is of types that the reference does not have, their scores are too high. A cell without a count of the genes that both
        have has the score 0.
        """
        query = type(self).load_query_data(adata, self)
        latent = query.get_latent_representation()
        probabilities, regions = self._read_mapped(query, latent, labels, as_generator(rng))
        distances, nearest = nearest_regions(latent, regions)
        batch, losses = query._memory_batches(), query._cell_losses()
        depth = np.asarray(query._held_counts().sum(1)).ravel()
        names = query.adata_manager.get_state_registry(REGISTRY_KEYS.BATCH_KEY).categorical_mapping
        moved = {}
        for number in range(self.module.n_batch, query.module.n_batch):
            inside = batch == number
            if inside.any():
                distances[inside], moved[str(names[number])] = matched_distances(distances[inside], regions.distances)
        further = np.searchsorted(regions.distances, distances, side="left")
        inside_regions = (1 + len(regions.distances) - further) / (1 + len(regions.distances))
        given_back = np.ones(len(batch))
        for number in np.unique(batch):
            cells = batch == number
            given_back[cells] = misfit_pvalues(losses[cells], depth[cells], nearest[cells])
        score = np.where(depth > 0, np.minimum(2 * np.minimum(inside_regions, given_back), 1.0), 0.0)
        index = query.adata.obs_names
        table = None if probabilities is None else probabilities.set_axis(index, axis=0)
        return Mapped(latent, table, pd.Series(score, index=index, name="score"), moved)

    @torch_on_one_thread()
    @torch.inference_mode()
    def _cell_losses(self) -> np.ndarray:
        """Return how badly each cell is given back, nats."""
        self.module.eval()
        return np.concatenate([self.module.misfit(batch).cpu().numpy() for batch in self._batches(None, None, None)])

    def _read_mapped(
        self, query: Any, latent: np.ndarray, labels: str | None, rng: np.random.Generator
    ) -> tuple[pd.DataFrame | None, LabelRegions]:
        """Return probabilities of the labels of a query, and the regions of the reference, by the model's own cells."""
        from sklearn.linear_model import LogisticRegression

        self._check_cells_held()
        own = self.get_latent_representation()
        held_out = rng.random(len(own)) < _HELD_OUT
        if labels is None:
            group, codes = latent_groups(own, None, self._memory_batches(), rng)
            return None, fit_regions(own, group, held_out, len(codes))
        column = check_key(self.adata.obs, labels, "reference_model.adata.obs")
        known = column.notna().to_numpy()
        names, code = np.unique(column[known].astype(str), return_inverse=True)
        if len(names) < 2:
            msg = f"reference_model.adata.obs[{labels!r}] has fewer than two labels: there is nothing to tell apart."
            raise ValueError(msg)
        model = LogisticRegression(max_iter=500).fit(own[known], code)
        probabilities = pd.DataFrame(model.predict_proba(latent), columns=list(names))
        return probabilities, fit_regions(own[known], code, held_out[known], len(names))
