"""How far are generated images from real ones, as Gaussians in the features of a network?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.metrics.draws import draws_beside

Features = Float[Tensor, "batch features"]


class FrechetRatio(NamedTuple):
    """A Frechet distance beside what real images have among themselves.

    Attributes:
        ratio: `distance` over `real`: 1 for images as close to the real ones as real ones are.
        distance: mean distance of the generated images to real ones.
        real: mean distance of real images to those of other patients.
        n: images on either side of each of these distances.
    """

    ratio: float
    distance: float
    real: float
    n: int


class _Gaussian(NamedTuple):
    """A mean, and a matrix A of few rows with A^T A the sample covariance."""

    mean: Float[Tensor, " features"]
    root: Float[Tensor, "rank features"]


def frechet_distance(
    first: Float[Tensor, "first features"], second: Float[Tensor, "second features"]
) -> float:
    """Return the squared Frechet distance of the Gaussians fitted to two sets of features.

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)), in [0, inf), lower is closer (Dowson and
    Landau 1982; Heusel et al. 2017 on Inception's features: only that is an 'FID'). Biased upwards
    by few samples: compare at one n only.

    The trace of the root is the sum of the singular values of A_1 A_2^T, where A^T A = C for the
    centred, scaled features A. That needs no root of a matrix and holds for fewer samples than
    features too.

    Raises:
        ValueError: fewer than two samples, or features that are not finite.
    """
    return _apart(_gaussian(first), _gaussian(second))


def frechet_ratio(
    generated: Float[Tensor, "generated features"],
    real: Float[Tensor, "real features"],
    patients: Sequence[Hashable] | None = None,
    draws: int = 100,
    seed: int = 0,
) -> FrechetRatio:
    """Return the Frechet distance to real images, over that of real images to each other.

    Each draw takes two sets of n real images that share no patient, and n of the generated ones:
    the distance of the generated to the first set, and of the second set to the first, so that
    the bias of a small n is in both. n is the number generated, or what `size_of_draws` leaves of
    fewer real ones. 1 is as good as real; lower may be a sign of less variety.

    Args:
        generated: features of the generated images.
        real: features of the real ones.
        patients: whose each real image is; each is its own without.
        draws: how many sets are averaged.
        seed: of the drawing.

    Raises:
        ValueError: fewer than two generated images or than two real ones a side, real images all
            alike, or not as many patients as real images.
    """
    return frechet_ratios(generated[None], real, patients, draws, seed)[0]


def frechet_ratios(
    sets: Float[Tensor, "sets generated features"],
    real: Float[Tensor, "real features"],
    patients: Sequence[Hashable] | None = None,
    draws: int = 100,
    seed: int = 0,
) -> list[FrechetRatio]:
    """Return the `frechet_ratio` of several sets of as many images, the real ones drawn once.

    Args:
        sets: features of each set of generated images.
        real: as there.
        patients: likewise.
        draws: likewise.
        seed: likewise.

    Raises:
        ValueError: as there.
    """
    n, drawn = draws_beside(sets.shape[1], len(real), patients, draws, seed)
    ours, theirs = [0.0] * len(sets), 0.0
    for chosen, first, second in drawn:
        fitted = _gaussian(real[first])
        theirs += _apart(_gaussian(real[second]), fitted) / draws
        for place, generated in enumerate(sets):
            ours[place] += _apart(_gaussian(generated[chosen]), fitted) / draws
    if theirs == 0:
        raise ValueError(
            "expected real images with features that differ, got the same features for all; "
            "check the network."
        )
    return [FrechetRatio(distance / theirs, distance, theirs, n) for distance in ours]


def _apart(first: _Gaussian, second: _Gaussian) -> float:
    traces = first.root.square().sum() + second.root.square().sum()
    cross = torch.linalg.svdvals(first.root @ second.root.T).sum()
    distance = (first.mean - second.mean).square().sum() + traces - 2 * cross
    return max(float(distance), 0.0)


def _gaussian(features: Features) -> _Gaussian:
    if len(features) < 2:
        raise ValueError(
            f"expected at least 2 samples for a covariance, got {len(features)}; pass more."
        )
    if not torch.isfinite(features).all():
        raise ValueError("expected finite features, got NaN or infinity; check the images.")
    exact = features.detach().double().cpu()
    mean = exact.mean(0)
    centred = (exact - mean) / (len(exact) - 1) ** 0.5
    return _Gaussian(mean, torch.linalg.qr(centred, mode="r").R)
