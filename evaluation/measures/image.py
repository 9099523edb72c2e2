"""Measures every counterfactual of a run: one row a sample, all from the stored images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from cfgen import metrics
from cfgen.data.phantom import CLASSES as PHANTOM_CLASSES
from cfgen.data.phantom import Phantom
from cfgen.models.autoencoder import Autoencoder
from cfgen.models.classifier import Classifier
from cfgen.models.prior import Prior, rebuild
from cfgen.types import Images
from evaluation.batches import Batch, batches
from evaluation.measures.judging import (
    NOWHERE,
    Goals,
    Said,
    border_shift,
    decided,
    judged,
    non_adversarial,
    panel_follows,
    say,
)
from evaluation.measures.transitions import STEPS, Curves
from evaluation.runs import Row, Run

Masks = Bool[Tensor, "batch 1 height width"]
Features = Float[Tensor, "batch features"]


class FeatureNetwork(NamedTuple):
    """A network in whose features sets of images are compared.

    Attributes:
        name: what it is called.
        network: a classifier; what its last dense layer is given is taken.
    """

    name: str
    network: Classifier


CODES = "autoencoder"
"""What the autoencoder's codes are called where sets of images are compared in them."""
INCEPTION = "inception"
"""What FID's network is called there: in its features only a Frechet distance is an FID."""
_CODE_SIDE = 4


@dataclass(frozen=True)
class Instruments:
    """What a run is measured with.

    Attributes:
        classifier: the one that the counterfactuals were searched for.
        judges: other classifiers by name, never searched for.
        border: a classifier that does not see the lungs, where there is one; no judge.
        features: the network for distances of sets of images, where there is one.
        lungs: from images to masks of the lungs, where there is a segmenter.
        autoencoder: the one searched with, where there is one.
        prior: of its codes, where there is one.
        phantom: maps a sample's path to its phantom, where the images are phantoms; these have
            masks of their own.
        perceptual: whether piq is asked, too.
        lpips: from images and others to the LPIPS of each pair, where there are weights for it.
        inception: from images to the features of FID, likewise.
        device: where the images are sent before a model sees them.
    """

    classifier: Classifier
    judges: Mapping[str, Classifier]
    border: Classifier | None = None
    features: FeatureNetwork | None = None
    lungs: Callable[[Images], Masks] | None = None
    autoencoder: Autoencoder | None = None
    prior: Prior | None = None
    phantom: Callable[[str], Phantom] | None = None
    perceptual: bool = False
    lpips: Callable[[Images, Images], Float[Tensor, " batch"]] | None = None
    inception: Callable[[Images], Features] | None = None
    device: str = "cpu"

    def views(self) -> dict[str, Callable[[Images], Features]]:
        """From images to what sets of them are compared in, by name.

        The codes as 4 x 4 block means: whole ones have more places than sets have images.
        """
        found: dict[str, Callable[[Images], Features]] = {}
        if self.features is not None:
            found[self.features.name] = self.features.network.features
        if self.autoencoder is not None:
            encode = self.autoencoder.encode
            found[CODES] = lambda images: adaptive_avg_pool2d(encode(images), _CODE_SIDE).flatten(1)
        if self.inception is not None:
            found[INCEPTION] = self.inception
        return found


class Measures(NamedTuple):
    """What was measured of a run's samples.

    Attributes:
        rows: every metric of every sample, in the order of the run's samples. A value is None
            where it does not apply: a judge's following, say, for a judge that had the factual
            wrong. Names are explained by `evaluation.definitions.describe`.
        curves: of COUT.
    """

    rows: list[Row]
    curves: Curves


@torch.inference_mode()
def measure(run: Run, instruments: Instruments, batch_size: int = 64) -> Measures:
    """Measure every sample of a run.

    Raises:
        ValueError: a class of the run is unknown to a model, or a phantom is not what was stored.
    """
    progress = tqdm(total=len(run.samples), desc="measure", unit="image")
    measured: dict[object, Row] = {}
    curves: dict[object, tuple[list[float], list[float]]] = {}
    for batch in batches(run, batch_size, instruments.device):
        said = say(batch, instruments.classifier, STEPS)
        columns = _columns(batch, instruments, said)
        values = {name: _plain(column) for name, column in columns.items()}
        for place, row in enumerate(batch.rows):
            own = {name: column[place] for name, column in values.items()}
            measured[row["id"]] = {"id": row["id"], **own}
            curves[row["id"]] = (said.target[place].tolist(), said.source[place].tolist())
        progress.update(len(batch.rows))
    progress.close()
    return Measures([measured[row["id"]] for row in run.samples], curves)


def _columns(batch: Batch, instruments: Instruments, said: Said) -> dict[str, Tensor]:
    columns = _proximity(batch) | decided(batch, instruments.classifier, said)
    if instruments.perceptual:
        columns |= metrics.perceptual(batch.factual, batch.image)
    if instruments.lpips is not None:
        columns["lpips"] = instruments.lpips(batch.factual, batch.image)
    for name, judge in instruments.judges.items():
        columns |= judged(batch, name, judge, columns["valid"])
    if instruments.judges:
        columns["panel_follows"] = panel_follows(columns, instruments.judges)
        columns["non_adversarial"] = non_adversarial(columns, instruments.judges)
    if instruments.border is not None:
        columns["border_shift"] = border_shift(batch, instruments.border)
    if instruments.autoencoder is not None:
        columns |= _reconstructed(batch, instruments.classifier, instruments.autoencoder, said)
        if instruments.prior is not None:
            columns |= _interpretable(batch, instruments.autoencoder, instruments.prior)
    if instruments.phantom is not None:
        phantoms = _drawn(batch, instruments.phantom)
        columns |= _placed(batch, _stack(phantoms, "lungs", batch.image.device))
        columns |= _against_truth(batch, phantoms)
    elif instruments.lungs is not None:
        columns |= _placed(batch, instruments.lungs(batch.factual))
    return columns


