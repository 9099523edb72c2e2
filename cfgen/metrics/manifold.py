"""Do generated images cover what real ones look like, and nothing else?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.metrics.draws import draws_beside

NEIGHBOURS = 3
"""The k of the paper."""


class PrecisionRecall(NamedTuple):
    """How two sets of samples cover each other.

    Attributes:
        precision: share of the generated ones that lie among the real ones, in [0, 1].
        recall: share of the real ones that lie among the generated ones, in [0, 1].
    """

    precision: float
    recall: float


class Coverage(NamedTuple):
    """Precision and recall beside what real images have among themselves.

    Attributes:
        precision: of the generated images, the mean over the draws.
        recall: likewise.
        real_precision: of real images against those of other patients.
        real_recall: likewise.
        n: images on either side of each comparison.
    """

    precision: float
    recall: float
    real_precision: float
    real_recall: float
    n: int


def precision_recall(
    generated: Float[Tensor, "generated features"],
    real: Float[Tensor, "real features"],
    neighbours: int = NEIGHBOURS,
) -> PrecisionRecall:
    """Return precision and recall of a set of generated samples; higher is better for both.

    A sample lies among others if it is no further from one of these than this one's k-th nearest
    of its own set (Kynkäänniemi et al. 2019). Precision is how many of the generated lie among the
    real: are they real? Recall is how many of the real lie among the generated: is there all that
    is real? The radii shrink as sets grow, so compare at one n and k only.

    Args:
        generated: features of the generated samples.
        real: features of the real ones.
        neighbours: k.

    Raises:
        ValueError: not more than k samples on a side, or features that are not finite.

    >>> real = torch.arange(5.0)[:, None]
    >>> precision_recall(torch.tensor([[0.5], [1.5], [90.0], [91.0]]), real, neighbours=1)
    PrecisionRecall(precision=0.5, recall=0.6)
    """
    if min(len(generated), len(real)) <= neighbours:
        raise ValueError(
            f"expected more than {neighbours} samples a side, got {len(generated)} and "
            f"{len(real)}; pass more."
        )
    if not (torch.isfinite(generated).all() and torch.isfinite(real).all()):
        raise ValueError("expected finite features, got NaN or infinity; check the images.")
    ours, theirs = generated.double(), real.double()
    precision = _lie_among(ours, theirs, neighbours).double().mean()
    recall = _lie_among(theirs, ours, neighbours).double().mean()
    return PrecisionRecall(float(precision), float(recall))


def coverage(
    generated: Float[Tensor, "generated features"],
    real: Float[Tensor, "real features"],
    patients: Sequence[Hashable] | None = None,
    draws: int = 20,
    seed: int = 0,
) -> Coverage:
    """Return precision and recall of generated images, with those of real images among them.

    Each draw takes two sets of n real images that share no patient, and n of the generated ones:
    these are held against the first set, and the second set is. n is the number generated, or what
    `size_of_draws` leaves of fewer real ones.

    Args:
        generated: features of the generated images.
        real: features of the real ones.
        patients: whose each real image is; each is its own without.
        draws: how many sets are averaged.
        seed: of the drawing.

    Raises:
        ValueError: not more than `NEIGHBOURS` images a side, or not as many patients as real
            images.
    """
    return coverages(generated[None], real, patients, draws, seed)[0]


def coverages(
    sets: Float[Tensor, "sets generated features"],
    real: Float[Tensor, "real features"],
    patients: Sequence[Hashable] | None = None,
    draws: int = 20,
    seed: int = 0,
) -> list[Coverage]:
    """Return the `coverage` of several sets of as many images, the real ones drawn once.

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
    found = []
    for chosen, first, second in drawn:
        compared = (*sets[:, chosen], real[second])
        found.append([precision_recall(one, real[first]) for one in compared])
    *ours, (real_precision, real_recall) = torch.tensor(found, dtype=torch.float64).mean(0).tolist()
    return [
        Coverage(precision, recall, real_precision, real_recall, n) for precision, recall in ours
    ]


def _lie_among(
    samples: Float[Tensor, "samples features"], others: Float[Tensor, "others features"], k: int
) -> Bool[Tensor, " samples"]:
    """Whether each sample is in the ball of any other, as large as to hold k of the others."""
    exact = "donot_use_mm_for_euclid_dist"
    # The nearest of its own set is the sample itself.
    radii = torch.cdist(others, others, compute_mode=exact).kthvalue(k + 1, dim=1).values
    return (torch.cdist(samples, others, compute_mode=exact) <= radii).any(1)
