"""Gradients against differences, integrated ones against theory: their axioms."""

import pytest
import torch
from torch import nn

from cfgen.goals import make_goal
from cfgen.saliency import input_gradient, integrated_gradients


@pytest.fixture
def smooth():
    """A network without kinks, in float64."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 6 * 6, 1)]
    network = nn.Sequential(*layers).double().requires_grad_(False)
    return lambda images: network(images.double())[:, 0]


def images(n=3, size=8):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(1))


def test_the_gradient_is_that_of_central_differences(smooth):
    given = images(2).double()
    found = input_gradient(smooth, given)
    for row, column in ((0, 0), (3, 5), (7, 2)):
        step = torch.zeros_like(given)
        step[..., row, column] = 1e-6
        slope = (smooth(given + step) - smooth(given - step)) / 2e-6
        assert found[:, 0, row, column].tolist() == pytest.approx(slope.tolist(), rel=1e-6)


def test_integrated_gradients_are_complete(smooth):
    given = images().double()
    for baseline in (0.0, 0.5):
        shares = integrated_gradients(smooth, given, baseline)
        gain = smooth(given) - smooth(torch.full_like(given, baseline))
        assert shares.flatten(1).sum(1).tolist() == pytest.approx(gain.tolist(), rel=1e-9)


def test_integrated_gradients_of_a_quadratic_are_known():
    """Of sum w x^2 from b: (x - b) times w (x + b)."""
    given, weights = images(), torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
    found = integrated_gradients(lambda x: (weights * x**2).flatten(1).sum(1), given, 0.25, steps=2)
    assert torch.allclose(found, weights * (given**2 - 0.25**2), atol=1e-6)


def test_a_pixel_that_the_score_does_not_see_has_no_share(smooth):
    found = integrated_gradients(lambda x: smooth(x * (torch.arange(8) > 2)), images())
    assert not found[..., :3].any()
    assert found[..., 3:].any()


def test_saliency_of_a_goal_is_image_by_image_and_leaves_no_gradient_behind(bundle, phantoms):
    goal = make_goal(bundle.classifier, phantoms)
    with torch.no_grad():
        maps = input_gradient(goal.log_odds, phantoms)
    first = input_gradient(goal.take(torch.tensor([0])).log_odds, phantoms[:1])
    assert torch.allclose(maps[:1], first, rtol=1e-3, atol=1e-3 * float(first.abs().max()))
    assert not maps.requires_grad
    assert not phantoms.requires_grad
    assert all(one.grad is None for one in bundle.classifier.parameters())


def test_captum_finds_the_same(bundle, phantoms):
    attr = pytest.importorskip("captum.attr", reason="pip install 'cfgen[captum]'")
    goal = make_goal(bundle.classifier, phantoms)
    maps = {
        "gradient": input_gradient(goal.log_odds, phantoms),
        "integrated": integrated_gradients(goal.log_odds, phantoms, steps=16),
    }
    theirs = phantoms.clone().requires_grad_()
    expected = {
        "gradient": attr.Saliency(goal.log_odds).attribute(theirs, abs=False),
        "integrated": attr.IntegratedGradients(goal.log_odds).attribute(
            theirs, n_steps=16, method="gausslegendre", internal_batch_size=len(phantoms)
        ),
    }
    for name, found in maps.items():
        captums = expected[name].detach().float()
        scale = float(captums.abs().max())
        assert scale > 0
        assert torch.allclose(found, captums, rtol=1e-3, atol=1e-4 * scale), name
