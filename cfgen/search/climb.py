"""Steps along gradients, image by image, until the goal is reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.objectives import Distance, prediction_loss
from cfgen.search.record import Record
from cfgen.types import Codes, Going, Images, Labels, LogOdds, Outcome, Rows

Loss = Callable[[Rows, Images, LogOdds], Float[Tensor, " rows"]]
"""From rows, their images and log-odds to what is differentiated, one number a row."""
Move = Callable[[Rows, Codes, LogOdds], None]
"""Moves the codes of rows, given the gradients there and the log-odds."""


def objective(factual: Images, distance: Distance, weight: float) -> Loss:
    """-log p(goal) + weight * distance(x, x')."""

    def loss(rows: Rows, images: Images, log_odds: LogOdds) -> Float[Tensor, " rows"]:
        return prediction_loss(log_odds) + weight * distance(factual[rows], images)

    return loss


@dataclass
class Climb:
    """A climb of some rows' codes: checked, and moved until they reach the goal.

    Where a row's log-odds have risen so much that as great a rise again would reach the goal, its
    next check is a forward pass alone: most of these are the last, and a last one needs no
    gradient. If it fails, the same code is asked for its gradient, and the row is not hoped for
    again: a hope in vain costs each row one evaluation at most. Of the rows that are due for
    either kind of pass, as many as fit are taken together.

    Attributes:
        record: of what is found.
        codes: where the rows are; `move` changes them in place.
        loss: whose gradient is to be followed.
        move: follows it.
        steps: at most so many.
        start_counts: whether a row's first check is kept even where the factual is nearer.
        taken: steps of each row so far.
    """

    record: Record
    codes: Codes
    loss: Loss
    move: Move
    steps: int
    start_counts: bool = False
    taken: Labels = field(init=False)
    _last: LogOdds = field(init=False)
    _expected: LogOdds = field(init=False)
    _in_vain: Bool[Tensor, " batch"] = field(init=False)

    def __post_init__(self) -> None:
        self.taken = torch.zeros(len(self.codes), dtype=torch.long)
        self._last = torch.full((len(self.codes),), torch.nan, dtype=self.record.log_odds.dtype)
        self._expected = self._last.clone()
        self._in_vain = torch.zeros_like(self.taken, dtype=torch.bool)

    def run(self, rows: Rows) -> None:
        """Climb until all have reached the goal, or may not go on."""
        while len(rows):
            hopeful = self._hopeful(rows)
            climbing, hoping = rows[~hopeful], rows[hopeful]
            width = self.record.problem.limits.width
            # A full batch that climbs goes first: it adds to those that hope, until they fill one.
            if len(climbing) >= min(width, len(hoping)):
                going = self._step(climbing[:width])
                rows = torch.cat([going, climbing[width:], hoping])
            else:
                going = self._look(hoping[:width])
                rows = torch.cat([climbing, going, hoping[width:]])

    def _hopeful(self, rows: Rows) -> Bool[Tensor, " rows"]:
        """Whether the next check is likely to be the last, or is so in any case."""
        left = self.record.left(rows)
        hoped = (self._expected[rows] >= self.record.bar[rows]) & ~self._in_vain[rows]
        # With two evaluations left, a hope in vain would cost the step that is still to be had.
        return (hoped & (left > 2)) | (self.taken[rows] == self.steps) | (left == 1)

    @torch.no_grad()
    def _look(self, rows: Rows) -> Going:
        """Check rows; return those that go on, which are known not to be there."""
        images, log_odds = self.record.problem.check(rows, self.codes[rows])
        going = self._note(rows, images, log_odds.cpu()) & (self.taken[rows] < self.steps)
        self._in_vain[rows] = True
        return rows[going]

    def _step(self, rows: Rows) -> Going:
        """Check rows, and move those that go on."""
        here = rows.to(self.codes.device)
        codes = self.codes[here].requires_grad_()
        images, log_odds = self.record.problem.check(here, codes)
        seen = log_odds.detach().cpu()
        going = self._note(rows, images.detach(), seen)
        if not going.any():
            return rows[going]
        gone = going.to(here.device)
        losses = self.loss(here, images, log_odds)
        (gradient,) = torch.autograd.grad(losses[gone].sum(), codes)
        with torch.no_grad():
            self.move(here[gone], gradient[gone], log_odds.detach()[gone])
        rows, seen = rows[going], seen[going]
        self._expected[rows] = 2 * seen - self._last[rows]
        self._last[rows] = seen
        self.taken[rows] += 1
        return rows

    def _note(
        self, rows: Rows, images: Float[Tensor, "rows 1 height width"], log_odds: LogOdds
    ) -> Bool[Tensor, " rows"]:
        """Record a check; return which rows may go on."""
        record, taken = self.record, self.taken[rows]
        finite, reached = log_odds.isfinite(), log_odds >= record.bar[rows]
        kept = log_odds > record.log_odds[rows]
        if self.start_counts:
            kept |= finite & (taken == 0)
        record.spend(rows)
        record.keep(rows, kept, images, log_odds, taken)
        record.end(rows[reached], Outcome.REACHED)
        record.end(rows[~finite & ~reached], Outcome.DIVERGED)
        return finite & ~reached & (record.left(rows) > 0)
