"""How similar do two images look?"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.types import Images

BORDER = 5
"""Pixels at every edge that the Gaussian window does not fit around."""
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LEAST_SIDES = (11, 22, 44, 99, 176)


def ssim(first: Images, second: Images) -> Float[Tensor, " batch"]:
    """Return the structural similarity of Wang et al. 2004, in [-1, 1]; higher is more alike.

    SSIM = (2 m_x m_y + c1)(2 s_xy + c2) / ((m_x^2 + m_y^2 + c1)(s_x^2 + s_y^2 + c2)), with
    Gaussian windows (sigma 1.5, 11 pixels wide), c1 = 0.01^2 and c2 = 0.03^2 for a data range of
    1, averaged over the pixels whose window lies wholly inside. As scikit-image computes it; its
    default with a uniform window and torchmetrics' average over the padded border read otherwise.

    Raises:
        ValueError: an image is smaller than the window.
    """
    return ssim_map(first, second).double().flatten(1).mean(1).to(first.dtype)


def ssim_map(first: Images, second: Images) -> Float[Tensor, "batch 1 inner_height inner_width"]:
    """Return the structural similarity at every pixel whose window lies wholly inside.

    The terms of the mean that `ssim` is: an image's side less `BORDER` at either end.

    Raises:
        ValueError: an image is smaller than the window.
    """
    from skimage.metrics import structural_similarity

    _require_side(first)
    pairs = zip(*(images[:, 0].double().cpu().numpy() for images in (first, second)), strict=True)
    maps = [
        structural_similarity(
            one,
            other,
            gaussian_weights=True,
            sigma=_SIGMA,
            use_sample_covariance=False,
            data_range=1.0,
            full=True,
        )[1]
        for one, other in pairs
    ]
    inner = np.stack(maps)[:, None, BORDER:-BORDER, BORDER:-BORDER]
    return torch.from_numpy(inner).to(first)


def ssim_on_device(first: Images, second: Images) -> Float[Tensor, " batch"]:
    """Return what `ssim` does, in the images' own precision and where they are.

    For a search, which asks of the same images again and again: it takes less time on a CPU, and
    does not leave a GPU. A window is moved over an image by a matrix from the left and one from
    the right.

    Raises:
        ValueError: an image is smaller than the window.

    Example:
        >>> images = torch.linspace(0, 1, 144).reshape(1, 1, 12, 12)
        >>> (ssim_on_device(images, images**2) - ssim(images, images**2)).abs().item() < 1e-5
        True
    """
    _require_side(first)
    down, across = (_windows(side).to(first) for side in first.shape[-2:])
    moments = torch.cat([first, second, first**2, second**2, first * second], 1)
    x, y, xx, yy, xy = (down @ moments @ across.T).unbind(1)
    alike = (2 * x * y + _C1) * (2 * (xy - x * y) + _C2)
    apart = (x**2 + y**2 + _C1) * (xx - x**2 + yy - y**2 + _C2)
    return (alike / apart).flatten(1).mean(1)


@cache
def _windows(side: int) -> Float[Tensor, "inner side"]:
    """Gaussian weights of every window that lies wholly inside a side."""
    place = torch.arange(_WINDOW, dtype=torch.double) - BORDER
    weights = (-(place**2) / (2 * _SIGMA**2)).exp()
    return torch.eye(side, dtype=torch.double).unfold(0, _WINDOW, 1) @ (weights / weights.sum())


def ms_ssim(first: Images, second: Images) -> Float[Tensor, " batch"]:
    """Return the multi-scale structural similarity of Wang et al. 2003, in [0, 1].

    MS-SSIM = l_M^w_M prod_j cs_j^w_j over M dyadic scales; higher is more alike. The five scales
    of the paper need 176 pixels; smaller images have fewer, with the first weights divided by
    their sum: four from 99 pixels, three from 44, two from 22. So values compare at one size
    only. Negative terms count as 0. As torchmetrics computes it, which mirrors the border at the
    coarsest scale.

    Raises:
        ValueError: an image is smaller than the window.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    _require_side(first)
    weights = _SCALE_WEIGHTS[: scales(min(first.shape[-2:]))]
    values = multiscale_structural_similarity_index_measure(
        first,
        second,
        data_range=1.0,
        betas=tuple(weight / sum(weights) for weight in weights),
        reduction="none",
    )
    return values.reshape(len(first))


def scales(side: int) -> int:
    """Return how many scales MS-SSIM has for images of this shorter side.

    >>> [scales(side) for side in (64, 128, 224)]
    [3, 4, 5]
    """
    return sum(side >= least for least in _LEAST_SIDES)


def psnr(first: Images, second: Images) -> Float[Tensor, " batch"]:
    """Return the peak signal-to-noise ratio -10 log10(mean_i (x_i - y_i)^2) in decibels.

    For a data range of 1; 0 at worst, infinite for identical images (an average has to leave
    those out, and say so). Higher is more alike.

    >>> psnr(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.1)).round(decimals=3).tolist()
    [20.0]
    """
    return -10 * (first - second).flatten(1).square().mean(1).log10()


def _require_side(images: Images) -> None:
    side = min(images.shape[-2:])
    if side < _WINDOW:
        raise ValueError(
            f"expected images of at least {_WINDOW} pixels a side, got {side}; compare them at "
            "a larger size."
        )
