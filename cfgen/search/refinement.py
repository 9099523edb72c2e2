"""Few steps of one length each on the objective."""

from __future__ import annotations

import torch

from cfgen.objectives import Distance, prediction_loss
from cfgen.search.record import Problem, begin
from cfgen.spaces import EVERYWHERE, Region, Space
from cfgen.types import Codes, Counterfactuals, Goal, Images, Outcome


def refine(
    goal: Goal,
    factual: Images,
    space: Space,
    distance: Distance,
    *,
    weight: float,
    step_size: float,
    momentum: float,
    steps: int,
    region: Region = EVERYWHERE,
) -> Counterfactuals:
    """Descend by normalised momentum steps until the goal is reached.

    v <- momentum * v - g / |g| and z <- z + step_size * |z0| * v, for the gradient g of
    -log p(goal) + weight * distance(x, x') at the code z. However sure the classifier is, and
    however small its gradient, a step is as long as any other.

    Args:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where to search; what its start decodes to may differ from the factual.
        distance: between factual and counterfactual, one number an image.
        weight: of the distance, lambda.
        step_size: length of a step without momentum, in lengths of the first code.
        momentum: share of the velocity that is kept.
        steps: at most so many; with 0, the start is checked and that is all.
        region: where and how far an image may change.

    Returns:
        For each image the first one checked that reaches its goal, else the best one checked
        (the start is one, the factual is none).
    """
    first, residual, decodes = space.encode(factual)
    record, rows = begin(goal, factual, decodes)
    problem = Problem(goal, factual, space, residual, region)
    codes, velocity = first.detach().clone(), torch.zeros_like(first)
    pace = step_size * _lengths(first)
    for step in range(steps + 1):
        if not len(rows):
            break
        moved = codes[rows].requires_grad_()
        images, log_odds = problem.check(rows, moved)
        finite, reached = log_odds.isfinite(), log_odds >= goal.bar[rows]
        nearer = log_odds.detach() > record.log_odds[rows]
        record.spend(rows, space.decodes)
        record.keep(rows, nearer | (finite & (step == 0)), images.detach(), log_odds.detach(), step)
        record.end(rows[reached], Outcome.REACHED)
        record.end(rows[~finite], Outcome.DIVERGED)
        going = finite & ~reached
        if step == steps or not going.any():
            break
        losses = prediction_loss(log_odds) + weight * distance(factual[rows], images)
        (gradient,) = torch.autograd.grad(losses[going].sum(), moved)
        rows, gradient = rows[going], gradient[going]
        velocity[rows] = momentum * velocity[rows] - gradient / _lengths(gradient)
        ahead = codes[rows] + pace[rows] * velocity[rows]
        codes[rows] = space.take(rows).project(ahead)
    return record.result()


def _lengths(codes: Codes) -> Codes:
    """Euclidean norm of each code, to be multiplied with codes."""
    flat = torch.linalg.vector_norm(codes.flatten(1), dim=1).clamp(min=1e-12)
    return flat.view(-1, *[1] * (codes.ndim - 1))
