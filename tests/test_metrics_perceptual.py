"""piq's measures: GMSD written out again, all of them against what they are of images alike."""

import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch import nn

from cfgen import metrics

HIGHER_IS_ALIKE = ("fsim", "haarpsi", "vif")


def pair(noise=0.05, size=64, n=3):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 1, 8, 8, generator=generator)
    factual = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    drawn = torch.randn(factual.shape, generator=generator)
    return factual, (factual + noise * drawn).clamp(0, 1)


def gradients(image):
    """Prewitt magnitudes of an image's 2 x 2 block means, zero beyond its edge."""
    half = image.reshape(len(image) // 2, 2, -1, 2).mean((1, 3))
    across = np.array([[-1, 0, 1]] * 3) / 3
    both = [correlate(half, kernel, mode="constant") for kernel in (across, across.T)]
    return np.hypot(*both)


def test_gmsd_agrees_with_its_definition():
    pytest.importorskip("piq")
    factual, image = pair()
    found = metrics.perceptual(factual, image)["gmsd"]
    for place in range(3):
        x, y = (gradients(one[place, 0].double().numpy()) for one in (factual, image))
        constant = 170 / 255**2
        similarity = (2 * x * y + constant) / (x**2 + y**2 + constant)
        assert float(found[place]) == pytest.approx(similarity.std(), rel=1e-3)


def test_images_alike_have_the_best_value_and_noise_makes_it_worse():
    pytest.importorskip("piq")
    factual, _ = pair()
    same = metrics.perceptual(factual, factual)
    some, more = (metrics.perceptual(*pair(noise)) for noise in (0.02, 0.1))
    assert same["gmsd"].numpy() == pytest.approx(0, abs=1e-4)
    assert ((same["gmsd"] < some["gmsd"]) & (some["gmsd"] < more["gmsd"])).all()
    for name in HIGHER_IS_ALIKE:
        assert same[name].numpy() == pytest.approx(1, abs=1e-3)
        assert ((same[name] > some[name]) & (some[name] > more[name])).all()
        assert some[name].shape == (3,)


def test_without_piq_or_on_small_images_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "piq", None)
    with pytest.raises(ValueError, match=r"pip install 'cfgen\[metrics\]'"):
        metrics.perceptual(*pair())
    with pytest.raises(ValueError, match="at least 41 pixels a side, got 40"):
        metrics.perceptual(*pair(size=40))
