"""Search of the nearest code that reaches the goal, by linearised steps and a way back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.search.climb import Climb
from cfgen.search.record import Problem, Record, begin
from cfgen.search.turns import take_turns
from cfgen.spaces import EVERYWHERE, Region, Space, encode, spread
from cfgen.types import (
    Codes,
    Counterfactuals,
    Goal,
    Going,
    Images,
    Labels,
    Limits,
    LogOdds,
    Outcome,
    Rows,
)


def approach(
    goal: Goal,
    factual: Images,
    space: Space,
    *,
    overshoot: float,
    steps: int,
    halvings: int,
    region: Region = EVERYWHERE,
    limits: Limits = Limits(),  # noqa: B008 - immutable
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
        steps: at most so many, each a pass forward and backward, see `cfgen.search.climb`.
        halvings: of the way back, each a pass forward.
        region: where and how far an image may change.
        limits: what the search may use.

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
    encoded = encode(space, factual, limits.width)
    record, rows = begin(Problem(goal, factual, space, encoded, region, limits))
    failed = encoded.codes.detach().clone()
    held = failed.clone()

    def move(rows: Rows, gradient: Codes, log_odds: LogOdds) -> None:
        failed[rows] = held[rows]
        change = _least_change(gradient, (1 + overshoot) * (goal.bar[rows] - log_odds))
        held[rows] = space.project(held[rows] + change)

    climb = Climb(record, held, lambda _rows, _images, log_odds: log_odds, move, steps)
    climb.run(rows)
    _go_back(record, failed, held, climb.taken, halvings)
    return record.result()


def _go_back(record: Record, failed: Codes, held: Codes, taken: Labels, halvings: int) -> None:
    """Halve the ways from codes that hold to codes that failed; keep the last that hold."""
    problem, halved = record.problem, torch.zeros_like(taken)

    @torch.no_grad()
    def halve(rows: Rows) -> Going:
        middle = (failed[rows] + held[rows]) / 2
        images, log_odds = problem.check(rows, middle)
        log_odds = log_odds.cpu()
        reached = log_odds >= record.bar[rows]
        halved[rows] += 1
        record.spend(rows)
        record.keep(rows, reached, images, log_odds, taken[rows] + halved[rows])
        held[rows[reached]] = middle[reached]
        failed[rows[~reached]] = middle[~reached]
        return going(rows)

    def going(rows: Rows) -> Going:
        return rows[(halved[rows] < halvings) & (record.left(rows) > 0)]

    take_turns(going(record.ended(Outcome.REACHED)), problem.limits.width, halve)


def _least_change(gradient: Codes, rise: Float[Tensor, " batch"]) -> Codes:
    """The shortest change along which a linear score of this gradient rises by so much."""
    steepness = gradient.flatten(1).square().sum(1).clamp(min=1e-24)
    return gradient * spread(rise / steepness, gradient)
