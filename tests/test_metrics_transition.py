"""COUT against plain loops and against the cases whose score is known; IM1 and IM2 likewise."""

import numpy as np
import pytest
import torch

from cfgen import metrics


def transition_by_hand(factual, image, steps):
    """Sort the pixels of one image by their change, and swap them in one after another."""
    flat, other = factual.reshape(-1).copy(), image.reshape(-1)
    order = sorted(range(len(flat)), key=lambda i: (-abs(other[i] - flat[i]), i))
    images, swapped = [flat.copy()], 0
    for step in range(1, steps + 1):
        while swapped < round(step * len(flat) / steps):
            flat[order[swapped]] = other[order[swapped]]
            swapped += 1
        images.append(flat.copy())
    return np.stack(images)


def some_pair(n=3, side=6, seed=0):
    return torch.rand(2, n, 1, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("steps", [1, 5, 16, 36, 50])
def test_pixels_are_swapped_in_by_their_change(steps):
    factual, image = some_pair()
    image[:, :, 2] = factual[:, :, 2]  # a row that does not change, and so ties
    found = list(metrics.transition(factual, image, steps))
    assert len(found) == steps + 1
    assert torch.equal(found[0], factual)
    assert torch.equal(found[-1], image)
    for place in range(3):
        expected = transition_by_hand(factual[place].numpy(), image[place].numpy(), steps)
        ours = torch.stack([one[place].flatten() for one in found]).numpy()
        np.testing.assert_array_equal(ours, expected)


def test_cout_is_the_difference_of_trapezoids():
    target, source = torch.rand(2, 4, 17, generator=torch.Generator().manual_seed(1))
    x = np.linspace(0, 1, 17)
    expected = np.trapezoid(target.double().numpy(), x) - np.trapezoid(source.double().numpy(), x)
    assert metrics.cout(target, source).numpy() == pytest.approx(expected, abs=1e-6)


def test_cout_is_1_where_the_first_pixels_decide_and_minus_1_where_the_last_do_not():
    """But for the half step that a trapezoid takes to rise."""
    points = 17
    first = torch.cat([torch.zeros(1, 1), torch.ones(1, points - 1)], 1)
    last = first.flip(1).sub(1).abs()
    assert float(metrics.cout(first, 1 - first)) == pytest.approx(1 - 1 / 16)
    assert float(metrics.cout(last, 1 - last)) == pytest.approx(-1 + 1 / 16)
    everywhere = torch.ones(1, points)
    assert float(metrics.cout(everywhere, 0 * everywhere)) == 1
    line = torch.linspace(0, 1, points)[None]
    assert float(metrics.cout(line, 1 - line)) == pytest.approx(0, abs=1e-6)


def test_a_change_in_order_scores_more_than_the_same_out_of_order():
    """A classifier of the left half's mean, and a change of it that is strongest there or not."""
    factual = torch.zeros(1, 1, 8, 8)
    image = torch.full_like(factual, 0.9)
    scores = []
    for left in (1.0, 0.8):
        image[..., :4] = left
        curve = [
            (one[..., :4].mean() > 0.4).float() for one in metrics.transition(factual, image, 16)
        ]
        target = torch.stack(curve)[None]
        scores.append(float(metrics.cout(target, 1 - target)))
    assert scores[0] > 0.5
    assert scores[1] < 0


def test_a_transition_without_steps_is_refused():
    factual, image = some_pair()
    with pytest.raises(ValueError, match="1 step or more, got 0"):
        next(metrics.transition(factual, image, 0))
    with pytest.raises(ValueError, match="2 points or more, got 1"):
        metrics.cout(torch.ones(1, 1), torch.ones(1, 1))


def test_im1_and_im2_agree_with_their_definitions():
    images, target, source, anything = torch.randn(
        4, 5, 2, 3, 3, generator=torch.Generator().manual_seed(2)
    )
    flat = [one.double().numpy().reshape(5, -1) for one in (images, target, source, anything)]
    for i in range(5):
        x, by_target, by_source, by_any = (one[i] for one in flat)
        im1 = ((x - by_target) ** 2).sum() / ((x - by_source) ** 2).sum()
        im2 = ((by_target - by_any) ** 2).sum() / np.abs(x).sum()
        assert float(metrics.im1(images, target, source)[i]) == pytest.approx(im1, rel=1e-5)
        assert float(metrics.im2(images, target, anything)[i]) == pytest.approx(im2, rel=1e-5)


def test_im1_tells_subspaces_apart():
    """Autoencoders of one class each, as projections on what varies in it."""
    basis = torch.linalg.qr(torch.randn(10, 6, generator=torch.Generator().manual_seed(3))).Q
    own, other = basis[:, :3], basis[:, 3:]
    samples = torch.randn(4, 3) @ own.T + 0.1 * torch.randn(4, 10)
    as_own, as_other = samples @ own @ own.T, samples @ other @ other.T
    assert (metrics.im1(samples, as_own, as_other) < 1).all()
    swapped = metrics.im1(samples, as_other, as_own)
    assert torch.allclose(swapped, 1 / metrics.im1(samples, as_own, as_other), rtol=1e-3)
    assert metrics.im2(samples, as_own, as_own).eq(0).all()
