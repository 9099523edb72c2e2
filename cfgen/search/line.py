"""Search of the least strength along one direction of the codes."""

from __future__ import annotations

import torch
from torch import Tensor

from cfgen.search.record import Problem, begin
from cfgen.search.turns import take_turns
from cfgen.spaces import EVERYWHERE, Encoded, Region, Space, lengths, spread
from cfgen.types import (
    ALL,
    Codes,
    Counterfactuals,
    Goal,
    Going,
    Images,
    Limits,
    Outcome,
    Rows,
    portions,
)


def line_search(
    goal: Goal,
    factual: Images,
    space: Space,
    encoded: Encoded,
    direction: Codes,
    *,
    first: float,
    growth: float,
    steps: int,
    tolerance: float = 0.05,
    region: Region = EVERYWHERE,
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> Counterfactuals:
    """Find the least strength s at which x'(z0 + s * direction) reaches the goal.

    The strength grows by a factor until the goal is reached, and is then bisected (on a
    logarithmic scale) between the last that failed and the least that held.

    Args:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where to search.
        encoded: the factuals in it.
        direction: of the codes, one an image.
        first: the first strength tried.
        growth: factor between strengths tried, above 1.
        steps: at most so many strengths are tried.
        tolerance: stop once a strength that held is within this share of one that failed.
        region: where and how far an image may change.
        limits: what the search may use.

    Returns:
        For each image the one of the least strength that held, else the best one checked.
    """
    record, rows = begin(Problem(goal, factual, space, encoded, region, limits))
    problem, codes = record.problem, encoded.codes
    failed, tried = torch.zeros(len(factual)), torch.zeros(len(factual), dtype=torch.long)
    held = torch.full_like(failed, torch.inf)

    @torch.no_grad()
    def try_strength(rows: Rows) -> Going:
        strength = _next_strength(failed[rows], held[rows], first, growth)
        change = direction[rows] * spread(strength.to(codes), codes)
        there = space.project(codes[rows] + change)
        images, log_odds = problem.check(rows, there)
        log_odds = log_odds.cpu()
        finite, reached = log_odds.isfinite(), log_odds >= record.bar[rows]
        nearer = held[rows].isinf() & (log_odds > record.log_odds[rows])
        tried[rows] += 1
        record.spend(rows)
        record.keep(rows, reached | nearer, images, log_odds, tried[rows])
        record.end(rows[reached], Outcome.REACHED)
        record.end(rows[~finite & ~reached & held[rows].isinf()], Outcome.DIVERGED)
        held[rows] = torch.where(reached, strength, held[rows])
        failed[rows] = torch.where(reached, failed[rows], strength)
        wide = held[rows] > failed[rows] * (1 + tolerance)
        return rows[finite & wide & (tried[rows] < steps) & (record.left(rows) > 0)]

    take_turns(rows if steps else rows[:0], limits.width, try_strength)
    return record.result()


def _next_strength(failed: Tensor, held: Tensor, first: float, growth: float) -> Tensor:
    """Grow while nothing has held; then halve the gap on a logarithmic scale."""
    growing = torch.where(failed == 0, first, failed * growth)
    halving = torch.where(failed == 0, held / growth, (failed * held).sqrt())
    return torch.where(held.isinf(), growing, halving)


def score_gradient(
    goal: Goal, factual: Images, space: Space, encoded: Encoded, width: int = ALL
) -> Codes:
    """Gradient of the goal's log-odds at the factuals' codes, as long as each code itself.

    The direction of the latent shift of Cohen et al. 2021 (gifsplanation). Theirs is the gradient
    of the probability, which vanishes where the classifier is sure; for two classes that of the
    log-odds has the same direction and does not. It takes one pass of the classifier, and one of
    a space's decoder.
    """
    parts = [
        _score_gradient(
            goal.take(rows), space.take(rows), encoded.codes[rows], encoded.residual[rows]
        )
        for rows in portions(len(factual), width)
    ]
    return torch.cat(parts)


def _score_gradient(goal: Goal, space: Space, codes: Codes, residual: Images) -> Codes:
    asked = codes.detach().clone().requires_grad_()
    images = space.decode(asked, residual)
    (gradient,) = torch.autograd.grad(goal.log_odds(images).sum(), asked)
    return gradient / spread(lengths(gradient), codes) * spread(lengths(codes), codes)
