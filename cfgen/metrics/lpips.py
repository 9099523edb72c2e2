"""How differently does a network that learned photographs see two images?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

Layers = Sequence[Float[Tensor, "batch _ _ _"]]

_LEAST_NORM = 1e-10


def lpips(
    first: Layers, second: Layers, heads: Sequence[Float[Tensor, " _"]]
) -> Float[Tensor, " batch"]:
    """Return the learned perceptual image patch similarity, a distance, from features of images.

    d = sum_l mean_p sum_c w_lc (y_lpc - z_lpc)^2, where y and z are the features of both images in
    layer l, of length 1 over the channels c at each place p, and w the weights of the linear head
    of that layer (Zhang et al. 2018, 'The unreasonable effectiveness of deep features as a
    perceptual metric'). 0 for images that are seen alike, and lower is more alike; symmetric; at
    most 2 sum_l max_c w_lc where no weight and no feature is negative.

    `cfgen.models.alexnet` has the layers and heads of the paper's network. It learned photographs,
    and its heads what people say of patches of them: no X-ray was among either.

    Args:
        first: features of the images, layer by layer.
        second: of those they are compared to.
        heads: a weight for each channel of a layer, layer by layer.

    Raises:
        ValueError: there are not as many heads as layers.

    >>> grey, light = torch.tensor([[[[2.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[3.0]]]])
    >>> lpips([grey], [light], [torch.tensor([0.25, 0.5])]).tolist()
    [0.75]
    """
    if not len(first) == len(second) == len(heads) > 0:
        raise ValueError(
            f"expected as many heads as layers, got {len(first)}, {len(second)} and {len(heads)}; "
            "pass all layers of one network."
        )
    parts = []
    for one, other, head in zip(first, second, heads, strict=True):
        apart = normalize(one, eps=_LEAST_NORM) - normalize(other, eps=_LEAST_NORM)
        parts.append((apart.square() * head[:, None, None]).sum(1).mean((1, 2)))
    return torch.stack(parts).sum(0)
