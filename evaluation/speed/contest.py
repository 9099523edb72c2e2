"""The contest: every way to search on the same images, in turns, round after round."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.goals import make_goal
from cfgen.metrics import ssim
from cfgen.models.bundle import Bundle
from cfgen.objectives import l2
from cfgen.types import Counterfactuals, Images, Seeds
from evaluation.passes import Tally, counting
from evaluation.speed.contestants import Contestant
from evaluation.speed.limit import Costs, as_batched, least, limit, probe
from evaluation.speed.peak import peak_memory
from evaluation.speed.spent import shares
from evaluation.timing import seconds_of

_LOG = logging.getLogger(__name__)


class Found(NamedTuple):
    """What a contestant finds and what that costs; means over the images.

    Attributes:
        distances: L2 of each image, infinite where the goal is not reached.
        ssim: of those that reach it, NaN where none does.
        evaluations: as the search says.
        decodes: likewise.
        prior_passes: likewise.
        tally: of all images together, counted by hooks, with what makes the goal.
        megabytes: peak memory beyond that of the models, in MiB; None where unknown.
        spent: share of its time by part.
    """

    distances: Float[Tensor, " images"]
    ssim: float
    evaluations: float
    decodes: float
    prior_passes: float
    tally: Tally
    megabytes: float | None
    spent: dict[str, float]

    @property
    def valid(self) -> float:
        """Share of the images that reach their goal."""
        return float(self.distances.isfinite().double().mean())

    @property
    def l2(self) -> float:
        """Mean distance of the images that reach their goal, NaN where none does."""
        return float(self.distances[self.distances.isfinite()].mean())

    def distance_over(self, other: Found) -> float:
        """Mean L2 over another's, of the images that reach their goal by both."""
        both = self.distances.isfinite() & other.distances.isfinite()
        return float(self.distances[both].sum() / other.distances[both].sum())


class Entry(NamedTuple):
    """A contestant, what it found, and its seconds an image in every round."""

    contestant: Contestant
    found: Found
    rounds: list[float]

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


class Contest(NamedTuple):
    """What came out on one device.

    Attributes:
        device: 'cpu' or 'cuda'.
        images: how many.
        costs: of each kind of pass, seconds an image (the least of the rounds).
        entries: one a contestant.
    """

    device: str
    images: int
    costs: Costs
    entries: list[Entry]

    def limit(self, entry: Entry) -> float:
        """The least seconds an image that a contestant's passes can take."""
        return limit(entry.found.tally.passes, self.costs) / self.images

    def as_batched(self, entry: Entry) -> float:
        """Seconds an image that they take in batches of the sizes that the contestant had."""
        return as_batched(entry.found.tally.calls, self.costs) / self.images

    def over_limit(self, entry: Entry) -> float:
        """The least seconds of a contestant over its limit, which is made of the least costs."""
        return min(entry.rounds) / self.limit(entry)

    def entry(self, name: str) -> Entry:
        """What came out for a contestant."""
        return next(one for one in self.entries if one.contestant.name == name)


def contest(
    bundle: Bundle,
    images: Images,
    seeds: Seeds,
    taking_part: Sequence[Contestant],
    rounds: int,
) -> Contest:
    """Let all search the same images, in turns, so that other work of the machine hits all alike.

    Args:
        bundle: whose models take part, on its device.
        images: in [0, 1], on the same device.
        seeds: one an image.
        taking_part: the contestants.
        rounds: of which the median counts; one before, to warm up, measures all but the time.
    """
    works = [_work(one, bundle, images, seeds) for one in taking_part]
    found = [_found(work, bundle, images) for work in works]
    clocked: list[list[float]] = [[] for _ in works]
    costs = []
    for number in range(rounds):
        _LOG.info("round %d of %d on the %s", number + 1, rounds, bundle.device)
        costs.append(probe(bundle, images))
        for work, times in zip(works, clocked, strict=True):
            times.append(seconds_of(work, bundle.device) / len(images))
    entries = [
        Entry(one, what, times)
        for one, what, times in zip(taking_part, found, clocked, strict=True)
    ]
    return Contest(bundle.device, len(images), least(costs), entries)


def _work(
    one: Contestant, bundle: Bundle, images: Images, seeds: Seeds
) -> Callable[[], list[Counterfactuals]]:
    pools = list(zip(images.split(one.pool), seeds.split(one.pool), strict=True))

    def search(some: Images, drawn: Seeds) -> Counterfactuals:
        goal = make_goal(bundle.classifier, some, width=one.batch)
        return one.search(bundle, goal, some, drawn)

    return lambda: [search(*pool) for pool in pools]


def _found(work: Callable[[], list[Counterfactuals]], bundle: Bundle, images: Images) -> Found:
    kept: list[list[Counterfactuals]] = []
    with counting(bundle) as tally:
        megabytes = peak_memory(lambda: kept.append(work()), bundle.device)
    parts = kept[0]
    valid = torch.cat([part.reached() for part in parts]).to(images.device)
    after = torch.cat([part.images for part in parts])

    def mean(name: str) -> float:
        return float(torch.cat([getattr(part, name) for part in parts]).double().mean())

    return Found(
        distances=torch.where(valid, l2(images, after), torch.inf).cpu(),
        ssim=float(ssim(images[valid], after[valid]).mean()) if valid.any() else torch.nan,
        evaluations=mean("evaluations"),
        decodes=mean("decodes"),
        prior_passes=mean("prior_passes"),
        tally=tally,
        megabytes=megabytes,
        spent=shares(work),
    )
