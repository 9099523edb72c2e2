"""Terms of the autoencoder's loss beside plain reconstruction."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import relu

from cfgen.models.classifier import Classifier
from cfgen.types import Images


class PerceptualDistance(nn.Module):
    """Distance in the features of a classifier of our own, at every resolution it works at.

    Mean over resolutions of the mean squared difference between features normalised along
    channels, as in LPIPS (Zhang et al. 2018) without its learned weights: nothing to download,
    and features of X-rays instead of photographs. A judge must never be used here.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stay in evaluation mode, whatever the module around it does."""
        return super().train(mode=False)

    def forward(self, images: Images, rebuilt: Images) -> Float[Tensor, ""]:
        """Distance of a batch of pairs; differentiable in the second."""
        with torch.no_grad():
            wanted = self._features(images)
        pairs = zip(self._features(rebuilt), wanted, strict=True)
        distances = [(got - want).square().sum(1).mean() for got, want in pairs]
        return torch.stack(distances).mean()

    def _features(self, images: Images) -> list[Tensor]:
        """Output of the last convolution at each resolution, of unit length along channels."""
        seen: dict[tuple[int, ...], Tensor] = {}

        def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[tuple(output.shape[2:])] = output

        convolutions = [m for m in self.classifier.modules() if isinstance(m, nn.Conv2d)]
        handles = [module.register_forward_hook(keep) for module in convolutions]
        try:
            self.classifier(images)
        finally:
            for handle in handles:
                handle.remove()
        return [nn.functional.normalize(output.float(), dim=1) for output in seen.values()]


class PatchDiscriminator(nn.Sequential):
    """Tells real patches from rebuilt ones (Isola et al. 2017), one logit a patch."""

    def __init__(self, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(1, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.GroupNorm(8, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
            nn.GroupNorm(8, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, 1, 1),
        )


def discriminator_loss(
    discriminator: PatchDiscriminator, images: Images, rebuilt: Images
) -> Float[Tensor, ""]:
    """Hinge loss (Lim and Ye 2017) of the discriminator; no gradient reaches the images."""
    real, fake = discriminator(images), discriminator(rebuilt.detach())
    return 0.5 * (relu(1 - real).mean() + relu(1 + fake).mean())


def fooling_loss(discriminator: PatchDiscriminator, rebuilt: Images) -> Float[Tensor, ""]:
    """How real the rebuilt images look, negated; no gradient reaches the discriminator.

    So both losses share one backward pass and one optimiser, which Lightning can accumulate,
    clip and distribute as usual.
    """
    frozen = {name: value.detach() for name, value in discriminator.named_parameters()}
    return -functional_call(discriminator, frozen, rebuilt).mean()
