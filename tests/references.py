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


def latent_descent(
    factual: np.ndarray,
    decoder: np.ndarray,
    weights: np.ndarray,
    bias: float,
    bar: float,
    *,
    weight: float,
    step_size: float,
    steps: int,
) -> tuple[np.ndarray, int]:
    """Descent on the code of one image, for a linear score and a linear decoder, by hand.

    factual: (pixels,); decoder: (pixels, code); score: weights . x + bias. Minimises
    log(1 + exp(-score)) + weight * |x' - x|^2, with x' = clip(x + decoder @ move), by Adam.
    The residual leaves nothing of the encoder: only how far the code has moved matters.
    Returns the image that reached the bar, else the one of the highest score, and its step.
    """
    pixels, size = decoder.shape
    move, first, second = [0.0] * size, [0.0] * size, [0.0] * size
    best, best_score, best_step = factual.copy(), float(weights @ factual + bias), 0
    for step in range(steps + 1):
        raw = [
            factual[i] + sum(decoder[i, j] * move[j] for j in range(size)) for i in range(pixels)
        ]
        image = np.array([min(max(value, 0.0), 1.0) for value in raw])
        score = float(sum(weights[i] * image[i] for i in range(pixels)) + bias)
        if score > best_score:
            best, best_score, best_step = image, score, step
        if score >= bar:
            break
        slope = -1 / (1 + np.exp(score))
        for j in range(size):
            gradient = 0.0
            for i in range(pixels):
                if 0 <= raw[i] <= 1:
                    pull = 2 * weight * (image[i] - factual[i])
                    gradient += decoder[i, j] * (slope * weights[i] + pull)
            first[j] = 0.9 * first[j] + 0.1 * gradient
            second[j] = 0.999 * second[j] + 0.001 * gradient**2
            rate = first[j] / (1 - 0.9 ** (step + 1))
            move[j] -= step_size * rate / (np.sqrt(second[j] / (1 - 0.999 ** (step + 1))) + 1e-8)
    return best, best_step


def along(
    factual: np.ndarray, decode: Callable[[np.ndarray], np.ndarray], code: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Residual decoding of one image, as a function of how far its code is moved."""
    residual = factual - decode(code)
    return lambda move: np.clip(decode(code + move) + residual, 0, 1)


def shift_direction(log_odds: Callable[[np.ndarray], float], code: np.ndarray) -> np.ndarray:
    """Gradient of a score of code moves by central differences, as long as the code itself."""
    steps = 1e-5 * np.eye(len(code))
    gradient = np.array([(log_odds(step) - log_odds(-step)) / 2e-5 for step in steps])
    return gradient / np.linalg.norm(gradient) * np.linalg.norm(code)


def refinement(
    factual: np.ndarray,
    weights: np.ndarray,
    bar: float,
    *,
    weight: float,
    step_size: float,
    momentum: float,
    steps: int,
) -> tuple[np.ndarray, int, int]:
    """Normalised momentum steps on the pixels of one image, for the score weights . x, by hand.

    Minimises log(1 + exp(-score)) + weight * |x' - x|^2. Returns the image that reached the bar,
    else the one of the highest score, its step, and how many checks that took: one more where the
    goal was expected too early.
    """
    current, velocity = factual.astype(np.float64), np.zeros(factual.shape)
    pace = step_size * np.sqrt((current**2).sum())
    best, best_score, best_step = current, -np.inf, 0
    scores = []
    for step in range(steps + 1):
        score = float((weights * current).sum())
        scores.append(score)
        if score > best_score:
            best, best_score, best_step = current, score, step
        if score >= bar or step == steps:
            break
        gradient = -weights / (1 + np.exp(score)) + 2 * weight * (current - factual)
        velocity = momentum * velocity - gradient / np.sqrt((gradient**2).sum())
        current = np.clip(current + pace * velocity, 0, 1)
    return best, best_step, step + 1 + hopes_in_vain(scores[:steps], bar)


def hopes_in_vain(scores: list[float], bar: float) -> int:
    """1 if any score falls short of a bar that as great a rise as the last would have reached."""
    triples = zip(scores, scores[1:], scores[2:], strict=False)
    return int(any(2 * second - first >= bar > third for first, second, third in triples))


def approach(
    factual: np.ndarray,
    score: Callable[[np.ndarray], float],
    bar: float,
    *,
    overshoot: float,
    steps: int,
    halvings: int,
) -> tuple[np.ndarray, int]:
    """Steps to the boundary of one image's pixels and the way back, by hand.

    Gradients are central differences. Returns the image found and how many checks that took:
    one more where the goal was expected too early.
    """
    failed = held = factual.astype(np.float64)
    scores = []
    for step in range(steps + 1):
        value = score(held)
        scores.append(value)
        if value >= bar or step == steps:
            break
        small = 1e-6 * np.eye(held.size)
        gradient = np.array([(score(held + one) - score(held - one)) / 2e-6 for one in small])
        failed = held
        length = (1 + overshoot) * (bar - value) / np.sqrt((gradient**2).sum())
        held = np.clip(held + length * gradient / np.sqrt((gradient**2).sum()), 0, 1)
    scored = len(scores) + hopes_in_vain(scores[:steps], bar)
    for _ in range(halvings):
        scored += 1
        middle = failed + 0.5 * (held - failed)
        if score(middle) >= bar:
            held = middle
        else:
            failed = middle
    return held, scored
