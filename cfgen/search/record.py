"""What a search is asked, what it has found so far, and what that has cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.spaces import Region, Space
from cfgen.types import Counterfactuals, Goal, Images, Labels, LogOdds, Outcome, Rows


@dataclass(frozen=True)
class Problem:
    """What is searched, and where.

    Attributes:
        goal: what each image is to become.
        factual: images in [0, 1].
        space: where the codes are.
        residual: of each image, see `cfgen.spaces.Encoded`.
        region: where and how far an image may change.
    """

    goal: Goal
    factual: Images
    space: Space
    residual: Images
    region: Region

    def check(
        self, rows: Rows, codes: Float[Tensor, "rows ..."]
    ) -> tuple[Float[Tensor, "rows 1 height width"], Float[Tensor, " rows"]]:
        """Return the images of some rows' codes, and their goals' log-odds."""
        images = self.space.take(rows).decode(codes, self.residual[rows])
        images = self.region.take(rows).confine(images, self.factual[rows])
        return images, self.goal.take(rows).log_odds(images)


@dataclass
class Record:
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


def begin(goal: Goal, factual: Images, decodes: int) -> tuple[Record, Rows]:
    """Check the factuals themselves; return the record and the rows that need a search."""
    with torch.no_grad():
        log_odds = goal.log_odds(factual)
    there = log_odds >= goal.bar
    outcomes = [Outcome.ALREADY if done else Outcome.SPENT for done in there.tolist()]
    cost = torch.full((len(factual),), decodes)
    record = Record(factual.clone(), log_odds, outcomes, cost)
    return record, (~there).nonzero().flatten()
