"""Random changes of training images, drawn and applied a batch at a time on the device."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from cfgen.types import Images
from train.recipe import Augmentation


def augment(images: Images, how: Augmentation) -> Images:
    """Apply every random change of `how`, in the order film, exposure, blur, noise; in [0, 1]."""
    images = _affine(images, how)
    images = _exposure(images, how)
    if how.blur:
        images = _blur(images, how.blur)
    if how.noise:
        images = images + torch.randn_like(images) * how.noise * _unit(images)
    return images.clamp(0, 1)


def _unit(images: Images) -> Float[Tensor, "batch 1 1 1"]:
    """Uniform on [0, 1], one number an image."""
    return torch.rand(len(images), 1, 1, 1, device=images.device)


def _signed(images: Images) -> Float[Tensor, "batch 1 1 1"]:
    return 2 * _unit(images) - 1


def _affine(images: Images, how: Augmentation) -> Images:
    if not (how.rotation or how.translation or how.scale):
        return images
    angle = torch.deg2rad(how.rotation * _signed(images)).flatten()
    zoom = (1 + how.scale) ** _signed(images).flatten()
    shift = 2 * how.translation * torch.cat([_signed(images), _signed(images)], 1).flatten(1)
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    matrix = torch.stack(
        [
            torch.stack([cosine, -sine, shift[:, 0]], 1),
            torch.stack([sine, cosine, shift[:, 1]], 1),
        ],
        1,
    )
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def _exposure(images: Images, how: Augmentation) -> Images:
    images = images.clamp(0, 1) ** ((1 + how.gamma) ** _signed(images))
    middle = images.mean((2, 3), keepdim=True)
    images = (images - middle) * (1 + how.contrast) ** _signed(images) + middle
    return images + how.brightness * _signed(images)


def _blur(images: Images, largest: float) -> Images:
    """Gaussian blur, each image with a sigma of its own: two products with a band matrix."""
    sigma = (largest * _unit(images)).clamp(min=1e-2)
    return _smoother(images.shape[2], sigma) @ images @ _smoother(images.shape[3], sigma).mT


def _smoother(side: int, sigma: Float[Tensor, "batch 1 1 1"]) -> Tensor:
    """Matrix whose rows are Gaussian weights around each pixel and sum to one, borders too."""
    places = torch.arange(side, device=sigma.device)
    return torch.softmax(-0.5 * ((places[:, None] - places) / sigma) ** 2, -1)
