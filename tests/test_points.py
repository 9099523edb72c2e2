"""Scaled odds against the formula in probabilities, and where that one is flat."""

import pytest
import torch

from cfgen.models.points import scaled_odds


@pytest.mark.parametrize("point", [0.01, 0.5, 0.7])
def test_odds_scaled_by_an_operating_point_never_lose_their_gradient(point):
    odds = torch.linspace(-60, 60, 401).requires_grad_()
    scaled = scaled_odds(odds, point)
    p = odds.detach().double().sigmoid()
    expected = torch.where(p < point, p / (2 * point), 1 - (1 - p) / (2 * (1 - point)))
    torch.testing.assert_close(scaled.detach().double().sigmoid(), expected, rtol=1e-5, atol=1e-12)
    (gradient,) = torch.autograd.grad(scaled.sum(), odds)
    assert gradient.min() > min(point, 1 - point)
    assert gradient.isfinite().all()
