"""Both sides of the box of counts, in closed form."""

from __future__ import annotations

import numpy as np
import torch

from sctandem.nn import count_ball


def test_where_the_radius_binds_expression_moves_as_far_down_as_up(rng: np.random.Generator) -> None:
    counts = torch.from_numpy(rng.poisson(400.0, (20, 30)).astype(np.float32))
    ball = count_ball(counts, 0.05, max_sd=4.0)  # four standard deviations of such counts are 0.2
    torch.testing.assert_close(ball.logs - ball.low, torch.full_like(counts, 0.05), rtol=1e-3, atol=0)
    torch.testing.assert_close(ball.high - ball.logs, torch.full_like(counts, 0.05), rtol=1e-3, atol=0)


def test_where_the_counts_bind_they_move_as_far_down_as_up(rng: np.random.Generator) -> None:
    counts = torch.from_numpy(rng.poisson(400.0, (20, 30)).astype(np.float32))
    ball = count_ball(counts, 5.0, max_sd=2.0)
    low, high = (torch.expm1(bound) / ball.scale for bound in (ball.low, ball.high))
    torch.testing.assert_close(low, counts - 2 * counts.sqrt(), rtol=1e-4, atol=0)
    torch.testing.assert_close(high, counts + 2 * counts.sqrt(), rtol=1e-4, atol=0)
