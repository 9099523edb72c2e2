"""What no finding minds: small disturbances of an image."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image as Picture
from torch.nn.functional import pad

from cfgen.types import Images, Seeds

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
    drawn = [
        torch.randn(*images.shape[1:], generator=torch.Generator().manual_seed(seed))
        for seed in seeds.tolist()
    ]
    return (images + NOISE * torch.stack(drawn).to(images)).clamp(0, 1)


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
