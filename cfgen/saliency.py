"""Saliency: which pixels of an image a score hangs on, for comparison with counterfactuals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from cfgen.types import Images, LogOdds

Score = Callable[[Images], LogOdds]


def input_gradient(score: Score, images: Images) -> Images:
    """Return the gradient of each image's score with respect to its pixels.

    d s(x) / d x, signed, in log-odds a unit of brightness (Simonyan et al. 2014, who take its
    absolute value for the picture).

    Args:
        score: from images to one number an image, such as `Goal.log_odds`.
        images: in [0, 1].

    >>> input_gradient(lambda x: 3 * x.flatten(1).sum(1), torch.zeros(1, 1, 1, 2)).tolist()
    [[[[3.0, 3.0]]]]
    """
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(leaf).sum(), leaf)
    return gradient


def integrated_gradients(
    score: Score, images: Images, baseline: float = 0.0, steps: int = 32
) -> Images:
    """Return each pixel's share of the score's difference to a flat image.

    (x - b) times the mean over a in [0, 1] of the gradient at b + a (x - b), with Gauss-Legendre
    nodes for the mean (Sundararajan et al. 2017). Signed, in log-odds; the shares of an image sum
    to s(x) - s(b) but for the error of the quadrature (completeness).

    Args:
        score: from images to one number an image, such as `Goal.log_odds`.
        images: in [0, 1].
        baseline: brightness of the flat image; 0, black, is the paper's choice.
        steps: nodes, and so gradients.

    >>> shares = integrated_gradients(lambda x: x.flatten(1).prod(1), torch.ones(1, 1, 1, 2))
    >>> [round(share, 4) for share in shares.flatten().tolist()]
    [0.5, 0.5]
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    away, total = images - baseline, torch.zeros_like(images)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        total += weight / 2 * input_gradient(score, baseline + (node + 1) / 2 * away)
    return away * total
