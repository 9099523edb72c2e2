"""Real images of the target classes, to hold counterfactuals against."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import preprocessing_of
from cfgen.data.samples import Sample, choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.models.bundle import Bundle
from cfgen.objectives import class_log_odds
from cfgen.types import Image, Images
from evaluation.measures.image import Instruments
from evaluation.runs import Run
from evaluation.summary import target_of

Features = Float[Tensor, "images _"]


@dataclass(frozen=True)
class RealImages:
    """Real images of each class, read when they are asked for.

    Attributes:
        samples: by the name of their class.
        read: maps a sample to its image as the models want it; raises `UnreadableImage`.
    """

    samples: Mapping[str, Sequence[Sample]]
    read: Callable[[Sample], Image]

    def batches(self, name: str, size: int) -> Iterator[tuple[list[Sample], Images]]:
        """Yield the samples of a class that can be read with their images, some at a time."""
        readable = self._readable(tqdm(self.samples[name], desc=f"real {name}", unit="image"))
        while some := list(islice(readable, size)):
            yield [sample for sample, _ in some], torch.stack([image for _, image in some])

    def _readable(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Image]]:
        for sample in samples:
            with contextlib.suppress(UnreadableImage):
                yield sample, self.read(sample)


@dataclass(frozen=True)
class Seen:
    """What the networks see in the real images of one class.

    Attributes:
        patients: whose each image is; where that is not known, its path.
        features: what sets of images are compared in, by name.
        log_odds: of the class, by judge.
        right: whether the judge decides for the class, by judge.
    """

    patients: list[str]
    features: Mapping[str, Features]
    log_odds: Mapping[str, Float[Tensor, " images"]]
    right: Mapping[str, Bool[Tensor, " images"]]


def real_images(run: Run, bundle: Bundle, limit: int) -> RealImages:
    """Name the real images of each target class, from the run's split, at most `limit` of each.

    Raises:
        ValueError: the data are not where they were, or have no image of a target class.
    """
    if run.config["data"] is None:
        raise ValueError("the pairs were adopted without --data; adopt them with it to compare.")
    source = open_source(str(run.config["data"]), bundle.classes, size=bundle.size)
    split = run.config.get("split")
    samples = source.samples
    if split is not None:
        samples = samples_of(source, split, bundle.path / "split.csv")
    prepare = preprocessing_of(run.config["preprocessing"], run.path / "config.yaml")
    targets = {target_of(row) for row in run.samples}
    chosen = {
        name: choose((sample for sample in samples if sample.label == name), limit)
        for name in bundle.classes
        if name in targets
    }
    chosen = {name: some for name, some in chosen.items() if some}
    if not chosen:
        raise ValueError(f"{source.name} has no image of a target class to compare to.")
    return RealImages(chosen, lambda sample: prepare(source.load(sample), sample.path))


@torch.inference_mode()
def look(real: RealImages, instruments: Instruments, batch_size: int) -> dict[str, Seen]:
    """Show the real images to the judges and to the network for distances, by class.

    The images themselves are not kept. A class of which none can be read is left out.
    """
    found = {name: _look_at(real, name, instruments, batch_size) for name in real.samples}
    return {name: seen for name, seen in found.items() if seen.patients}


def _look_at(real: RealImages, name: str, instruments: Instruments, batch_size: int) -> Seen:
    patients: list[str] = []
    views = instruments.views()
    features: dict[str, list[Tensor]] = {view: [] for view in views}
    log_odds: dict[str, list[Tensor]] = {judge: [] for judge in instruments.judges}
    right: dict[str, list[Tensor]] = {judge: [] for judge in instruments.judges}
    for samples, images in real.batches(name, batch_size):
        patients += [sample.patient or sample.path for sample in samples]
        placed = images.to(instruments.device)
        for view, see in views.items():
            features[view].append(see(placed).cpu())
        for judge, network in instruments.judges.items():
            logits = network(placed)
            label = logits.new_full((len(logits),), network.classes.index(name)).long()
            log_odds[judge].append(class_log_odds(logits, label).cpu())
            right[judge].append((network.decide(logits) == label).cpu())
    return Seen(
        patients,
        {view: torch.cat(parts) for view, parts in features.items() if parts},
        {judge: torch.cat(parts) for judge, parts in log_odds.items() if parts},
        {judge: torch.cat(parts) for judge, parts in right.items() if parts},
    )
