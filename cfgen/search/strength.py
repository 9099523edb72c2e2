"""How strong an edit may be: scaled until the image has a given similarity to the factual."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.metrics import ssim
from cfgen.spaces import EVERYWHERE, Encoded, Region, Space
from cfgen.types import Codes, Images

LONGEST = 4.0
"""Longest change of a code that is tried, in lengths of the code itself."""


@torch.no_grad()
def strength_at_ssim(
    edit: Codes,
    factual: Images,
    space: Space,
    encoded: Encoded,
    budget: float,
    *,
    halvings: int = 10,
    region: Region = EVERYWHERE,
) -> Float[Tensor, " batch"]:
    """Return the greatest strength of each image's edit that keeps an SSIM to the factual.

    The strength s is bisected so that SSIM(x, x'(z0 + s * edit)) is the budget, from above; the
    similarity is taken to fall with the strength. Each halving costs a decode.

    Args:
        edit: changes of the codes, of any length.
        factual: images in [0, 1].
        space: where the edit is.
        encoded: the images in it.
        budget: SSIM to keep, in (0, 1).
        halvings: of the interval [0, `LONGEST` code lengths]; after ten, the strength is off by a
            thousandth of it.
        region: where and how far an image may change.
    """
    codes, residual, _ = encoded
    ones = [1] * (codes.ndim - 1)
    length = torch.linalg.vector_norm(edit.flatten(1), dim=1).clamp(min=1e-12)
    longest = LONGEST * torch.linalg.vector_norm(codes.flatten(1), dim=1) / length
    low, high = torch.zeros_like(longest), longest
    for _ in range(halvings):
        middle = (low + high) / 2
        images = space.decode(space.project(codes + edit * middle.view(-1, *ones)), residual)
        kept = ssim(factual, region.confine(images, factual)) >= budget
        low, high = torch.where(kept, middle, low), torch.where(kept, high, middle)
    return low
