import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from cfgen.models.averaging import Jitter, averaged, blurred, shifted
from cfgen.models.classifier import Classifier
from cfgen.objectives import class_log_odds, target_score
from cfgen.types import Goal

SIDE = 24
NOTHING = Jitter(0.0, 0.0, 0)


def films(n=3):
    return torch.rand(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    made = Classifier(size=SIDE, widths=[4, 8], mean=0.4, std=0.2)
    nn.init.normal_(made.network.head[-1].weight)
    return made.eval().requires_grad_(False)


def watched(network):
    """The network, and the list of what it has been shown."""
    seen = []

    def show(images):
        seen.append(images)
        return network(images)

    return show, seen


def test_without_jitter_it_is_the_classifier_itself(classifier):
    mean = averaged(classifier, SIDE, 3, seeded(), NOTHING)
    torch.testing.assert_close(mean(films()), classifier(films()))


def test_its_log_odds_are_the_mean_of_the_views_own(classifier):
    show, seen = watched(classifier)
    mean = averaged(show, SIDE, 5, seeded(), Jitter())
    target = torch.tensor([0, 1, 1])
    score = target_score(mean)
    goal = Goal(score, torch.zeros(3), target=target)
    got = goal.log_odds(films())
    each = [class_log_odds(classifier(view), target).double().numpy() for view in seen]
    np.testing.assert_allclose(got, np.mean(each, 0), atol=1e-5)
    assert len(seen) == 5
    assert np.std(each, 0).min() > 1e-4


def test_of_many_views_the_mean_is_the_expectation():
    """A score quadratic in each pixel: E (x + n)^2 = x^2 + sigma^2."""

    def score(images):
        second = images.square().flatten(1).mean(1)
        return torch.stack([torch.zeros_like(second), second], 1)

    sigma = 0.3
    mean = averaged(score, SIDE, 800, seeded(), Jitter(noise=sigma, blur=0.0, shift=0))
    expected = films().square().flatten(1).mean(1) + sigma**2
    spread = np.sqrt((2 * sigma**4 + 4 * sigma**2 / 3) / SIDE**2 / 800)
    np.testing.assert_allclose(mean(films())[:, 1], expected, atol=5 * spread)


def test_a_view_is_shifted_then_blurred_then_noisy():
    show, seen = watched(lambda images: images.flatten(1)[:, :2])
    jitter = Jitter(noise=0.0, blur=1.5, shift=2)
    averaged(show, SIDE, 40, seeded(4), jitter)(films(1))
    image = films(1)[0, 0].double().numpy()
    inside = np.s_[9:-9, 9:-9]
    found = set()
    for view in seen:
        got = view[0, 0].double().numpy()[inside]
        best = min(
            (np.abs(gaussian_filter(np.roll(image, (d, r), (0, 1)), s)[inside] - got).max(), d, r)
            for d in range(-2, 3)
            for r in range(-2, 3)
            for s in np.linspace(0.01, 1.5, 40)
        )
        assert best[0] < 0.05
        found.add(best[1:])
    assert len(found) > 12  # of the 25 shifts
    assert {down for down, _ in found} == {right for _, right in found} == {-2, -1, 0, 1, 2}


def test_the_views_are_drawn_once_and_are_no_matter_of_the_batch(classifier):
    mean = averaged(classifier, SIDE, 4, seeded(), Jitter())
    together = mean(films())
    assert torch.equal(mean(films()), together)
    for row in (2, 0, 1):
        torch.testing.assert_close(mean(films()[row : row + 1])[0], together[row])
    again = averaged(classifier, SIDE, 4, seeded(), Jitter())
    assert torch.equal(again(films()), together)
    other = averaged(classifier, SIDE, 4, seeded(9), Jitter())
    assert not torch.allclose(other(films()), together, atol=1e-5)


def test_its_gradient_is_the_mean_of_the_views_gradients(classifier):
    mean = averaged(classifier, SIDE, 1, seeded(), Jitter(noise=0.1, blur=0.0, shift=1))
    images = films().requires_grad_()
    (gradient,) = torch.autograd.grad(mean(images)[:, 0].sum(), images)
    direction = torch.randn(images.shape, generator=seeded(3))
    step = 1e-3
    with torch.no_grad():
        up, down = (mean(images + sign * step * direction)[:, 0] for sign in (1, -1))
    by_differences = (up - down) / (2 * step)
    along = (gradient * direction).flatten(1).sum(1)
    torch.testing.assert_close(along, by_differences, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -1), (-3, 0), (1, 4)])
def test_a_shift_repeats_the_edge(down, right):
    image = films(1)[0, 0].numpy()
    rows = (np.arange(SIDE) - down).clip(0, SIDE - 1)
    columns = (np.arange(SIDE) - right).clip(0, SIDE - 1)
    got = shifted(films(1), down, right)[0, 0].numpy()
    np.testing.assert_array_equal(got, image[rows][:, columns])


def test_a_blur_of_several_sigmas_is_that_of_each():
    sigma = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1, 1)
    together = blurred(films(), sigma)
    for row in range(3):
        alone = blurred(films()[row : row + 1], sigma[row, 0, 0, 0])
        torch.testing.assert_close(together[row : row + 1], alone)


def test_no_views_are_refused(classifier):
    with pytest.raises(ValueError, match="1 view or more, got 0"):
        averaged(classifier, SIDE, 0, seeded(), Jitter())
