"""Drawing codes from a prior: guidance, and the deterministic path down the noise levels."""

from __future__ import annotations

from itertools import pairwise

import torch

from cfgen.models.autoencoder import Code
from cfgen.models.prior import Prior
from cfgen.types import Labels

GUIDANCE = 1.5


@torch.inference_mode()
def sample(
    prior: Prior,
    labels: Labels,
    generator: torch.Generator | None = None,
    steps: int = 25,
    guidance: float = GUIDANCE,
) -> Code:
    """Draw codes of given classes by DDIM (Song et al. 2021), guided (Ho and Salimans 2021).

    Args:
        prior: what is drawn from.
        labels: index of the class of each code.
        generator: of the noise.
        steps: noise levels visited; each costs two forward passes.
        guidance: 1 for the class's own distribution; above, more typical of it.
    """
    noisy = torch.randn((len(labels), *prior.code_shape), generator=generator).to(labels.device)
    # Above, almost no signal is left, and dividing by it would blow up every error.
    levels = torch.linspace(0.98 * prior.steps, 0, steps + 1).long().tolist()
    for level, below in pairwise(levels):
        step = torch.full_like(labels, level)
        plain = prior.denoise(noisy, step, torch.full_like(labels, prior.no_class))
        clean = plain + guidance * (prior.denoise(noisy, step, labels) - plain)
        noisy = prior.renoise(noisy, clean, step, torch.full_like(labels, below))
    return prior.denoise(noisy, torch.zeros_like(labels), labels)
