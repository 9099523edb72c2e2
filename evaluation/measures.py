"""Measures every counterfactual of a run: one row a sample, all from the stored images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from cfgen import metrics
from cfgen.data.phantom import CLASSES as PHANTOM_CLASSES
from cfgen.data.phantom import Phantom
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.classifier import Classifier
from cfgen.types import Images, Labels, Logits
from evaluation.runs import Row, Run

VALID = 0.9
"""Calibrated probability from which a counterfactual is valid."""
ROUNDING = 1e-4
"""How far that probability may fall short, since rounding differs from batch to batch."""
NOWHERE = -1
"""The index of a class that is not among the classifier's, such as 'any other'."""


@dataclass(frozen=True)
class Instruments:
    """What a run is measured with.

    Attributes:
        classifier: the one that the counterfactuals were searched for.
        judges: other classifiers by name, never searched for.
        autoencoder: the one searched with, where there is one.
        phantom: maps a sample's path to its phantom, where the images are phantoms.
        device: where the images are sent before a model sees them.
    """

    classifier: Classifier
    judges: Mapping[str, Classifier]
    autoencoder: Autoencoder | None = None
    phantom: Callable[[str], Phantom] | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Batch:
    """Some samples of a run with their images."""

    rows: list[Row]
    factual: Images
    image: Images


def batches(run: Run, size: int, device: str) -> Iterator[Batch]:
    """Yield a run's samples with their images, at most `size` at a time.

    Raises:
        ValueError: the size is below 1.
    """
    if size < 1:
        raise ValueError(f"expected a batch of 1 image or more, got {size}; give 64, say")
    row_of = {row["id"]: row for row in run.samples}
    for ids, factual, image in run.images():
        parts = zip(ids.split(size), factual.split(size), image.split(size), strict=True)
        for some, before, after in parts:
            rows = [row_of[int(i)] for i in some.tolist()]
            yield Batch(rows, before.float().to(device), after.float().to(device))


@torch.inference_mode()
def measure(run: Run, instruments: Instruments, batch_size: int = 64) -> list[Row]:
    """Return every metric of every sample, in the order of the run's samples.

    Names are explained by `evaluation.definitions.describe`. A value is None where it does not
    apply: a judge's following, say, for a judge that had the factual wrong.

    Raises:
        ValueError: a class of the run is unknown to a model, or a phantom is not what was stored.
    """
    progress = tqdm(total=len(run.samples), desc="measure", unit="image")
    measured: dict[object, Row] = {}
    for batch in batches(run, batch_size, instruments.device):
        columns = _proximity(batch)
        columns |= _asked(batch, instruments.classifier)
        for name, judge in instruments.judges.items():
            columns |= _judged(batch, name, judge, columns["valid"])
        if instruments.autoencoder is not None:
            columns |= _reconstructed(batch, instruments.classifier, instruments.autoencoder)
        if instruments.phantom is not None:
            columns |= _against_truth(batch, instruments.phantom)
        values = {name: _plain(column) for name, column in columns.items()}
        for place, row in enumerate(batch.rows):
            own = {name: column[place] for name, column in values.items()}
            measured[row["id"]] = {"id": row["id"], **own}
        progress.update(len(batch.rows))
    progress.close()
    return [measured[row["id"]] for row in run.samples]


def _proximity(batch: Batch) -> dict[str, Tensor]:
    pair = (batch.factual, batch.image)
    return {
        "l1": metrics.l1(*pair),
        "l2": metrics.l2(*pair),
        "linf": metrics.linf(*pair),
        "changed": metrics.changed_fraction(*pair),
        "ssim": metrics.ssim(*pair),
        "ms_ssim": metrics.ms_ssim(*pair),
        "psnr": metrics.psnr(*pair),
    }


@dataclass(frozen=True)
class _Goals:
    """The classes of some samples as a classifier's indices."""

    label: Labels
    source: Labels
    target: Labels

    @staticmethod
    def of(batch: Batch, classifier: Classifier) -> _Goals:
        device = batch.image.device
        return _Goals(*(_indices(batch.rows, name, classifier, device) for name in _CLASS_COLUMNS))

    def truth(self) -> Labels:
        """The true class, and where it is not known the one that the classifier saw."""
        return torch.where(self.label == NOWHERE, self.source, self.label)

    def probability(self, logits: Logits) -> Float[Tensor, " batch"]:
        """Probability of the target; of any class but the source where the target is no class."""
        probabilities = logits.softmax(1)
        target = probabilities.gather(1, self.target.clamp_min(0)[:, None])[:, 0]
        source = probabilities.gather(1, self.source.clamp_min(0)[:, None])[:, 0]
        return torch.where(self.target == NOWHERE, 1 - source, target)

    def aim(self, predicted: Labels) -> Labels:
        """The class to arrive at: where the target is no class, any predicted but the source."""
        other = torch.where(predicted == self.source, NOWHERE, predicted)
        return torch.where(self.target == NOWHERE, other, self.target)

    def met(self, predicted: Labels) -> Bool[Tensor, " batch"]:
        """Whether a prediction is what was aimed at."""
        return metrics.flip(predicted, self.aim(predicted))


