"""The segmenter: which pixels of a chest film show lung, an opacified one included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from cfgen.models.saving import load_model
from cfgen.types import Images

_GROUPS = 4
_LEAST_STD = 1e-3


class Segmenter(ModelMixin, ConfigMixin):
    """Maps images in [0, 1] to the probability that each pixel shows a lung field.

    A U-Net (Ronneberger et al. 2015) that sees the image averaged down to `side` x `side` pixels,
    less its own mean and divided by its own standard deviation, so that exposure cancels; its
    logits are interpolated (bilinear) back to the image's size. Group norm keeps an image
    independent of its batch. Differentiable everywhere.

    Args:
        side: height and width at which the network works.
        widths: channels at each resolution, multiples of 4; each after the first halves it.

    Example:
        >>> segmenter = Segmenter(side=16, widths=(4, 8)).eval()
        >>> images = torch.rand(2, 1, 32, 32)
        >>> segmenter(images).shape, segmenter.lungs(images).dtype
        (torch.Size([2, 1, 32, 32]), torch.bool)
    """

    config_name = "config.json"

    @register_to_config
    def __init__(self, side: int = 64, widths: Sequence[int] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.side = side
        self.down = nn.ModuleList(
            _block(fan_in, fan_out) for fan_in, fan_out in pairwise([1, *widths])
        )
        self.up = nn.ModuleList(
            _block(below + here, here) for here, below in reversed(list(pairwise(widths)))
        )
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, images: Images) -> Float[Tensor, "batch 1 height width"]:
        """Probability in [0, 1] that each pixel shows lung."""
        return self.logits(images).sigmoid()

    def logits(self, images: Images) -> Float[Tensor, "batch 1 height width"]:
        """Log-odds that each pixel shows lung: what training compares."""
        small = adaptive_avg_pool2d(images, self.side)
        std, mean = torch.std_mean(small, (1, 2, 3), correction=0, keepdim=True)
        features = (small - mean) / (std + _LEAST_STD)
        passed: list[Tensor] = []
        for level, block in enumerate(self.down):
            features = block(nn.functional.max_pool2d(features, 2) if level else features)
            passed.append(features)
        for block, beside in zip(self.up, reversed(passed[:-1]), strict=True):
            wider = interpolate(features, beside.shape[-2:], mode="nearest")
            features = block(torch.cat([wider, beside], 1))
        size = (images.shape[-2], images.shape[-1])
        return interpolate(self.head(features), size, mode="bilinear", align_corners=False)

    def lungs(self, images: Images) -> Bool[Tensor, "batch 1 height width"]:
        """Mask of the pixels that show lung with a probability of at least one half."""
        return self.logits(images) >= 0


def _block(fan_in: int, fan_out: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with group norm and ReLU."""
    layers: list[nn.Module] = []
    for width in (fan_in, fan_out):
        layers += [
            nn.Conv2d(width, fan_out, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, fan_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def load_segmenter(path: Path) -> Segmenter:
    """Load a saved segmenter, frozen and in evaluation mode.

    Raises:
        ValueError: the folder is missing, or is not a saved segmenter.
    """
    return cast("Segmenter", load_model(Segmenter, path))
