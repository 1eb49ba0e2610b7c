"""Negative binomial likelihoods of sparse counts, with their gradients in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sctandem.nn._likelihood_numba import DTYPES, LinearTerms, compiled_terms, linear_terms
from sctandem.nn._likelihood_torch import Terms, likelihood_terms
from sctandem.nn._sparse import csr_parts, dense_to_csr

if TYPE_CHECKING:
    from torch import Tensor


_SomeTerms = TypeVar("_SomeTerms", Terms, LinearTerms)


def _without_output(terms: _SomeTerms) -> _SomeTerms:
    """Return terms that can be kept for the backward pass: the output kept there would keep itself alive."""
    return terms._replace(likelihood=torch.empty(0))


class _SparseLikelihood(torch.autograd.Function):
    """The log-likelihood of each cell; the gradients are made together with it."""

    @staticmethod
    def forward(
        ctx: Any,
        counts: Tensor,
        eta: Tensor,
        log_theta: Tensor,
        log_library: Tensor | None,
        dropout_logits: Tensor | None,
        backend: str,
        recorded: bool,  # noqa: FBT001
    ) -> Tensor:
        gradient = recorded and any(ctx.needs_input_grad)
        compiled = backend == "numba"
        if compiled:
            terms = compiled_terms(
                csr_parts(counts),
                eta,
                log_theta,
                log_library=log_library,
                dropout_logits=dropout_logits,
                gradient=gradient,
            )
        else:
            terms = likelihood_terms(
                counts, eta, log_theta, log_library=log_library, dropout_logits=dropout_logits, gradient=gradient
            )
        if gradient:
            ctx.compiled, ctx.counts, ctx.theta_shape = compiled, counts, log_theta.shape
            ctx.has_dropout, ctx.has_library = dropout_logits is not None, log_library is not None
            ctx.save_for_backward(*(t for t in (eta, log_theta, log_library, dropout_logits) if t is not None))
            ctx.terms = _without_output(terms)
        return terms.likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        terms: Terms = ctx.terms
        uniform = bool((grad == grad[0]).all()) if grad.numel() else True
        by_theta = None
        if ctx.needs_input_grad[2]:
            if not ctx.compiled:
                by_theta = (terms.by_theta * grad[:, None]).sum_to_size(ctx.theta_shape)
            elif uniform:
                by_theta = terms.by_theta * (grad[0] if grad.numel() else 1)
            else:
                by_theta = _weighted_theta(ctx, grad)
        scale = grad[0] if uniform and grad.numel() else grad[:, None]
        by_eta = terms.by_eta * scale if ctx.needs_input_grad[1] else None
        by_library = terms.by_library * grad if ctx.needs_input_grad[3] else None
        by_dropout = terms.by_dropout * scale if ctx.needs_input_grad[4] else None
        return None, by_eta, by_theta, by_library, by_dropout, None, None


def _weighted_theta(ctx: Any, grad: Tensor) -> Tensor:
    """Sum the gradient by log theta with one weight a cell, by running the kernel again."""
    saved = list(ctx.saved_tensors)
    terms = compiled_terms(
        csr_parts(ctx.counts),
        saved[0],
        saved[1],
        log_library=saved[2] if ctx.has_library else None,
        dropout_logits=saved[-1] if ctx.has_dropout else None,
        gradient=True,
        weights=grad,
    )
    return terms.by_theta


class _LinearLikelihood(torch.autograd.Function):
    """The log-likelihood of each cell from the last hidden layer; the gradients are made together with it."""

    @staticmethod
    def forward(
        ctx: Any,
        counts: Tensor,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        log_theta: Tensor,
        log_library: Tensor | None,
        recorded: bool,  # noqa: FBT001
    ) -> Tensor:
        gradient = recorded and any(ctx.needs_input_grad)
        terms = linear_terms(
            csr_parts(counts),
            hidden.detach(),
            log_theta.detach(),
            weight=weight.detach(),
            bias=bias.detach(),
            log_library=log_library,
            gradient=gradient,
        )
        if gradient:
            ctx.terms, ctx.counts = _without_output(terms), counts
            ctx.save_for_backward(hidden, log_theta, weight, bias, *([] if log_library is None else [log_library]))
        return terms.likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        terms: LinearTerms = ctx.terms
        scale = grad[0]
        if not bool((grad == scale).all()):
            hidden, log_theta, weight, bias, *library = ctx.saved_tensors
            terms = linear_terms(
                csr_parts(ctx.counts),
                hidden,
                log_theta,
                weight=weight,
                bias=bias,
                log_library=library[0] if library else None,
                gradient=True,
                weights=grad,
            )
            scale = grad.new_ones(())
        wanted = ctx.needs_input_grad
        by_hidden = terms.by_hidden * grad[:, None] if wanted[1] else None
        by_library = terms.by_library * grad if wanted[5] else None
        # laid out as the weights are: autograd would copy a gradient that is not
        by_weight = torch.mul(terms.by_weight, scale, out=torch.empty(terms.by_weight.shape, dtype=grad.dtype))
        return None, by_hidden, by_weight, terms.by_bias * scale, terms.by_theta * scale, by_library, None


def _checked(
    counts: Tensor, eta: Tensor, log_theta: Tensor, log_library: Tensor | None, dropout_logits: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Check shapes; return the counts as CSR and the log library size as a vector."""
    if eta.ndim != 2 or counts.shape != eta.shape:
        msg = f"counts and eta must both be cells x genes, got {tuple(counts.shape)} and {tuple(eta.shape)}"
        raise ValueError(msg)
    if log_theta.shape not in {eta.shape[1:], eta.shape}:
        msg = f"log_theta must have shape ({eta.shape[1]},) or {tuple(eta.shape)}, got {tuple(log_theta.shape)}"
        raise ValueError(msg)
    if dropout_logits is not None and dropout_logits.shape != eta.shape:
        msg = f"dropout_logits must have shape {tuple(eta.shape)}, got {tuple(dropout_logits.shape)}"
        raise ValueError(msg)
    if log_library is not None:
        if log_library.numel() != eta.shape[0]:
            msg = f"log_library must hold one number for each of {eta.shape[0]} cells, got {tuple(log_library.shape)}"
            raise ValueError(msg)
        log_library = log_library.reshape(-1).to(eta.dtype)
    if counts.layout is not torch.sparse_csr:
        counts = dense_to_csr(counts)
    return counts, log_library


