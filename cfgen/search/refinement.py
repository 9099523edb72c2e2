"""Few steps on the objective from where an edit has led, a prior pulling along."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from cfgen.objectives import Distance, prediction_loss
from cfgen.search.record import begin
from cfgen.spaces import EVERYWHERE, Region, Space
from cfgen.types import Codes, Counterfactuals, Goal, Images, Outcome, Rows


class Pull(NamedTuple):
    """A direction that pulls beside the objective's gradient, such as a prior's.

    Attributes:
        towards: maps (codes, rows of the batch they are, step) to a change of the codes.
        passes: forward passes of the prior that one call costs.
        weight: of its unit vector beside the gradient's.
    """

    towards: Callable[[Codes, Rows, int], Codes]
    passes: int
    weight: float


def refine(
    goal: Goal,
    factual: Images,
    space: Space,
    distance: Distance,
    start: Codes,
    *,
    weight: float,
    step_size: float,
    momentum: float,
    steps: int,
    pull: Pull | None = None,
    region: Region = EVERYWHERE,
) -> Counterfactuals:
    """Go on from an edited code by normalised momentum steps until the goal is reached.

    v <- momentum * v - g / |g| + w * c / |c| and z <- z + step_size * |z0| * v, for the gradient g
    of -log p(goal) + weight * distance(x, x') at the code and the pull c. Steps of one length
    (Cortes et al. 2006 call them normalised) cross the boundary soon, where the gradient of a
    sure classifier vanishes, and few steps find little that the edit did not propose.

    Args:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where to search.
        distance: between factual and counterfactual, one number an image.
        start: change of the codes to start from.
        weight: of the distance, lambda.
        step_size: length of a step without momentum, in lengths of the code.
        momentum: share of the velocity that is kept.
        steps: at most so many; with 0, the edited image is checked and that is all.
        pull: a direction beside the gradient's; None for none.
        region: where and how far an image may change.

    Returns:
        For each image the first one checked that reaches its goal, else the last one, so that an
        edit alone can be looked at whether or not it does.
    """
    codes, residual, decodes = space.encode(factual)
    record, rows = begin(goal, factual, decodes)
    change, velocity = start.detach().clone(), torch.zeros_like(start)
    pace = step_size * _lengths(codes)
    for step in range(steps + 1):
        if not len(rows):
            break
        moved = (codes[rows] + change[rows]).requires_grad_()
        images = space.decode(space.project(moved), residual[rows])
        images = region.take(rows).confine(images, factual[rows])
        log_odds = goal.take(rows).log_odds(images)
        finite, reached = log_odds.isfinite(), log_odds >= goal.bar[rows]
        record.spend(rows, space.decodes)
        record.keep(rows, finite, images.detach(), log_odds.detach(), step)
        record.end(rows[reached], Outcome.REACHED)
        record.end(rows[~finite], Outcome.DIVERGED)
        going = finite & ~reached
        if step == steps or not going.any():
            break
        losses = prediction_loss(log_odds) + weight * distance(factual[rows], images)
        (gradient,) = torch.autograd.grad(losses[going].sum(), moved)
        downhill, rows = -_unit(gradient[going]), rows[going]
        if pull is not None:
            along = pull.towards(moved.detach()[going], rows, step)
            downhill = downhill + pull.weight * _unit(along)
            record.prior_passes[rows.cpu()] += pull.passes
        velocity[rows] = momentum * velocity[rows] + downhill
        change[rows] += pace[rows] * velocity[rows]
    return record.result()


def _lengths(codes: Codes) -> Codes:
    """Euclidean norm of each code, to be multiplied with codes."""
    flat = torch.linalg.vector_norm(codes.flatten(1), dim=1).clamp(min=1e-12)
    return flat.view(-1, *[1] * (codes.ndim - 1))


def _unit(codes: Codes) -> Codes:
    return codes / _lengths(codes)
