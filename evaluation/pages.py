"""HTML pages that need no other file: their templates, and images as data within them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image as Picture

from cfgen.types import Image

COMMON = Path(__file__).parent / "templates"
"""Folder of what all pages share."""


def environment(templates: Path) -> Environment:
    """Return what renders the templates of a folder, and those of `COMMON`.

    Every value is escaped, and one that is not given is an error.
    """
    return Environment(
        autoescape=True,
        loader=FileSystemLoader([templates, COMMON]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def grey_levels(image: Image) -> UInt8[np.ndarray, "height width"]:
    """Return an image in [0, 1] as grey levels.

    >>> import torch
    >>> grey_levels(torch.tensor([[[0.0, 0.5, 1.0]]])).tolist()
    [[0, 128, 255]]
    """
    return (image[0].clamp(0, 1) * 255).round().byte().cpu().numpy()


def webp(
    picture: UInt8[np.ndarray, "height width *channels"],
    quality: int,
    *,
    lossless: bool = False,
    method: int = 4,
) -> str:
    """Return a picture as data for a page.

    Args:
        picture: grey levels, colours, or colours and opacity.
        quality: from 0 to 100; with `lossless` the effort.
        lossless: whether every level is kept.
        method: from 0, fast, to 6, small.
    """
    buffer = io.BytesIO()
    how = {"quality": quality, "lossless": lossless, "method": method}
    Picture.fromarray(picture).save(buffer, "WEBP", **how)
    return as_data(buffer.getvalue(), "webp")


def as_data(file: bytes, kind: str) -> str:
    """Return an image file as an address that holds it.

    >>> as_data(b"abc", "png")
    'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"