def _log_likelihood(
    counts: Tensor,
    eta: Tensor,
    log_theta: Tensor,
    log_library: Tensor | None,
    dropout_logits: Tensor | None,
    backend: str | None,
) -> Tensor:
    """Check, choose the backend and compute."""
    counts, log_library = _checked(counts, eta, log_theta, log_library, dropout_logits)
    able = eta.device.type == "cpu" and eta.dtype in DTYPES and log_theta.ndim == 1
    if backend is None:
        backend = "numba" if able else "torch"
    if backend not in {"numba", "torch"}:
        msg = f"backend={backend!r} is unknown; choose 'numba', 'torch' or None (the faster one that applies)"
        raise ValueError(msg)
    if backend == "numba" and not able:
        msg = (
            "backend='numba' needs float32 or float64 on the CPU and one theta a gene, got "
            f"{eta.dtype} on {eta.device} and log_theta of shape {tuple(log_theta.shape)}; use backend='torch'"
        )
        raise ValueError(msg)
    if eta.numel() == 0:
        return eta.sum(-1)
    # asked here: within `forward` the mode is off, and `needs_input_grad` does not know it
    recorded = torch.is_grad_enabled()
    return _SparseLikelihood.apply(counts, eta, log_theta, log_library, dropout_logits, backend, recorded)