_CLASS_COLUMNS = ("label", "source", "target")


def _indices(rows: list[Row], column: str, classifier: Classifier, device: torch.device) -> Labels:
    known = {name: index for index, name in enumerate(classifier.classes)}
    if column == "source" and any(row[column] not in known for row in rows):
        strange = next(row[column] for row in rows if row[column] not in known)
        raise ValueError(
            f"expected a source among the classes {', '.join(known)}, got {strange!r}; measure "
            "the run with the bundle it was made with, and with judges of the same classes."
        )
    return torch.tensor([known.get(str(row[column]), NOWHERE) for row in rows], device=device)


def _asked(batch: Batch, classifier: Classifier) -> dict[str, Tensor]:
    goals = _Goals.of(batch, classifier)
    before, after = classifier(batch.factual), classifier(batch.image)
    there = goals.met(classifier.decide(before))
    flips = goals.met(classifier.decide(after))
    probability = goals.probability(after)
    return {
        "p_target_factual": goals.probability(before),
        "p_target": probability,
        "valid": metrics.valid(probability, VALID - ROUNDING),
        "flip": torch.where(there, torch.nan, flips.float()),
    }


def _judged(
    batch: Batch, name: str, judge: Classifier, valid: Bool[Tensor, " batch"]
) -> dict[str, Tensor]:
    goals = _Goals.of(batch, judge)
    before, after = judge(batch.factual), judge(batch.image)
    truth, predicted, arrived = goals.truth(), judge.decide(before), judge.decide(after)
    follows = metrics.judge_follow(predicted, arrived, truth, goals.aim(arrived))
    follows = torch.where(goals.met(truth), torch.nan, follows)
    right = torch.where(goals.label == NOWHERE, torch.nan, (predicted == goals.label).float())
    prefix = f"judge_{name}"
    return {
        f"{prefix}_factual_right": right,
        f"{prefix}_p_target_factual": goals.probability(before),
        f"{prefix}_p_target": goals.probability(after),
        f"{prefix}_follows_valid": torch.where(valid, follows, torch.nan),
        f"{prefix}_follows": follows,
    }


def _reconstructed(
    batch: Batch, classifier: Classifier, autoencoder: Autoencoder
) -> dict[str, Tensor]:
    reconstruction = autoencoder.decode(autoencoder.encode(batch.factual)).clamp(0, 1)
    before = classifier.decide(classifier(batch.factual))
    after = classifier.decide(classifier(reconstruction))
    return {
        "ssim_reconstruction": metrics.ssim(reconstruction, batch.image),
        "reconstruction_flips": before != after,
    }


def _against_truth(batch: Batch, phantom: Callable[[str], Phantom]) -> dict[str, Tensor]:
    device = batch.image.device
    phantoms = [phantom(str(row["path"])) for row in batch.rows]
    for row, known, stored in zip(batch.rows, phantoms, batch.factual.cpu(), strict=True):
        if known.image.shape != stored.shape or not torch.allclose(known.image, stored, atol=0.01):
            raise ValueError(
                f"expected the phantom {row['path']} as the run stores it, got another; search "
                "again with this version of cfgen, for the drawing has changed."
            )
    truth = torch.stack([one.truth for one in phantoms]).to(device)
    change = batch.image - batch.factual
    columns = {
        "energy_in_opacity": metrics.energy_inside(change, _stack(phantoms, "opacity", device)),
        "energy_in_lungs": metrics.energy_inside(change, _stack(phantoms, "lungs", device)),
        "l2_truth": metrics.l2(truth, batch.image),
        "l2_truth_factual": metrics.l2(truth, batch.factual),
        "ssim_truth": metrics.ssim(truth, batch.image),
        "ssim_truth_factual": metrics.ssim(truth, batch.factual),
    }
    pairs = zip(batch.rows, phantoms, strict=True)
    towards = [row["target"] == PHANTOM_CLASSES[1 - one.label] for row, one in pairs]
    applies = torch.tensor(towards, device=device)
    return {name: torch.where(applies, column, torch.nan) for name, column in columns.items()}


def _stack(
    phantoms: list[Phantom], mask: str, device: torch.device
) -> Bool[Tensor, "batch 1 height width"]:
    return torch.stack([getattr(one, mask) for one in phantoms]).to(device)


def _plain(column: Tensor) -> list[float | int | None]:
    """Return a column's values, yes and no as 1 and 0, NaN as None."""
    if column.dtype == torch.bool:
        return [int(value) for value in column.tolist()]
    return [None if math.isnan(value) else value for value in column.tolist()]
