"""What every reader of image files checks: one grey image, of a sane size, with finite values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

MIN_SIDE = 8
MAX_PIXELS = 100_000_000

# Grey content in a colour JPEG comes back with channels a step or two apart.
_MEAN_CHROMA = 2 / 255
_PEAK_CHROMA = 12 / 255

Grey = Float[np.ndarray, "height width"]


class UnreadableImage(ValueError):  # noqa: N818 - says what it is
    """A file that holds no X-ray cfgen can read; the message names the file and the remedy."""


def refuse(path: Path, got: str, remedy: str) -> UnreadableImage:
    """Make the exception for a file that is not one grey image."""
    return UnreadableImage(f"expected one grey image, got {got} in {path}; {remedy}")


def check_pixels(path: Path, height: int, width: int) -> None:
    """Refuse an image too large to decode.

    Raises:
        UnreadableImage: if it has more than 100 million pixels.
    """
    if height * width > MAX_PIXELS:
        raise refuse(path, f"{height} x {width} pixels", "scale it down")


def grey_of(image: Shaped[np.ndarray, ...], path: Path) -> Grey:
    """Reduce (h, w), (h, w, 1 to 4) to (h, w): the channels must agree, alpha must be opaque.

    Raises:
        UnreadableImage: if the image is in colour or transparent.
    """
    if image.ndim == 2:
        return image
    if image.ndim != 3 or image.shape[-1] > 4:
        raise refuse(path, f"values of shape {image.shape}", "save it as a grey PNG")
    channels = image.shape[-1]
    if channels in (2, 4) and image[..., -1].min() < 1:
        raise refuse(path, "a transparent image", "flatten it and save it as a grey PNG")
    if channels < 3:
        return image[..., 0]
    colours = image[..., :3]
    spread = colours.max(axis=-1) - colours.min(axis=-1)
    if spread.mean() > _MEAN_CHROMA or np.percentile(spread, 99.9) > _PEAK_CHROMA:
        raise refuse(path, "a colour photograph", "give a grey X-ray")
    return colours.mean(axis=-1)


def check_values(grey: Grey, path: Path) -> Grey:
    """Return the values as float32, once they are found to hold an image.

    Raises:
        UnreadableImage: if it is smaller than 8 pixels, not finite, or of one value only.
    """
    height, width = grey.shape
    if min(height, width) < MIN_SIDE:
        raise refuse(path, f"{height} x {width} pixels", f"give at least {MIN_SIDE} on a side")
    grey = np.ascontiguousarray(grey, dtype=np.float32)
    if not np.isfinite(grey).all():
        raise refuse(path, "values that are not finite", "export it again")
    if grey.min() == grey.max():
        raise refuse(path, f"the single value {grey.min():.3g}", "export it again, or leave it out")
    return grey
