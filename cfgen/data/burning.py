"""Burns a warning into the pixels of an image, where no header can be lost."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont
from jaxtyping import Float

WARNING = "SYNTHETIC - NOT FOR DIAGNOSIS"
"""What is burned in."""
_LETTERS, _MARGIN = 14, 4


def burned(pixels: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "rows columns"]:
    """Return pixels with the warning near their lower edge, white with a black rim.

    An image too small for it is enlarged by repeating its pixels.

    Args:
        pixels: in [0, 1]; they are left as they are.

    >>> burned(np.zeros((64, 64))).shape
    (256, 256)
    """
    font = PIL.ImageFont.load_default(_LETTERS)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(WARNING))
    wide, high = right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN
    times = max(1, -(-wide // pixels.shape[1]), -(-3 * high // pixels.shape[0]))
    enlarged = pixels.repeat(times, 0).repeat(times, 1)
    mask = PIL.Image.new("L", (wide, high))
    PIL.ImageDraw.Draw(mask).text((_MARGIN - left, _MARGIN - top), WARNING, fill=255, font=font)
    scale = max(1, enlarged.shape[1] // (2 * wide))
    mask = mask.resize((wide * scale, high * scale), PIL.Image.Resampling.NEAREST)
    rim = np.asarray(mask.filter(PIL.ImageFilter.MaxFilter(2 * scale + 1))) / 255
    rows = slice(enlarged.shape[0] - high * scale, None)
    first = (enlarged.shape[1] - wide * scale) // 2
    columns = slice(first, first + wide * scale)
    # Thin strokes are grey where they lie between pixels: white is what can be read.
    letters = np.clip(1.5 * np.asarray(mask) / 255, 0, 1)
    enlarged[rows, columns] = np.maximum(enlarged[rows, columns] * (1 - rim), letters)
    return enlarged
