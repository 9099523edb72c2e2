import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from train import augment as module
from train.augment import augment
from train.recipe import Augmentation

NOTHING = {field.name: 0.0 for field in fields(Augmentation)}


def only(**changes):
    return Augmentation(**{**NOTHING, **changes})


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def extreme(monkeypatch):
    """Every draw at the end of its range that is asked for."""

    def at(end):
        monkeypatch.setattr(module, "_unit", lambda images: torch.full((len(images), 1, 1, 1), end))

    return at


def test_nothing_asked_for_changes_nothing(phantoms):
    images = torch.cat([phantoms, torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)])
    torch.testing.assert_close(augment(images, only()), images, atol=1e-6, rtol=0)


def test_images_stay_in_range_and_in_shape(phantoms):
    wild = Augmentation(40.0, 0.3, 0.5, 0.6, 2.0, 2.0, 3.0, 0.5)
    changed = augment(phantoms.repeat(8, 1, 1, 1), wild)
    assert changed.shape == (32, 1, 64, 64)
    assert changed.isfinite().all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_the_images_given_are_left_alone(phantoms):
    before = phantoms.clone()
    augment(phantoms, Augmentation(blur=1.0, noise=0.1))
    assert torch.equal(phantoms, before)


@pytest.mark.parametrize("name", NOTHING)
def test_every_change_is_drawn_anew_for_every_image(phantoms, name):
    size = {"rotation": 20.0, "blur": 2.0}.get(name, 0.2)
    same = phantoms[:1].repeat(6, 1, 1, 1)
    changed = augment(same, only(**{name: size}))
    for first in range(6):
        assert not torch.allclose(changed[first], same[first], atol=1e-4)
        for second in range(first):
            assert not torch.allclose(changed[first], changed[second], atol=1e-5)


def test_the_same_seed_draws_the_same(phantoms):
    how = Augmentation(blur=1.0, noise=0.1)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(augment(phantoms, how))
    assert torch.equal(*drawn)


def test_moving_a_film_keeps_the_brightness_of_a_constant_image():
    images = torch.tensor([0.0, 0.3, 1.0]).view(3, 1, 1, 1).expand(3, 1, 32, 32).contiguous()
    moved = augment(images, only(rotation=30.0, translation=0.2, scale=0.5))
    torch.testing.assert_close(moved, images, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("end", "sign"), [(1.0, 1), (0.0, -1)])
def test_translation_is_a_share_of_the_side(extreme, end, sign):
    extreme(end)
    images = torch.zeros(1, 1, 40, 40)
    images[..., 20, 20] = 1
    moved = augment(images, only(translation=0.1))
    # The grid says where each pixel comes from, so that the film moves the other way.
    assert moved[0, 0].argmax().item() == (20 - 4 * sign) * 40 + 20 - 4 * sign
    torch.testing.assert_close(moved.sum(), torch.tensor(1.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("end", [1.0, 0.0])
def test_rotation_is_in_degrees(extreme, end):
    extreme(end)
    images = torch.rand(1, 1, 33, 33)
    turned = augment(images, only(rotation=90.0))
    expected = torch.rot90(images, 1 if end else -1, (2, 3))
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("end", "side"), [(1.0, 16), (0.0, 36)])
def test_scale_is_a_factor_or_its_inverse(extreme, end, side):
    extreme(end)
    images = torch.zeros(1, 1, 96, 96)
    images[..., 36:60, 36:60] = 1
    scaled = augment(images, only(scale=0.5))
    assert scaled.sum().sqrt().item() == pytest.approx(side, rel=0.02)


@pytest.mark.parametrize(("end", "sign"), [(1.0, 1), (0.0, -1)])
def test_exposure_is_what_its_formulas_say(extreme, end, sign):
    extreme(end)
    images = 0.3 + 0.4 * torch.rand(2, 1, 16, 16)
    x = images.double().numpy()
    brighter = augment(images, only(brightness=0.1)).numpy()
    np.testing.assert_allclose(brighter, x + sign * 0.1, atol=1e-5)
    gamma = augment(images, only(gamma=0.5)).numpy()
    np.testing.assert_allclose(gamma, x ** (1.5**sign), atol=1e-5)
    middle = x.mean((2, 3), keepdims=True)
    contrast = augment(images, only(contrast=0.2)).numpy()
    np.testing.assert_allclose(contrast, (x - middle) * 1.2**sign + middle, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.6, 1.5, 3.0])
def test_blur_is_gaussian(extreme, phantoms, sigma):
    extreme(1.0)
    blurred = augment(phantoms, only(blur=sigma))[:, 0].numpy()
    margin = math.ceil(5 * sigma)
    inside = np.s_[margin:-margin, margin:-margin]
    for got, image in zip(blurred, phantoms[:, 0].double().numpy(), strict=True):
        expected = gaussian_filter(image, sigma, truncate=8)
        np.testing.assert_allclose(got[inside], expected[inside], atol=1e-5)


def test_blur_keeps_a_constant_image_up_to_its_border(extreme):
    extreme(1.0)
    images = torch.full((1, 1, 20, 20), 0.4)
    torch.testing.assert_close(augment(images, only(blur=4.0)), images)


def test_noise_has_the_deviation_asked_for(extreme):
    extreme(1.0)
    images = torch.full((4, 1, 64, 64), 0.5)
    noise = augment(images, only(noise=0.05)) - images
    assert noise.std().item() == pytest.approx(0.05, rel=0.03)
    assert noise.mean().item() == pytest.approx(0, abs=0.002)
