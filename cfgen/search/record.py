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
    """The best image checked so far, row by row, and what it has cost: at first the factual."""

    problem: Problem
    log_odds: LogOdds
    images: Images = field(init=False)
    bar: LogOdds = field(init=False)
    outcomes: list[Outcome] = field(init=False)
    decodes: Labels = field(init=False)
    steps: Labels = field(init=False)
    evaluations: Labels = field(init=False)

    def __post_init__(self) -> None:
        self.images, self.bar = self.problem.factual.clone(), self.problem.goal.bar.cpu()
        there = (self.log_odds >= self.bar).tolist()
        self.outcomes = [Outcome.ALREADY if done else Outcome.SPENT for done in there]
        self.steps = torch.zeros(len(there), dtype=torch.long)
        self.evaluations = torch.ones_like(self.steps)
        self.decodes = torch.full_like(self.steps, self.problem.encoded.decodes)

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


@torch.no_grad()
def begin(problem: Problem) -> tuple[Record, Going]:
    """Look at the factuals themselves; return the record and the rows that need a search."""
    goal, width = problem.goal, problem.limits.width
    known = goal.ask(problem.factual, width) if goal.before is None else goal.before.clone()
    record = Record(problem, known.cpu())
    rows = record.ended(Outcome.SPENT)
    return record, rows[record.left(rows) > 0]
