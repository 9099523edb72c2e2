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


def strongest_iou(change: Images, mask: Masks) -> Float[Tensor, " batch"]:
    """Return the overlap of a mask and of as many pixels of greatest |change|, in [0, 1].

    |S and M| / |S or M|, with S the |M| pixels of greatest |d_i|, less those that did not change:
    the intersection over union at the one threshold that needs no choosing (Everingham et al.
    2010 for the measure). Higher is better; a random S has about a / (2 - a) where the mask covers
    a share a of the pixels. Of equal pixels the first ones count. NaN where nothing changed or the
    mask is empty.

    >>> change = torch.tensor([[[[3.0, -4.0, 0.5]]]])
    >>> strongest_iou(change, torch.tensor([[[[False, True, True]]]])).tolist()
    [0.3333333432674408]
    """
    strength, inside = change.abs().flatten(1), mask.flatten(1)
    count = inside.sum(1)
    order = strength.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(1)
    strongest = (rank < count[:, None]) & (strength > 0)
    both, either = (strongest & inside).sum(1), (strongest | inside).sum(1)
    known = strength.any(1) & (count > 0)
    return torch.where(known, both / either, torch.nan)


def pointing_game(change: Images, mask: Masks, sigma: float = 1.0) -> Float[Tensor, " batch"]:
    """Return 1 where the pixel of greatest smoothed |change| is inside a mask, else 0.

    arg max_i (G_sigma * |d|)_i in M: the pointing game of Zhang et al. 2018 (excitation backprop).
    Theirs forgives 15 pixels; here a Gaussian of `sigma` pixels, cut at 4 sigma and mirrored at the
    border, takes single pixels their say. Higher is better; chance is the mask's share of the
    pixels. NaN where nothing changed or the mask is empty.

    >>> change = torch.tensor([[[[3.0, 0.0, 0.0]]]])
    >>> pointing_game(change, torch.tensor([[[[True, False, False]]]])).tolist()
    [1.0]
    """
    from scipy.ndimage import gaussian_filter

    strength = change.abs().double().cpu().numpy()
    smooth = torch.from_numpy(gaussian_filter(strength, (0, 0, sigma, sigma)))
    place = smooth.flatten(1).argmax(1).to(mask.device)
    inside = mask.flatten(1)
    hit = inside.gather(1, place[:, None])[:, 0].to(change.dtype)
    known = change.flatten(1).any(1) & inside.any(1)
    return torch.where(known, hit, torch.nan)


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
