"""The methods that know no prior: descents and line searches in pixels and codes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from cfgen.edits import class_mean
from cfgen.methods.settings import Approach, Descent, LineSearch
from cfgen.models.bundle import Bundle
from cfgen.objectives import DISTANCES
from cfgen.search import approach, descend, line_search, score_gradient
from cfgen.spaces import Encoded, LatentSpace, PixelSpace, Region, Space, encode
from cfgen.types import Counterfactuals, Goal, Images, Limits, Seeds


def _latent(bundle: Bundle, settings: Descent | LineSearch | Approach) -> LatentSpace:
    return LatentSpace(bundle.autoencoder, residual=settings.decoding == "residual")


def _descend(
    goal: Goal,
    factual: Images,
    space: Space,
    settings: Descent,
    region: Region,
    limits: Limits,
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
        limits=limits,
    )


def pixel(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: Descent,
    region: Region,
    _seeds: Seeds,
    limits: Limits,
) -> Counterfactuals:
    """Descent on the pixels: the baseline, and the generator this project began with."""
    return _descend(goal, factual, PixelSpace(), settings, region, limits)


def latent(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: Descent,
    region: Region,
    _seeds: Seeds,
    limits: Limits,
) -> Counterfactuals:
    """Descent on the autoencoder's code."""
    return _descend(goal, factual, _latent(bundle, settings), settings, region, limits)


def _search_along(
    goal: Goal,
    factual: Images,
    space: Space,
    encoded: Encoded,
    direction: Tensor,
    settings: LineSearch,
    region: Region,
    limits: Limits,
) -> Counterfactuals:
    return line_search(
        goal,
        factual,
        space,
        encoded,
        direction,
        first=settings.first,
        growth=settings.growth,
        steps=settings.steps,
        region=region,
        limits=limits,
    )


def latent_shift(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: LineSearch,
    region: Region,
    _seeds: Seeds,
    limits: Limits,
) -> Counterfactuals:
    """Line search along the score's gradient at the code (latent shift: Cohen et al. 2021)."""
    space = _latent(bundle, settings)
    encoded = encode(space, factual, limits.width)
    direction = score_gradient(goal, factual, space, encoded, limits.width)
    left = limits._replace(evaluations=limits.evaluations - 1)
    found = _search_along(goal, factual, space, encoded, direction, settings, region, left)
    return replace(found, evaluations=found.evaluations + 1, decodes=found.decodes + space.decodes)


def class_mean_shift(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: LineSearch,
    region: Region,
    seeds: Seeds,
    limits: Limits,
) -> Counterfactuals:
    """Line search along the difference of the classes' mean codes: the control."""
    space = _latent(bundle, settings)
    encoded = encode(space, factual, limits.width)
    direction = class_mean(bundle.autoencoder.class_means)(encoded.codes, goal, seeds)
    return _search_along(goal, factual, space, encoded, direction, settings, region, limits)


def latent_boundary(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    settings: Approach,
    region: Region,
    _seeds: Seeds,
    limits: Limits,
) -> Counterfactuals:
    """Linearised steps of the code to the boundary, and the way back (Moosavi-Dezfooli 2016)."""
    return approach(
        goal,
        factual,
        _latent(bundle, settings),
        overshoot=settings.overshoot,
        steps=settings.steps,
        halvings=settings.halvings,
        region=region,
        limits=limits,
    )
