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


def _change(factual: Images, image: Images) -> Float[Tensor, "batch pixels"]:
    return (image - factual).flatten(1)
