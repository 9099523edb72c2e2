"""Is the counterfactual read as its target class by models of the classes?"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

Samples = Float[Tensor, "batch ..."]

_EPSILON = 1e-8


def im1(images: Samples, by_target: Samples, by_source: Samples) -> Float[Tensor, " batch"]:
    """Return |x' - R_target(x')|^2 / (|x' - R_source(x')|^2 + 1e-8), in [0, inf); lower is better.

    IM1 of Van Looveren and Klaise 2021, with R_c an autoencoder of class c alone: below 1 the
    target's model rebuilds the counterfactual better than the source's. Any model of a class that
    returns what it takes for the sample will do in its place, of images or of codes.

    Args:
        images: counterfactuals x', or their codes.
        by_target: the same as the model of the target class rebuilds them.
        by_source: as that of the source class does.

    >>> import torch
    >>> im1(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])).tolist()
    [0.25]
    """
    return _squared(images, by_target) / (_squared(images, by_source) + _EPSILON)


def im2(images: Samples, by_target: Samples, by_any: Samples) -> Float[Tensor, " batch"]:
    """Return |R_target(x') - R(x')|^2 / (|x'|_1 + 1e-8), in [0, inf); lower is better.

    IM2 of Van Looveren and Klaise 2021, with R a model of all classes: near 0 where the class makes
    no difference to how the sample is rebuilt, which is taken for a sample as usual as others of
    its class. It grows with the scale of x', so compare within one model only. Do not read it
    alone: Schut et al. 2021 judge by IM1.

    Args:
        images: counterfactuals x', or their codes.
        by_target: the same as the model of the target class rebuilds them.
        by_any: as that of all classes does.

    >>> import torch
    >>> im2(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2), torch.ones(1, 2)).tolist()
    [0.5]
    """
    return _squared(by_target, by_any) / (images.flatten(1).abs().sum(1) + _EPSILON)


def _squared(first: Samples, second: Samples) -> Float[Tensor, " batch"]:
    return (first - second).flatten(1).square().sum(1)
