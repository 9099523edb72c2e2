"""The autoencoder whose code the counterfactuals are searched in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from cfgen.models.saving import load_model
from cfgen.types import Images

Code = Float[Tensor, "batch channels rows columns"]


class Autoencoder(ModelMixin, ConfigMixin):
    """A one-channel AutoencoderKL (Rombach et al. 2022) on patches of pixels.

    The image is cut into patches that become channels, so that no convolution runs at full
    resolution. Codes are divided by their standard deviation over the training images
    (`set_statistics`), so that a step or a noise level means the same for every autoencoder.

    Args:
        size: height and width of the images.
        classes: names of the classes whose mean codes are stored.
        patch: pixels to a side of a patch.
        widths: channels at each resolution; each after the first halves it.
        latent_channels: channels of the code.
        layers: residual blocks at each resolution of the encoder; the decoder has one more.
    """

    config_name = "config.json"
    class_means: Float[Tensor, "classes channels rows columns"]
    code_scale: Float[Tensor, ""]

    @register_to_config
    def __init__(
        self,
        size: int = 128,
        classes: Sequence[str] = ("NORMAL", "PNEUMONIA"),
        patch: int = 4,
        widths: Sequence[int] = (64, 96),
        latent_channels: int = 8,
        layers: int = 1,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.vae = AutoencoderKL(
            in_channels=patch**2,
            out_channels=patch**2,
            down_block_types=("DownEncoderBlock2D",) * len(widths),  # pyright: ignore[reportArgumentType]
            up_block_types=("UpDecoderBlock2D",) * len(widths),  # pyright: ignore[reportArgumentType]
            block_out_channels=tuple(widths),  # pyright: ignore[reportArgumentType]
            layers_per_block=layers,
            latent_channels=latent_channels,
            norm_num_groups=16,
            sample_size=size // patch,
        )
        side = size // patch // 2 ** (len(widths) - 1)
        self.register_buffer("class_means", torch.zeros(len(classes), latent_channels, side, side))
        self.register_buffer("code_scale", torch.ones(()))

    def posterior(self, images: Images) -> DiagonalGaussianDistribution:
        """The distribution of the unscaled code given the images, which training samples from."""
        patches = pixel_unshuffle(images * 2 - 1, self.patch)
        return self.vae.encode(patches, return_dict=False)[0]

    def reconstruct(self, code: Code) -> Images:
        """Decode an unscaled code, without clamping: what training compares."""
        patches = self.vae.decode(code, return_dict=False)[0]  # pyright: ignore[reportArgumentType]
        return (pixel_shuffle(patches, self.patch) + 1) / 2

    def encode(self, images: Images) -> Code:
        """Mean code of the images, scaled to unit variance over the training images."""
        return self.posterior(images).mode() / self.code_scale

    def decode(self, code: Code) -> Images:
        """Image of a scaled code: about [0, 1], not clamped, so that gradients pass."""
        return self.reconstruct(code * self.code_scale)

    def set_statistics(self, class_means: Tensor, code_scale: Tensor) -> None:
        """Store the training images' mean (scaled) code of every class, and the scale."""
        self.class_means.copy_(class_means)
        self.code_scale.copy_(code_scale)


def load_autoencoder(path: Path) -> Autoencoder:
    """Load a saved autoencoder, frozen and in evaluation mode.

    Raises:
        ValueError: the folder is missing, or is not a saved autoencoder.
    """
    return cast("Autoencoder", load_model(Autoencoder, path))
