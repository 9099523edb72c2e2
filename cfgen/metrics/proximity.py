"""How far is the counterfactual from the factual, in grey values?"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from cfgen.types import Images


def l1(factual: Images, image: Images) -> Float[Tensor, " batch"]:
    """Return the mean absolute change, mean_i |x'_i - x_i|, in [0, 1]; lower is closer.

    Source: proximity after Wachter et al. 2017, there a weighted sum; the mean over pixels does
    not depend on the size of the image.

    >>> import torch
    >>> l1(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)).tolist()
    [0.5]
    """
    return _change(factual, image).abs().mean(1)


def l2(factual: Images, image: Images) -> Float[Tensor, " batch"]:
    """Return the Euclidean norm of the change, sqrt(sum_i (x'_i - x_i)^2); lower is closer.

    In [0, sqrt(h w)]: it grows with the size of the image, so compare at one size only.

    >>> import torch
    >>> l2(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)).tolist()
    [1.0]
    """
    return _change(factual, image).norm(dim=1)


def linf(factual: Images, image: Images) -> Float[Tensor, " batch"]:
    """Return the largest change of a pixel, max_i |x'_i - x_i|, in [0, 1]; lower is closer.

    >>> import torch
    >>> linf(torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.25, 0.5]]]])).tolist()
    [0.5]
    """
    return _change(factual, image).abs().amax(1)


def changed_fraction(
    factual: Images, image: Images, threshold: float = 0.05
) -> Float[Tensor, " batch"]:
    """Return the share of pixels with |x'_i - x_i| > threshold, in [0, 1]; lower is sparser.

    Source: sparsity after Mothilal et al. 2020 (DiCE), with a tolerance in place of 'at all',
    for every search changes every pixel a little.

    >>> import torch
    >>> changed_fraction(torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.01, 0.5]]]])).tolist()
    [0.5]
    """
    return (_change(factual, image).abs() > threshold).to(factual.dtype).mean(1)


def sparsity(factual: Images, image: Images) -> Float[Tensor, " batch"]:
    """Return the Hoyer sparsity of the change, in [0, 1]; higher is sparser.

    (sqrt(n) - |d|_1 / |d|_2) / (sqrt(n) - 1) for the change d = x' - x of n pixels: 1 where one
    pixel changes, 0 where all change alike, 0.2 for normal noise on many (Hoyer 2004). Unlike
    `changed_fraction`, which counts, it knows no threshold and no strength: the same change at half
    the contrast is as sparse. NaN where nothing changed, or there is but one pixel.

    >>> import torch
    >>> sparsity(torch.zeros(2, 1, 2, 2), torch.eye(4)[:2].reshape(2, 1, 2, 2)).tolist()
    [1.0, 1.0]
    """
    change = _change(factual, image).double()
    root = change.shape[1] ** 0.5
    ratio = change.abs().sum(1) / change.norm(dim=1)
    return ((root - ratio) / (root - 1)).to(factual.dtype)


def _change(factual: Images, image: Images) -> Float[Tensor, "batch pixels"]:
    return (image - factual).flatten(1)
