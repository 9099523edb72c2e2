"""How different are several counterfactuals of one image?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity


class Diversity(NamedTuple):
    """Mean distance between any two changes of an image; NaN for fewer than two.

    Attributes:
        cosine: 1 - <d_i, d_j> / (|d_i| |d_j|), in [0, 2]: of what kind they are; pairs with a
            change of nothing are left out, and NaN where there are no others.
        l2: |d_i - d_j|, in [0, sqrt(h w)]: how far they are apart, strength and all.
    """

    cosine: Float[Tensor, " batch"]
    l2: Float[Tensor, " batch"]


def diversity(changes: Float[Tensor, "batch draws 1 height width"]) -> Diversity:
    """Return how different the changes of each image are from each other; higher is more diverse.

    The mean over the k (k - 1) / 2 pairs of a distance between counterfactuals: diversity after
    Mothilal et al. 2020 (DiCE), there of tables. Noise is diverse too: to be read beside what
    the counterfactuals are worth otherwise.

    Args:
        changes: k changes x' - x of each image.

    >>> changes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]).reshape(1, 3, 1, 1, 2)
    >>> [round(float(value), 4) for value in diversity(changes)]
    [0.6667, 1.5501]
    """
    flat = changes.flatten(2)
    one, other = torch.triu_indices(flat.shape[1], flat.shape[1], offset=1)
    first, second = flat[:, one], flat[:, other]
    moved = (first.norm(dim=2) > 0) & (second.norm(dim=2) > 0)
    angles = torch.where(moved, 1 - cosine_similarity(first, second, dim=2), torch.nan)
    return Diversity(angles.nanmean(1), (first - second).norm(dim=2).mean(1))
