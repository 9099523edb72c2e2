"""The methods: a space, an edit and a search put together, and the call that explains an image.

To add one, write a function with the signature of those below and a row in `METHODS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_type_hints

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.data.files import read_image
from cfgen.data.preprocessing import preprocessing_of
from cfgen.edits import class_mean
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.models.classifier import Classifier
from cfgen.objectives import DISTANCES, other_score, target_score
from cfgen.search import descend, line_search, score_gradient
from cfgen.spaces import EVERYWHERE, LatentSpace, PixelSpace, Region, Space
from cfgen.types import Counterfactuals, Goal, Image, Images, Labels, LogOdds, Outcome

DEFAULT_METHOD = "latent"
CONFIDENCE = 0.9
ROUNDING = 1e-4
"""Log-odds beyond a decision threshold, so that rounding does not undo a flip."""
OTHER = "other"
"""Target that stands for any class but the one predicted."""

Decoding = Literal["residual", "plain"]


@dataclass(frozen=True)
class Descent:
    """Settings of a descent.

    Attributes:
        distance: a name in `cfgen.objectives.DISTANCES`.
        weight: of the distance, lambda.
        step_size: of Adam.
        steps: at most so many.
        decoding: of a latent space, see `cfgen.spaces.LatentSpace`.
    """

    distance: str = "l2"
    weight: float = 0.1
    step_size: float = 0.01
    steps: int = 1000
    decoding: Decoding = "residual"


@dataclass(frozen=True)
class LineSearch:
    """Settings of a line search.

    Attributes:
        first: first strength.
        growth: factor between strengths.
        steps: at most so many strengths.
        decoding: see `cfgen.spaces.LatentSpace`.
    """

    first: float = 0.05
    growth: float = 1.25
    steps: int = 40
    decoding: Decoding = "residual"


Settings = Descent | LineSearch


def _latent(bundle: Bundle, settings: Settings) -> LatentSpace:
    return LatentSpace(bundle.autoencoder, residual=settings.decoding == "residual")


def _descend(
    goal: Goal, factual: Images, space: Space, settings: Descent, region: Region
) -> Counterfactuals:
    return descend(
        goal,
        factual,
        space,
        DISTANCES[settings.distance],
        weight=settings.weight,
        step_size=settings.step_size,
        steps=settings.steps,
        region=region,
    )


def pixel(
    bundle: Bundle, goal: Goal, factual: Images, settings: Descent, region: Region
) -> Counterfactuals:
    """Descent on the pixels: the baseline, and the generator this project began with."""
    return _descend(goal, factual, PixelSpace(), settings, region)


def latent(
    bundle: Bundle, goal: Goal, factual: Images, settings: Descent, region: Region
) -> Counterfactuals:
    """Descent on the autoencoder's code."""
    return _descend(goal, factual, _latent(bundle, settings), settings, region)


def _search_along(
    goal: Goal,
    factual: Images,
    space: Space,
    direction: Tensor,
    settings: LineSearch,
    region: Region,
) -> Counterfactuals:
    return line_search(
        goal,
        factual,
        space,
        direction,
        first=settings.first,
        growth=settings.growth,
        steps=settings.steps,
        region=region,
    )


def latent_shift(
    bundle: Bundle, goal: Goal, factual: Images, settings: LineSearch, region: Region
) -> Counterfactuals:
    """Line search along the score's gradient at the code (latent shift: Cohen et al. 2021)."""
    space = _latent(bundle, settings)
    direction, decodes = score_gradient(goal, factual, space)
    found = _search_along(goal, factual, space, direction, settings, region)
    return replace(found, evaluations=found.evaluations + 1, decodes=found.decodes + decodes)


def class_mean_shift(
    bundle: Bundle, goal: Goal, factual: Images, settings: LineSearch, region: Region
) -> Counterfactuals:
    """Line search along the difference of the classes' mean codes: the control."""
    space = _latent(bundle, settings)
    codes, _, decodes = space.encode(factual)
    direction = class_mean(bundle.autoencoder.class_means)(codes, goal, None)
    found = _search_along(goal, factual, space, direction, settings, region)
    return replace(found, decodes=found.decodes + decodes)


class Method(NamedTuple):
    """A way to search, and its settings unless others are given."""

    search: Callable[..., Counterfactuals]
    settings: Settings


METHODS: dict[str, Method] = {
    "pixel": Method(pixel, Descent()),
    "latent": Method(latent, Descent(step_size=0.05, steps=300)),
    "latent-shift": Method(latent_shift, LineSearch(first=0.02)),
    "class-mean": Method(class_mean_shift, LineSearch()),
}


