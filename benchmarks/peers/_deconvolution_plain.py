"""The plainest model with what matters on real bulk: shares, one factor for every gene, heavy tails in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers._deconvolution import Composition

if TYPE_CHECKING:
    from benchmarks.peers._deconvolution import Task

STEPS, RATE = 600, 0.05
#: Degrees of freedom of residuals and of factors, and the scale of factors, natural log.
DF, TAU = 3.0, 1.0
ONE = 1.0


def likelihood(task: Task) -> Composition:
    """Maximise the likelihood of log expression of markers: log(shares x signature) + factor of the gene + level of the sample + Student-t."""
    import torch

    markers = task.markers
    signature = torch.tensor(task.signature[:, markers])
    measured = torch.log(torch.tensor(task.mixed[:, markers]) + ONE)
    n, k, g = len(measured), *signature.shape
    logits, factor, level = torch.zeros(n, k), torch.zeros(g), torch.zeros(n, 1)
    scale = torch.zeros(1)
    parameters = [p.double().requires_grad_() for p in (logits, factor, level, scale)]
    logits, factor, level, scale = parameters
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        expected = torch.log(torch.softmax(logits, 1) @ signature + ONE) + factor + level
        residual = torch.distributions.StudentT(DF, expected, torch.exp(scale)).log_prob(measured).sum()
        prior = torch.distributions.StudentT(DF, 0.0, TAU).log_prob(factor).sum()
        optimiser.zero_grad()
        (-(residual + prior)).backward()
        optimiser.step()
    return Composition(np.asarray(torch.softmax(logits, 1).detach()))
