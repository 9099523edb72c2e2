"""The methods: a space, an edit and a search put together.

To add one, write a function with the signature of those below and a row in `METHODS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, get_args, get_type_hints

from jaxtyping import Int
from torch import Tensor

from cfgen.edits import class_mean
from cfgen.models.bundle import Bundle
from cfgen.objectives import DISTANCES
from cfgen.search import descend, line_search, score_gradient
from cfgen.spaces import EVERYWHERE, LatentSpace, PixelSpace, Region, Space
from cfgen.types import Counterfactuals, Goal, Images

DEFAULT_METHOD = "latent"

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
    "latent": Method(latent, Descent(step_size=0.02, steps=300)),
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
    seeds: Int[Tensor, " batch"] | None = None,
) -> Counterfactuals:
    """Search the counterfactuals of a batch by a method's name.

    Args:
        bundle: whose models take part.
        goal: what each image is to become.
        factual: images in [0, 1].
        method: a name in `METHODS`.
        settings: of the method; None for its own.
        region: where and how far an image may change.
        seeds: of what a method draws at random, one an image.
    """
    return METHODS[method].search(bundle, goal, factual, settings or settings_of(method), region)
