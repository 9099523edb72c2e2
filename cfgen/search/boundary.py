"""Search of the nearest code that reaches the goal, by linearised steps and a way back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.search.record import Problem, Record, begin
from cfgen.spaces import EVERYWHERE, Region, Space
from cfgen.types import Codes, Counterfactuals, Goal, Images, Outcome, Rows


def approach(
    goal: Goal,
    factual: Images,
    space: Space,
    *,
    overshoot: float,
    steps: int,
    halvings: int,
    region: Region = EVERYWHERE,
) -> Counterfactuals:
    """Step to where the linearised score reaches the bar; then go back as far as that holds.

    z <- z + (1 + overshoot) (b - s) g / |g|^2, for the score s and its gradient g at the code z,
    and the bar b: for a linear score the least change of the code that reaches the goal, up to
    the overshoot (DeepFool: Moosavi-Dezfooli et al. 2016). Between the last code that failed and
    the first that holds the way is then halved. It is what minimising the objective tends to as
    the weight of the distance tends to zero and its steps to the shortest: no weight is to be set.

    Args:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where to search.
        overshoot: share by which a step is longer.
        steps: at most so many, each a pass forward and backward.
        halvings: of the way back, each a pass forward.
        region: where and how far an image may change.

    Returns:
        For each image the one of least change that reached its goal, else the best one checked.

    Example:
        >>> from cfgen.spaces import PixelSpace
        >>> brightness = lambda images, goal: images.mean((1, 2, 3)) - 0.5
        >>> goal = Goal(brightness, bar=torch.tensor([0.1]))
        >>> dark = torch.full((1, 1, 4, 4), 0.2)
        >>> found = approach(goal, dark, PixelSpace(), overshoot=0.01, steps=3, halvings=0)
        >>> found.outcomes, int(found.evaluations), round(float(found.images.mean()), 3)
        ([<Outcome.REACHED: 'reached'>], 3, 0.604)
    """
    codes, residual, decodes = space.encode(factual)
    record, rows = begin(goal, factual, decodes)
    problem = Problem(goal, factual, space, residual, region)
    failed = codes.detach().clone()
    held = failed.clone()
    crossed = []
    for step in range(steps + 1):
        if not len(rows):
            break
        there = held[rows].requires_grad_()
        images, log_odds = problem.check(rows, there)
        reached, finite = log_odds >= goal.bar[rows], log_odds.isfinite()
        nearer = log_odds.detach() > record.log_odds[rows]
        record.spend(rows, space.decodes)
        record.keep(rows, nearer, images.detach(), log_odds.detach(), step)
        record.end(rows[~finite], Outcome.DIVERGED)
        crossed.append(rows[reached])
        going = finite & ~reached
        if step == steps or not going.any():
            break
        (gradient,) = torch.autograd.grad(log_odds[going].sum(), there)
        missing = (goal.bar[rows] - log_odds.detach())[going]
        rows, gradient = rows[going], gradient[going]
        failed[rows] = held[rows]
        ahead = held[rows] + _least_change(gradient, (1 + overshoot) * missing)
        held[rows] = space.take(rows).project(ahead)
    arrived = torch.cat([*crossed, rows[:0]])
    record.end(arrived, Outcome.REACHED)
    _go_back(problem, record, arrived, failed, held, steps, halvings)
    return record.result()


@torch.no_grad()
def _go_back(
    problem: Problem,
    record: Record,
    rows: Rows,
    failed: Codes,
    held: Codes,
    steps: int,
    halvings: int,
) -> None:
    """Halve the ways from codes that hold to codes that failed; keep the last that hold."""
    for halving in range(halvings if len(rows) else 0):
        middle = (failed[rows] + held[rows]) / 2
        images, log_odds = problem.check(rows, middle)
        reached = log_odds >= problem.goal.bar[rows]
        record.spend(rows, problem.space.decodes)
        record.keep(rows, reached, images, log_odds, steps + 1 + halving)
        held[rows[reached]] = middle[reached]
        failed[rows[~reached]] = middle[~reached]


def _least_change(gradient: Codes, rise: Float[Tensor, " batch"]) -> Codes:
    """The shortest change along which a linear score of this gradient rises by so much."""
    steepness = gradient.flatten(1).square().sum(1).clamp(min=1e-24)
    return gradient * (rise / steepness).view(-1, *[1] * (gradient.ndim - 1))