def nb_log_likelihood(
    counts: Tensor,
    eta: Tensor,
    log_theta: Tensor,
    *,
    log_library: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    r"""Negative binomial log-likelihood of each cell, summed over its genes.

    The mean is `exp(eta)`, or with `log_library` the library size times the softmax of `eta`. The variance is
    :math:`\mu + \mu^2 / \theta`.

    Parameters
    ----------
    counts
        Counts as a sparse CSR tensor (a dense one is converted), cells x genes. No gradient flows to them.
    eta
        Log-rates, or logits of the softmax when `log_library` is given, cells x genes.
    log_theta
        Log of the inverse dispersion, (genes,), or cells x genes (then by torch operations).
    log_library
        Natural log of the library size of each cell, (cells,) or (cells, 1).
    backend
        `"numba"` (CPU), `"torch"` (any device), or `None` for the faster one that applies.

    Returns
    -------
    Log-likelihood in nats, (cells,), differentiable once by `eta`, `log_theta` and `log_library`.

    Raises
    ------
    ValueError
        For shapes that do not fit, or a backend that does not apply.

    Notes
    -----
    The log gamma function is evaluated at the stored counts only; a zero costs one softplus and one sigmoid. Memory is
    one further matrix of cells x genes, for the gradient. The gradients are made together with the value.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import nb_log_likelihood
    >>> counts = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    >>> nb_log_likelihood(counts, torch.zeros(2, 2), torch.zeros(2)).round(decimals=4)
    tensor([-2.7726, -2.0794])
    """
    return _log_likelihood(counts, eta, log_theta, log_library, None, backend)


def nb_linear_log_likelihood(
    counts: Tensor,
    hidden: Tensor,
    log_theta: Tensor,
    *,
    weight: Tensor,
    bias: Tensor,
    log_library: Tensor | None = None,
) -> Tensor:
    """`nb_log_likelihood` of `hidden @ weight.T + bias`, in one pass.

    Parameters
    ----------
    counts
        Counts as a sparse CSR tensor (a dense one is converted), cells x genes. No gradient flows to them.
    hidden
        Last hidden layer, cells x units.
    log_theta
        Log of the inverse dispersion, (genes,).
    weight, bias
        Of the last layer as in :class:`torch.nn.Linear`: genes x units, and (genes,).
    log_library
        Natural log of the library size of each cell, (cells,) or (cells, 1); with it the layer gives logits of a
        softmax, else log-rates.

    Returns
    -------
    Log-likelihood in nats, (cells,), differentiable once by all but the counts.

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Notes
    -----
    On the CPU each of at most eight threads makes the logits of 256 cells at a time and overwrites them by their
    gradient, which goes into its sum of those of the layer (genes x units) at once: no matrix of cells x genes is kept.
    When the cells are weighted differently in what follows (not by a mean or a sum), the pass is made twice. Elsewhere
    it is the layer and then the likelihood.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import nb_linear_log_likelihood, nb_log_likelihood
    >>> counts, layer = torch.tensor([[0.0, 2.0]]), torch.nn.Linear(3, 2)
    >>> hidden, log_theta = torch.ones(1, 3), torch.zeros(2)
    >>> fused = nb_linear_log_likelihood(counts, hidden, log_theta, weight=layer.weight, bias=layer.bias)
    >>> bool(torch.allclose(fused, nb_log_likelihood(counts, layer(hidden), log_theta)))
    True
    """
    able = hidden.device.type == "cpu" and hidden.dtype in DTYPES and log_theta.ndim == 1
    if not able or hidden.shape[0] == 0:
        eta = functional.linear(hidden, weight, bias)
        return nb_log_likelihood(counts, eta, log_theta, log_library=log_library)
    shape = (hidden.shape[0], weight.shape[0])
    counts, log_library = _checked(counts, hidden.new_empty(()).expand(shape), log_theta, log_library, None)
    return _LinearLikelihood.apply(counts, hidden, weight, bias, log_theta, log_library, torch.is_grad_enabled())


def zinb_log_likelihood(
    counts: Tensor,
    eta: Tensor,
    log_theta: Tensor,
    *,
    dropout_logits: Tensor,
    log_library: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Zero-inflated negative binomial log-likelihood of each cell, summed over its genes.

    Parameters
    ----------
    counts
        Counts as a sparse CSR tensor (a dense one is converted), cells x genes. No gradient flows to them.
    eta
        Log-rates, or logits of the softmax when `log_library` is given, cells x genes.
    log_theta
        Log of the inverse dispersion, (genes,), or cells x genes (then by torch operations).
    dropout_logits
        Logit of the probability of an extra zero, cells x genes.
    log_library
        Natural log of the library size of each cell, (cells,) or (cells, 1).
    backend
        `"numba"` (CPU), `"torch"` (any device), or `None` for the faster one that applies.

    Returns
    -------
    Log-likelihood in nats, (cells,), differentiable once by all but the counts.

    Raises
    ------
    ValueError
        For shapes that do not fit, or a backend that does not apply.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import zinb_log_likelihood
    >>> zeros = torch.zeros(1, 2)
    >>> zinb_log_likelihood(zeros, zeros, torch.zeros(2), dropout_logits=zeros).round(decimals=4)
    tensor([-0.5754])
    """
    return _log_likelihood(counts, eta, log_theta, log_library, dropout_logits, backend)
