"""The way from factual to counterfactual and back, as a moving picture."""

from __future__ import annotations

import io
import math
from importlib.util import find_spec

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Picture

from cfgen.explanation import Explanation
from cfgen.models.bundle import Bundle
from evaluation.explain.response import images_at
from evaluation.pages import grey_levels

Frames = list[UInt8[np.ndarray, "height width"]]

STEPS = 16
"""Frames of the way there, as many of the way back."""
SIDE = 384
"""Least pixels to a side: small images are enlarged by a whole factor."""
PAUSE, FRAME = 700, 60
"""Milliseconds that the ends and the frames between are shown."""
_BAR = 8
_LOOPS = 3


def frames(found: Explanation, bundle: Bundle) -> Frames:
    """Draw factual to counterfactual along the codes; a bar below tells the strength.

    The pace is that of a pendulum: slow at the ends.
    """
    strengths = [(1 - math.cos(math.pi * k / STEPS)) / 2 for k in range(STEPS + 1)]
    images = images_at(found, bundle, strengths)
    drawn = []
    for image, strength in zip(images, strengths, strict=True):
        drawn.append(_with_bar(_enlarged(grey_levels(image)), strength))
    return drawn


def _enlarged(grey: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "rows columns"]:
    factor = max(1, -(-SIDE // max(grey.shape)))
    size = (grey.shape[1] * factor, grey.shape[0] * factor)
    return np.asarray(Picture.fromarray(grey).resize(size, Picture.Resampling.BICUBIC))


def _with_bar(
    grey: UInt8[np.ndarray, "height width"], strength: float
) -> UInt8[np.ndarray, "rows width"]:
    bar = np.full((_BAR, grey.shape[1]), 60, np.uint8)
    bar[2:, : round(strength * grey.shape[1])] = 230
    bar[:2] = 0
    return np.concatenate([grey, bar])


def webp(drawn: Frames) -> bytes:
    """Encode there and back as a WebP file that loops for ever."""
    there_and_back = [Picture.fromarray(frame) for frame in (*drawn, *drawn[-2:0:-1])]
    pauses = [FRAME] * len(there_and_back)
    pauses[0] = pauses[len(drawn) - 1] = PAUSE
    buffer = io.BytesIO()
    there_and_back[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=there_and_back[1:],
        duration=pauses,
        loop=0,
        quality=80,
    )
    return buffer.getvalue()


def can_make_mp4() -> bool:
    """Whether the extra `video` is installed."""
    return find_spec("imageio_ffmpeg") is not None


def mp4(drawn: Frames) -> bytes:
    """Encode there and back, three times, as an MP4 file (H.264)."""
    from imageio import v3

    still = PAUSE // FRAME
    loop = [*[drawn[0]] * still, *drawn[1:-1], *[drawn[-1]] * still, *drawn[-2:0:-1]]
    even = [frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2] for frame in loop * _LOOPS]
    coloured = np.stack([np.repeat(frame[..., None], 3, 2) for frame in even])
    return v3.imwrite(
        "<bytes>",
        coloured,
        extension=".mp4",
        plugin="FFMPEG",
        fps=round(1000 / FRAME),
        codec="libx264",
        macro_block_size=2,
    )
