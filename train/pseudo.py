"""Lung masks that a segmenter proposes for films without any, kept where they can be believed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import convex_hull_image, disk
from torch import Tensor

from cfgen.models.segmenter import Segmenter
from cfgen.types import Images

Mask = Bool[ndarray, "height width"]


class Plausible(NamedTuple):
    """What a pair of lung fields has to satisfy; lengths and areas are shares of the image.

    Attributes:
        least: area of each lung, at least.
        most: area of each lung, at most.
        balance: area of the smaller over that of the larger lung, at least.
        apart: horizontal distance of their centres, at least.
        level: vertical distance of their centres, at most.
        tops: vertical distance of their highest points, at most: masks leak into the neck.
        solid: area of each lung over that of its convex hull, at least.
    """

    least: float = 0.06
    most: float = 0.22
    balance: float = 0.6
    apart: float = 0.33
    level: float = 0.1
    tops: float = 0.06
    solid: float = 0.84


def propose(segmenter: Segmenter, images: Images) -> Float[Tensor, "batch 1 height width"]:
    """Probability of lung, averaged (as log-odds) with that of the mirrored film mirrored back."""
    with torch.inference_mode():
        straight, mirrored = segmenter.logits(images), segmenter.logits(images.flip(-1)).flip(-1)
    return (0.5 * (straight + mirrored)).sigmoid()


def clean(probability: Float[ndarray, "height width"], rule: Plausible) -> Mask | None:
    """Two filled and smoothed lung fields, or None where there is no plausible pair.

    The two largest connected parts above one half are kept, their gaps closed, their holes filled
    and their outlines smoothed.
    """
    parts = np.asarray(label(ndimage.binary_opening(probability > 0.5), connectivity=1))
    largest = np.argsort(np.bincount(parts[parts > 0]))[-2:]
    if len(largest) < 2 or 0 in largest:
        return None
    one, other = (_smoothed(parts == index) for index in largest)
    return one | other if _pair(one, other, rule) else None


def _smoothed(lung: Mask) -> Mask:
    radius = max(1, len(lung) // 32)
    padded = np.pad(lung, 2 * radius, mode="edge")
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(padded, disk(radius)))
    inside = slice(2 * radius, -2 * radius)
    return ndimage.binary_opening(closed, disk(radius))[inside, inside]


def _pair(one: Mask, other: Mask, rule: Plausible) -> bool:
    small, large = sorted((one.mean(), other.mean()))
    if not rule.least <= small <= large <= rule.most or small < rule.balance * large:
        return False
    height, width = one.shape
    places = [np.argwhere(lung) / (height, width) for lung in (one, other)]
    down, across = np.abs(places[0].mean(0) - places[1].mean(0))
    tops = abs(places[0][:, 0].min() - places[1][:, 0].min())
    if across < rule.apart or down > rule.level or tops > rule.tops:
        return False
    return min(_solidity(one), _solidity(other)) >= rule.solid


def _solidity(lung: Mask) -> float:
    return float(lung.sum() / convex_hull_image(lung).sum())
