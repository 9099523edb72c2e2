"""A classifier asked about small random views of each image: gradients that look.

The gradient of one forward pass follows whatever texture the network is brittle to. Averaged over
views that show the same film, what no view agrees on cancels (SmoothGrad: Smilkov et al. 2017;
expectation over transformation: Athalye et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from cfgen.types import Images, Logits


@dataclass(frozen=True)
class Jitter:
    """How far the views are from the image; each of them is drawn on its own.

    Attributes:
        noise: standard deviation of the Gaussian noise added.
        blur: greatest sigma of the Gaussian blur, in pixels; drawn uniformly from 0 on.
        shift: greatest shift along either axis, in whole pixels.
    """

    noise: float = 0.02
    blur: float = 0.8
    shift: int = 1


class _View(NamedTuple):
    down: int
    right: int
    sigma: float
    noise: Float[Tensor, "height width"]

    def of(self, images: Images) -> Images:
        moved = shifted(images, self.down, self.right)
        if self.sigma:
            moved = blurred(moved, torch.tensor(self.sigma, device=images.device))
        return moved + self.noise.to(images.device)


def averaged(
    classifier: Callable[[Images], Logits],
    size: int,
    views: int,
    generator: torch.Generator,
    jitter: Jitter,
) -> Callable[[Images], Logits]:
    """The mean of a classifier's logits over random views of each image.

    f(x) = 1/n sum_i classifier(blur_i(shift_i(x)) + noise_i). For two classes its log-odds are the
    mean of the views' log-odds; for more, its probabilities are their normalised geometric mean.
    The views are drawn here, once, and are the same for every image and every call: f is a
    function like any other, whose value at an image depends on no other image of the batch. They
    are not clamped to [0, 1], so that the gradient is that of the views.

    Args:
        classifier: from images to logits; asked once a view.
        size: height and width of the images.
        views: how many; 1 or more.
        generator: what draws them, on the CPU.
        jitter: how far they are from the image; all zero gives the classifier itself.

    Raises:
        ValueError: there are no views.
    """
    if views < 1:
        raise ValueError(f"expected 1 view or more, got {views}; do give 4, say")
    drawn = [_draw(size, generator, jitter) for _ in range(views)]

    def mean(images: Images) -> Logits:
        return torch.stack([classifier(view.of(images)) for view in drawn]).mean(0)

    return mean


def _draw(size: int, generator: torch.Generator, jitter: Jitter) -> _View:
    reach = jitter.shift
    down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    sigma = jitter.blur * torch.rand((), generator=generator).item()
    return _View(down, right, sigma, jitter.noise * torch.randn(size, size, generator=generator))


def shifted(images: Images, down: int, right: int) -> Images:
    """The images moved by whole pixels; what comes in at an edge repeats it.

    Example:
        >>> shifted(torch.arange(3.0).view(1, 1, 1, 3), down=0, right=1)
        tensor([[[[0., 0., 1.]]]])
    """
    height, width = images.shape[-2:]
    edges = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))
    wide = pad(images, edges, mode="replicate")
    top, left = max(-down, 0), max(-right, 0)
    return wide[..., top : top + height, left : left + width]


def blurred(images: Images, sigma: Tensor) -> Images:
    """Gaussian blur: two products with a band matrix.

    Args:
        images: any.
        sigma: in pixels, positive; one for all, or (batch, 1, 1, 1).
    """
    return _smoother(images.shape[2], sigma) @ images @ _smoother(images.shape[3], sigma).mT


def _smoother(side: int, sigma: Tensor) -> Tensor:
    """Matrix whose rows are Gaussian weights around each pixel and sum to one, borders too."""
    places = torch.arange(side, device=sigma.device)
    return torch.softmax(-0.5 * ((places[:, None] - places) / sigma) ** 2, -1)
