"""What the searches minimise: a prediction term and a distance, and the scores they start from.

    objective(x') = -log p(goal | x') + weight * distance(x, x')

Every term gives one number an image, so that a batch's objective is a sum and no image's path
depends on the others.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from cfgen.types import Goal, Images, Labels, Logits, LogOdds

ROUNDING = 1e-4
"""Norm of a change that float32 may leave of none."""

Distance = Callable[[Images, Images], Float[Tensor, " batch"]]


def prediction_loss(log_odds: LogOdds) -> Float[Tensor, " batch"]:
    """-log p of the goal, from its log-odds: log(1 + exp(-s)), finite however small p is.

    Example:
        >>> prediction_loss(torch.tensor([0.0, -1000.0]))
        tensor([6.9315e-01, 1.0000e+03])
    """
    return softplus(-log_odds)


def l1(factual: Images, images: Images) -> Float[Tensor, " batch"]:
    """Sum over pixels of |x' - x|; at most the number of pixels."""
    return (images - factual).abs().flatten(1).sum(1)


def squared_l2(factual: Images, images: Images) -> Float[Tensor, " batch"]:
    """Sum over pixels of (x' - x)^2; at most the number of pixels."""
    return (images - factual).square().flatten(1).sum(1)


def l2(factual: Images, images: Images) -> Float[Tensor, " batch"]:
    """Euclidean norm of x' - x over pixels; its gradient at x' = x is taken as zero.

    And so is that of a norm below `ROUNDING`: where a decoder gives the factual back but for
    rounding, the gradient would be a unit vector of noise.
    """
    length = torch.linalg.vector_norm((images - factual).flatten(1), dim=1)
    return torch.where(length > ROUNDING, length, length.detach())


def elastic(factual: Images, images: Images, width: float = 0.01) -> Float[Tensor, " batch"]:
    """A smooth mix of L1 and squared L2: sum of sqrt(d^2 + w^2) - w + d^2 over pixels, d = x' - x.

    The elastic net of Chen et al. 2018 (EAD) with its L1 part rounded off within about `width`
    of zero (pseudo-Huber), so that descent does not rattle there.
    """
    squares = (images - factual).square()
    return ((squares + width**2).sqrt() - width + squares).flatten(1).sum(1)


DISTANCES: dict[str, Distance] = {
    "l1": l1,
    "l2": l2,
    "squared-l2": squared_l2,
    "elastic": elastic,
}


def class_log_odds(logits: Logits, label: Labels) -> LogOdds:
    """Log-odds of one class against all the others: log p - log(1 - p), finite for any logits."""
    own = logits.gather(1, label[:, None])
    others = logits.scatter(1, label[:, None], -torch.inf)
    return own.squeeze(1) - others.logsumexp(1)


def target_score(classifier: Callable[[Images], Logits]) -> Callable[[Images, Goal], LogOdds]:
    """Score for 'shows the target class'."""

    def score(images: Images, goal: Goal) -> LogOdds:
        assert goal.target is not None
        return class_log_odds(classifier(images), goal.target)

    return score


def other_score(classifier: Callable[[Images], Logits]) -> Callable[[Images, Goal], LogOdds]:
    """Score for 'shows any class but the source'."""

    def score(images: Images, goal: Goal) -> LogOdds:
        assert goal.source is not None
        return -class_log_odds(classifier(images), goal.source)

    return score
