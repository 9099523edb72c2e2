"""Is the counterfactual still of the same person?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cfgen.types import Images

Features = Float[Tensor, "batch features"]

SIDE = 16
"""Side of the thumbnails that `low_passed` makes."""


def low_passed(images: Images) -> Features:
    """Return images as thumbnails of 16 x 16 block means, flat: the build of a chest, no detail."""
    return adaptive_avg_pool2d(images, SIDE).flatten(1)


def own_is_nearest(images: Features, factuals: Features) -> Bool[Tensor, " batch"]:
    """Return whether no factual is nearer to a counterfactual than its own.

    |f'_i - f_i| <= min_j |f'_i - f_j| in Euclidean distance: row i of both is one sample. The
    mean is the rank-1 rate of person re-identification (Gray and Tao 2008); higher is better, 1/n
    is chance. In the features of a network that tells classes the target's factuals are nearer
    to begin with; in `low_passed` pixels they are not.

    >>> factuals = torch.tensor([[0.0], [1.0], [5.0]])
    >>> own_is_nearest(torch.tensor([[0.2], [0.4], [4.0]]), factuals).tolist()
    [True, False, True]
    """
    distances = _squared_distances(images, factuals)
    return distances.diagonal() <= distances.amin(1)


def same_group_is_nearest(
    factuals: Features, groups: Sequence[Hashable]
) -> Float[Tensor, " batch"]:
    """Return 1 where the image nearest to one is of the same group, 0 where not.

    What `own_is_nearest` is to be read against: with patients as groups, how often another
    image of a patient finds that patient. NaN where a group has no other image.

    Args:
        factuals: one row an image.
        groups: whose image each row is.

    Raises:
        ValueError: not as many groups as rows.

    >>> found = same_group_is_nearest(torch.tensor([[0.0], [0.4], [0.5], [9.0]]), "aabc")
    >>> found.tolist()
    [1.0, 0.0, nan, nan]
    """
    if len(groups) != len(factuals):
        raise ValueError(
            f"expected a group for each of {len(factuals)} rows, got {len(groups)}; pass one each."
        )
    place: dict[Hashable, int] = {}
    own = torch.tensor([place.setdefault(group, len(place)) for group in groups])
    distances = _squared_distances(factuals, factuals).fill_diagonal_(torch.inf)
    found = (own[distances.argmin(1).cpu()] == own).to(factuals)
    alone = (own[:, None] == own).sum(1) == 1
    return torch.where(alone.to(factuals.device), torch.nan, found)


def _squared_distances(
    first: Float[Tensor, "first features"], second: Float[Tensor, "second features"]
) -> Float[Tensor, "first second"]:
    """|a - b|^2 as |a|^2 + |b|^2 - 2 ab, in float64, where that loses nothing that matters."""
    first, second = first.double(), second.double()
    squares = first.square().sum(1)[:, None] + second.square().sum(1)
    return squares - 2 * first @ second.T
