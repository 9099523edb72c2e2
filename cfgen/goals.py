"""Goals: what a classifier is to see in each image of a batch, and how sure it is to be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.models.classifier import Classifier
from cfgen.objectives import class_log_odds, other_score, target_score
from cfgen.types import ALL, Goal, Images, Labels, LogOdds

CONFIDENCE = 0.9
ROUNDING = 1e-4
"""Log-odds beyond a decision threshold, so that rounding does not undo a flip."""
OTHER = "other"
"""Target that stands for any class but the one predicted."""


def make_goal(
    classifier: Classifier,
    factual: Images,
    target: str | Sequence[str | None] | None = None,
    confidence: float = CONFIDENCE,
    width: int = ALL,
) -> Goal:
    """Make the goal of a batch: that the classifier sees the target with a given confidence.

    Args:
        classifier: the one to be explained.
        factual: images in [0, 1].
        target: name of a class, or 'other' for any but the predicted one; None for the class not
            predicted (two classes) or the runner-up (more). A list has a class, or None, for each
            image.
        confidence: calibrated probability to reach. Where the classifier's own decision threshold
            asks for more than that, more is asked for, so that a reached goal is always a flip.
        width: images that the classifier is given at once.

    Raises:
        ValueError: the confidence is no probability, or the classifier knows no such class.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}; do try 0.9")
    with torch.inference_mode():
        logits = torch.cat([classifier(part) for part in factual.split(width)])
        source = classifier.decide(logits)
    logits, source = logits.clone(), source.clone()
    sure = math.log(confidence / (1 - confidence))
    thresholds = torch.tensor(classifier.thresholds).to(factual)
    if target == OTHER:
        bar = _odds_away(thresholds, source).clamp(min=sure)
        before = -class_log_odds(logits, source)
        return Goal(other_score(classifier), bar, source, None, before)
    wanted = _target(classifier, logits, source, target)
    bar = _odds_towards(thresholds, wanted).clamp(min=sure)
    before = class_log_odds(logits, wanted)
    return Goal(target_score(classifier), bar, source, wanted, before)


def _odds_towards(thresholds: Float[Tensor, " classes"], target: Labels) -> LogOdds:
    """Log-odds from which a class is decided for, however the others share what is left.

    p / t > (1 - p) / min of the others' t, with t the thresholds.
    """
    others = thresholds.repeat(len(target), 1).scatter(1, target[:, None], torch.inf)
    return (thresholds[target] / others.amin(1)).log() + ROUNDING


def _odds_away(thresholds: Float[Tensor, " classes"], source: Labels) -> LogOdds:
    """Log-odds of 'any other' from which a class is not decided for, however they share it.

    p / sum of the others' t > (1 - p) / t: then one of them must exceed its own by more.
    """
    own = thresholds[source]
    return ((thresholds.sum() - own) / own).log() + ROUNDING


def _target(
    classifier: Classifier,
    logits: Tensor,
    source: Labels,
    target: str | Sequence[str | None] | None,
) -> Labels:
    names = [target] * len(source) if target is None or isinstance(target, str) else target
    for name in names:
        if name is not None and name not in classifier.classes:
            raise ValueError(
                f"expected a target among {', '.join(classifier.classes)} or {OTHER!r}, got "
                f"{name!r}; do name one of these"
            )
    wanted = logits.scatter(1, source[:, None], -torch.inf).argmax(1)
    for place, name in enumerate(names):
        if name is not None:
            wanted[place] = classifier.classes.index(name)
    return wanted
