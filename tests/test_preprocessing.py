from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import Preprocessing


@pytest.fixture
def film() -> Tensor:
    return torch.rand(1, 30, 50, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2


def test_right_size_passes_to_the_bit(film: Tensor):
    square = film[:, :, :30]
    for aspect in ("stretch", "pad", "crop"):
        assert torch.equal(Preprocessing(size=30, aspect=aspect)(square), square)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_stretch_is_torchvisions_antialiased_resize(film: Tensor, interpolation):
    found = Preprocessing(20, "stretch", interpolation)(film)
    mode = reference.InterpolationMode(interpolation)
    expected = reference.resize(film, [20, 20], interpolation=mode, antialias=True)
    assert torch.allclose(found, expected.clamp(0, 1), atol=1e-6)


def test_pad_keeps_the_aspect_between_black_borders(film: Tensor):
    found = Preprocessing(20, "pad")(film)
    expected = reference.resize(film, [12, 20], antialias=True)
    assert torch.allclose(found[:, 4:16], expected, atol=1e-6)
    assert found[:, :4].eq(0).all()
    assert found[:, 16:].eq(0).all()


def test_crop_keeps_the_centre(film: Tensor):
    found = Preprocessing(30, "crop")(film)
    assert torch.equal(found, film[:, :, 10:40])


def test_a_very_long_film_keeps_a_pixel_of_its_short_side():
    found = Preprocessing(8)(torch.full((1, 8, 800), 0.5))
    assert found.count_nonzero() == 8


def test_minmax_stretches_before_it_pads(film: Tensor):
    found = Preprocessing(50, intensity="minmax")(film)
    expected = (film - film.min()) / (film.max() - film.min())
    assert torch.allclose(found[:, 10:40], expected, atol=1e-6)
    assert found[:, :10].eq(0).all()


def test_percentile_ignores_the_extremes(film: Tensor):
    square = film[:, :, :30].clone()
    square[0, 0, 0] = 1.0  # a lead marker must not darken the rest
    found = Preprocessing(30, intensity="percentile")(square)
    low, high = np.quantile(square.numpy(), [0.005, 0.995])
    assert torch.allclose(found, ((square - low) / (high - low)).clamp(0, 1).float(), atol=1e-5)


def test_full_keeps_the_scale(film: Tensor):
    found = Preprocessing(10, "stretch")(film)
    assert found.mean().item() == pytest.approx(film.mean().item(), abs=5e-3)


def test_result_is_float32_in_range_even_where_bicubic_overshoots():
    edges = (torch.arange(64) % 16 < 8).float().expand(1, 64, 64)
    found = Preprocessing(48, interpolation="bicubic")(edges)
    assert found.dtype == torch.float32
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize("intensity", ["minmax", "percentile"])
def test_nothing_to_stretch_is_an_error(intensity):
    with pytest.raises(UnreadableImage, match="contrast"):
        Preprocessing(8, intensity=intensity)(torch.full((1, 8, 8), 0.5))


def test_survives_the_trip_through_a_dictionary():
    written = Preprocessing(64, "crop", "bicubic", "minmax")
    assert Preprocessing(**asdict(written)) == written


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 0), ("aspect", "squash"), ("interpolation", "nearest"), ("intensity", "log")],
)
def test_unknown_options_are_refused(name, value):
    # What a bundle's file may hold, past the type checks: hence the frozen class's own setter.
    broken = Preprocessing()
    object.__setattr__(broken, name, value)
    with pytest.raises(ValueError, match=name):
        broken.__post_init__()
