"""What a search is asked, what it has found so far, and what that has cost.

Which rows go on is kept on the CPU, wherever the images are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.spaces import Encoded, Region, Space
from cfgen.types import (
    Counterfactuals,
    Goal,
    Going,
    Images,
    Labels,
    Limits,
    LogOdds,
    Outcome,
    Rows,
    portions,
)


@dataclass(frozen=True)
class Problem:
    """What is searched, and where.

    Attributes:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where the codes are.
        encoded: the factuals in it.
        region: where and how far an image may change.
        limits: what the search may use.
    """

    goal: Goal
    factual: Images
    space: Space
    encoded: Encoded
    region: Region
    limits: Limits

    def check(
        self, rows: Rows, codes: Float[Tensor, "rows ..."]
    ) -> tuple[Float[Tensor, "rows 1 height width"], Float[Tensor, " rows"]]:
        """Return the images of some rows' codes, and their goals' log-odds."""
        rows = rows.to(self.factual.device)  # once, and not by everything that is indexed
        images = self.space.take(rows).decode(codes, self.encoded.residual[rows])
        images = self.region.take(rows).confine(images, self.factual[rows])
        return images, self.goal.take(rows).log_odds(images)


@dataclass
class Record:
    """The best image checked so far, row by row, and what it has cost."""

    problem: Problem
    images: Images
    log_odds: LogOdds
    outcomes: list[Outcome]
    decodes: Labels
    bar: LogOdds = field(init=False)
    steps: Labels = field(init=False)
    evaluations: Labels = field(init=False)

    def __post_init__(self) -> None:
        self.bar = self.problem.goal.bar.cpu()
        self.steps = torch.zeros(len(self.images), dtype=torch.long)
        self.evaluations = torch.ones_like(self.steps)

    def spend(self, rows: Rows) -> None:
        """Note the cost of one check of some rows."""
        self.evaluations[rows] += 1
        self.decodes[rows] += self.problem.space.decodes

    def left(self, rows: Rows) -> Labels:
        """How many evaluations some rows may still cost."""
        return self.problem.limits.evaluations - self.evaluations[rows]

    def keep(
        self,
        rows: Rows,
        chosen: Bool[Tensor, " rows"],
        images: Float[Tensor, "rows 1 height width"],
        log_odds: Float[Tensor, " rows"],
        steps: Labels,
    ) -> None:
        """Of the images checked for some rows, keep the chosen ones."""
        kept = rows[chosen]
        self.images[kept] = images[chosen]
        self.log_odds[kept] = log_odds[chosen]
        self.steps[kept] = steps[chosen]

    def end(self, rows: Rows, outcome: Outcome) -> None:
        """Settle how some rows ended."""
        for row in rows.tolist():
            self.outcomes[row] = outcome

    def ended(self, outcome: Outcome) -> Rows:
        """The rows that have ended so."""
        rows = [row for row, one in enumerate(self.outcomes) if one is outcome]
        return torch.tensor(rows, dtype=torch.long)

    def result(self) -> Counterfactuals:
        """What was found."""
        return Counterfactuals(
            images=self.images,
            log_odds=self.log_odds.to(self.images.device),
            outcomes=self.outcomes,
            steps=self.steps,
            evaluations=self.evaluations,
            decodes=self.decodes,
            prior_passes=torch.zeros_like(self.steps),
        )


def begin(problem: Problem) -> tuple[Record, Going]:
    """Look at the factuals themselves; return the record and the rows that need a search."""
    log_odds = _log_odds(problem).cpu()
    there = log_odds >= problem.goal.bar.cpu()
    outcomes = [Outcome.ALREADY if done else Outcome.SPENT for done in there.tolist()]
    decodes = torch.full((len(log_odds),), problem.encoded.decodes)
    record = Record(problem, problem.factual.clone(), log_odds, outcomes, decodes)
    rows = (~there).nonzero().flatten()
    return record, rows[record.left(rows) > 0]


@torch.no_grad()
def _log_odds(problem: Problem) -> LogOdds:
    """Log-odds of the factuals, asked for only where whoever made the goal did not."""
    goal, factual = problem.goal, problem.factual
    if goal.before is not None:
        return goal.before.clone()
    parts = portions(len(factual), problem.limits.width)
    return torch.cat([goal.take(rows).log_odds(factual[rows]) for rows in parts])
