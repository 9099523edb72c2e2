"""Temperature and decision threshold, chosen on the validation split."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from cfgen.models.classifier import Classifier
from cfgen.types import Logits
from train.data import ImageSet


def logits_of(classifier: Classifier, images: ImageSet, batch_size: int = 64) -> Logits:
    """Logits of a whole set, each image once, in order."""
    with torch.inference_mode():
        batches = images.images.split(batch_size)
        return torch.cat([classifier(batch.float()) for batch in batches])


def calibrate(classifier: Classifier, val: ImageSet) -> None:
    """Choose temperature and thresholds on validation images and store them in the classifier."""
    labels = torch.tensor(val.labels)
    logits = logits_of(classifier, val)
    temperature = classifier.temperature * fit_temperature(logits, labels)
    thresholds = [1 / len(classifier.classes)] * len(classifier.classes)
    if len(classifier.classes) == 2:
        calibrated = (logits * classifier.temperature / temperature).softmax(1)[:, 1]
        second = fit_threshold(calibrated.double().numpy(), labels.numpy())
        thresholds = [1 - second, second]
    classifier.calibrate(temperature, thresholds)


def fit_temperature(logits: Logits, labels: Int[Tensor, " batch"]) -> float:
    """The temperature that minimises cross-entropy (Guo et al. 2017), between 1/20 and 20."""

    def loss(log_temperature: float) -> float:
        return float(cross_entropy(logits.double() / np.exp(log_temperature), labels))

    limit = float(np.log(20))
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
    return float(np.exp(found.x))  # pyright: ignore[reportAttributeAccessIssue]


def fit_threshold(probability: Float[ndarray, " batch"], labels: Int[ndarray, " batch"]) -> float:
    """The threshold of the second class's probability with the best balanced accuracy.

    Youden's J is constant between two neighbouring probabilities; of the best interval the middle
    is taken on the scale of log-odds, where scores are spread evenly. Of several equally good
    intervals it is that in the midst of them.

    Raises:
        ValueError: only one class is there, or all probabilities are the same.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError("expected validation images of both classes, got one; do add the other")
    odds = np.log(probability.clip(1e-9, 1 - 1e-9) / (1 - probability).clip(1e-9, 1 - 1e-9))
    cuts = np.unique(odds)
    if len(cuts) < 2:
        raise ValueError(
            f"expected probabilities that differ, got {probability[0]:.3g} for every validation "
            "image: the classifier has collapsed; do lower its learning rate or train it for longer"
        )
    between = (cuts[1:] + cuts[:-1]) / 2
    decided = odds[None, :] >= between[:, None]
    balanced = decided[:, labels == 1].mean(1) + 1 - decided[:, labels == 0].mean(1)
    best = between[np.flatnonzero(balanced >= balanced.max() - 1e-12)]
    middle = best[np.abs(best - (best[0] + best[-1]) / 2).argmin()]
    return float(1 / (1 + np.exp(-middle)))


def calibration_error(
    probabilities: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], bins: int = 15
) -> float:
    """Expected calibration error of the most probable class (Naeini et al. 2015), in [0, 1].

    Sum over bins of (share of images in the bin) * |accuracy - mean confidence|.
    """
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).float()
    which = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [
        (right[which == number].mean() - confidence[which == number].mean()).abs()
        * (which == number).float().mean()
        for number in which.unique()
    ]
    return float(torch.stack(gaps).sum())
