"""The way from a factual to its counterfactual, and beyond."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.spaces import Space, spread
from cfgen.types import Image, Images


def along(
    space: Space, factual: Image, image: Image, strengths: Float[Tensor, " strengths"]
) -> Images:
    """Images on the straight line between the codes of two images.

    x(s) = clip(D(z0 + s (z1 - z0)) + (1 - s) r0 + s r1), with z the codes of the two images in the
    space and r what these cannot say of them. So x(0) is the factual and x(1) the counterfactual,
    to the last bit that rounding leaves, whatever search found it; beyond 1 the change goes on.

    Args:
        space: whose codes are joined; in `PixelSpace` the line is a cross-fade.
        factual: in [0, 1].
        image: its counterfactual, in [0, 1].
        strengths: 0 for the factual, 1 for the counterfactual, any others between and beyond.

    Example:
        >>> from cfgen.spaces import PixelSpace
        >>> dark, bright = torch.zeros(1, 8, 8), torch.full((1, 8, 8), 0.5)
        >>> along(PixelSpace(), dark, bright, torch.tensor([0.0, 0.5, 3.0])).amax((1, 2, 3))
        tensor([0.0000, 0.2500, 1.0000])
    """
    with torch.no_grad():
        start, end = space.encode(factual[None]), space.encode(image[None])
        share = spread(strengths.to(factual), start.codes)
        codes = start.codes + share * (end.codes - start.codes)
        residual = start.residual + share * (end.residual - start.residual)
        return space.decode(codes, residual).clamp(0, 1)
