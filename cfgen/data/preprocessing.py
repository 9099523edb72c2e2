"""How a file's image becomes a network's input: intensity, aspect and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from cfgen.data.pixels import UnreadableImage
from cfgen.types import Image

Aspect = Literal["stretch", "pad", "crop"]
Interpolation = Literal["bilinear", "bicubic"]
Intensity = Literal["full", "minmax", "percentile"]

PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Preprocessing:
    """Turns an image of any size into a square one, the same way for every command of a bundle.

    First the intensity is scaled, then the aspect is settled and the image resized, always
    antialiased. A square image of the right size is left as it is, to the bit, where the
    intensity is "full".

    Attributes:
        size: height and width of the result in pixels.
        aspect: "stretch" ignores the aspect ratio, "pad" keeps it and adds black borders, "crop"
            keeps it and takes the central square.
        interpolation: how pixels are interpolated.
        intensity: "full" keeps the scale of the file's bit depth; "minmax" stretches the image's
            own range to [0, 1]; "percentile" that of its 0.5th to 99.5th percentile.

    >>> wide = torch.full((1, 6, 12), 0.5)
    >>> Preprocessing(size=8)(wide)[0, :, 0]
    tensor([0.0000, 0.0000, 0.5000, 0.5000, 0.5000, 0.5000, 0.0000, 0.0000])
    """

    size: int = 128
    aspect: Aspect = "pad"
    interpolation: Interpolation = "bilinear"
    intensity: Intensity = "full"

    def __post_init__(self) -> None:
        """Refuse what is not an option, so that a wrong bundle fails when it is read."""
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"expected a size of 1 pixel or more, got {self.size!r}; give 128")
        for name, options in (
            ("aspect", get_args(Aspect)),
            ("interpolation", get_args(Interpolation)),
            ("intensity", get_args(Intensity)),
        ):
            value = getattr(self, name)
            if value not in options:
                raise ValueError(f"expected {name} {' or '.join(options)}, got {value!r}; give one")

    def __call__(self, image: Image, name: str = "the image") -> Float[Tensor, "1 size size"]:
        """Preprocess one image.

        Args:
            image: (1, h, w) in [0, 1].
            name: what an error is to call it, such as its path.

        Returns:
            The image as (1, size, size) in [0, 1].

        Raises:
            UnreadableImage: if the intensity is to be stretched and there is nothing to stretch.
        """
        image = self._scaled(image, name)
        if self.aspect == "crop":
            image = _central_square(image)
        height, width = image.shape[-2:]
        if self.aspect == "pad":
            longest = max(height, width)
            height = max(1, round(self.size * height / longest))
            width = max(1, round(self.size * width / longest))
        else:
            height = width = self.size
        image = _pad_to_square(self._resized(image, height, width), self.size)
        return image.clamp(0, 1)

    def _scaled(self, image: Image, name: str) -> Image:
        if self.intensity == "full":
            return image
        percentiles = PERCENTILES if self.intensity == "percentile" else (0, 100)
        low, high = np.percentile(image.numpy(), percentiles)
        if not high > low:
            raise UnreadableImage(
                f"expected an image with contrast for intensity {self.intensity!r}, got the single "
                f"value {low:.3g} in nearly all pixels of {name}; leave it out"
            )
        return ((image - float(low)) / float(high - low)).clamp(0, 1)

    def _resized(self, image: Image, height: int, width: int) -> Float[Tensor, "1 new_h new_w"]:
        if image.shape[-2:] == (height, width):
            return image
        return functional.interpolate(
            image[None], (height, width), mode=self.interpolation, antialias=True
        )[0]


def preprocessing_of(described: Mapping[str, str | int], where: Path) -> Preprocessing:
    """Make the preprocessing that a file describes.

    Args:
        described: the arguments of `Preprocessing`.
        where: the file, to be named in an error.

    Raises:
        ValueError: something else is described.
    """
    try:
        return Preprocessing(**described)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"expected a preprocessing in {where}, got {described} ({error}); restore it"
        ) from error


def _central_square(image: Image) -> Float[Tensor, "1 side side"]:
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


def _pad_to_square(image: Image, size: int) -> Float[Tensor, "1 size size"]:
    height, width = image.shape[-2:]
    if (height, width) == (size, size):
        return image
    top, left = (size - height) // 2, (size - width) // 2
    padded = torch.zeros(1, size, size)
    padded[:, top : top + height, left : left + width] = image
    return padded
