"""Evidence on a counterfactual: numbers that tell a finding from a trick on one classifier.

All of it is of shares, ratios and log-odds, so that images of any size compare. Nothing but the
two images, the goal and the models is asked: no label, no true mask. What a bundle has no model
for is NaN. In all it takes nine passes of the classifier (one with a backward one), three of the
decoder, two of each judge and three times the prior's fixed steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen import metrics
from cfgen.disturbances import as_jpeg, noisy, shifts
from cfgen.edits import random_smooth
from cfgen.models.classifier import Classifier
from cfgen.objectives import class_log_odds
from cfgen.spaces import Coder
from cfgen.types import Codes, Goal, Images, Labels, Logits, LogOdds, Seeds

Number = Float[Tensor, " batch"]
CUTOFF = 1 / 8
"""Cycles a pixel above which a change counts as fine."""
MOST_GAIN = 20.0
"""Log-odds beyond which a judge's gain says no more."""
MOST_RATIO = 4.0


class Evidence(NamedTuple):
    """What speaks for and against each counterfactual of a batch; NaN where nothing can.

    Attributes:
        flips: 1 where the classifier decides for the target, else 0.
        judges_asked: judges that do not see the target on the factual already.
        judges_follow: share of these that decide for the target on the counterfactual, in [0, 1].
        judges_gain_least: least gain of the target's log-odds over these, in [-20, 20].
        judges_gain_mean: mean of these gains, in [-20, 20].
        survives_reencoding: 1 where the classifier decides for the target on D(E(x')), else 0.
        survives_jpeg: the same of x' as a JPEG of quality 75.
        survives_noise: the same of x' with Gaussian noise of 0.02.
        survives_shift: share of the four shifts of x' by a pixel on which it does, in [0, 1].
        random_start: further L2 that flips from a random start, over the change's own L2, in
            [0, 4]; see `random_start`.
        high_frequency: share of the change's energy above 1/8 cycle a pixel, in [0, 1].
        outside_lungs: share of the change's energy outside the lungs, in [0, 1].
        prior_error: log of the prior's denoising error of x' as the target over that of x as
            the source: above 0 where the result is stranger than the original.
        prior_preference: log of the prior's denoising error of x' as the source over that as
            the target: above 0 where it reads rather as the target.
    """

    flips: Number
    judges_asked: Number
    judges_follow: Number
    judges_gain_least: Number
    judges_gain_mean: Number
    survives_reencoding: Number
    survives_jpeg: Number
    survives_noise: Number
    survives_shift: Number
    random_start: Number
    high_frequency: Number
    outside_lungs: Number
    prior_error: Number
    prior_preference: Number


FEATURES = Evidence._fields[2:]
"""What a verdict weighs; the rest says whether there is anything to weigh."""


@dataclass(frozen=True)
class Witnesses:
    """Who is asked.

    Attributes:
        classifier: the one explained.
        judges: other classifiers of the same classes, in any order, by name.
        autoencoder: anything that encodes and decodes, where there is one.
        lungs: from images to a mask of the lungs, where there is a segmenter.
        denoising: from (codes, labels) to the prior's denoising error of each code, always at the
            same noise, so that any two codes or labels compare.
    """

    classifier: Classifier
    judges: Mapping[str, Classifier]
    autoencoder: Coder | None = None
    lungs: Callable[[Images], Bool[Tensor, "batch 1 height width"]] | None = None
    denoising: Callable[[Codes, Labels], Number] | None = None


def gather(
    witnesses: Witnesses, goal: Goal, factual: Images, image: Images, seeds: Seeds
) -> Evidence:
    """Gather the evidence on a batch of counterfactuals.

    Args:
        witnesses: who is asked.
        goal: of the search, with source and target as indices into the classifier's classes.
        factual: images before, in [0, 1].
        image: images after, in [0, 1].
        seeds: of what is drawn at random, one an image: its sample's id.

    Raises:
        ValueError: a judge does not know the classifier's classes.
    """
    change = image - factual
    unknown = torch.full((len(image),), torch.nan, device=image.device)
    found = dict.fromkeys(Evidence._fields, unknown)
    with torch.no_grad():
        found |= _asked(witnesses, goal, factual, image)
        found |= _disturbed(witnesses.classifier, goal, image, seeds)
        found["high_frequency"] = metrics.high_frequency_share(change, CUTOFF)
        if witnesses.lungs is not None:
            found["outside_lungs"] = 1 - metrics.energy_inside(change, witnesses.lungs(factual))
        if witnesses.autoencoder is not None:
            before, after = map(witnesses.autoencoder.encode, (factual, image))
            again = witnesses.autoencoder.decode(after).clamp(0, 1)
            found["survives_reencoding"] = _flips(witnesses.classifier, goal, again)
            found |= _denoised(witnesses, goal, before, after)
    if witnesses.autoencoder is not None:
        found["random_start"] = random_start(goal, factual, image, witnesses.autoencoder, seeds)
    return Evidence(**found)


