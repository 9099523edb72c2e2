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


def confidence_change(
    before: Float[Tensor, " batch"], after: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return the absolute change |p' - p| of a calibrated probability, in [0, 1].

    Source: its mean is the 'mean absolute difference' of Weng et al. 2024 (FastDiME), there of
    the prediction of a finding while a shortcut is changed; here p is always of the target. Higher
    is more effect; that it is towards the target only `valid` and `flip` say.

    Args:
        before: p(target) of the factuals.
        after: p(target) of the counterfactuals.

    >>> import torch
    >>> confidence_change(torch.tensor([0.25, 0.5]), torch.tensor([1.0, 0.25])).tolist()
    [0.75, 0.25]
    """
    return (after - before).abs()
