"""The searches: descent on the objective, and a line search along one direction.

Both move codes of a space, check the decoded image, and return the very image that was checked.
Every image of a batch stops on its own, and what happens to it does not depend on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.optim import Adam

from cfgen.objectives import Distance, prediction_loss
from cfgen.spaces import EVERYWHERE, Region, Space
from cfgen.types import Codes, Counterfactuals, Goal, Images, Labels, LogOdds, Outcome, Rows


@dataclass
class _Record:
    """The best image checked so far, row by row, and what it has cost."""

    images: Images
    log_odds: LogOdds
    outcomes: list[Outcome]
    decodes: Labels
    steps: Labels = field(init=False)
    evaluations: Labels = field(init=False)

    def __post_init__(self) -> None:
        self.steps = torch.zeros(len(self.images), dtype=torch.long)
        self.evaluations = torch.ones_like(self.steps)

    def spend(self, rows: Rows, decodes: int) -> None:
        """Note the cost of one check of some rows."""
        self.evaluations[rows.cpu()] += 1
        self.decodes[rows.cpu()] += decodes

    def keep(
        self,
        rows: Rows,
        chosen: Bool[Tensor, " rows"],
        images: Float[Tensor, "rows 1 height width"],
        log_odds: Float[Tensor, " rows"],
        step: int,
    ) -> None:
        """Of the images checked for some rows, keep the chosen ones."""
        kept = rows[chosen]
        self.images[kept] = images[chosen]
        self.log_odds[kept] = log_odds[chosen]
        self.steps[kept.cpu()] = step

    def end(self, rows: Rows, outcome: Outcome) -> None:
        """Settle how some rows ended."""
        for row in rows.tolist():
            self.outcomes[row] = outcome

    def result(self) -> Counterfactuals:
        """What was found."""
        return Counterfactuals(
            images=self.images,
            log_odds=self.log_odds,
            outcomes=self.outcomes,
            steps=self.steps,
            evaluations=self.evaluations,
            decodes=self.decodes,
            prior_passes=torch.zeros_like(self.steps),
        )


def _begin(goal: Goal, factual: Images, decodes: int) -> tuple[_Record, Rows]:
    """Check the factuals themselves; return the record and the rows that need a search."""
    with torch.no_grad():
        log_odds = goal.log_odds(factual)
    there = log_odds >= goal.bar
    outcomes = [Outcome.ALREADY if done else Outcome.SPENT for done in there.tolist()]
    cost = torch.full((len(factual),), decodes)
    record = _Record(factual.clone(), log_odds, outcomes, cost)
    return record, (~there).nonzero().flatten()


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
    record, rows = _begin(goal, factual, decodes)
    moved = (codes if start is None else codes + start).detach().clone().requires_grad_()
    adam = Adam([moved], lr=step_size)
    for step in range(steps + 1):
        if not len(rows):
            break
        images = space.decode(moved[rows], residual[rows])
        images = region.take(rows).confine(images, factual[rows])
        log_odds = goal.take(rows).log_odds(images)
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
    record, rows = _begin(goal, factual, decodes)
    failed = torch.zeros(len(factual), device=factual.device)
    held = torch.full_like(failed, torch.inf)
    for step in range(1, steps + 1):
        if not len(rows):
            break
        strength = _next_strength(failed[rows], held[rows], first, growth)
        with torch.no_grad():
            scaled = direction[rows] * strength.view(-1, *[1] * (codes.ndim - 1))
            images = space.decode(space.project(codes[rows] + scaled), residual[rows])
            images = region.take(rows).confine(images, factual[rows])
            log_odds = goal.take(rows).log_odds(images)
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
