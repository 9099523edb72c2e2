"""The layers of AlexNet in which LPIPS is measured, by weights from a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import alexnet

from cfgen.models.weights import in_short, read_weights
from cfgen.types import Images

LEAST_SIDE = 31
"""Pixels a side that its two poolings leave something of."""
PUBLISHED = "7be5be79"
"""First digits of the sha256 of alexnet-owt-7be5be79.pth, torchvision's file."""

_CONVOLUTIONS = 5
_HEADS = "functional/image/lpips_models/alex.pth"
"""The linear heads of the authors' version 0.1, as torchmetrics ships them."""
_LAYER = re.compile(r"(?:.+\.)?(?:features|net\.slice\d)\.(\d+\.(?:weight|bias))")
"""What torchvision and the authors of LPIPS call the same weights."""
_MEAN, _STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of ImageNet's colours in [-1, 1], by which the authors normalise."""


class AlexNet(nn.Module):
    """From grey images in [0, 1] to what the five convolutions make of them.

    Attributes:
        heads: the weights of LPIPS for the channels of each.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Sequential, heads: Sequence[Tensor]) -> None:
        """Put the network together.

        Args:
            layers: AlexNet's convolutions, ReLUs and poolings, to the last ReLU.
            heads: a weight for each channel of each convolution.
        """
        super().__init__()
        self.layers = layers
        self.heads = nn.ParameterList(heads)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])

    def forward(self, images: Images) -> list[Float[Tensor, "batch _ _ _"]]:
        """Return the features after each convolution's ReLU.

        Images are scaled to [-1, 1], the grey is repeated on three channels.

        Raises:
            ValueError: they are smaller than `LEAST_SIDE` a side.
        """
        if min(images.shape[-2:]) < LEAST_SIDE:
            raise ValueError(
                f"expected images of at least {LEAST_SIDE} pixels a side for LPIPS, got "
                f"{min(images.shape[-2:])}; compare them at a larger size, or leave --lpips out."
            )
        seen = ((2 * images - 1).expand(-1, 3, -1, -1) - self.mean) / self.std
        found = []
        for layer in self.layers:
            seen = layer(seen)
            if isinstance(layer, nn.ReLU):
                found.append(seen)
        return found


def load_alexnet(path: Path) -> AlexNet:
    """Read AlexNet from a file; nothing is downloaded.

    Args:
        path: a state dict of torchvision's `alexnet`, or of the authors' `LPIPS(net="alex")`. The
            heads are that one's own, and for torchvision's those that torchmetrics ships.

    Raises:
        ValueError: the file is missing, cannot be read, or is of another network.
    """
    with as_file(files("torchmetrics") / _HEADS) as shipped:
        state = {**read_weights(shipped), **read_weights(path)}
    with torch.device("meta"):
        layers = alexnet(weights=None).features[:-1]
    named = {_LAYER.fullmatch(name): weight for name, weight in state.items()}
    try:
        layers.load_state_dict({m[1]: weight for m, weight in named.items() if m}, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"expected the weights of AlexNet in {path}, got those of another network "
            f"({in_short(error)}); do name alexnet-owt-{PUBLISHED}.pth, which torchvision "
            "publishes, or the state dict of an LPIPS with the network 'alex'"
        ) from error
    heads = [state[f"lin{place}.model.1.weight"].flatten() for place in range(_CONVOLUTIONS)]
    return AlexNet(layers, heads).float().eval().requires_grad_(False)