def on_opacity(change: Images, opacity: Masks) -> dict[str, Tensor]:
    """How much of a change, or of a saliency map, is where a phantom's opacity is."""
    return {
        "energy_in_opacity": metrics.energy_inside(change, opacity),
        "iou_opacity": metrics.strongest_iou(change, opacity),
        "pointing_opacity": metrics.pointing_game(change, opacity),
    }


def _proximity(batch: Batch) -> dict[str, Tensor]:
    pair = (batch.factual, batch.image)
    return {
        "l1": metrics.l1(*pair),
        "l2": metrics.l2(*pair),
        "linf": metrics.linf(*pair),
        "changed": metrics.changed_fraction(*pair),
        "sparsity": metrics.sparsity(*pair),
        "high_frequency": metrics.high_frequency_share(batch.image - batch.factual),
        "ssim": metrics.ssim(*pair),
        "ms_ssim": metrics.ms_ssim(*pair),
        "psnr": metrics.psnr(*pair),
    }


def _placed(batch: Batch, lungs: Masks) -> dict[str, Tensor]:
    """How much of the change is where the lungs of the factual are."""
    change = batch.image - batch.factual
    return {
        "ssim_outside": metrics.ssim_outside(batch.factual, batch.image, lungs),
        "energy_in_lungs": metrics.energy_inside(change, lungs),
        "inside_ratio": metrics.inside_ratio(change, lungs),
    }


def _reconstructed(
    batch: Batch, classifier: Classifier, autoencoder: Autoencoder, said: Said
) -> dict[str, Tensor]:
    reconstruction = autoencoder.decode(autoencoder.encode(batch.factual)).clamp(0, 1)
    before = classifier.decide(said.before)
    after = classifier.decide(classifier(reconstruction))
    return {
        "ssim_reconstruction": metrics.ssim(reconstruction, batch.image),
        "reconstruction_flips": before != after,
    }


def _interpretable(batch: Batch, autoencoder: Autoencoder, prior: Prior) -> dict[str, Tensor]:
    """How well the prior rebuilds the code as of its classes; NaN where the target is no class."""
    goals = Goals.of(batch, prior.classes)
    codes = autoencoder.encode(batch.image)
    known = goals.target != NOWHERE
    any_class = torch.full_like(goals.source, prior.no_class)
    by_target, by_source, by_any = (
        rebuild(prior, codes, label)
        for label in (goals.target.where(known, any_class), goals.source, any_class)
    )
    itself = prior.standardised(codes)
    return {
        "im1": torch.where(known, metrics.im1(itself, by_target, by_source), torch.nan),
        "im2": torch.where(known, metrics.im2(itself, by_target, by_any), torch.nan),
    }


def _drawn(batch: Batch, phantom: Callable[[str], Phantom]) -> list[Phantom]:
    phantoms = [phantom(str(row["path"])) for row in batch.rows]
    for row, known, stored in zip(batch.rows, phantoms, batch.factual.cpu(), strict=True):
        if known.image.shape != stored.shape or not torch.allclose(known.image, stored, atol=0.01):
            raise ValueError(
                f"expected the phantom {row['path']} as the run stores it, got another; search "
                "again with this version of cfgen, for the drawing has changed."
            )
    return phantoms


def _against_truth(batch: Batch, phantoms: list[Phantom]) -> dict[str, Tensor]:
    device = batch.image.device
    truth = torch.stack([one.truth for one in phantoms]).to(device)
    change = batch.image - batch.factual
    marker = _stack(phantoms, "marker", device)
    marked = marker.flatten(1).any(1)
    opacity = _stack(phantoms, "opacity", device)
    columns = {
        **on_opacity(change, opacity),
        "ssim_outside_opacity": metrics.ssim_outside(batch.factual, batch.image, opacity),
        "energy_in_marker": torch.where(marked, metrics.energy_inside(change, marker), torch.nan),
        "l2_truth": metrics.l2(truth, batch.image),
        "l2_truth_factual": metrics.l2(truth, batch.factual),
        "ssim_truth": metrics.ssim(truth, batch.image),
        "ssim_truth_factual": metrics.ssim(truth, batch.factual),
    }
    pairs = zip(batch.rows, phantoms, strict=True)
    towards = [row["target"] == PHANTOM_CLASSES[1 - one.label] for row, one in pairs]
    applies = torch.tensor(towards, device=device)
    return {name: torch.where(applies, column, torch.nan) for name, column in columns.items()}


def _stack(phantoms: list[Phantom], mask: str, device: torch.device) -> Masks:
    return torch.stack([getattr(one, mask) for one in phantoms]).to(device)


def _plain(column: Tensor) -> list[float | int | None]:
    """Return a column's values, yes and no as 1 and 0, NaN as None."""
    if column.dtype == torch.bool:
        return [int(value) for value in column.tolist()]
    return [None if math.isnan(value) else value for value in column.tolist()]
