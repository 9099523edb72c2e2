"""Descent on the objective, by Adam on the codes."""

from __future__ import annotations

import torch
from torch.optim import Adam

from cfgen.objectives import Distance, prediction_loss
from cfgen.search.record import Problem, begin
from cfgen.spaces import EVERYWHERE, Region, Space
from cfgen.types import Codes, Counterfactuals, Goal, Images, Outcome


def descend(
    goal: Goal,
    factual: Images,
    space: Space,
    distance: Distance,
    *,
    weight: float,
    step_size: float,
    steps: int,
    start: Codes | None = None,
    region: Region = EVERYWHERE,
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
        start: change of the codes to start from; None for none.
        region: where and how far an image may change.

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
    codes, residual, decodes = space.encode(factual)
    record, rows = begin(goal, factual, decodes)
    problem = Problem(goal, factual, space, residual, region)
    moved = (codes if start is None else codes + start).detach().clone().requires_grad_()
    adam = Adam([moved], lr=step_size)
    for step in range(steps + 1):
        if not len(rows):
            break
        images, log_odds = problem.check(rows, moved[rows])
        record.spend(rows, space.decodes)
        nearer = log_odds.detach() > record.log_odds[rows]
        record.keep(rows, nearer, images.detach(), log_odds.detach(), step)
        finite, reached = log_odds.isfinite(), log_odds >= goal.bar[rows]
        record.end(rows[reached], Outcome.REACHED)
        record.end(rows[~finite], Outcome.DIVERGED)
        if step < steps:
            losses = prediction_loss(log_odds) + weight * distance(factual[rows], images)
            going = finite & ~reached
            if going.any():
                (moved.grad,) = torch.autograd.grad(losses[going].sum(), moved)
                adam.step()
                with torch.no_grad():
                    moved.copy_(space.project(moved))
        rows = rows[finite & ~reached]
    return record.result()
