"""Smooth images beside the same with noise, for the tests of metrics."""

import torch
from torch import nn


def pair(size=64, n=3, seed=0):
    """Return n factuals and as many counterfactuals."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 1, 8, 8, generator=generator)
    factual = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    noise = 0.1 * torch.randn(factual.shape, generator=generator)
    return factual, (factual + noise).clamp(0, 1)


def exact(images):
    """Return images as rows of pixels, in float64."""
    return images.double().numpy().reshape(len(images), -1)
