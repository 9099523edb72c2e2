"""Descent on the objective, by Adam on the codes."""

from __future__ import annotations

import torch
from torch.optim import Adam

from cfgen.objectives import Distance
from cfgen.search.climb import Climb, Move, objective
from cfgen.search.record import Problem, begin
from cfgen.spaces import EVERYWHERE, Region, Space, encode
from cfgen.types import Codes, Counterfactuals, Goal, Images, Limits, LogOdds, Rows


def descend(
    goal: Goal,
    factual: Images,
    space: Space,
    distance: Distance,
    *,
    weight: float,
    step_size: float,
    steps: int,
    region: Region = EVERYWHERE,
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> Counterfactuals:
    """Minimise -log p(goal) + weight * distance(x, x') over codes by Adam (Kingma and Ba 2015).

    Args:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where to search.
        distance: between factual and counterfactual, one number an image.
        weight: of the distance, lambda.
        step_size: of Adam.
        steps: at most so many.
        region: where and how far an image may change.
        limits: what the search may use.

    Returns:
        For each image the first one checked that reaches its goal, else the best one checked.

    Example:
        >>> from cfgen.objectives import l2
        >>> from cfgen.spaces import PixelSpace
        >>> brightness = lambda images, goal: images.mean((1, 2, 3)) - 0.5
        >>> goal = Goal(brightness, bar=torch.tensor([0.1]))
        >>> dark = torch.full((1, 1, 4, 4), 0.2)
        >>> found = descend(goal, dark, PixelSpace(), l2, weight=0.0, step_size=0.05, steps=50)
        >>> found.outcomes, bool(found.images.mean() >= 0.6)
        ([<Outcome.REACHED: 'reached'>], True)
    """
    encoded = encode(space, factual, limits.width)
    record, rows = begin(Problem(goal, factual, space, encoded, region, limits))
    # Adam goes through codes and gradients side by side: both must lie in the same order.
    codes = encoded.codes.detach().clone(memory_format=torch.contiguous_format)
    loss = objective(factual, distance, weight)
    Climb(record, codes, loss, _by_adam(codes, space, step_size), steps).run(rows)
    return record.result()


def _by_adam(codes: Codes, space: Space, step_size: float) -> Move:
    """Move codes by Adam, each a parameter of its own: so each has its own number of steps."""
    parameters = [codes[row].requires_grad_() for row in range(len(codes))]
    adam = Adam(parameters, lr=step_size, fused=True)

    def move(rows: Rows, gradient: Codes, _log_odds: LogOdds) -> None:
        for row, slope in zip(rows.tolist(), gradient, strict=True):
            parameters[row].grad = slope.contiguous()
        adam.step()
        adam.zero_grad()
        codes[rows] = space.project(codes[rows])

    return move
