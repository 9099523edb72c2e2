"""What classifier and judges say of counterfactuals: one column a question, one number a sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen import metrics
from cfgen.models.classifier import Classifier
from cfgen.objectives import class_log_odds
from cfgen.types import Labels, Logits, LogOdds
from evaluation.batches import Batch
from evaluation.runs import Row

Curve = Float[Tensor, "batch points"]

VALID = 0.9
"""Calibrated probability from which a counterfactual is valid."""
ROUNDING = 1e-4
"""How far that probability may fall short, since rounding differs from batch to batch."""
NOWHERE = -1
"""The index of a class that is not among the classifier's, such as 'any other'."""


class Said(NamedTuple):
    """What the classifier says while a counterfactual's pixels are swapped in.

    Attributes:
        before: of the factuals, where that begins.
        after: of the counterfactuals, where it ends.
        target: probability of the target at each point on the way.
        source: of the source.
    """

    before: Logits
    after: Logits
    target: Curve
    source: Curve


def say(batch: Batch, classifier: Classifier, steps: int) -> Said:
    """Ask the classifier of factuals, counterfactuals and what is between (`metrics.transition`).

    Raises:
        ValueError: a source of the run is none of its classes.
    """
    goals = Goals.of(batch, classifier.classes)
    seen = [classifier(images) for images in metrics.transition(batch.factual, batch.image, steps)]
    target = torch.stack([goals.probability(logits) for logits in seen], 1)
    source = torch.stack([goals.source_probability(logits) for logits in seen], 1)
    return Said(seen[0], seen[-1], target, source)


def decided(batch: Batch, classifier: Classifier, said: Said) -> dict[str, Tensor]:
    """Whether what the classifier says is what was searched for."""
    goals = Goals.of(batch, classifier.classes)
    there = goals.met(classifier.decide(said.before))
    flips = goals.met(classifier.decide(said.after))
    at_first, probability = said.target[:, 0], said.target[:, -1]
    return {
        "p_target_factual": at_first,
        "p_target": probability,
        "p_change": metrics.confidence_change(at_first, probability),
        "valid": metrics.valid(probability, VALID - ROUNDING),
        "flip": torch.where(there, torch.nan, flips.float()),
        "cout": metrics.cout(said.target, said.source),
    }


def judged(
    batch: Batch, name: str, judge: Classifier, valid: Bool[Tensor, " batch"]
) -> dict[str, Tensor]:
    """What a judge says, in columns that begin with `judge_NAME_`.

    Raises:
        ValueError: a source of the run is none of its classes.
    """
    goals = Goals.of(batch, judge.classes)
    before, after = judge(batch.factual), judge(batch.image)
    truth, predicted, arrived = goals.truth(), judge.decide(before), judge.decide(after)
    follows = metrics.judge_follow(predicted, arrived, truth, goals.aim(arrived))
    follows = torch.where(goals.met(truth), torch.nan, follows)
    right = torch.where(goals.label == NOWHERE, torch.nan, (predicted == goals.label).float())
    there, flips = goals.met(predicted), goals.met(arrived)
    prefix = f"judge_{name}"
    return {
        f"{prefix}_factual_right": right,
        f"{prefix}_p_target_factual": goals.probability(before),
        f"{prefix}_p_target": goals.probability(after),
        f"{prefix}_log_odds": goals.log_odds(after),
        f"{prefix}_follows_valid": torch.where(valid, follows, torch.nan),
        f"{prefix}_follows": follows,
        f"{prefix}_flips": torch.where(there, torch.nan, flips.float()),
    }


def panel_follows(columns: Mapping[str, Tensor], judges: Iterable[str]) -> Float[Tensor, " batch"]:
    """Share of the judges that follow, of those that can tell; NaN where none can."""
    return torch.stack([columns[f"judge_{name}_follows"] for name in judges]).nanmean(0)


def non_adversarial(
    columns: Mapping[str, Tensor], judges: Iterable[str]
) -> Float[Tensor, " batch"]:
    """Share of the judges that flip where the classifier does; NaN elsewhere."""
    theirs = torch.stack([columns[f"judge_{name}_flips"] for name in judges])
    return metrics.non_adversarial(columns["flip"], theirs)


def border_shift(batch: Batch, border: Classifier) -> LogOdds:
    """By how much the target's log-odds rise for a judge that does not see the lungs."""
    goals = Goals.of(batch, border.classes)
    return goals.log_odds(border(batch.image)) - goals.log_odds(border(batch.factual))


@dataclass(frozen=True)
class Goals:
    """The classes of some samples as a model's indices."""

    label: Labels
    source: Labels
    target: Labels

    @staticmethod
    def of(batch: Batch, classes: Sequence[str]) -> Goals:
        """Look the classes up; one that is not among the model's is `NOWHERE`.

        Raises:
            ValueError: a source is none of them.
        """
        device = batch.image.device
        return Goals(*(_indices(batch.rows, name, classes, device) for name in _CLASS_COLUMNS))

    def truth(self) -> Labels:
        """The true class, and where it is not known the one that the classifier saw."""
        return torch.where(self.label == NOWHERE, self.source, self.label)

    def probability(self, logits: Logits) -> Float[Tensor, " batch"]:
        """Probability of the target; of any class but the source where the target is no class."""
        probabilities = logits.softmax(1)
        target = probabilities.gather(1, self.target.clamp_min(0)[:, None])[:, 0]
        return torch.where(self.target == NOWHERE, 1 - self.source_probability(logits), target)

    def source_probability(self, logits: Logits) -> Float[Tensor, " batch"]:
        """Probability of the source."""
        return logits.softmax(1).gather(1, self.source[:, None])[:, 0]

    def log_odds(self, logits: Logits) -> LogOdds:
        """Log-odds of the same."""
        target = class_log_odds(logits, self.target.clamp_min(0))
        source = class_log_odds(logits, self.source)
        return torch.where(self.target == NOWHERE, -source, target)

    def aim(self, predicted: Labels) -> Labels:
        """The class to arrive at: where the target is no class, any predicted but the source."""
        other = torch.where(predicted == self.source, NOWHERE, predicted)
        return torch.where(self.target == NOWHERE, other, self.target)

    def met(self, predicted: Labels) -> Bool[Tensor, " batch"]:
        """Whether a prediction is what was aimed at."""
        return metrics.flip(predicted, self.aim(predicted))


_CLASS_COLUMNS = ("label", "source", "target")


def _indices(rows: list[Row], column: str, classes: Sequence[str], device: torch.device) -> Labels:
    known = {name: index for index, name in enumerate(classes)}
    if column == "source" and any(row[column] not in known for row in rows):
        strange = next(row[column] for row in rows if row[column] not in known)
        raise ValueError(
            f"expected a source among the classes {', '.join(known)}, got {strange!r}; measure "
            "the run with the bundle it was made with, and with judges of the same classes."
        )
    return torch.tensor([known.get(str(row[column]), NOWHERE) for row in rows], device=device)
