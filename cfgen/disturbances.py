"""What no finding minds: small disturbances of an image, and changes that mean nothing."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image as Picture
from torch import Tensor
from torch.nn.functional import interpolate, pad

from cfgen.types import Codes, Images

Seeds = Int[Tensor, " batch"]

JPEG_QUALITY = 75
NOISE = 0.02


def as_jpeg(images: Images) -> Images:
    """Write images in [0, 1] as 8-bit JPEG of quality 75 and read them again."""
    read = []
    for image in (images[:, 0] * 255).round().byte().cpu().numpy():
        buffer = io.BytesIO()
        Picture.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
        read.append(np.asarray(Picture.open(buffer)))
    return torch.from_numpy(np.stack(read))[:, None].to(images) / 255


def noisy(images: Images, seeds: Seeds) -> Images:
    """Add normal noise of 0.02 to images in [0, 1], one seed an image, and clamp."""
    noise = torch.stack([_normal(images.shape[1:], seed) for seed in seeds.tolist()])
    return (images + NOISE * noise.to(images)).clamp(0, 1)


def shifts(images: Images) -> list[Images]:
    """Shift by a pixel up, down, left and right; the row or column at the edge is repeated.

    >>> ramp = torch.arange(3.0).expand(1, 1, 3, 3)
    >>> [shifted[0, 0, 0].tolist() for shifted in shifts(ramp)[2:]]
    [[1.0, 2.0, 2.0], [0.0, 0.0, 1.0]]
    """
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    height, width = images.shape[-2:]
    corners = ((2, 1), (0, 1), (1, 2), (1, 0))
    return [wide[..., row : row + height, left : left + width] for row, left in corners]


def smooth_noise(codes: Codes, seeds: Seeds) -> Codes:
    """Normal noise at a quarter of the codes' resolution, enlarged: structures, not grain."""
    channels, *sides = codes.shape[1:]
    coarse = (channels, *(max(2, side // 4) for side in sides))
    noise = torch.stack([_normal(coarse, seed) for seed in seeds.tolist()])
    return interpolate(noise.to(codes), size=sides, mode="bicubic", align_corners=True)


def _normal(shape: Sequence[int], seed: int) -> Tensor:
    """Draw normal noise of one sample: from its own seed, so that its batch does not matter."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
