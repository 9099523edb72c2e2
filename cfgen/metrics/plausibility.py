"""Could the counterfactual be a real image of the target class? Others than the classifier say."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.types import Labels

Features = Float[Tensor, "batch features"]


class FrechetRatio(NamedTuple):
    """A Frechet distance beside what real images have among themselves.

    Attributes:
        ratio: `distance` over `real`: 1 for images as close to the real ones as real ones are.
        distance: mean distance of the generated images to real ones.
        real: mean distance of real images to other real ones.
        n: images on either side of each of these distances.
    """

    ratio: float
    distance: float
    real: float
    n: int


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
    mean_1, root_1 = _gaussian(first)
    mean_2, root_2 = _gaussian(second)
    traces = root_1.square().sum() + root_2.square().sum()
    cross = torch.linalg.svdvals(root_1 @ root_2.T).sum()
    distance = (mean_1 - mean_2).square().sum() + traces - 2 * cross
    return max(float(distance), 0.0)


def frechet_ratio(
    generated: Float[Tensor, "generated features"],
    real: Float[Tensor, "real features"],
    draws: int = 20,
    generator: torch.Generator | None = None,
) -> FrechetRatio:
    """Return the Frechet distance to real images, over that of real images to each other.

    Each draw cuts two disjoint sets of n real images at random, and n of the generated ones: the
    distance of the generated to the first set, and of the second set to the first, so that the
    bias of a small n is in both. n is the number generated, or half of the real ones where those
    are fewer than twice as many. 1 is as good as real; lower may be a sign of less variety.

    Raises:
        ValueError: fewer than two generated or four real images, or real images all alike.
    """
    n = min(len(generated), len(real) // 2)
    if n < 2:
        raise ValueError(
            f"expected at least 2 generated and 4 real images, got {len(generated)} and "
            f"{len(real)}; search more images."
        )
    ours, theirs = 0.0, 0.0
    for _ in range(draws):
        order = torch.randperm(len(real), generator=generator)
        chosen = torch.randperm(len(generated), generator=generator)[:n]
        reference = real[order[:n]]
        ours += frechet_distance(generated[chosen], reference) / draws
        theirs += frechet_distance(real[order[n : 2 * n]], reference) / draws
    if theirs == 0:
        raise ValueError(
            "expected real images with features that differ, got the same features for all; "
            "check the judge."
        )
    return FrechetRatio(ours / theirs, ours, theirs, n)


def judge_follow(
    before: Labels, after: Labels, truth: Labels, target: Labels
) -> Float[Tensor, " batch"]:
    """Return 1 where a judge comes to predict the target, 0 where not, NaN where it cannot tell.

    A judge can tell of the images it had right to begin with and that did not show the target
    already. The mean over those is the transfer rate of Papernot et al. 2016, which for
    adversarial noise is near 0. Higher is better, as far as judge and classifier share no
    confounder.

    Args:
        before: the judge's predictions of the factuals.
        after: its predictions of the counterfactuals.
        truth: the classes that the factuals show.
        target: the classes that the counterfactuals are to show.

    >>> wrong, follows, stays = (1, 1), (0, 1), (0, 0)
    >>> before, after = torch.tensor([wrong, follows, stays]).T
    >>> judge_follow(before, after, torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])).tolist()
    [nan, 1.0, 0.0]
    """
    asked = (before == truth) & (truth != target)
    follows = (after == target).float()
    return torch.where(asked, follows, torch.nan)


def _gaussian(
    features: Features,
) -> tuple[Float[Tensor, " features"], Float[Tensor, "rank features"]]:
    """Return the mean, and a matrix A of few rows with A^T A the sample covariance."""
    if len(features) < 2:
        raise ValueError(
            f"expected at least 2 samples for a covariance, got {len(features)}; pass more."
        )
    if not torch.isfinite(features).all():
        raise ValueError("expected finite features, got NaN or infinity; check the images.")
    exact = features.detach().double().cpu()
    mean = exact.mean(0)
    centred = (exact - mean) / (len(exact) - 1) ** 0.5
    return mean, torch.linalg.qr(centred, mode="r").R
