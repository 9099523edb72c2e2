"""How far are generated images from real ones, without taking features to be Gaussian?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.metrics.draws import disjoint_draws, size_of_draws

_AT_ONCE = 1024


class KernelDistance(NamedTuple):
    """A kernel distance beside what real images have among themselves.

    Attributes:
        distance: of the generated images to all real ones.
        real: mean distance of real images to those of other patients, about 0.
        real_high: 95th percentile of these: what is above is further away than real ones are.
        n: images on either side of the distances among real ones.
    """

    distance: float
    real: float
    real_high: float
    n: int


def kernel_distance(
    first: Float[Tensor, "first features"], second: Float[Tensor, "second features"]
) -> float:
    """Return the unbiased squared maximum mean discrepancy with a cubic kernel.

    MMD^2 = mean_(i != j) k(x_i, x_j) + mean_(i != j) k(y_i, y_j) - 2 mean_(i, j) k(x_i, y_j) with
    k(x, y) = (<x, y> / d + 1)^3 for d features (Gretton et al. 2012; Binkowski et al. 2018 on
    Inception's features: only that is a 'KID'). Lower is closer; its expectation is 0 for one
    distribution and it may fall below. Unbiased, so that any two n compare; the scale of the
    features counts, so that only distances in one network's features do.

    Raises:
        ValueError: fewer than two samples on a side, or features that are not finite.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"expected at least 2 samples a side, got {len(first)} and {len(second)}; pass more."
        )
    if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
        raise ValueError("expected finite features, got NaN or infinity; check the images.")
    x, y = first.double(), second.double()
    return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _total(x, y) / (len(x) * len(y))


def kernel_comparison(
    generated: Float[Tensor, "generated features"],
    real: Float[Tensor, "real features"],
    patients: Sequence[Hashable] | None = None,
    draws: int = 100,
    seed: int = 0,
) -> KernelDistance:
    """Return the kernel distance to real images, with that of real images to each other.

    The latter over draws of two sets of n real images that share no patient; n is the number
    generated, or what `size_of_draws` leaves of fewer real ones.

    Args:
        generated: features of the generated images.
        real: features of the real ones.
        patients: whose each real image is; each is its own without.
        draws: how many pairs of sets of real images.
        seed: of the drawing.

    Raises:
        ValueError: fewer than two generated images or than two real ones a side, or not as many
            patients as real images.
    """
    groups = range(len(real)) if patients is None else patients
    n = size_of_draws(len(generated), len(real), groups)
    generator = torch.Generator().manual_seed(seed)
    pairs = disjoint_draws(groups, n, draws, generator)
    among = [kernel_distance(real[first], real[second]) for first, second in pairs]
    high = float(np.percentile(among, 95))
    return KernelDistance(kernel_distance(generated, real), float(np.mean(among)), high, n)


def _kernel(
    first: Float[Tensor, "first features"], second: Float[Tensor, "second features"]
) -> Float[Tensor, "first second"]:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _total(
    first: Float[Tensor, "first features"], second: Float[Tensor, "second features"]
) -> float:
    """Sum of the kernel over all pairs, some rows at a time."""
    return sum(float(_kernel(part, second).sum()) for part in first.split(_AT_ONCE))


def _mean_of_pairs(features: Float[Tensor, "batch features"]) -> float:
    """Mean of the kernel over all pairs of two different samples."""
    n = len(features)
    own = ((features.square().sum(1) / features.shape[1] + 1) ** 3).sum()
    return (_total(features, features) - float(own)) / (n * (n - 1))