def settings_of(method: str, overrides: Mapping[str, int | float | str] | None = None) -> Settings:
    """Return the settings of a method, some of them replaced.

    Raises:
        ValueError: no such method, or it has no such setting.

    Example:
        >>> settings_of("pixel", {"weight": 0.5}).weight
        0.5
    """
    if method not in METHODS:
        raise ValueError(f"expected one of the methods {', '.join(METHODS)}, got {method!r}")
    settings, overrides = METHODS[method].settings, overrides or {}
    known = [item.name for item in fields(settings)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ValueError(
            f"expected settings of {method} among {', '.join(known)}, got {', '.join(unknown)}"
        )
    if overrides.get("distance", "l2") not in DISTANCES:
        raise ValueError(
            f"expected one of the distances {', '.join(DISTANCES)}, got {overrides['distance']!r}"
        )
    hints = get_type_hints(type(settings))
    chosen = {name: _typed(name, value, hints[name]) for name, value in overrides.items()}
    return replace(settings, **chosen)


def _typed(name: str, value: int | float | str, hint: object) -> int | float | str:
    """Return a setting as the type it is declared with: a command line knows only 20 or 20.0."""
    if hint is str or value in get_args(hint):
        return value
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        if hint is float:
            return float(value)
        if hint is int and value == int(value) and value > 0:
            return int(value)
    kinds: dict[object, str] = {int: "a whole number above 0", float: "a number of 0 or more"}
    wanted = kinds.get(hint) or " or ".join(get_args(hint))
    raise ValueError(f"expected {wanted} as the setting {name}, got {value!r}; correct it")


def search(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    method: str = DEFAULT_METHOD,
    settings: Settings | None = None,
    region: Region = EVERYWHERE,
) -> Counterfactuals:
    """Search the counterfactuals of a batch by a method's name.

    Args:
        bundle: whose models take part.
        goal: what each image is to become.
        factual: images in [0, 1].
        method: a name in `METHODS`.
        settings: of the method; None for its own.
        region: where and how far an image may change.
    """
    return METHODS[method].search(bundle, goal, factual, settings or settings_of(method), region)


def make_goal(
    classifier: Classifier,
    factual: Images,
    target: str | None = None,
    confidence: float = CONFIDENCE,
) -> Goal:
    """Make the goal of a batch: that the classifier sees the target with a given confidence.

    Args:
        classifier: the one to be explained.
        factual: images in [0, 1].
        target: name of a class, or 'other' for any but the predicted one; None for the class not
            predicted (two classes) or the runner-up (more).
        confidence: calibrated probability to reach. Where the classifier's own decision threshold
            asks for more than that, more is asked for, so that a reached goal is always a flip.

    Raises:
        ValueError: the confidence is no probability, or the classifier knows no such class.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}; do try 0.9")
    with torch.inference_mode():
        logits = classifier(factual)
        source = classifier.decide(logits)
    source = source.clone()
    sure = math.log(confidence / (1 - confidence))
    thresholds = torch.tensor(classifier.thresholds).to(factual)
    if target == OTHER:
        bar = _odds_away(thresholds, source).clamp(min=sure)
        return Goal(other_score(classifier), bar, source, None)
    wanted = _target(classifier, logits, source, target)
    bar = _odds_towards(thresholds, wanted).clamp(min=sure)
    return Goal(target_score(classifier), bar, source, wanted)


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


def _target(classifier: Classifier, logits: Tensor, source: Labels, target: str | None) -> Labels:
    if target is None:
        return logits.scatter(1, source[:, None], -torch.inf).argmax(1).clone()
    if target not in classifier.classes:
        raise ValueError(
            f"expected a target among {', '.join(classifier.classes)} or {OTHER!r}, got "
            f"{target!r}; do name one of these"
        )
    return torch.full_like(source, classifier.classes.index(target))


@dataclass(frozen=True)
class Explanation:
    """The counterfactual of one image, and what the classifier made of both.

    Attributes:
        factual: the image in [0, 1].
        counterfactual: the image found, in [0, 1].
        outcome: how the search ended.
        classes: names.
        before: calibrated probabilities of the factual, one a class.
        after: the same of the counterfactual.
        decided_before: name of the class that the classifier decides for, by its thresholds.
        decided_after: the same of the counterfactual.
    """

    factual: Image
    counterfactual: Image
    outcome: Outcome
    classes: tuple[str, ...]
    before: Float[Tensor, " classes"]
    after: Float[Tensor, " classes"]
    decided_before: str
    decided_after: str


def explain(
    image: str | Path | Image,
    bundle: str | Path | Bundle,
    target: str | None = None,
    method: str = DEFAULT_METHOD,
    settings: Mapping[str, int | float | str] | None = None,
    mask: Float[Tensor, "1 height width"] | None = None,
) -> Explanation:
    """Find the smallest change of one image that changes what the classifier says.

    Args:
        image: a file, or an image in [0, 1] of the bundle's size.
        bundle: a bundle, its path, or a shipped one's name.
        target: name of a class; see `make_goal`.
        method: a name in `METHODS`.
        settings: of the method, those that are not to be its own.
        mask: 1 where the image may change, 0 where it may not; None for everywhere.

    Raises:
        ValueError: the image, the bundle, the target or the method is not to be had.
    """
    models = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if not isinstance(image, Tensor):
        prepare = preprocessing_of(models.preprocessing, models.path / "bundle.yaml")
        image = prepare(read_image(Path(image)), str(image))
    for name, given in {"image": image, "mask": mask}.items():
        if given is not None and given.shape != (1, models.size, models.size):
            raise ValueError(
                f"expected the {name} as (1, {models.size}, {models.size}), got "
                f"{tuple(given.shape)}; do resize it, or give the image as a file"
            )
    factual = image[None]
    goal = make_goal(models.classifier, factual, target)
    region = EVERYWHERE if mask is None else Region(mask[None])
    found = search(models, goal, factual, method, settings_of(method, settings), region)
    with torch.inference_mode():
        logits = models.classifier(torch.cat([factual, found.images]))
    before, after = logits.softmax(1)
    decided = [models.classes[index] for index in models.classifier.decide(logits).tolist()]
    return Explanation(
        image, found.images[0], found.outcomes[0], models.classes, before, after, *decided
    )
