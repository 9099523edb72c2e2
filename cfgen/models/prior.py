"""The generative prior: a class-conditional diffusion model of the autoencoder's codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from cfgen.models.autoencoder import Code
from cfgen.models.saving import load_model
from cfgen.types import Labels


class Prior(ModelMixin, ConfigMixin):
    """A latent diffusion model (Rombach et al. 2022) of p(code | class), with v-prediction.

    A code z is standardised channel by channel and noised, x_t = a_t z + s_t e with
    a_t^2 + s_t^2 = 1 (the cosine schedule of Nichol and Dhariwal 2021); the network predicts
    v = a_t e - s_t z (Salimans and Ho 2022), from which the clean code is a_t x_t - s_t v.

    Args:
        classes: names, in the order of the labels; the label after the last means 'no class'.
        channels: of the codes.
        side: height and width of the codes.
        widths: channels of the U-Net at each resolution; each after the first halves it and has
            attention.
        layers: residual blocks at each resolution.
        steps: noise levels, from nearly none to nearly nothing else.
    """

    config_name = "config.json"
    code_mean: Float[Tensor, "channels 1 1"]
    code_std: Float[Tensor, "channels 1 1"]
    signal: Float[Tensor, " steps"]

    @register_to_config
    def __init__(
        self,
        classes: Sequence[str] = ("NORMAL", "PNEUMONIA"),
        channels: int = 8,
        side: int = 16,
        widths: Sequence[int] = (64, 128),
        layers: int = 2,
        steps: int = 1000,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.steps = steps
        self.code_shape = (channels, side, side)
        attended = len(widths) - 1
        self.unet = UNet2DModel(
            sample_size=side,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=tuple(widths),
            layers_per_block=layers,
            down_block_types=("DownBlock2D",) + ("AttnDownBlock2D",) * attended,
            up_block_types=("AttnUpBlock2D",) * attended + ("UpBlock2D",),
            num_class_embeds=len(classes) + 1,
            norm_num_groups=min(16, widths[0]),
            attention_head_dim=min(32, widths[0]),
        )
        schedule = DDIMScheduler(num_train_timesteps=steps, beta_schedule="squaredcos_cap_v2")
        self.register_buffer("code_mean", torch.zeros(channels, 1, 1))
        self.register_buffer("code_std", torch.ones(channels, 1, 1))
        self.register_buffer("signal", schedule.alphas_cumprod.sqrt(), persistent=False)

    @property
    def no_class(self) -> int:
        """The label that stands for no class in particular."""
        return len(self.classes)

    def set_statistics(self, codes: Code) -> None:
        """Store the mean and standard deviation of every channel over the training codes."""
        self.code_mean.copy_(codes.mean((0, 2, 3))[:, None, None])
        self.code_std.copy_(codes.std((0, 2, 3))[:, None, None])

    def noised(self, code: Code, noise: Code, step: Labels) -> Code:
        """Noise codes to the noise levels of some steps, one a code: x_t = a_t z + s_t e."""
        signal, level = self._levels(step)
        return signal * self.standardised(code) + level * noise

    def velocity(self, code: Code, noise: Code, step: Labels) -> Code:
        """What the network is to predict of a noised code: v = a_t e - s_t z."""
        signal, level = self._levels(step)
        return signal * noise - level * self.standardised(code)

    def forward(self, noisy: Code, step: Labels, label: Labels) -> Code:
        """Predict v of noised codes."""
        return self.unet(noisy, step, label, return_dict=False)[0]

    def denoise(self, noisy: Code, step: Labels, label: Labels) -> Code:
        """Estimate the clean code of noised ones under a label: one forward pass.

        Args:
            noisy: as `noised` gives them.
            step: how far each was noised, in [0, steps).
            label: index of a class, or `no_class`.
        """
        signal, level = self._levels(step)
        clean = signal * noisy - level * self(noisy, step, label)
        return clean * self.code_std + self.code_mean

    def renoise(self, noisy: Code, clean: Code, step: Labels, to: Labels) -> Code:
        """Move noised codes to another noise level, the noise being what `clean` leaves of them.

        The deterministic step of DDIM (Song et al. 2021); up the noise levels it inverts. `to`
        may be -1, which is no noise at all.
        """
        signal, level = self._levels(step)
        noise = (noisy - signal * self.standardised(clean)) / level
        signal, level = self._levels(to)
        return signal * self.standardised(clean) + level * noise

    def standardised(self, code: Code) -> Code:
        """Codes with a mean of 0 and a standard deviation of 1 in every channel."""
        return (code - self.code_mean) / self.code_std

    def _levels(self, step: Labels) -> tuple[Tensor, Tensor]:
        """Signal a_t and noise s_t of some steps, to be multiplied with codes."""
        signal = torch.where(step < 0, 1.0, self.signal[step.clamp(min=0)])[:, None, None, None]
        return signal, (1 - signal.square()).sqrt()


PROBES = (0.2, 0.4, 0.6)
"""Noise levels at which a denoising error is read, as shares of all."""


def denoising_error(prior: Prior, codes: Code, label: Labels) -> Float[Tensor, " batch"]:
    """Mean squared error of the clean codes that a prior estimates, as a class; lower is likelier.

    The mean over `PROBES` and over the code, standardised; at the same noise for all codes, so
    that two images, or two classes, are compared by paired differences. It bounds -log p(code |
    class) from above, up to weights of the noise levels (Li et al. 2023, who classify by it).

    Args:
        prior: asked once a noise level.
        codes: of an autoencoder.
        label: index of the class of each code.
    """
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(len(codes), device=codes.device)
    for share in PROBES:
        noise = torch.randn(codes.shape[1:], generator=generator).to(codes).expand_as(codes)
        step = torch.full_like(label, round(share * prior.steps))
        clean = prior.denoise(prior.noised(codes, noise, step), step, label)
        total += ((clean - codes) / prior.code_std).square().flatten(1).mean(1)
    return total / len(PROBES)


def rebuild(prior: Prior, codes: Code, label: Labels) -> Code:
    """Return standardised codes as a prior rebuilds them as of a class, in one pass.

    Its estimate of the clean codes from the middle one of `PROBES` stands in for an autoencoder
    of that class alone. The noise is the same for all codes and labels, so that any two compare.

    Args:
        prior: asked.
        codes: of an autoencoder.
        label: index of a class for each code, or `no_class` for any.
    """
    noise = torch.randn(codes.shape[1:], generator=torch.Generator().manual_seed(0))
    step = torch.full_like(label, round(PROBES[1] * prior.steps))
    noisy = prior.noised(codes, noise.to(codes).expand_as(codes), step)
    return prior.standardised(prior.denoise(noisy, step, label))


def load_prior(path: Path) -> Prior:
    """Load a saved prior, frozen and in evaluation mode.

    Raises:
        ValueError: the folder is missing, or is not a saved prior.
    """
    return cast("Prior", load_model(Prior, path))