def random_start(
    goal: Goal, factual: Images, image: Images, autoencoder: Coder, seeds: Seeds
) -> Number:
    """How much less than this change flips this classifier on this image, from a random start.

    The start is r = clip(x + |x' - x| u), where u is the residually decoded change of the code by
    random smooth noise, scaled to an L2 of 1. To first order the least further change that reaches
    the bar b has L2 (b - s(r)) / |ds/dr|. Returned is this over |x' - x|, in [0, 4]: about 1 says
    that x' is not larger than what any trick on this classifier needs, about 0 that everything
    flips it. NaN where nothing changed.
    """
    size = metrics.l2(factual, image)
    with torch.no_grad():
        codes = autoencoder.encode(factual)
        moved = codes + random_smooth()(codes, goal, seeds)
        change = autoencoder.decode(moved) - autoencoder.decode(codes)
        length = change.flatten(1).norm(dim=1).clamp(min=1e-12)
        start = factual + change * (size / length)[:, None, None, None]
    start = start.clamp(0, 1).requires_grad_()
    log_odds = goal.log_odds(start)
    (gradient,) = torch.autograd.grad(log_odds.sum(), start)
    steepness = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
    further = (goal.bar - log_odds.detach()).clamp(min=0) / steepness
    return torch.where(size > 0, (further / size).clamp(max=MOST_RATIO), torch.nan)


def _arrives(goal: Goal, decided: Labels) -> Number:
    """1 where the class decided for is the goal's, else 0."""
    assert goal.source is not None
    return (decided != goal.source if goal.target is None else decided == goal.target).float()


def _flips(classifier: Classifier, goal: Goal, images: Images) -> Number:
    return _arrives(goal, classifier.predict(images))


def _odds(goal: Goal, logits: Logits) -> LogOdds:
    assert goal.source is not None
    if goal.target is None:
        return -class_log_odds(logits, goal.source)
    return class_log_odds(logits, goal.target)


def _asked(witnesses: Witnesses, goal: Goal, factual: Images, image: Images) -> dict[str, Tensor]:
    """Decision of the classifier, and of the judges that can follow."""
    flips = _flips(witnesses.classifier, goal, image)
    if not witnesses.judges:
        return {"flips": flips, "judges_asked": torch.zeros_like(flips)}
    able, follow, gain = [], [], []
    for name, judge in witnesses.judges.items():
        theirs = _for_judge(goal, witnesses.classifier.classes, name, judge)
        before, after = judge(factual), judge(image)
        able.append(_arrives(theirs, judge.decide(before)) == 0)
        follow.append(_arrives(theirs, judge.decide(after)))
        gain.append((_odds(theirs, after) - _odds(theirs, before)).clamp(-MOST_GAIN, MOST_GAIN))
    can = torch.stack(able)
    least = torch.stack(gain).where(can, torch.inf).amin(0)
    return {
        "flips": flips,
        "judges_asked": can.sum(0).to(flips),
        "judges_follow": torch.stack(follow).where(can, torch.nan).nanmean(0),
        "judges_gain_least": least.where(least.isfinite(), torch.nan),
        "judges_gain_mean": torch.stack(gain).where(can, torch.nan).nanmean(0),
    }


def _for_judge(goal: Goal, classes: Sequence[str], name: str, judge: Classifier) -> Goal:
    """Return the goal with the judge's own indices of its classes."""
    if set(judge.classes) != set(classes):
        raise ValueError(
            f"expected the judge {name} to know the classes {', '.join(classes)}, got "
            f"{', '.join(judge.classes)}; do ask judges that were trained on the same classes"
        )
    assert goal.source is not None
    index = torch.tensor([judge.classes.index(known) for known in classes]).to(goal.source)
    target = None if goal.target is None else index[goal.target]
    return replace(goal, source=index[goal.source], target=target)


def _disturbed(
    classifier: Classifier, goal: Goal, image: Images, seeds: Seeds
) -> dict[str, Tensor]:
    """Whether the flip outlives what no finding minds."""
    shifted = [_flips(classifier, goal, other) for other in shifts(image)]
    return {
        "survives_jpeg": _flips(classifier, goal, as_jpeg(image)),
        "survives_noise": _flips(classifier, goal, noisy(image, seeds)),
        "survives_shift": torch.stack(shifted).mean(0),
    }


def _denoised(witnesses: Witnesses, goal: Goal, before: Codes, after: Codes) -> dict[str, Tensor]:
    """What the prior makes of both codes."""
    if witnesses.denoising is None or goal.target is None or goal.source is None:
        return {}
    pairs = ((before, goal.source), (after, goal.source), (after, goal.target))
    original, as_source, as_target = (
        witnesses.denoising(codes, label).log() for codes, label in pairs
    )
    return {"prior_error": as_target - original, "prior_preference": as_source - as_target}
