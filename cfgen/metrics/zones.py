"""In which part of the lungs, or of the image, does the change lie, and does it brighten?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from cfgen.types import Image

Mask = Bool[Tensor, "1 height width"]

HEIGHTS = ("upper", "middle", "lower")


class Zone(NamedTuple):
    """What of a change lies in a zone.

    Attributes:
        height: upper, middle or lower; of a quarter of an image upper or lower.
        side: right or left, of the chest for zones of the lungs, of the image for quarters.
        share: of the change's energy, in [0, 1].
        balance: sum of the change over that of its absolute value, in [-1, 1]: 1 where all of it
            brightens, -1 where all of it darkens.
    """

    height: str
    side: str
    share: float
    balance: float


def lung_zones(lungs: Mask) -> dict[tuple[str, str], Mask]:
    """Cut a mask of both lungs into upper, middle and lower zones, by thirds of each one's height.

    The mask's centre divides the lungs. Sides are the chest's by radiological convention: what is
    to the left in the image is the right lung.

    Returns:
        A mask for each (height, side); nothing where the mask is empty.

    Example:
        >>> lungs = torch.zeros(1, 9, 10, dtype=torch.bool)
        >>> lungs[:, :6, 1:4] = lungs[:, 3:, 6:9] = True
        >>> {zone: int(mask.sum()) for zone, mask in lung_zones(lungs).items()}["lower", "right"]
        6
    """
    if not lungs.any():
        return {}
    columns = torch.arange(lungs.shape[-1])
    centre = float((lungs[0].sum(0) * columns).sum() / lungs.sum())
    zones = {}
    for side, half in (("right", columns <= centre), ("left", columns > centre)):
        lung = lungs & half
        held = lung[0].any(1).nonzero().flatten()
        if not len(held):
            continue
        top, bottom = int(held[0]), int(held[-1]) + 1
        rows = torch.arange(lungs.shape[-2])[:, None]
        third = (3 * (rows - top)).div(bottom - top, rounding_mode="floor")
        zones |= {(height, side): lung & (third == k) for k, height in enumerate(HEIGHTS)}
    return zones


def quarters(image: Image) -> dict[tuple[str, str], Mask]:
    """Return masks of the quarters of an image, by (height, side) as the image shows them."""
    height, width = image.shape[-2:]
    lower = torch.arange(height)[:, None] >= height / 2
    right = torch.arange(width)[None] >= width / 2
    return {
        (up, side): (vertical & across)[None]
        for up, vertical in (("upper", ~lower), ("lower", lower))
        for side, across in (("left", ~right), ("right", right))
    }


def zone_changes(change: Image, zones: dict[tuple[str, str], Mask]) -> list[Zone]:
    """Return what of a change lies in each zone, largest share first.

    Nothing where nothing changed.

    Example:
        >>> change = torch.zeros(1, 4, 4)
        >>> change[0, 3, 0] = -0.5
        >>> zone_changes(change, quarters(change))[0]
        Zone(height='lower', side='left', share=1.0, balance=-1.0)
    """
    energy = float(change.square().sum())
    if not energy:
        return []
    found = []
    for (height, side), mask in zones.items():
        inside = change[mask]
        size = float(inside.abs().sum())
        balance = float(inside.sum()) / size if size else 0.0
        found.append(Zone(height, side, float(inside.square().sum()) / energy, balance))
    return sorted(found, key=lambda zone: zone.share, reverse=True)
