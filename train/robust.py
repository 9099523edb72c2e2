"""Attacks that a classifier is fine-tuned on: one step of FGSM, in pixels and in the code.

They see the classifier as it is deployed, in evaluation mode, for three reasons: that is the
function to be made robust; an image's attack must not depend on the rest of its batch; and a pass
in training mode would move the running statistics of batch norm a second time. The training step
that follows is in training mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cfgen.models.classifier import Classifier
from cfgen.spaces import Coder
from cfgen.types import Images, Labels
from train.recipe import Robust


def attack(
    classifier: Classifier, autoencoder: Coder, images: Images, labels: Labels, how: Robust
) -> Images:
    """Attack a share of a batch: of that share the first half in pixels, the second in the code.

    The rest of the batch stays as it is, so that the model does not forget what nobody attacked.
    """
    attacked = round(how.share * len(images))
    pixel, latent, rest = images.split(
        [attacked // 2, attacked - attacked // 2, len(images) - attacked]
    )
    first, second, _ = labels.split([len(pixel), len(latent), len(rest)])
    moved = [
        pixel_fgsm(classifier, pixel, first, how.pixel),
        latent_fgsm(classifier, autoencoder, latent, second, how.latent),
    ]
    return torch.cat([*moved, rest])


def pixel_fgsm(classifier: Classifier, images: Images, labels: Labels, epsilon: float) -> Images:
    """One step of the fast gradient sign method (Goodfellow et al. 2015).

    clip(x + epsilon sign(d loss / d x)) with the cross-entropy of the true label: of all changes of
    at most epsilon a pixel, the one that raises a linear loss most.

    Args:
        classifier: attacked in evaluation mode, whatever mode it is in.
        images: in [0, 1].
        labels: what they show.
        epsilon: the step, in units of the image.
    """
    moved = images.detach().clone().requires_grad_()
    gradient = _gradient(classifier, moved, moved, labels)
    return (images + epsilon * gradient.sign()).clamp(0, 1).detach()


def latent_fgsm(
    classifier: Classifier,
    autoencoder: Coder,
    images: Images,
    labels: Labels,
    epsilon: float,
) -> Images:
    """The same step in the autoencoder's code, decoded residually.

    clip(x + D(z + epsilon sign(d loss / d z)) - D(z)) with z the code of x. At z the residually
    decoded image is x itself, so the gradient is that at the image, not at its reconstruction.

    Args:
        classifier: attacked in evaluation mode, whatever mode it is in.
        autoencoder: whose code is attacked.
        images: in [0, 1].
        labels: what they show.
        epsilon: the step, in standard deviations of codes.
    """
    with torch.no_grad():
        code = autoencoder.encode(images)
    code = code.detach().requires_grad_()
    with torch.enable_grad():
        rebuilt = autoencoder.decode(code)
        gradient = _gradient(classifier, images + rebuilt - rebuilt.detach(), code, labels)
    with torch.no_grad():
        change = autoencoder.decode(code + epsilon * gradient.sign()) - rebuilt
        return (images + change).clamp(0, 1)


def _gradient(classifier: Classifier, images: Images, of: Tensor, labels: Labels) -> Tensor:
    """Gradient of the summed cross-entropy, also where gradients are off, as in validation."""
    with _as_deployed(classifier), torch.enable_grad():
        loss = cross_entropy(classifier(images).float(), labels, reduction="sum")
        return torch.autograd.grad(loss, of)[0]


@contextmanager
def _as_deployed(classifier: Classifier) -> Iterator[None]:
    training = classifier.training
    classifier.eval()
    try:
        yield
    finally:
        classifier.train(training)
