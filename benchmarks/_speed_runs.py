"""What the speed benchmark times: one model of each kind on the same cells, and one evaluator for both."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

METHODS = ("scVI", "sctandem")
SPLIT_SEED = 0
KINDS = ("train", "latent")
EPOCHS = 5
SHORT_WARMUP = 6


def load(path: Path, n_threads: int) -> Any:
    """Read the data, and set the threads of torch."""
    import anndata
    import torch

    torch.set_num_threads(n_threads)
    return anndata.read_h5ad(path)


def make(method: str, adata: Any, seed: int) -> Any:
    """Set up and make a model; the seed decides weights and order, and the cells held out are always the same."""
    import scvi
    import torch

    scvi.settings.verbosity = 40
    scvi.settings.seed = SPLIT_SEED
    torch.manual_seed(seed)
    if method == "scVI":
        scvi.model.SCVI.setup_anndata(adata)
        return scvi.model.SCVI(adata, gene_likelihood="nb")
    from sctandem.model.base import CountVAEModel

    CountVAEModel.setup_anndata(adata)
    return CountVAEModel(adata)


def train(model: Any, max_epochs: int, **options: Any) -> float:
    """Train with the defaults of the model and return the seconds of `.train()`, split and optimizer included."""
    quiet = {"enable_progress_bar": False} if hasattr(model.module, "z_encoder") else {"progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        model.train(max_epochs, accelerator="cpu", **quiet, **options)
        return time.perf_counter() - start


def evidence(model: Any, adata: Any, cells: np.ndarray, *, n_draws: int = 5, seed: int = 0) -> float:
    """Return the evidence lower bound of these cells in nats a cell, by the same lines for both methods.

    The expected log-likelihood is the mean over draws of the latent state, under scvi-tools' negative binomial; the
    Kullback-Leibler term is analytic. The module is in evaluation mode.
    """
    import torch
    from scvi.distributions import NegativeBinomial
    from torch.distributions import Normal, kl_divergence

    module, total = model.module, 0.0
    was_training = module.training
    module.eval()
    encode, decode = _scvi_parts(module) if hasattr(module, "z_encoder") else _own_parts(module)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    with torch.no_grad():
        for start in range(0, len(cells), 500):
            x = torch.from_numpy(adata.X[cells[start : start + 500]].toarray())
            qz = encode(x)
            theta = module.px_r.exp() if hasattr(module, "px_r") else module.log_theta.exp()
            for _ in range(n_draws):
                distribution = NegativeBinomial(mu=decode(qz.sample(), x), theta=theta)
                total += float(distribution.log_prob(x).sum()) / n_draws
            total -= float(kl_divergence(qz, Normal(0.0, 1.0)).sum())
    torch.set_rng_state(state)
    module.train(was_training)
    return total / len(cells)


def _scvi_parts(module: Any) -> tuple[Callable, Callable]:
    """Return the encoder and the mean of the decoder of scVI."""
    import torch

    def decode(z: Any, x: Any) -> Any:
        library, batch = x.sum(1, keepdim=True).log(), torch.zeros(len(x), 1, dtype=torch.long)
        return module.generative(z, library, batch)["px"].mu

    return lambda x: module.inference(x, torch.zeros(len(x), 1, dtype=torch.long))["qz"], decode


def _own_parts(module: Any) -> tuple[Callable, Callable]:
    """Return the encoder and the mean of the decoder of the count VAE."""

    def decode(z: Any, x: Any) -> Any:
        return module.shares(module.generative(z, x.sum(1).log())) * x.sum(1, keepdim=True)

    return lambda x: module.inference(x)["qz"], decode


def alternate(path: Path, n_threads: int, repeats: int) -> list[dict[str, Any]]:
    """Time epochs and latent inference of both methods in turn, after one run of each that is not counted."""
    adata = load(path, n_threads)
    rows = []
    models = {}
    for method in METHODS:
        models[method] = make(method, adata, 0)
        train(models[method], 1)
        models[method].get_latent_representation()
    for repeat in range(repeats):
        for method in METHODS:
            seconds = train(models[method], EPOCHS) / EPOCHS
            rows.append({"kind": "train", "method": method, "repeat": repeat, "seconds": seconds})
        for method in METHODS:
            start = time.perf_counter()
            models[method].get_latent_representation()
            rows.append({"kind": "latent", "method": method, "repeat": repeat, "seconds": time.perf_counter() - start})
    return rows


def held_out(n_cells: int) -> np.ndarray:
    """Give the tenth of the cells that both methods hold out under `SPLIT_SEED`."""
    return np.random.RandomState(SPLIT_SEED).permutation(n_cells)[: n_cells // 10]


def check_held_out(model: Any, cells: np.ndarray) -> None:
    """Stop when a model held out other cells than those that are evaluated."""
    if sorted(model.validation_indices) != sorted(cells):
        msg = f"the cells held out by {type(model).__name__} are not those that are evaluated"
        raise RuntimeError(msg)


def reference_curve(
    path: Path, n_threads: int, seed: int, marks: list[int], kl_warmup: int | None = None
) -> list[dict[str, Any]]:
    """Train scVI for as many epochs as the last mark; return held-out evidence and seconds of training at each mark.

    `kl_warmup` is the number of epochs until the Kullback-Leibler term has its full weight; `None` is scVI's default.
    """
    from lightning.pytorch.callbacks import Callback

    adata = load(path, n_threads)
    model = make("scVI", adata, seed)
    cells = held_out(adata.n_obs)
    rows: list[dict[str, Any]] = []
    clock = {"start": 0.0, "aside": 0.0}

    class Mark(Callback):
        def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
            epoch = trainer.current_epoch + 1
            if epoch in marks:
                now = time.perf_counter()
                seconds = now - clock["start"] - clock["aside"]
                rows.append({"epochs": epoch, "elbo": evidence(model, adata, cells), "seconds": seconds})
                clock["aside"] += time.perf_counter() - now

    clock["start"] = time.perf_counter()
    plan = {} if kl_warmup is None else {"plan_kwargs": {"n_epochs_kl_warmup": kl_warmup}}
    train(model, marks[-1], callbacks=[Mark()], **plan)
    check_held_out(model, cells)
    return rows


def own_runs(path: Path, n_threads: int, seed: int, marks: list[int]) -> list[dict[str, Any]]:
    """Train the count VAE afresh for each number of epochs; return held-out evidence and seconds of training."""
    adata = load(path, n_threads)
    cells = held_out(adata.n_obs)
    train(make("sctandem", adata, seed), 1)  # compiles or loads the kernels
    rows = []
    for epochs in marks:
        model = make("sctandem", adata, seed)
        seconds = train(model, epochs)
        check_held_out(model, cells)
        elbo = evidence(model, adata, cells)
        rows.append({"epochs": epochs, "elbo": elbo, "seconds": seconds})
    return rows


def short_training(path: Path, n_threads: int, method: str) -> None:
    """Train for three epochs and read the latent space: what the peak memory is measured of."""
    adata = load(path, n_threads)
    model = make(method, adata, 0)
    train(model, 3)
    model.get_latent_representation()


def libraries(path: Path, n_threads: int, compiled: bool) -> None:  # noqa: FBT001
    """Read the data and set up a model; run one compiled kernel on a matrix of one number where `compiled`."""
    import torch

    adata = load(path, n_threads)
    make("sctandem", adata, 0)
    if compiled:
        from sctandem.nn import SparseLinear, dense_to_csr

        SparseLinear(1, 1)(dense_to_csr(torch.ones(1, 1)))
