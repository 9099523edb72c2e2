"""Axioms against maps whose cycles, shares and constants are known, and against plain loops."""

import math

import numpy as np
import pytest
import torch

from cfgen import metrics


def some_images(n=3, seed=0):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_composition_is_of_cycles_in_a_row():
    """A null intervention that loses a tenth leaves 0.9^m after m cycles."""
    images, calls = some_images(), []

    def null(some):
        calls.append(some)
        return 0.9 * some

    found = metrics.composition(null, images, (1, 3, 10))
    assert len(calls) == 10
    mean = images.double().numpy().reshape(3, -1).mean(1)
    for cycles, distances in zip((1, 3, 10), found, strict=True):
        assert distances.numpy() == pytest.approx((1 - 0.9**cycles) * mean, rel=1e-5)
    for ideal in metrics.composition(lambda some: some, images):
        assert ideal.eq(0).all()
    for cycles in ((), (0, 1)):
        with pytest.raises(ValueError, match="numbers of cycles from 1 on"):
            metrics.composition(null, images, cycles)


def test_reversibility_is_the_mean_absolute_difference():
    factual, returned = some_images(), some_images(seed=1)
    expected = np.abs(factual.double().numpy() - returned.double().numpy()).mean((1, 2, 3))
    assert metrics.reversibility(factual, returned).numpy() == pytest.approx(expected, rel=1e-5)
    assert metrics.reversibility(factual, factual).eq(0).all()


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_the_least_share_of_a_linear_score_is_where_it_crosses(steps):
    """s(x + t d) = t rises with t, so that the bar b is met first at ceil(b K) / K."""
    bars = torch.tensor([0.0, 0.3, 0.74, 1.0, 1.2])
    factual = torch.zeros(5, 1, 4, 4)
    image = torch.ones_like(factual)
    found = metrics.least_share(
        lambda some: some.flatten(1).mean(1) >= bars - 1e-6, factual, image, steps
    )
    expected = [math.ceil(bar * steps) / steps for bar in (0.0, 0.3, 0.74, 1.0)]
    assert found[:4].tolist() == pytest.approx(expected)
    assert found[4].isnan()


def test_the_least_share_is_the_first_that_does_even_if_a_larger_one_does_not():
    def meets(some):
        mean = some.flatten(1).mean(1)
        return ((mean > 0.2) & (mean < 0.4)) | (mean > 0.9)

    zeros = torch.zeros(1, 1, 2, 2)
    assert float(metrics.least_share(meets, zeros, zeros + 1, 10)) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="1 step or more, got 0"):
        metrics.least_share(meets, zeros, zeros + 1, 0)


def test_the_latent_divergence_agrees_with_plain_loops():
    generator = torch.Generator().manual_seed(2)
    change = torch.rand(6, generator=generator)
    target = [torch.rand(n, generator=generator) for n in (3, 5, 1, 9, 2, 4)]
    source = [torch.rand(n, generator=generator) for n in (4, 2, 7, 1, 3, 8)]
    found = metrics.latent_divergence(change, target, source)
    for i, c in enumerate(change.tolist()):
        nearer = sum(s <= c for s in target[i].tolist()) / len(target[i])
        beyond = sum(s >= c for s in source[i].tolist()) / len(source[i])
        assert float(found[i]) == pytest.approx(math.log(math.exp(nearer) + math.exp(beyond)))


def test_the_latent_divergence_is_least_between_the_classes():
    near, far = [torch.tensor([1.0, 2.0])] * 3, [torch.tensor([5.0, 6.0])] * 3
    nothing, between, beyond = metrics.latent_divergence(torch.tensor([0.0, 4.0, 9.0]), far, near)
    assert float(between) == pytest.approx(math.log(2))
    assert float(nothing) == float(beyond) == pytest.approx(math.log(1 + math.e))
    none = metrics.latent_divergence(torch.ones(1), [torch.ones(0)], [torch.ones(2)])
    assert none.isnan().all()
    with pytest.raises(ValueError, match="each of 3 samples, got 2 and 3"):
        metrics.latent_divergence(torch.zeros(3), far[:2], near)


def test_stability_is_the_factor_of_a_linear_map():
    """Counterfactuals by x' = a x + b are a times as far apart as their factuals."""
    first, second = some_images(), some_images(seed=1)
    for factor in (0.0, 1.0, 2.5):
        found = metrics.stability(first, factor * first + 0.3, second, factor * second + 0.3)
        assert found.numpy() == pytest.approx(factor, abs=1e-5)
    flat = [one.double().numpy().reshape(3, -1) for one in (first, second)]
    apart = np.sqrt(((flat[0] - flat[1]) ** 2).sum(1))
    moved = metrics.stability(first, first, second, second * 0)
    assert moved.numpy() == pytest.approx(np.linalg.norm(flat[0], axis=1) / apart, rel=1e-5)
    assert metrics.stability(first, first, first, second).isnan().all()
