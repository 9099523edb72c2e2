"""Files as others publish their weights, with random numbers in them."""

from __future__ import annotations

import torch
import torchvision
from torch import nn


def alexnet_state():
    """By torchvision's names, but of the classifier one weight only: LPIPS has no use for it."""
    with torch.device("meta"):
        layers = torchvision.models.alexnet(weights=None).features
    state = {f"features.{name}": weight for name, weight in _drawn(layers.to_empty(device="cpu"))}
    return {**state, "classifier.6.bias": torch.zeros(1000)}


def inception_state():
    """By the names of pytorch-fid, which are those of torchvision's network without its aide."""
    with torch.device("meta"):
        network = torchvision.models.inception_v3(
            weights=None, num_classes=1008, aux_logits=False, init_weights=False
        )
    return dict(_drawn(network.to_empty(device="cpu")))


def _drawn(network):
    """Weights with which the features neither die nor grow from layer to layer."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return network.state_dict().items()
