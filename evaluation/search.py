"""Searches counterfactuals over a data set and writes them as a run."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from cfgen.data.files import read_image
from cfgen.data.pixels import UnreadableImage
from cfgen.data.preprocessing import Preprocessing, preprocessing_of
from cfgen.data.samples import Sample, Source, choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.goals import CONFIDENCE, OTHER, make_goal
from cfgen.methods import DEFAULT_METHOD, Settings, settings_of
from cfgen.methods import search as search_batch
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.spaces import Region
from cfgen.types import Counterfactuals, Goal, Image, Images, Seeds
from evaluation.runs import Row, create_run, lasting, write_shard, write_skipped

_LOG = logging.getLogger(__name__)


def search(
    bundle: str,
    data: str,
    out: Path,
    split: str = "test",
    method: str = DEFAULT_METHOD,
    settings: dict[str, int | float | str] | None = None,
    target: str | None = None,
    confidence: float = CONFIDENCE,
    classifier: str | None = None,
    limit: int | None = None,
    mask: Path | None = None,
    bound: float = 1.0,
    draws: int = 1,
    batch_size: int = 64,
    seed: int = 0,
) -> Path:
    """Search a counterfactual of every sample and write them as a run.

    The same command again takes up a run where it was interrupted.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: a class-folder tree, a CSV table, a MedMNIST archive, 'phantom' or an image file.
        out: folder of the run.
        split: of the data; 'val' is the bundle's own cut, 'all' where the data has none.
        method: see `cfgen.methods.METHODS`.
        settings: of the method, those that are not to be its own.
        target: name of a class, or 'other'; by default the class not predicted, or the runner-up.
        confidence: calibrated probability of the target to reach.
        classifier: what stands in for the bundle's: package.module:function, or the YAML file of
            a classifier that cfgen did not train.
        limit: number of samples, evenly from the classes; by default all.
        mask: an image file, bright where change is allowed.
        bound: greatest change of any pixel.
        draws: counterfactuals of each image, each drawn from a seed of its own.
        batch_size: images searched at once.
        seed: of everything that is drawn at random, together with each sample's id.

    Returns:
        The run's folder.

    Raises:
        ValueError: something given is not to be had, or `out` holds another run.
    """
    if batch_size < 1:
        raise ValueError(f"expected a batch of 1 image or more, got {batch_size}; give 64, say")
    if draws < 1:
        raise ValueError(f"expected 1 draw an image or more, got {draws}; leave it out for 1")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = load_bundle(bundle, classifier, device)
    prepare = preprocessing_of(models.preprocessing, models.path / "bundle.yaml")
    source = open_source(data, models.classes, size=prepare.size)
    chosen = choose(samples_of(source, split, models.path / "split.csv"), limit)
    samples = chosen if draws == 1 else _drawn(chosen, draws)
    resolved = settings_of(method, settings)
    region = region_of(mask, bound, prepare, device)
    task = Task(models, method, resolved, target, confidence, region)
    task.rehearse()
    config = {
        "command": "search",
        "bundle": lasting(bundle) if "/" in bundle else bundle,
        "classifier": models.own_classifier,
        "data": data if source.content is None else lasting(data),
        "split": split,
        "method": method,
        "settings": asdict(resolved),
        "target": target,
        "confidence": confidence,
        "limit": limit,
        "mask": None if mask is None else lasting(mask),
        "bound": bound,
        "draws": draws,
        "batch_size": batch_size,
        "seed": seed,
        "classes": list(models.classes),
        "preprocessing": models.preprocessing,
        "weights": models.searched_with(),
        "manifest": _manifest(samples),
        "samples": len(samples),
        "versions": {name: version(name) for name in ("cfgen", "torch", "diffusers", "numpy")},
    }
    finished = create_run(out, config)
    torch.manual_seed(seed)
    waiting = [sample for sample in samples if sample.id not in finished]
    skipped: list[Row] = []
    with tqdm(total=len(waiting), desc=method, unit="image") as progress:
        readable = _readable(source, waiting, prepare, skipped)
        while some := list(islice(readable, batch_size)):
            batch = [sample for sample, _ in some]
            factual = torch.stack([image for _, image in some])
            ids = torch.tensor([sample.id for sample in batch])
            rows, found = _search_batch(task, batch, factual.to(device), ids ^ seed)
            write_shard(out, rows, ids, factual, found)
            progress.update(len(batch))
    write_skipped(out, skipped)
    for row in skipped:
        _LOG.warning("skipped: %s", row["reason"])
    if len(skipped) == len(samples):
        raise ValueError(
            f"expected readable images in {data}, got none of {len(samples)}; see "
            f"{out / 'skipped.csv'}, which begins with: {skipped[0]['reason']}"
        )
    return out


@dataclass(frozen=True)
class Task:
    """What is asked of every batch.

    Attributes:
        models: whose classifier is explained.
        method: see `cfgen.methods.METHODS`.
        settings: of the method.
        target: see `cfgen.goals.make_goal`.
        confidence: calibrated probability of the target to reach.
        region: where and how far an image may change.
    """

    models: Bundle
    method: str
    settings: Settings
    target: str | None
    confidence: float
    region: Region

    def search(self, factual: Images, seeds: Seeds) -> tuple[Goal, Counterfactuals]:
        """Search a batch; return what was asked of it, too."""
        goal = make_goal(self.models.classifier, factual, self.target, self.confidence)
        how = (self.method, self.settings, self.region, seeds)
        return goal, search_batch(self.models, goal, factual, *how)

    def rehearse(self) -> None:
        """Search a blank image for one step, so that what is wrong is said before a run is made."""
        size = self.models.size
        blank = torch.full((1, 1, size, size), 0.5, device=self.models.device)
        replace(self, settings=replace(self.settings, steps=1)).search(blank, torch.zeros(1).long())


def _drawn(samples: Sequence[Sample], draws: int) -> list[Sample]:
    """Repeat every sample for each of its draws, which stand side by side."""
    return [replace(sample, draw=draw) for sample in samples for draw in range(draws)]


def _search_batch(
    task: Task, batch: Sequence[Sample], factual: Images, seeds: Seeds
) -> tuple[list[Row], Images]:
    began = time.perf_counter()
    goal, found = task.search(factual, seeds)
    seconds = (time.perf_counter() - began) / len(batch)
    with torch.inference_mode():
        before, after = (goal.log_odds(images).sigmoid() for images in (factual, found.images))
    rows = [
        {
            **_known(sample),
            **_aim(task.models.classes, goal, place),
            **_cost(found, place),
            "p_target_factual": float(before[place]),
            "p_target": float(after[place]),
            "seconds": seconds,
        }
        for place, sample in enumerate(batch)
    ]
    return rows, found.images.cpu()


def _known(sample: Sample) -> Row:
    return {
        "id": sample.id,
        "path": sample.path,
        "label": sample.label,
        "patient": sample.patient,
        "subgroup": sample.subgroup,
        "draw": sample.draw,
    }


def _aim(classes: Sequence[str], goal: Goal, place: int) -> Row:
    assert goal.source is not None
    target = OTHER if goal.target is None else classes[int(goal.target[place])]
    return {"source": classes[int(goal.source[place])], "target": target}


def _cost(found: Counterfactuals, place: int) -> Row:
    return {
        "outcome": str(found.outcomes[place]),
        "steps": int(found.steps[place]),
        "evaluations": int(found.evaluations[place]),
        "prior_passes": int(found.prior_passes[place]),
        "decodes": int(found.decodes[place]),
    }


def _readable(
    source: Source, samples: Sequence[Sample], prepare: Preprocessing, skipped: list[Row]
) -> Iterator[tuple[Sample, Image]]:
    """Yield the samples that can be read with their images; list the others in `skipped`."""
    for sample in samples:
        try:
            image = prepare(source.load(sample), sample.path)
        except UnreadableImage as error:
            skipped.append({"path": sample.path, "reason": str(error)})
        else:
            yield sample, image


def region_of(path: Path | None, bound: float, prepare: Preprocessing, device: str) -> Region:
    """Return where and how far an image may change.

    Args:
        path: an image file, bright where change is allowed; None for everywhere.
        bound: greatest change of any pixel.
        prepare: how a file becomes an image.
        device: where the mask goes.

    Raises:
        ValueError: the bound is not in (0, 1], or there is no such image.
    """
    if not 0 < bound <= 1:
        raise ValueError(f"expected a bound in (0, 1], got {bound}; give 1 for none")
    if path is None:
        return Region(bound=bound)
    # Masks come with 1, 255 or 65535 for 'allowed': the brightest value is what counts.
    mask = replace(prepare, intensity="minmax")(read_image(path), str(path)) > 0.5
    return Region(mask.float()[None].to(device), bound)


def _manifest(samples: Sequence[Sample]) -> str:
    """Hash of which samples, with which labels, are searched."""
    listed = "\n".join(f"{sample.path},{sample.label}" for sample in samples if not sample.draw)
    return hashlib.sha256(listed.encode()).hexdigest()
