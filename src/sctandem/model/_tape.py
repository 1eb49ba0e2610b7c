"""TAPE: tandem ATAC and expression prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp
from scvi import REGISTRY_KEYS
from scvi.model.base import BaseModelClass

from sctandem._checks import check_mudata, check_n_cells, check_option, check_positive, check_type
from sctandem._random import as_generator
from sctandem.kernels import expected_log1p
from sctandem.kernels._links import adjust, link_evidence
from sctandem.model._tape_fit import TAPEFit, fit_tape
from sctandem.model._tape_read import UNTRAINED, TAPEReadMixin
from sctandem.model.base import FilesMixin, NoTransferMixin, TrainMixin
from sctandem.model.base._manager import check_set_up
from sctandem.model.base._train_method import ADVERSARIAL, DOMAIN
from sctandem.module import TAPEConfig, TAPEModule
from sctandem.module._tape import CONTEXT_KEY, LIBRARY_KEY, STATE_KEY
from sctandem.nn import WindowConfig
from sctandem.train import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from sctandem._random import RNG
    from sctandem.model._tape_data import Cells

#: Log library size of a cell without counts, which is in no minibatch.
NO_LIBRARY = -20.0


class TAPE(TAPEReadMixin, NoTransferMixin, TrainMixin, FilesMixin, BaseModelClass):
    """Predict expression from chromatin, and learn which peaks drive which gene.

    The *state* of a cell is what its chromatin tells about the factors of expression, read by stacked kernel regressions.
    The *window* of a gene, its ordered peaks up- and downstream, is read by a bidirectional LSTM, once a gene, which gives
    every peak a weight in the light of its neighbours; the state modulates the weights. Both enter a negative binomial.
    Genes that are left out of training are predicted from their window alone.

    Parameters
    ----------
    mdata
        Set up with `setup_mudata`, after :func:`~sctandem.pp.gene_windows`.
    heldout_genes
        Names of genes whose counts are not learned from: they are predicted from their windows.
    config
        The architecture; `None` for the defaults.

    Raises
    ------
    KeyError
        For held-out genes that are not there, and when the windows are missing.
    ValueError
        For data that cannot be learned from; names the slot and what to do.
    TypeError
        When `config` is of another type.

    Notes
    -----
    `train` takes the settings of :class:`~sctandem.train.TrainConfig`, by default `max_epochs=10`, `learning_rate=0.002`,
    `train_size=0.9`, `early_stopping=False`, `adam_eps=1e-08` and the others as they are there; it needs
    at least 10 training cells. Cells without counts of genes or of peaks are left out. `max_epochs` hardly governs the time: most of it goes to the window networks, before the
    first epoch. For shorter ones make the model with
    ``config=TAPEConfig(windows=WindowConfig(n_steps=300, n_members=2))``, where :class:`~sctandem.module.TAPEConfig`
    comes from `sctandem.module` and :class:`~sctandem.nn.WindowConfig` from `sctandem.nn`.

    Cost: the regressions take `min(cells, 2500)^2 x cells`, the windows do not depend on the cells, and an epoch of the
    negative binomial is one product of cells x genes; 2,000 cells x 50,000 peaks take about a minute on two cores.
    The user guide states the limits: per-gene correlations over single cells are small where counts are few, links are
    associations, and a gene may be predicted no better than by its mean; :func:`~sctandem.tl.predict_expression` says so.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(200, 60, 600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.model.TAPE.setup_mudata(mdata)
    >>> model = td.model.TAPE(mdata)
    >>> model.train(2, rng=0)
    >>> model.predict_expression().shape
    (200, 60)
    """

    _instead = (
        "TAPE reads new cells as they are, with the peaks of the model: `model.predict_expression(mdata)` and "
        "`model.get_latent_representation(mdata)`. What it fits in closed form over all cells cannot learn on from a part of them: to "
        "learn from more cells make a model of all."
    )
    _refused: ClassVar[dict[str, str]] = {
        **dict.fromkeys(ADVERSARIAL, "it has no network that reads the counts of a cell by gradient"),
        **dict.fromkeys(DOMAIN, "the states of its cells are fitted in closed form, and not by gradient"),
    }
    _one_process = "most of the time goes to states and windows, which are fitted before the first epoch"
    _module_cls = TAPEModule
    _config_classes = (TAPEConfig, WindowConfig)
    _train_config: ClassVar[TrainConfig] = TrainConfig(max_epochs=10, learning_rate=2e-3, adam_eps=1e-8)
    _min_training_cells: ClassVar[int] = 10

    def __init__(
        self, mdata: MuData, *, heldout_genes: Sequence[str] | None = None, config: TAPEConfig | None = None
    ) -> None:
        if config is not None:
            check_type(config, TAPEConfig, "config", hint="Settings of the training go to `train(config=...)`.")
        check_mudata(mdata)
        check_set_up(mdata, self._setup_adata_manager_store, "TAPE.setup_mudata")
        super().__init__(mdata)
        self._data: Any = None
        given = [] if heldout_genes is None else heldout_genes
        heldout_genes = [given] if isinstance(given, str) else [str(name) for name in given]
        self.heldout_genes = heldout_genes
        self.config = config or TAPEConfig()
        if not self.adata_manager.is_transferred:  # a model that is being loaded reads what it trains on when it trains
            self._load_inputs()
        self.module = self._module_cls(
            len(self.gene_names), n_batch=self.summary_stats.get("n_batch", 1), config=self.config
        )
        self._model_summary_string = f"TAPE with {self.config}"
        self.init_params_ = self._get_init_params(locals())

    def _before_training(self, train_indices: np.ndarray, *, once: Any, progress: bool) -> dict[str, Any]:
        """Fit state and windows; the minibatches then hold what they say of each cell."""
        purpose = "training on cells with counts of genes and of peaks"
        check_n_cells(len(train_indices), self._min_training_cells, purpose, "that part of mdata")
        data = self._data
        # a model that is trained again starts anew: what it was is forgotten only now that the data have passed
        self.history_ = None
        self.train_cells_ = [str(name) for name in self.adata.obs_names[np.asarray(train_indices)]]
        seen = np.asarray(data.rna[np.asarray(train_indices)].sum(0)).ravel() > 0
        data = replace(data, learned=data.learned & seen)
        seed = int(torch.randint(2**31, ()).item())
        cells, config = np.asarray(train_indices), self.config
        fit = once("windows", lambda: fit_tape(data, cells, config, rng=seed, progress=progress), (TAPEFit,))
        for values, of_genes in ((fit.state, "loadings"), (fit.context, "profile")):
            if values.shape != (len(data.library), fit.start[of_genes].shape[1]):  # of a checkpoint
                msg = f"states or contexts of shape {values.shape} are not those of {len(data.library)} cells"
                raise ValueError(msg)
        self.module.start(fit.start, len(train_indices))
        self.module.set_fitted(fit.keep)
        library = np.where(data.library > 0, np.log(np.maximum(data.library, 1e-12)), NO_LIBRARY)
        entries: dict[str, Any] = {
            REGISTRY_KEYS.X_KEY: data.rna if data.learned.all() else data.rna[:, data.learned],
            STATE_KEY: torch.from_numpy(fit.state.astype(np.float32)),
            CONTEXT_KEY: torch.from_numpy(fit.context.astype(np.float32)),
            LIBRARY_KEY: torch.from_numpy(library.astype(np.float32)[:, None]),
        }
        wanted = [REGISTRY_KEYS.BATCH_KEY] if self.module.n_batch > 1 else []
        return {"entries": entries, "data_and_attributes": wanted}

    @torch.inference_mode()
    def predict_expression(
        self,
        mdata: MuData | None = None,
        *,
        scale: Literal["cp10k", "log1p"] = "cp10k",
        library_size: float | None = None,
        indices: Cells = None,
        batch_size: int | None = None,
    ) -> pd.DataFrame:
        """Predict the expression of all genes from chromatin alone.

        Parameters
        ----------
        mdata
            Object with the same peaks (in any order); it needs no RNA. `None` for the one the model was made with.
        scale
            - `"cp10k"`: expected counts per 10,000
            - `"log1p"`: expectation of `log1p` of the measured counts per 10,000. Compare this with log-normalised counts:
              the logarithm of an expectation is something else.
        library_size
            Library size at which `"log1p"` is expected in every cell, so that depth tells nothing; `None` for the one
            that the chromatin of the cell predicts. Counts per 10,000 do not depend on it.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells that are predicted at once; bounds the memory, does not change the result.

        Returns
        -------
        float32, cells x genes.

        Raises
        ------
        KeyError
            For a missing modality or missing peaks.
        ValueError
            For an unknown scale, chromatin that does not hold counts, or cells that are not there.
        TypeError
            For `indices` that are neither positions nor a mask.
        RuntimeError
            When the model is not trained.

        Notes
        -----
        Where library sizes are the total counts of the cells, the expected counts of the genes that were learned from
        add up to 10,000 in every cell; genes held out come on top. With `size_factor_key` they are counts per 10,000 of
        that size: the registered genes may be any part of it, and what they add up to is itself predicted. `"log1p"` is
        not normalised: it takes rates and library size as the model predicts them.
        """
        check_option(scale, ("cp10k", "log1p"), "scale")
        if library_size is not None:
            check_positive(library_size, "library_size")
        names, counts = self._read_chromatin(mdata, indices)
        theta = self.module.log_theta.exp().cpu().numpy()
        spread = float(self.module.get_fitted()["library_sd"][0])
        out = np.empty((len(names), self.module.n_genes), dtype=np.float32)
        for rows, state, log_library, context in self._read_blocks(counts, batch_size):
            rate = self._log_rate(state, context)
            if scale == "cp10k":
                out[rows] = 1e4 * self._shares(rate)
            else:
                library = np.exp(log_library) if library_size is None else np.full(len(rate), float(library_size))
                out[rows] = expected_log1p(rate, theta, library, library_sd=spread)
        return pd.DataFrame(out, index=names, columns=self.gene_names)

    def _log_rate(self, state: np.ndarray, context: np.ndarray) -> np.ndarray:
        """Compute the log of the expected counts per unit of the library, in double precision, cells x genes."""
        module = self.module
        hidden = module.inference(*(torch.from_numpy(values) for values in (state, context)))["hidden"].double()
        weight, bias = (values.double() for values in module.weights())
        return (hidden @ weight.t() + bias).cpu().numpy()

    def _shares(self, log_rate: np.ndarray) -> np.ndarray:
        """Compute the expected share of each gene in the library, cells x genes."""
        if self.setup_args["size_factor_key"] is None:  # the library is the sum of what was learned
            learned = self.module.learned.cpu().numpy() > 0
            log_rate = log_rate - logsumexp(log_rate[:, learned], axis=1, keepdims=True)
        return np.exp(np.minimum(log_rate, 0.0))

    def get_peak_gene_links(self, *, n_permutations: int = 1000, rng: RNG = None) -> pd.DataFrame:
        """Return the weight of each peak in each window, and how sure it is.

        Parameters
        ----------
        n_permutations
            Genes of other chromosomes to which a window is handed for the null distribution.
        rng
            Seed of their choice; `None` draws one.

        Returns
        -------
        One row a pair, best first: peak and gene (category), distance (int64, bp, negative upstream), weight (float64,
        0 or more), sign (int8), pvalue and fdr (float64; NaN for genes that were not learned from).

        Raises
        ------
        RuntimeError
            When the model is not trained.

        Notes
        -----
        Two readers of windows expect an effect of each pair, and links rest on the mean of both: the window networks, and a
        Gaussian process over the kind of the peak, its side, its distance and what lies between it and the gene
        [Rasmussen06]_, [Williams01]_. The process knows less of a window, but learns it from fewer genes; each reader is
        silent where it does not predict genes it was not fitted to. The weight is the size of the expected effect on the
        log rate over the cells, times `exp(a / 2)` of the agreement `a`: how much more closely the gene follows the peak,
        in what the other peaks of the window leave unexplained, than genes of other chromosomes do, in standard deviations
        of these. The p-value is that of the agreement in the pool of such permuted windows; the false discovery rate is
        controlled by Benjamini-Hochberg with weights proportional to the variance expected of the pair [Genovese06]_.
        Agreement and test take direction, effect and weights from the member of the ensemble that never saw the gene, and
        from a process that never saw the genes of that member's fold; with one member only there is none, and no test.
        A peak that opens together with a true enhancer that both readers missed passes as well: links are associations.

        References
        ----------
        .. [Rasmussen06] Rasmussen & Williams, Gaussian Processes for Machine Learning, MIT Press (2006), chapter 2.
        .. [Williams01] Williams & Seeger, Using the Nystroem method to speed up kernel machines, NIPS 13 (2001).
        .. [Genovese06] Genovese, Roeder & Wasserman, False discovery control with p-value weighting, Biometrika 93 (2006).
        """
        self._check_if_trained(message=UNTRAINED, warn=False)
        check_positive(n_permutations, "n_permutations", whole=True)
        kept = self.module.get_fitted()
        gene, peak = kept["pair_gene"], kept["pair_peak"]
        tested = (self.module.learned.cpu().numpy() > 0) & (kept["tested"] > 0)
        evidence = link_evidence(
            kept["pair_unseen"],
            kept["response"],
            kept["target"],
            peak=peak,
            gene=gene,
            chromosome=kept["chromosome"],
            known=tested,
            n_permutations=n_permutations,
            rng=as_generator(rng),
        )
        size = np.abs(kept["pair_weight"]) * np.linalg.norm(kept["response"], axis=1)[peak]
        table = pd.DataFrame(
            {
                "peak": pd.Categorical.from_codes(peak, self.peak_names).remove_unused_categories(),
                "gene": pd.Categorical.from_codes(gene, self.gene_names).remove_unused_categories(),
                "distance": kept["pair_distance"].astype(np.int64),
                "weight": (size * np.exp(evidence.agreement / 2)).astype(np.float64),
                # of pairs that are tested, the direction in which they were
                "sign": np.where(np.where(tested[gene], kept["pair_unseen"], kept["pair_weight"]) < 0, -1, 1).astype(
                    np.int8
                ),
                "pvalue": evidence.pvalue,
                "fdr": adjust(evidence.pvalue, evidence.importance**2),
            }
        )
        return table.sort_values(["fdr", "weight"], ascending=[True, False], ignore_index=True)
