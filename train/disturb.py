"""Random changes of a film and its lung mask together, wide enough to reach films of elsewhere."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from cfgen.types import Images
from train.augment import augment
from train.recipe import Augmentation

Masks = Float[Tensor, "batch 1 height width"]

STRETCH = 0.15
"""At most this much wider than high or the reverse, as a share."""
VEILED = 0.5
"""Share of the films on which a veil is laid over parts of the lungs."""
BIAS = 0.25
"""Largest standard deviation of a brightness that varies slowly over the film."""
PATCHES = 3
"""Rectangles (letters, shutters, devices) that are drawn over a film, at most."""


def disturb(images: Images, masks: Masks, how: Augmentation) -> tuple[Images, Masks]:
    """Mirror, move, veil, shade and cover films at random, then change their exposure.

    What moves a film moves its mask; what is laid over it leaves the mask alone, since a lung that
    cannot be seen through is still one.

    Args:
        images: films in [0, 1].
        masks: 1 where there is lung, 0 elsewhere.
        how: the ranges of movement, exposure, blur and noise.

    Returns:
        Films in [0, 1], and masks in [0, 1] that may lie between at their outlines.
    """
    both = _move(torch.cat([images, masks], 1), how)
    images, masks = both[:, :1], both[:, 1:]
    images = images + BIAS * _rand(images) * _smooth(images, 3)
    images = _veil(images, masks)
    images = _cover(images.clamp(0, 1))
    return augment(images, replace(how, rotation=0.0, translation=0.0, scale=0.0)), masks


def _rand(images: Tensor) -> Float[Tensor, "batch 1 1 1"]:
    return torch.rand(len(images), 1, 1, 1, device=images.device)


def _smooth(images: Tensor, knots: int) -> Images:
    """Noise of about unit variance that varies slowly: normal values at knots, interpolated."""
    coarse = torch.randn(len(images), 1, knots, knots, device=images.device)
    size = (images.shape[-2], images.shape[-1])
    return interpolate(coarse, size, mode="bicubic", align_corners=True)


def _move(both: Tensor, how: Augmentation) -> Tensor:
    """Mirror, rotate, scale, stretch and shift; outside its border a film is black."""
    count = len(both)
    signed = 2 * torch.rand(6, count, device=both.device) - 1
    angle = torch.deg2rad(how.rotation * signed[0])
    zoom = (1 + how.scale) ** signed[1]
    wide, high = zoom * (1 + STRETCH) ** signed[2], zoom * (1 + STRETCH) ** -signed[2]
    wide = torch.where(signed[3] > 0, wide, -wide)
    shift = 2 * how.translation * signed[4:]
    rows = [
        torch.stack([wide * angle.cos(), -high * angle.sin(), shift[0]], 1),
        torch.stack([wide * angle.sin(), high * angle.cos(), shift[1]], 1),
    ]
    grid = affine_grid(torch.stack(rows, 1), list(both.shape), align_corners=False)
    return grid_sample(both, grid, padding_mode="zeros", align_corners=False)


def _veil(images: Images, masks: Masks) -> Images:
    """Bring parts of the lungs near the brightness of what surrounds them: consolidation."""
    where = (_smooth(images, 4) + 2 * _rand(images) - 1).mul(2).sigmoid()
    strength = 0.95 * _rand(images) * (_rand(images) < VEILED)
    around = (images * (1 - masks)).flatten(1)
    bright = around.quantile(0.8, dim=1)[:, None, None, None]
    soft = interpolate(
        interpolate(masks, scale_factor=0.25, mode="area"), masks.shape[-2:], mode="bilinear"
    )
    share = strength * where * torch.minimum(masks, soft.sqrt())
    return images + share * (bright - images).clamp(min=0)


def _cover(images: Images) -> Images:
    """Draw small rectangles, dark or bright, each on half of the films."""
    height, width = images.shape[-2:]
    y = torch.linspace(0, 1, height, device=images.device)[:, None]
    x = torch.linspace(0, 1, width, device=images.device)
    for _ in range(PATCHES):
        half_width, half_height = 0.12 * _rand(images), 0.12 * _rand(images)
        inside = (x - _rand(images)).abs().le(half_width)
        inside = inside & (y - _rand(images)).abs().le(half_height)
        inside = inside & (_rand(images) < 0.5)
        images = torch.where(inside, _rand(images), images)
    return images
