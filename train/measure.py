"""Measure the models of a bundle on a split, and write the readings into their cards.

`cfgen train measure --config RECIPE.yaml --data DIR --split test`. Every training ends with a
reading of the validation split. The test split is read by this command alone, and each reading
stays in the bundle's readings.csv, so that a card shows how often anybody has looked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_auroc

from cfgen.data.samples import Sample
from cfgen.metrics import psnr, ssim
from cfgen.models.autoencoder import load_autoencoder
from cfgen.models.classifier import Classifier, load_classifier
from cfgen.models.prior import denoising_error, load_prior
from train.calibration import calibration_error, logits_of
from train.card import Reading, add_readings, model_hash, write_card
from train.command import command_line
from train.data import ImageSet
from train.preparation import open_data, split_samples
from train.recipe import ClassifierRecipe, Recipe

DRAWS = 500

Statistic = Callable[[Int[ndarray, " drawn"]], float]


def measure(recipe: Recipe, images: ImageSet, parts: Sequence[str], split: str) -> None:
    """Measure some parts of a bundle on a split, log the readings and write the cards.

    Args:
        recipe: the bundle's.
        images: those of the split.
        parts: such as 'classifier', 'judges/NAME', 'development/NAME' or 'autoencoder'.
        split: 'val' for the bundle's own, else one of the data's.
    """
    for part in parts:
        statistics = _statistics(recipe, part, images)
        model = model_hash(recipe.bundle, part)
        found = read_off(part, model, split, statistics, images.samples)
        add_readings(recipe.bundle, found)
        write_card(recipe, part)
        for reading in found:
            sys.stdout.write(f"{part} {split} {reading.text()}\n")


def _classifiers(bundle: Path) -> list[str]:
    """Every classifier and judge there is, by its folder in the bundle."""
    folders = ("classifier", "classifiers/*", "judges/*", "development/*")
    found = [file for folder in folders for file in sorted(bundle.glob(f"{folder}/config.json"))]
    return [file.parent.relative_to(bundle).as_posix() for file in found]


def _statistics(recipe: Recipe, part: str, images: ImageSet) -> dict[str, Statistic]:
    if part == "autoencoder":
        return _reconstruction(recipe.bundle, images)
    if part == "prior":
        return _denoising(recipe.bundle, images)
    found = _classification(load_classifier(recipe.bundle / part), images)
    section = recipe.section(part)
    if not isinstance(section, ClassifierRecipe) or section.robust is None:
        return found
    # What robustness costs, paired: both models on the same images drawn.
    start = load_classifier(recipe.bundle / section.robust.start)
    own, of_start = found["AUROC"], _classification(start, images)["AUROC"]
    return {
        **found,
        "AUROC of the start": of_start,
        "AUROC less the start's": lambda drawn: own(drawn) - of_start(drawn),
    }


def _classification(classifier: Classifier, images: ImageSet) -> dict[str, Statistic]:
    """What is said of a classifier, each as a function of the images drawn."""
    logits, labels = logits_of(classifier, images), torch.tensor(images.labels)
    right = (classifier.decide(logits) == labels).double()

    def auroc(drawn: Int[ndarray, " drawn"]) -> float:
        if len(labels[drawn].unique()) < len(labels.unique()):
            return float("nan")  # torchmetrics would call it zero
        # Of probabilities: logits that all lie in [0, 1] torchmetrics would take for such.
        p = logits[drawn].softmax(1)
        return float(multiclass_auroc(p, labels[drawn], len(classifier.classes)))

    def cross(drawn: Int[ndarray, " drawn"]) -> float:
        return float(cross_entropy(logits[drawn], labels[drawn]))

    def calibration(drawn: Int[ndarray, " drawn"]) -> float:
        return calibration_error(logits[drawn].softmax(1), labels[drawn])

    statistics: dict[str, Statistic] = {"AUROC": auroc, "accuracy": mean_of(right)}
    for index, name in enumerate(classifier.classes):
        statistics[f"share of {name} found"] = mean_of(right, labels == index)
    return {**statistics, "cross-entropy": cross, "calibration error": calibration}


def _reconstruction(bundle: Path, images: ImageSet) -> dict[str, Statistic]:
    """What is said of the autoencoder: how near, and who changes their mind."""
    autoencoder = load_autoencoder(bundle / "autoencoder")
    classifiers = {part: load_classifier(bundle / part) for part in _classifiers(bundle)}
    found: dict[str, list[Tensor]] = {"PSNR (dB)": [], "SSIM": []}
    found |= {f"agreement of {name}": [] for name in classifiers}
    with torch.inference_mode():
        for half in images.images.split(64):
            batch = half.float()
            rebuilt = autoencoder.decode(autoencoder.encode(batch)).clamp(0, 1)
            found["PSNR (dB)"].append(psnr(batch, rebuilt))
            found["SSIM"].append(ssim(batch, rebuilt))
            for name, classifier in classifiers.items():
                agrees = classifier.predict(batch) == classifier.predict(rebuilt)
                found[f"agreement of {name}"].append(agrees.double())
    return {name: mean_of(torch.cat(values).double()) for name, values in found.items()}


def _denoising(bundle: Path, images: ImageSet) -> dict[str, Statistic]:
    """What is said of the prior: how far its estimates of clean codes are off, and as which class.

    The error of the other classes beside that of the true one says how much the prior knows of
    the classes: alike, and it would know nothing.
    """
    prior, autoencoder = load_prior(bundle / "prior"), load_autoencoder(bundle / "autoencoder")
    labels, own, other = torch.tensor(images.labels), [], []
    with torch.inference_mode():
        for half, label in zip(images.images.split(64), labels.split(64), strict=True):
            codes = autoencoder.encode(half.float())
            errors = [
                denoising_error(prior, codes, torch.full_like(label, index))
                for index in range(len(prior.classes))
            ]
            table = torch.stack(errors, 1)
            true = table.gather(1, label[:, None]).squeeze(1)
            own.append(true)
            other.append((table.sum(1) - true) / (len(prior.classes) - 1))
    right, wrong = torch.cat(own).double(), torch.cat(other).double()
    return {
        "denoising error": mean_of(right),
        "denoising error as another class": mean_of(wrong),
        "true class denoises better": mean_of((right < wrong).double()),
    }


def mean_of(values: Tensor, of: Tensor | None = None) -> Statistic:
    """The mean of the values drawn, of a subset where one is given."""
    array = values.numpy()
    chosen = np.ones(len(array), dtype=bool) if of is None else of.numpy()

    def mean(drawn: Int[ndarray, " drawn"]) -> float:
        left = array[drawn][chosen[drawn]]
        return float(left.mean()) if len(left) else float("nan")

    return mean


def read_off(
    part: str,
    model: str,
    split: str,
    statistics: dict[str, Statistic],
    samples: Sequence[Sample],
) -> list[Reading]:
    """Read statistics off samples, each with its 95 % percentile bootstrap interval over patients.

    Args:
        part: of the bundle.
        model: see `model_hash`.
        split: where the samples are from.
        statistics: by name, functions of the places of the samples drawn.
        samples: all of them, in that order.
    """
    names = [sample.patient or sample.path for sample in samples]
    patients = np.unique(names, return_inverse=True)[1]
    members = [np.flatnonzero(patients == index) for index in range(patients.max() + 1)]
    random = np.random.default_rng(0)
    draws = [
        np.concatenate([members[i] for i in random.integers(len(members), size=len(members))])
        for _ in range(DRAWS)
    ]
    everything = np.arange(len(samples))
    now = datetime.now(UTC).strftime("%Y-%m-%d")
    found = []
    for metric, statistic in statistics.items():
        low, high = np.nanpercentile([statistic(drawn) for drawn in draws], [2.5, 97.5])
        value = statistic(everything)
        ends = (float(low), float(high))
        found.append(Reading(now, part, model, split, len(samples), metric, value, *ends))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure every model of a bundle on one split."""
    meaning = "'val', or one of the data's"
    recipe, split = command_line(arguments, "split", "val", meaning)
    source = open_data(recipe)
    parts = _classifiers(recipe.bundle)
    parts += [part for part in ("autoencoder", "prior") if (recipe.bundle / part).is_dir()]
    images = ImageSet(source, split_samples(recipe, source, split), recipe.preprocessing)
    measure(recipe, images, parts, split)


if __name__ == "__main__":
    main()
