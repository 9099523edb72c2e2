"""Methods written a second time, in NumPy float64 and plain loops, to hold the first against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def origin_loop(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    target: int,
    *,
    weight: float = 0.1,
    step_size: float = 0.01,
    steps: int = 1000,
    threshold: float = 0.9,
) -> tuple[list[Tensor], list[float]]:
    """The pixel loop that this project grew from, for one image of shape (1, 1, h, w).

    Adam is written out; the gradient is autograd's, in float64. Returns every image visited, the
    factual first, and p(target) of each. The original stops when the p before a step exceeds the
    threshold and yet returns the image after that step, so its result is the last image here.
    """
    factual = image.double()
    current, images, probabilities = factual.clone(), [factual.clone()], []
    first, second = torch.zeros_like(factual), torch.zeros_like(factual)
    for step in range(1, steps + 1):
        leaf = current.clone().requires_grad_()
        probability = torch.softmax(network(leaf), 1)[0, target]
        loss = -torch.log(probability + 1e-10) + weight * torch.norm(leaf - factual)
        (gradient,) = torch.autograd.grad(loss, leaf)
        probabilities.append(probability.item())
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        update = (first / (1 - 0.9**step)) / (torch.sqrt(second / (1 - 0.999**step)) + 1e-8)
        current = torch.clamp(current - step_size * update, 0, 1)
        images.append(current.clone())
        if probabilities[-1] > threshold:
            break
    return images, probabilities


def class_log_odds(logits: np.ndarray, label: int) -> float:
    """log p / (1 - p) by way of the softmax, in float64."""
    weights = np.exp(logits.astype(np.float64) - logits.max())
    p = weights[label] / weights.sum()
    return float(np.log(p / (1 - p)))


def least_strength(
    log_odds: Callable[[float], float], bar: float, upper: float, grid: int = 20001
) -> float:
    """The least strength on a fine grid at which a score reaches its bar."""
    strengths = np.linspace(0, upper, grid)
    return float(next(s for s in strengths if log_odds(float(s)) >= bar))
