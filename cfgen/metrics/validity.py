"""Does the classifier say what it was to say?"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.types import Labels


def valid(probabilities: Float[Tensor, " batch"], threshold: float = 0.9) -> Bool[Tensor, " batch"]:
    """Return which images have p(target) >= threshold, p being the calibrated probability.

    Source: validity after Mothilal et al. 2020 (DiCE), which asks for 0.5 only. Higher is better
    for a search, yet on a brittle classifier says nothing of what is seen.

    >>> import torch
    >>> valid(torch.tensor([0.5, 0.9, 0.95])).tolist()
    [False, True, True]
    """
    return probabilities >= threshold


def flip(predicted: Labels, target: Labels) -> Bool[Tensor, " batch"]:
    """Return which predictions are the target, each prediction made at the decision threshold.

    Source: the flip rate of Singla et al. 2023 ('counterfactual validity'). Higher is better.

    >>> import torch
    >>> flip(torch.tensor([0, 1]), torch.tensor([1, 1])).tolist()
    [False, True]
    """
    return predicted == target
