"""Images that a bundle should call unlike its training images, to count how many it does."""

from __future__ import annotations

import numpy as np
import skimage.data
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from cfgen.data.phantom import draw
from cfgen.data.preprocessing import Preprocessing
from cfgen.types import Images

COUNT = 100
_PHANTOMS = 60_000_000
"""First seed of the phantoms: of no data set."""
_PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "clock", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip


def altered(images: Float[Tensor, "images 1 size size"]) -> dict[str, Images]:
    """Films that something was done to: inverted, turned, mirrored, cut, disturbed.

    Args:
        images: square ones in [0, 1].
    """
    films = images.float()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(films.shape, generator=generator)
    return {
        "inverted": 1 - films,
        "upside down": films.flip(-2),
        "turned by 90 degrees": films.rot90(1, (-2, -1)),
        "turned by 15 degrees": rotate(films, 15, InterpolationMode.BILINEAR),
        "mirrored": films.flip(-1),
        "the middle half": _cut(films, 0.5),
        "the middle 85 %": _cut(films, 0.85),
        "with noise of .1": (films + 0.1 * noise).clamp(0, 1),
        "at .4 of the brightness": 0.4 * films,
    }


def strangers(size: int) -> dict[str, Images]:
    """Images of something else: unseen chest phantoms, noise, photographs in grey.

    Args:
        size: height and width.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(COUNT, 1, 8, 8, generator=generator)
    prepare = Preprocessing(size=size)
    return {
        "chest phantoms": torch.stack([draw(_PHANTOMS + k, size).image for k in range(COUNT)]),
        "white noise": torch.rand(COUNT, 1, size, size, generator=generator),
        "smooth noise": interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1),
        "photographs": torch.stack([prepare(_photograph(name)) for name in _PHOTOGRAPHS]),
    }


def _cut(films: Images, share: float) -> Images:
    """The middle of films, as large as the whole."""
    size = films.shape[-1]
    side = round(share * size)
    start = (size - side) // 2
    middle = films[..., start : start + side, start : start + side]
    return interpolate(middle, (size, size), mode="bilinear", align_corners=False, antialias=True)


def _photograph(name: str) -> Float[Tensor, "1 height width"]:
    """One of the photographs that travel with scikit-image, the mean of its channels."""
    pixels = np.asarray(getattr(skimage.data, name)(), dtype=np.float32) / 255
    grey = pixels if pixels.ndim == 2 else pixels[..., :3].mean(-1)
    return torch.from_numpy(grey)[None]
