"""Few steps of one length each on the objective."""

from __future__ import annotations

import torch

from cfgen.objectives import Distance
from cfgen.search.climb import Climb, Move, objective
from cfgen.search.record import Problem, begin
from cfgen.spaces import EVERYWHERE, Region, Space, encode, lengths, spread
from cfgen.types import Codes, Counterfactuals, Goal, Images, Limits, LogOdds, Rows


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
    limits: Limits = Limits(),  # noqa: B008 - immutable
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
        limits: what the search may use.

    Returns:
        For each image the first one checked that reaches its goal, else the best one checked
        (the start is one, the factual is none).
    """
    encoded = encode(space, factual, limits.width)
    record, rows = begin(Problem(goal, factual, space, encoded, region, limits))
    codes = encoded.codes.detach().clone()
    loss = objective(factual, distance, weight)
    move = _by_momentum(codes, space, step_size, momentum)
    Climb(record, codes, loss, move, steps, start_counts=True).run(rows)
    return record.result()


def _by_momentum(codes: Codes, space: Space, step_size: float, momentum: float) -> Move:
    velocity, pace = torch.zeros_like(codes), step_size * spread(lengths(codes), codes)

    def move(rows: Rows, gradient: Codes, _log_odds: LogOdds) -> None:
        unit = gradient / spread(lengths(gradient), gradient)
        velocity[rows] = momentum * velocity[rows] - unit
        codes[rows] = space.project(codes[rows] + pace[rows] * velocity[rows])

    return move
