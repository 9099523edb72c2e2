"""Outlines that are drawn over an image: of the lungs, and of where it changed most."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from skimage.measure import find_contours

from cfgen.metrics.zones import Mask
from cfgen.types import Image

Line = Float[np.ndarray, "_ 2"]
"""Points of a line: x and y in pixels, the centre of the first pixel being 0."""

LEVEL = 0.4
"""Share of the largest smoothed change at which its outline runs."""
BRIGHTER, DARKER, LUNGS = "#e66a52", "#4da3e0", "#f0c419"


def outline(mask: Mask) -> list[Line]:
    """Lines around a mask; a mask that touches the border is closed there."""
    return _contours(np.pad(mask[0].cpu().numpy().astype(float), 1), 0.5, padded=1)


def strongest(change: Image) -> tuple[list[Line], list[Line]]:
    """Lines around where an image became most brighter, and most darker.

    The change is smoothed by a Gaussian of a sixty-fourth of the image, so that fine noise has no
    outline of its own. Nothing where nothing changed.
    """
    smooth = gaussian_filter(change[0].cpu().double().numpy(), change.shape[-1] / 64)
    level = LEVEL * float(np.abs(smooth).max())
    if not level:
        return [], []
    padded = np.pad(smooth, 1)
    return _contours(padded, level, padded=1), _contours(-padded, level, padded=1)


def _contours(values: Float[np.ndarray, "rows columns"], level: float, padded: int) -> list[Line]:
    return [line[:, ::-1] - padded for line in find_contours(values, level)]
