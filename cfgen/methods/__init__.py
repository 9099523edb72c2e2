"""The methods: a space, an edit and a search put together.

To add one, write a function with the signature of those below and a row in `METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from cfgen.methods.guidance import guided
from cfgen.methods.plain import class_mean_shift, latent, latent_boundary, latent_shift, pixel
from cfgen.methods.settings import Approach, Descent, Guided, LineSearch, Settings, with_overrides
from cfgen.models.bundle import Bundle
from cfgen.spaces import EVERYWHERE, Region
from cfgen.types import Counterfactuals, Goal, Images, Limits, Seeds

DEFAULT_METHOD = "prior"


class Method(NamedTuple):
    """A way to search, and its settings unless others are given."""

    search: Callable[..., Counterfactuals]
    settings: Settings


METHODS: dict[str, Method] = {
    "prior": Method(guided, Guided()),
    "pixel": Method(pixel, Descent()),
    "latent": Method(latent, Descent(step_size=0.02, steps=300)),
    "latent-boundary": Method(latent_boundary, Approach()),
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
    return with_overrides(method, METHODS[method].settings, overrides or {})


def search(
    bundle: Bundle,
    goal: Goal,
    factual: Images,
    method: str = DEFAULT_METHOD,
    settings: Settings | None = None,
    region: Region = EVERYWHERE,
    seeds: Seeds | None = None,
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> Counterfactuals:
    """Search the counterfactuals of a pool of images by a method's name.

    Args:
        bundle: whose models take part.
        goal: what each image is to become.
        factual: images in [0, 1].
        method: a name in `METHODS`.
        settings: of the method; None for its own.
        region: where and how far an image may change.
        seeds: of what is drawn at random, one an image, such as its sample's id; None for zeros.
        limits: what the search may use.
    """
    drawn = torch.zeros(len(factual), dtype=torch.long) if seeds is None else seeds
    how = settings or settings_of(method)
    return METHODS[method].search(bundle, goal, factual, how, region, drawn, limits)
