"""Does the change lie where it should?"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.types import Images


def energy_inside(
    change: Images, mask: Bool[Tensor, "batch 1 height width"]
) -> Float[Tensor, " batch"]:
    """Return the share of squared change inside a mask, in [0, 1]; NaN where nothing changed.

    sum_(i in mask) d_i^2 / sum_i d_i^2 for the change d = x' - x. Source: the energy-based
    pointing game of Wang et al. 2020 (Score-CAM), with squared change in place of saliency.
    Higher is better, to be read against the share of pixels that the mask covers.

    >>> change = torch.tensor([[[[3.0, 4.0]]]])
    >>> energy_inside(change, torch.tensor([[[[False, True]]]])).tolist()
    [0.6399999856948853]
    """
    energy = change.square().flatten(1)
    total = energy.sum(1)
    inside = (energy * mask.flatten(1)).sum(1)
    return torch.where(total > 0, inside / total, torch.nan)
