"""Do the pixels that change most change the decision first?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.types import Images

Curves = Float[Tensor, "batch points"]


def transition(factual: Images, image: Images, steps: int) -> Iterator[Images]:
    """Yield `steps` + 1 images from factual to counterfactual, those of most change first.

    The k-th has the counterfactual's value in the round(k n / steps) of n pixels where |x' - x| is
    largest, and the factual's elsewhere: the first is the factual, the last the counterfactual. Of
    pixels that change alike the one further up, then further left, comes first.

    Args:
        factual: images before.
        image: images after.
        steps: how many sets of pixels are swapped in.

    Raises:
        ValueError: there are no steps.

    >>> images = transition(torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.1, 0.5]]]]), steps=2)
    >>> [round(float(image.sum()), 1) for image in images]
    [0.0, 0.5, 0.6]
    """
    if steps < 1:
        raise ValueError(f"expected 1 step or more, got {steps}; give 16, say.")
    order = (image - factual).abs().flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter(1, order, places).view_as(factual)
    for step in range(steps + 1):
        yield torch.where(rank < round(step * order.shape[1] / steps), image, factual)


def cout(target: Curves, source: Curves) -> Float[Tensor, " batch"]:
    """Return the counterfactual transition score COUT, in [-1, 1]; higher is better.

    AUPC_target - AUPC_source, where AUPC_c = (1 / K) sum_(k < K) (p_c(x_k) + p_c(x_(k + 1))) / 2 is
    the area under the probability of class c along the K steps of `transition` (Khorram and Fuxin
    2022, whose code takes 50 steps and only images that the classifier has right). 1 where the
    first pixels swapped in decide all, -1 where the last do not yet.

    Args:
        target: probability of the target class at each point, the factual first.
        source: the same of the source class.

    Raises:
        ValueError: fewer than two points.

    >>> rising = torch.tensor([[0.0, 1.0, 1.0]])
    >>> cout(rising, 1 - rising).tolist()
    [0.5]
    """
    if target.shape[1] < 2:
        raise ValueError(
            f"expected probabilities at 2 points or more, got {target.shape[1]}; give the "
            "factual's and the counterfactual's, too."
        )
    gain = target - source
    return (gain[:, :-1] + gain[:, 1:]).mean(1) / 2
