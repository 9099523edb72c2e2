"""The images of a run as the page holds them: WebP as data, found by the sample's id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as Picture
from safetensors import safe_open
from torch import Tensor

from cfgen.types import Image
from evaluation.pages import grey_levels, webp
from evaluation.runs import Run

BRIGHTER, DARKER = (213, 94, 0), (0, 114, 178)
"""Vermillion and blue of Okabe and Ito: apart for the common colour blindnesses, on any grey."""
LEVELS = 127
"""Grey levels of change, either way, that a picture of a difference holds; more look the same."""
FULL = LEVELS / 255
"""The change of full colour, in [0, 1]."""


class Place(NamedTuple):
    """Where an image of a run is stored."""

    shard: Path
    row: int


def places(run: Run) -> dict[int, Place]:
    """Return where each sample's images are, by its id."""
    found: dict[int, Place] = {}
    for shard in run.shards:
        with safe_open(shard, framework="pt") as tensors:
            ids = tensors.get_tensor("id").tolist()
        found |= {int(i): Place(shard, row) for row, i in enumerate(ids)}
    return found


def read_pair(place: Place) -> tuple[Image, Image]:
    """Read a factual and its counterfactual, and nothing else of their shard."""
    with safe_open(place.shard, framework="pt") as tensors:
        factual, image = (
            tensors.get_slice(name)[place.row : place.row + 1][0] for name in ("factual", "image")
        )
    return factual, image


def walk(run: Run, wanted: set[int]) -> Iterator[tuple[int, Image, Image]]:
    """Yield the wanted samples' ids, factuals and counterfactuals, a shard in memory at a time."""
    for ids, factual, image in run.images():
        for k, i in enumerate(ids.tolist()):
            if i in wanted:
                yield i, factual[k], image[k]


def change_scale(run: Run, wanted: set[int]) -> float:
    """Return the 95th percentile of the images' largest absolute changes, in [1/255, 127/255].

    One outlier does not bleach all others, and what is beyond has full colour.
    """
    largest = [float((image - factual).abs().max()) for _, factual, image in walk(run, wanted)]
    return float(np.clip(np.quantile(largest, 0.95), 1 / 255, FULL))


def film(image: Image) -> str:
    """Return an image in [0, 1] as data; its grey levels are off by about one."""
    return webp(grey_levels(image), quality=90)


def difference(change: Float[Tensor, "1 height width"]) -> str:
    """Return a signed change as data: a colour for its sign, as opaque as it is large.

    It is exact to half a grey level and full at 127 of them, and lies on an image as it is.

    Args:
        change: counterfactual minus factual.
    """
    # Of all lossless efforts, this is where half of the size is saved in a tenth of the time.
    return webp(coloured(change), lossless=True, method=5, quality=75)


def coloured(change: Float[Tensor, "1 height width"]) -> UInt8[np.ndarray, "height width 4"]:
    """Return red, green, blue and opacity of a signed change; opacity is twice its grey levels.

    >>> coloured(torch.tensor([[[0.0, 1.0, -10 / 255]]])).tolist()
    [[[0, 0, 0, 0], [213, 94, 0, 254], [0, 114, 178, 20]]]
    """
    levels = (change[0].float().numpy() * 255).round().clip(-LEVELS, LEVELS).astype(np.int16)
    picture = np.zeros((*levels.shape, 4), np.uint8)
    picture[levels > 0, :3] = BRIGHTER
    picture[levels < 0, :3] = DARKER
    picture[..., 3] = 2 * np.abs(levels)
    return picture


def sheet(path: Path) -> str:
    """Return a picture that is stored as a file as data."""
    with Picture.open(path) as drawn:
        return webp(np.asarray(drawn.convert("RGB")), quality=80)


def same_film(first: Image, second: Float[Tensor, "1 its_height its_width"]) -> bool:
    """Whether two images are one film, apart from rounding to grey levels."""
    return first.shape == second.shape and bool(torch.max((first - second).abs()) <= 2 / 255)
