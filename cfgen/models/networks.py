"""Architectures: from normalised one-channel images to class logits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import MobileNetV2
from torchvision.models.regnet import BlockParams, RegNet

COMPACT = ("compact-resnet", "compact-mobilenet", "compact-regnet")
"""Networks of this module's own, of about a million weights."""


class PneumoniaCNN(nn.Module):
    """The plain network this project began with: three convolutions and two dense layers.

    Convolutions 1-32-64-128 (3x3, ReLU, 2x2 max pooling), dropout 0.5, 512 hidden units.

    Args:
        classes: number of logits.
        size: height and width of the images; its first dense layer depends on it.

    Example:
        >>> PneumoniaCNN(classes=2, size=64)(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 2])
    """

    def __init__(self, classes: int = 2, size: int = 224) -> None:
        super().__init__()
        widths = (1, 32, 64, 128)
        blocks = [
            nn.Sequential(nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            for fan_in, fan_out in pairwise(widths)
        ]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(widths[-1] * (size // 8) ** 2, 512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, 1, size, size) to (batch, classes) logits."""
        return self.head(self.features(images))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut (He et al. 2016)."""

    def __init__(self, fan_in: int, fan_out: int, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(fan_out),
            nn.ReLU(),
            nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(fan_out),
        )
        self.shortcut = (
            nn.Identity()
            if fan_in == fan_out and stride == 1
            else nn.Conv2d(fan_in, fan_out, 1, stride, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, fan_in, h, w) to (batch, fan_out, h / stride, w / stride)."""
        return torch.relu(self.convolutions(features) + self.shortcut(features))


class CompactResNet(nn.Module):
    """A residual network for grey images: a strided stem and two blocks a stage.

    Args:
        classes: number of logits.
        widths: channels of each stage; each stage after the first halves the resolution.
        dropout: before the last layer.

    Example:
        >>> CompactResNet(widths=(8, 16))(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        classes: int = 2,
        widths: Sequence[int] = (24, 48, 96, 160),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for stage, width in enumerate(widths):
            before = widths[max(stage - 1, 0)]
            layers.append(ResidualBlock(before, width, stride=2 if stage else 1))
            layers.append(ResidualBlock(width, width))
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, 1, h, w) to (batch, classes) logits."""
        return self.head(self.features(images))


def torchvision_network(name: str, classes: int, channels: int = 1) -> nn.Module:
    """Any torchvision classification network, untrained, with one input channel or with three.

    Raises:
        ValueError: torchvision has no classification network of this name.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(
            f"expected an architecture {', '.join(COMPACT)}, 'pneumonia-cnn' or a torchvision "
            f"classification model, got {name!r}; do torchvision.models.list_models() to see them"
        )
    network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return _grey(network) if channels == 1 else network


def compact_mobilenet(classes: int) -> nn.Module:
    """Inverted residuals (Sandler et al. 2018, MobileNetV2) at half their width, 0.69 M weights.

    Example:
        >>> compact_mobilenet(classes=2)(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 2])
    """
    return _grey(MobileNetV2(num_classes=classes, width_mult=0.5))


def compact_regnet(classes: int) -> nn.Module:
    """A RegNetY (Radosavovic et al. 2020) of ten blocks, 0.80 M weights.

    Example:
        >>> compact_regnet(classes=2)(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 2])
    """
    blocks = BlockParams(
        depths=[1, 3, 6],
        widths=[32, 80, 192],
        group_widths=[16, 16, 16],
        bottleneck_multipliers=[1.0, 1.0, 1.0],
        strides=[2, 2, 2],
        se_ratio=0.25,
    )
    return _grey(RegNet(blocks, num_classes=classes))


def _grey(network: nn.Module) -> nn.Module:
    """The network, with a fresh first convolution for one channel in place of three."""
    path, first = next(
        (path, module) for path, module in network.named_modules() if isinstance(module, nn.Conv2d)
    )
    grey = nn.Conv2d(
        1,
        first.out_channels,
        kernel_size=first.kernel_size,  # pyright: ignore[reportArgumentType]
        stride=first.stride,  # pyright: ignore[reportArgumentType]
        padding=first.padding,  # pyright: ignore[reportArgumentType]
        bias=first.bias is not None,
    )
    network.set_submodule(path, grey)
    return network


def build_network(
    architecture: str, classes: int, size: int, widths: Sequence[int] | None = None
) -> nn.Module:
    """Build a network by name.

    Args:
        architecture: one of `COMPACT`, 'pneumonia-cnn' or a torchvision model's name.
        classes: number of logits.
        size: height and width of its images.
        widths: channels a stage of the compact residual network; for the others, None.

    Raises:
        ValueError: no such network, or widths for one that has none to choose.
    """
    if widths is not None and architecture != "compact-resnet":
        raise ValueError(f"expected no widths for {architecture!r}, got {list(widths)}; leave them")
    if architecture == "pneumonia-cnn":
        return PneumoniaCNN(classes, size)
    if architecture == "compact-mobilenet":
        return compact_mobilenet(classes)
    if architecture == "compact-regnet":
        return compact_regnet(classes)
    if architecture == "compact-resnet":
        return CompactResNet(classes, widths) if widths else CompactResNet(classes)
    return torchvision_network(architecture, classes)
