"""The least that a search can take: its passes, each at the best cost that it has in any batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cfgen.models.bundle import Bundle
from cfgen.types import Codes, Images
from evaluation.passes import GRADIENT
from evaluation.timing import seconds_of

BATCHES = (1, 4, 8, 16, 32, 64)
REPEATS = 2

Costs = dict[str, dict[int, float]]
"""Seconds an image, by kind of pass and batch size."""


def probe(bundle: Bundle, images: Images, batches: Sequence[int] = BATCHES) -> Costs:
    """Measure every kind of pass in batches of several sizes; each the least of `REPEATS`.

    Args:
        bundle: whose networks are measured.
        images: as the classifier takes them; taken again and again where there are too few.
        batches: sizes.
    """
    filled = images.repeat(-(-max(batches) // len(images)), 1, 1, 1)
    costs: Costs = {}
    for size in batches:
        for kind, work in _works(bundle, filled[:size]).items():
            seconds = min(seconds_of(work, bundle.device) for _ in range(REPEATS))
            costs.setdefault(kind, {})[size] = seconds / size
    return costs


def _works(bundle: Bundle, images: Images) -> dict[str, Callable[[], object]]:
    """Return a call for each kind of pass that the bundle has networks for."""
    works = _with_gradient("classifier", bundle.classifier, images)
    if not bundle.has("autoencoder"):
        return works
    coder = bundle.autoencoder
    with torch.no_grad():
        codes = coder.encode(images)
    works |= _with_gradient("decoder", coder.decode, codes)
    works["encoder"] = lambda: _forward(coder.encode, images)
    if bundle.has("prior"):
        prior, labels = bundle.prior, torch.zeros(len(codes), dtype=torch.long).to(codes.device)
        step = torch.full_like(labels, prior.steps // 2)
        works["prior"] = lambda: _forward(lambda code: prior(code, step, labels), codes)
    return works


def _with_gradient(
    kind: str, network: Callable[[Tensor], Tensor], given: Images | Codes
) -> dict[str, Callable[[], object]]:
    return {
        kind: lambda: _forward(network, given),
        kind + GRADIENT: lambda: _backward(network, given),
    }


@torch.no_grad()
def _forward(network: Callable[[Tensor], Tensor], given: Tensor) -> None:
    network(given)


def _backward(network: Callable[[Tensor], Tensor], given: Tensor) -> None:
    asked = given.detach().requires_grad_()
    torch.autograd.grad(network(asked).sum(), asked)


def least(rounds: Sequence[Costs]) -> Costs:
    """Return the least of each cost over rounds: whatever else the machine does can only add.

    >>> least([{"prior": {1: 0.2}}, {"prior": {1: 0.1}}, {"prior": {1: 0.9}}])
    {'prior': {1: 0.1}}
    """
    return {
        kind: {size: min(costs[kind][size] for costs in rounds) for size in sizes}
        for kind, sizes in rounds[0].items()
    }


def limit(passes: Mapping[str, int], costs: Costs) -> float:
    """Return the least seconds that some passes can take: sum of count * cost in the best batch.

    Args:
        passes: how many of each kind.
        costs: of each kind, an image.

    Raises:
        ValueError: a kind of pass was not measured.

    Example:
        >>> limit(
        ...     {"classifier": 10, "decoder": 2},
        ...     {"classifier": {1: 0.3, 8: 0.1}, "decoder": {1: 1.0}},
        ... )
        3.0
    """
    unknown = sorted(kind for kind, count in passes.items() if count and kind not in costs)
    if unknown:
        raise ValueError(
            f"expected costs of all passes, got none of {', '.join(unknown)}; do probe a bundle "
            "that has these networks"
        )
    return sum((count * min(costs[kind].values()) for kind, count in passes.items() if count), 0.0)


def as_batched(calls: Mapping[tuple[str, int], int], costs: Costs) -> float:
    """Return the seconds that calls of the networks take in batches of the sizes they had.

    Between the sizes that were measured, the time of a batch is interpolated; beyond the largest,
    an image costs what it costs there.

    Args:
        calls: how many, by kind and batch size.
        costs: of each kind, an image.

    Example:
        >>> as_batched({("prior", 1): 2, ("prior", 3): 1}, {"prior": {1: 1.0, 5: 0.6}})
        4.0
    """
    return sum(
        (count * _batch(costs[kind], size) for (kind, size), count in calls.items() if count), 0.0
    )


def _batch(costs: Mapping[int, float], size: int) -> float:
    """Return the seconds of a batch of any size."""
    largest = max(costs)
    if size > largest:
        return size * costs[largest]
    sizes = sorted(costs)
    return float(np.interp(size, sizes, [each * costs[each] for each in sizes]))
