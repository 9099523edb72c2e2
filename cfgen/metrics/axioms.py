"""What holds of counterfactuals whatever they are of: nothing asked changes nothing, and so on.

Composition, reversibility and effectiveness are axioms of Galles and Pearl 1998 and Halpern 2000,
made measures by Monteiro et al. 2023. Effectiveness, whether what was asked for is seen, is here
`valid` (by the classifier) and `judge_follow` (by others).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfgen.metrics.proximity import l1, l2
from cfgen.types import Images


def composition(
    null: Callable[[Images], Images], factual: Images, cycles: Sequence[int] = (1, 10)
) -> list[Float[Tensor, " batch"]]:
    """Return the distances d(x, f^m(x)) of null interventions f, in [0, 1]; lower is better.

    d is the mean absolute change of a pixel (`l1`), f an intervention that asks for no change and m
    how often in a row it is applied (Monteiro et al. 2023, composition). Ideally 0.

    Args:
        null: f, from images to images.
        factual: x.
        cycles: for each m.

    Raises:
        ValueError: no cycle, or one below 1.

    >>> distances = composition(lambda images: images * 0.5, torch.ones(1, 1, 2, 2), (1, 2))
    >>> [distance.tolist() for distance in distances]
    [[0.5], [0.75]]
    """
    if not cycles or min(cycles) < 1:
        raise ValueError(f"expected numbers of cycles from 1 on, got {list(cycles)}; give 1, 10.")
    found, image = {}, factual
    for cycle in range(1, max(cycles) + 1):
        image = null(image)
        found[cycle] = l1(factual, image)
    return [found[cycle] for cycle in cycles]


def reversibility(factual: Images, returned: Images) -> Float[Tensor, " batch"]:
    """Return the distance of the counterfactual's counterfactual to the factual, in [0, 1].

    d(x, f(f(x, target), source)) with d the mean absolute change of a pixel (`l1`), for a cycle
    (Monteiro et al. 2023). Ideally 0; lower is better, to be read against d(x, f(x, target)), which
    is what never returning scores. A classifier's searches stop at a bar on either way, so that
    even perfect ones need not return all the way.

    Args:
        factual: x.
        returned: what was found from the counterfactual towards the source.

    >>> reversibility(torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, 0.5]]]])).tolist()
    [0.25]
    """
    return l1(factual, returned)


def least_share(
    meets: Callable[[Images], Bool[Tensor, " batch"]],
    factual: Images,
    image: Images,
    steps: int = 16,
) -> Float[Tensor, " batch"]:
    """Return the least share of a change that does what all of it does, in [0, 1].

    min over t = 0, 1 / K, ..., 1 such that x + t (x' - x) meets the goal: minimality along the
    straight line. Higher is better, 1 where nothing of the change could be left out. NaN where x'
    itself does not meet the goal. Smaller changes of another kind it does not look for.

    Args:
        meets: from images to whether each meets the goal.
        factual: x.
        image: x'.
        steps: K.

    Raises:
        ValueError: there are no steps.

    >>> bright = lambda images: images.flatten(1).mean(1) >= 0.5
    >>> least_share(bright, torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), steps=4).tolist()
    [0.5]
    """
    if steps < 1:
        raise ValueError(f"expected 1 step or more, got {steps}; give 16, say.")
    least = torch.where(meets(image), 1.0, torch.nan)
    for step in reversed(range(steps)):
        share = step / steps
        met = meets(factual + share * (image - factual))
        least = torch.where(met & ~least.isnan(), share, least)
    return least


def latent_divergence(
    change: Float[Tensor, " batch"],
    to_target: Sequence[Float[Tensor, " _"]],
    to_source: Sequence[Float[Tensor, " _"]],
) -> Float[Tensor, " batch"]:
    """Return the counterfactual latent divergence, in [log 2, 1 + log 2]; lower is better.

    CLD = log(exp P(S_target <= c) + exp P(S_source >= c)), with c the distance of the codes of x
    and x', S_y the distances of x to real samples of class y and P their share (Sanchez and
    Tsaftaris 2022; minimality in Melistas et al. 2024). Low where x' is nearer to x than images of
    the target are, and yet further than most of its own class. Melistas et al. weigh the two
    terms; here both count alike. There distances are divergences of a VAE's posteriors; of one
    variance these order as Euclidean distances of the codes do, which are asked for here. NaN where
    there is no real sample of either class.

    Args:
        change: c of each sample.
        to_target: S_target of each sample.
        to_source: S_source of each sample, without itself.

    Raises:
        ValueError: not as many sets of distances as samples.

    >>> far, near = torch.tensor([9.0, 8.0]), torch.tensor([1.0, 2.0])
    >>> round(float(latent_divergence(torch.tensor([4.0]), [far], [near])), 4)
    0.6931
    """
    if not len(change) == len(to_target) == len(to_source):
        raise ValueError(
            f"expected distances to both classes for each of {len(change)} samples, got "
            f"{len(to_target)} and {len(to_source)}; pass a set for each."
        )
    nearer = [(far <= c).double().mean() for c, far in zip(change, to_target, strict=True)]
    beyond = [(near >= c).double().mean() for c, near in zip(change, to_source, strict=True)]
    return (torch.stack(nearer).exp() + torch.stack(beyond).exp()).log().to(change)


def stability(
    factual: Images, image: Images, other_factual: Images, other_image: Images
) -> Float[Tensor, " batch"]:
    """Return how much further apart two counterfactuals are than their factuals; lower is better.

    |x'_1 - x'_2|_2 / |x_1 - x_2|_2, in [0, inf), a local Lipschitz estimate of the search at x
    (Alvarez-Melis and Jaakkola 2018, of attributions). 1 where both are changed alike, for then the
    difference of the factuals is all there is between the counterfactuals. NaN for equal factuals.

    Args:
        factual: x_1.
        image: its counterfactual.
        other_factual: x_2, near x_1.
        other_image: its counterfactual.

    >>> x, y = torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.1, 0.0]]]])
    >>> round(float(stability(x, x + 0.5, y, y + torch.tensor([0.7, 0.5]))), 3)
    3.0
    """
    apart = l2(factual, other_factual)
    return torch.where(apart > 0, l2(image, other_image) / apart, torch.nan)
