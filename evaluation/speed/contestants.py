"""The ways to search that are held against one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cfgen.methods import METHODS
from cfgen.methods import search as search_batch
from cfgen.models.bundle import Bundle
from cfgen.types import Counterfactuals, Goal, Images, Limits, Seeds
from evaluation.search.sizes import POOL
from evaluation.speed.origin import origin_loop, origin_settings

Search = Callable[[Bundle, Goal, Images, Seeds], Counterfactuals]

ORIGIN = "origin's loop"
SHIFT = "latent-shift, one at a time"


class Contestant(NamedTuple):
    """A way to search.

    Attributes:
        name: in the tables.
        batch: images that the networks are given at once.
        search: a pool of images.
    """

    name: str
    batch: int
    search: Search

    @property
    def pool(self) -> int:
        """Images that are searched together; a search of one at a time knows no others."""
        return self.batch if self.batch == 1 else POOL * self.batch


def contestants(batch: int) -> list[Contestant]:
    """Return the two that search one image at a time, and every method in pools of batches."""
    methods = [Contestant(name, batch, by_method(name, batch)) for name in METHODS]
    return [
        Contestant(ORIGIN, 1, by_origin),
        Contestant(SHIFT, 1, by_method("latent-shift", 1)),
        *methods,
    ]


def by_method(name: str, batch: int) -> Search:
    """Search by a method with its own settings, so many images at once."""

    def search(bundle: Bundle, goal: Goal, images: Images, seeds: Seeds) -> Counterfactuals:
        return search_batch(bundle, goal, images, name, seeds=seeds, limits=Limits(batch))

    return search


def by_origin(_bundle: Bundle, goal: Goal, images: Images, _seeds: Seeds) -> Counterfactuals:
    """Search one image by the origin's loop."""
    return origin_loop(goal, images, origin_settings())
