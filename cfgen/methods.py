"""The methods: a space, an edit and a search put together.

To add one, write a function with the signature of those below and a row in `METHODS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, get_args, get_type_hints

import torch
from torch import Tensor

from cfgen.edits import (
    Ascent,
    Denoising,
    Edit,
    class_mean,
    contrast,
    delta_denoising,
    inversion,
    noise_like,
    opposite,
    paired_residual,
    random_smooth,
)
from cfgen.models.bundle import Bundle
from cfgen.objectives import DISTANCES
from cfgen.search import Pull, descend, line_search, refine, scale_to_ssim, score_gradient
from cfgen.spaces import EVERYWHERE, LatentSpace, PixelSpace, Region, Space
from cfgen.types import Codes, Counterfactuals, Goal, Images, Rows, Seeds

DEFAULT_METHOD = "prior"

EditName = Literal[
    "paired-residual", "inversion", "delta-denoising", "class-mean", "random", "opposite"
]
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


@dataclass(frozen=True)
class Guided:
    """Settings of a search that begins with an edit, see `cfgen.search.refine`.

    Attributes:
        edit: which one: of the prior, or one of the controls.
        budget: SSIM to the factual that the edit keeps, see `cfgen.search.scale_to_ssim`.
        distance: a name in `cfgen.objectives.DISTANCES`.
        weight: of the distance, lambda.
        step_size: of the steps after the edit, in lengths of the code.
        momentum: of these steps.
        pull: weight of the prior's class contrast beside the objective's gradient.
        steps: at most so many; 0 for the edit alone, the classifier ignored.
        decoding: see `cfgen.spaces.LatentSpace`.
    """

    edit: EditName = "paired-residual"
    budget: float = 0.94
    distance: str = "l2"
    weight: float = 0.1
    step_size: float = 0.02
    momentum: float = 0.8
    pull: float = 0.5
    steps: int = 30
    decoding: Decoding = "residual"


Settings = Descent | LineSearch | Guided


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
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: Descent,
    region: Region,
    _seeds: Seeds,
) -> Counterfactuals:
    """Descent on the pixels: the baseline, and the generator this project began with."""
    return _descend(goal, factual, PixelSpace(), settings, region)


def latent(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: Descent,
    region: Region,
    _seeds: Seeds,
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
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: LineSearch,
    region: Region,
    _seeds: Seeds,
) -> Counterfactuals:
    """Line search along the score's gradient at the code (latent shift: Cohen et al. 2021)."""
    space = _latent(bundle, settings)
    direction, decodes = score_gradient(goal, factual, space)
    found = _search_along(goal, factual, space, direction, settings, region)
    return replace(found, evaluations=found.evaluations + 1, decodes=found.decodes + decodes)


def class_mean_shift(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: LineSearch,
    region: Region,
    seeds: Seeds,
) -> Counterfactuals:
    """Line search along the difference of the classes' mean codes: the control."""
    space = _latent(bundle, settings)
    codes, _, decodes = space.encode(factual)
    direction = class_mean(bundle.autoencoder.class_means)(codes, goal, seeds)
    found = _search_along(goal, factual, space, direction, settings, region)
    return replace(found, decodes=found.decodes + decodes)


PAIRED = Denoising(draws=1)
INVERSION = Denoising(draws=1)
ASCENT = Ascent()
GOLDEN = 0.618
"""Of the interval of noise levels, between one step and the next: no two steps come close."""


class Proposal(NamedTuple):
    """An edit, and what it costs.

    Attributes:
        edit: of the codes.
        passes: forward passes of the prior, for each image.
    """

    edit: Edit
    passes: int


def propose(bundle: Bundle, name: EditName) -> Proposal:
    """Make an edit of a bundle by its name: to add one, add a branch here.

    Raises:
        ValueError: the bundle has no prior, which the edit needs.
    """
    if name == "class-mean":
        return Proposal(class_mean(bundle.autoencoder.class_means), 0)
    if name == "random":
        return Proposal(random_smooth(), 0)
    if name == "delta-denoising":
        return Proposal(delta_denoising(bundle.prior, ASCENT), ASCENT.passes)
    if name == "inversion":
        return Proposal(inversion(bundle.prior, INVERSION), INVERSION.passes + INVERSION.steps)
    paired = Proposal(paired_residual(bundle.prior, PAIRED), PAIRED.passes)
    return paired._replace(edit=opposite(paired.edit)) if name == "opposite" else paired


def guided(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: Guided,
    region: Region,
    seeds: Seeds,
) -> Counterfactuals:
    """An edit, scaled to an SSIM budget, and then few steps of classifier and prior."""
    space = _latent(bundle, settings)
    codes, _, decodes = space.encode(factual)
    proposal = propose(bundle, settings.edit)
    with torch.no_grad():
        edit = proposal.edit(codes, goal, seeds)
    scaled = scale_to_ssim(edit, factual, space, settings.budget, region=region)
    found = refine(
        goal,
        factual,
        space,
        DISTANCES[settings.distance],
        scaled.change,
        weight=settings.weight,
        step_size=settings.step_size,
        momentum=settings.momentum,
        steps=settings.steps,
        pull=_pull(bundle, goal, seeds, settings) if proposal.passes else None,
        region=region,
    )
    return replace(
        found,
        decodes=found.decodes + decodes + scaled.decodes,
        prior_passes=found.prior_passes + proposal.passes,
    )


def _pull(bundle: Bundle, goal: Goal, seeds: Seeds, settings: Guided) -> Pull:
    """The prior's class contrast, at one noise level a step, spread over the middle ones."""

    @torch.no_grad()
    def towards(codes: Codes, rows: Rows, step: int) -> Codes:
        noises = noise_like(codes, seeds[rows] + step + 1)
        spot = 0.25 + 0.5 * (step * GOLDEN % 1)
        return contrast(bundle.prior, codes, goal.take(rows), noises, torch.tensor([spot]))

    return Pull(towards, passes=2, weight=settings.pull)


class Method(NamedTuple):
    """A way to search, and its settings unless others are given."""

    search: Callable[..., Counterfactuals]
    settings: Settings


METHODS: dict[str, Method] = {
    "prior": Method(guided, Guided()),
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
        if hint is int and value == int(value):
            return int(value)
    kinds: dict[object, str] = {int: "a whole number of 0 or more", float: "a number of 0 or more"}
    wanted = kinds.get(hint) or " or ".join(get_args(hint))
    raise ValueError(f"expected {wanted} as the setting {name}, got {value!r}; correct it")


def search(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    method: str = DEFAULT_METHOD,
    settings: Settings | None = None,
    region: Region = EVERYWHERE,
    seeds: Seeds | None = None,
) -> Counterfactuals:
    """Search the counterfactuals of a batch by a method's name.

    Args:
        bundle: whose models take part.
        goal: what each image is to become.
        factual: images in [0, 1].
        method: a name in `METHODS`.
        settings: of the method; None for its own.
        region: where and how far an image may change.
        seeds: of what is drawn at random, one an image, such as its sample's id; None for zeros.
    """
    drawn = torch.zeros(len(factual), dtype=torch.long) if seeds is None else seeds
    how = settings or settings_of(method)
    return METHODS[method].search(bundle, goal, factual, how, region, drawn)
