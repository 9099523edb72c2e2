"""The ways to search that are held against one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cfgen.methods import METHODS
from cfgen.methods import search as search_batch
from cfgen.models.bundle import Bundle
from cfgen.types import Counterfactuals, Goal, Images, Seeds
from evaluation.speed.origin import origin_loop, origin_settings

Search = Callable[[Bundle, Goal, Images, Seeds], Counterfactuals]

ORIGIN = "origin's loop"
SHIFT = "latent-shift, one at a time"


class Contestant(NamedTuple):
    """A way to search.

    Attributes:
        name: in the tables.
        batch: images at once.
        search: a batch of them.
    """

    name: str
    batch: int
    search: Search


def contestants(batch: int) -> list[Contestant]:
    """Return the two that search one image at a time, and every method in batches."""
    methods = [Contestant(name, batch, by_method(name)) for name in METHODS]
    return [
        Contestant(ORIGIN, 1, by_origin),
        Contestant(SHIFT, 1, by_method("latent-shift")),
        *methods,
    ]


def by_method(name: str) -> Search:
    """Search by a method with its own settings."""
    return lambda bundle, goal, images, seeds: search_batch(bundle, goal, images, name, seeds=seeds)


def by_origin(_bundle: Bundle, goal: Goal, images: Images, _seeds: Seeds) -> Counterfactuals:
    """Search one image by the origin's loop."""
    return origin_loop(goal, images, origin_settings())
