"""Search of the least strength along one direction of the codes."""

from __future__ import annotations

import torch
from torch import Tensor

from cfgen.search.record import Problem, begin
from cfgen.spaces import EVERYWHERE, Region, Space
from cfgen.types import Codes, Counterfactuals, Goal, Images, Outcome


def line_search(
    goal: Goal,
    factual: Images,
    space: Space,
    direction: Codes,
    *,
    first: float,
    growth: float,
    steps: int,
    tolerance: float = 0.05,
    region: Region = EVERYWHERE,
) -> Counterfactuals:
    """Find the least strength s at which x'(z0 + s * direction) reaches the goal.

    The strength grows by a factor until the goal is reached, and is then bisected (on a
    logarithmic scale) between the last that failed and the least that held.

    Args:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where to search.
        direction: of the codes, one an image.
        first: the first strength tried.
        growth: factor between strengths tried, above 1.
        steps: at most so many strengths are tried.
        tolerance: stop once a strength that held is within this share of one that failed.
        region: where and how far an image may change.

    Returns:
        For each image the one of the least strength that held, else the best one checked.
    """
    codes, residual, decodes = space.encode(factual)
    record, rows = begin(goal, factual, decodes)
    problem = Problem(goal, factual, space, residual, region)
    failed = torch.zeros(len(factual), device=factual.device)
    held = torch.full_like(failed, torch.inf)
    for step in range(1, steps + 1):
        if not len(rows):
            break
        strength = _next_strength(failed[rows], held[rows], first, growth)
        with torch.no_grad():
            scaled = direction[rows] * strength.view(-1, *[1] * (codes.ndim - 1))
            there = space.take(rows).project(codes[rows] + scaled)
            images, log_odds = problem.check(rows, there)
        record.spend(rows, space.decodes)
        reached = log_odds >= goal.bar[rows]
        nearer = held[rows].isinf() & (log_odds > record.log_odds[rows])
        record.keep(rows, reached | nearer, images, log_odds, step)
        record.end(rows[reached], Outcome.REACHED)
        held[rows] = torch.where(reached, strength, held[rows])
        failed[rows] = torch.where(reached, failed[rows], strength)
        finite = log_odds.isfinite()
        record.end(rows[~finite & held[rows].isinf()], Outcome.DIVERGED)
        rows = rows[finite & (held[rows] > failed[rows] * (1 + tolerance))]
    return record.result()


def _next_strength(failed: Tensor, held: Tensor, first: float, growth: float) -> Tensor:
    """Grow while nothing has held; then halve the gap on a logarithmic scale."""
    growing = torch.where(failed == 0, first, failed * growth)
    halving = torch.where(failed == 0, held / growth, (failed * held).sqrt())
    return torch.where(held.isinf(), growing, halving)


def score_gradient(goal: Goal, factual: Images, space: Space) -> tuple[Codes, int]:
    """Gradient of the goal's log-odds at the factuals' codes, as long as each code itself.

    The direction of the latent shift of Cohen et al. 2021 (gifsplanation). Theirs is the gradient
    of the probability, which vanishes where the classifier is sure; for two classes that of the
    log-odds has the same direction and does not.

    Returns:
        The gradient, and the forward passes of a decoder that it took; the classifier took one.
    """
    codes, residual, decodes = space.encode(factual)
    codes = codes.detach().clone().requires_grad_()
    images = space.decode(codes, residual)
    (gradient,) = torch.autograd.grad(goal.log_odds(images).sum(), codes)
    flat = gradient.flatten(1)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp(min=1e-12)
    wanted = torch.linalg.vector_norm(codes.detach().flatten(1), dim=1, keepdim=True)
    return (flat / length * wanted).view_as(codes), decodes + space.decodes
