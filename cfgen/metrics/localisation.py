"""Does the change lie where it should?"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.metrics.similarity import BORDER, ssim_map
from cfgen.types import Images

Masks = Bool[Tensor, "batch 1 height width"]


def energy_inside(change: Images, mask: Masks) -> Float[Tensor, " batch"]:
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


def inside_ratio(change: Images, mask: Masks) -> Float[Tensor, " batch"]:
    """Return the share of squared change inside a mask over the mask's share of the pixels.

    `energy_inside` / mean_i mask_i, in [0, 1 / mean mask]: 1 is what a change spread evenly over
    the image has, by chance; higher is better where the finding is in the mask. NaN where nothing
    changed or the mask is empty.

    >>> change = torch.tensor([[[[3.0, 4.0]]]])
    >>> inside_ratio(change, torch.tensor([[[[False, True]]]])).tolist()
    [1.2799999713897705]
    """
    area = mask.flatten(1).float().mean(1)
    return torch.where(area > 0, energy_inside(change, mask) / area, torch.nan)


def ssim_outside(factual: Images, image: Images, mask: Masks) -> Float[Tensor, " batch"]:
    """Return the mean of the SSIM map outside a mask, in [-1, 1]; higher is more alike.

    The map is that of `ssim`, its mean over the pixels whose window lies wholly inside the image
    and whose centre lies outside the mask (Wang et al. 2004 compute it there, too). Windows near
    the mask's edge see some of the change inside. NaN where the mask leaves no pixel.

    Raises:
        ValueError: an image is smaller than the window.
    """
    values = ssim_map(factual, image)
    outside = ~mask[..., BORDER:-BORDER, BORDER:-BORDER]
    count = outside.flatten(1).sum(1)
    total = (values * outside).flatten(1).sum(1)
    return torch.where(count > 0, total / count, torch.nan)
