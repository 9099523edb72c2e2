"""The vocabulary: what every other module means by an image, a goal and an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Image = Float[Tensor, "1 height width"]
Images = Float[Tensor, "batch 1 height width"]
Codes = Float[Tensor, "batch ..."]
Logits = Float[Tensor, "batch classes"]
LogOdds = Float[Tensor, " batch"]
Labels = Int[Tensor, " batch"]
Rows = Int[Tensor, " rows"]
Going = Int[Tensor, " going"]
"""Those rows, of some, that go on."""
Seeds = Int[Tensor, " batch"]

ALL = 2**31 - 1
"""As many as there are: more than any pool holds."""


class Limits(NamedTuple):
    """What a search may use.

    Attributes:
        width: images that are asked about at once; the others of a pool wait their turn. (The prior
            is given each twice, as either class.)
        evaluations: of the classifier for each image, at least 3: of the factual, of a gradient,
            and of what is found.
    """

    width: int = ALL
    evaluations: int = ALL


def portions(count: int, width: int) -> tuple[Rows, ...]:
    """Return the rows of a batch in portions that the networks can be given at once.

    >>> [rows.tolist() for rows in portions(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    return torch.arange(count).split(width)


@dataclass(frozen=True)
class Goal:
    """What each image of a batch is to become.

    Attributes:
        score: maps (images, goal) to the log-odds of the goal, one number an image. It reads
            the classes it needs from the goal it is given, so that the searches know none.
        bar: log-odds at which an image's goal is reached.
        source: index of the class each image is taken to show, where there is one.
        target: index of the class each image is to show, where there is one.
        before: log-odds of the goal for the factuals, where whoever made it has asked for them.
            They are this score's: with another one they must go.
    """

    score: Callable[[Images, Goal], LogOdds]
    bar: LogOdds
    source: Labels | None = None
    target: Labels | None = None
    before: LogOdds | None = None

    def log_odds(self, images: Images) -> LogOdds:
        """Log-odds that each image shows what this goal asks of it."""
        return self.score(images, self)

    def ask(self, images: Images, width: int) -> LogOdds:
        """The same of images that are many, at most `width` at a time."""
        some = portions(len(images), width)
        return torch.cat([self.take(rows).log_odds(images[rows]) for rows in some])

    def take(self, rows: Rows) -> Goal:
        """Return the goal of some rows of the batch."""
        return replace(
            self,
            bar=self.bar[rows],
            source=None if self.source is None else self.source[rows],
            target=None if self.target is None else self.target[rows],
            before=None if self.before is None else self.before[rows],
        )


class Outcome(StrEnum):
    """How the search for one counterfactual ended."""

    REACHED = "reached"
    ALREADY = "already there"
    SPENT = "budget spent"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Counterfactuals:
    """What a search found, one entry for every image of its batch.

    Attributes:
        images: the very images that were checked, in [0, 1]; where the goal was not reached,
            the best one checked.
        log_odds: the goal's log-odds of these images, as checked.
        outcomes: how each search ended.
        steps: optimisation steps (for a line search: strengths tried) before the image was made.
        evaluations: forward passes of the classifier, with or without a backward one.
        decodes: forward passes of the decoder.
        prior_passes: forward passes of the generative prior.
    """

    images: Images
    log_odds: LogOdds
    outcomes: list[Outcome]
    steps: Labels
    evaluations: Labels
    decodes: Labels
    prior_passes: Labels

    def reached(self) -> Bool[Tensor, " batch"]:
        """Mask of the images that satisfy their goal, found or there from the start."""
        good = (Outcome.REACHED, Outcome.ALREADY)
        return torch.tensor([outcome in good for outcome in self.outcomes])
