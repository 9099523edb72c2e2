"""A classifier with random weights, whose counterfactuals can owe nothing to what was learned."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from cfgen.models.classifier import Classifier
from cfgen.types import Images, Logits


@torch.no_grad()
def untrained(trained: Classifier, images: Images, seed: int = 0) -> Classifier:
    """Return a classifier of the same architecture that has learned nothing.

    An untrained network gives all images nearly the same logits. So that a search has something
    to explain, the batch norms are given the statistics of some images, and the logits are centred
    and scaled on these (by the bias of the last dense layer, and by the temperature): on average
    no class is preferred, and it is as sure of itself as the trained one. What it sees in an image
    is still random (the sanity check of Adebayo et al. 2018, by model parameters).

    Args:
        trained: whose architecture, classes and confidence it is to have.
        images: some that both are shown, in [0, 1].
        seed: of the weights; the same seed gives the same classifier.

    Raises:
        ValueError: the network does not end in a dense layer with a bias.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = cast("Classifier", Classifier.from_config(trained.config))
    nn.Module.to(made, images.device)
    made.eval().requires_grad_(False)
    _settle(made, images)
    equal = [1 / len(made.classes)] * len(made.classes)
    made.calibrate(1.0, equal)
    _last_bias(made).sub_(made(images).mean(0))
    temperature = float(_spread(made(images)) / _spread(trained(images)))
    made.calibrate(max(temperature, 1e-6), equal)
    return made


def _settle(classifier: Classifier, images: Images) -> None:
    """Give every batch norm the mean and variance of what reaches it from some images."""
    norms = [
        module for module in classifier.network.modules() if isinstance(module, nn.BatchNorm2d)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    classifier(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _last_bias(classifier: Classifier) -> nn.Parameter:
    dense = [module for module in classifier.network.modules() if isinstance(module, nn.Linear)]
    if not dense or dense[-1].bias is None:
        raise ValueError(
            "expected a network that ends in nn.Linear with a bias, got one without; do leave "
            "the untrained classifier out"
        )
    return dense[-1].bias


def _spread(logits: Logits) -> torch.Tensor:
    """Standard deviation of the logits about their mean over the classes."""
    return (logits - logits.mean(1, keepdim=True)).std().clamp(min=1e-12)
