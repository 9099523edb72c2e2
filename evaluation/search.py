"""Searches counterfactuals over a data set and writes them as a run."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from cfgen.data.files import UnreadableImage, read_image
from cfgen.data.preprocessing import Preprocessing
from cfgen.data.samples import Sample, Source, choose
from cfgen.data.sources import open_source
from cfgen.methods import CONFIDENCE, DEFAULT_METHOD, OTHER, Settings, make_goal, settings_of
from cfgen.methods import search as search_batch
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.spaces import Region
from cfgen.types import Counterfactuals, Goal, Images
from evaluation.runs import Row, create_run, write_shard, write_skipped

_LOG = logging.getLogger(__name__)


def search(
    bundle: str,
    data: str,
    out: Path,
    split: str = "test",
    method: str = DEFAULT_METHOD,
    settings: dict[str, float | str] | None = None,
    target: str | None = None,
    confidence: float = CONFIDENCE,
    classifier: str | None = None,
    limit: int | None = None,
    mask: Path | None = None,
    bound: float = 1.0,
    batch_size: int = 64,
    seed: int = 0,
) -> Path:
    """Search a counterfactual of every sample and write them as a run.

    The same command again takes up a run where it was interrupted.

    Args:
        bundle: name of a shipped bundle, or a path with a slash in it.
        data: a class-folder tree, a CSV table, a MedMNIST archive, 'phantom' or an image file.
        out: folder of the run.
        split: of the data; 'all' where the data has none.
        method: see `cfgen.methods.METHODS`.
        settings: of the method, those that are not to be its own.
        target: name of a class, or 'other'; by default the class not predicted, or the runner-up.
        confidence: calibrated probability of the target to reach.
        classifier: package.module:function that stands in for the bundle's classifier.
        limit: number of samples, evenly from the classes; by default all.
        mask: an image file, bright where change is allowed.
        bound: greatest change of any pixel.
        batch_size: images searched at once.
        seed: of everything that is drawn at random.

    Returns:
        The run's folder.

    Raises:
        ValueError: something given is not to be had, or `out` holds another run.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = load_bundle(bundle, classifier, device)
    source = open_source(data, models.classes, size=models.size)
    samples = choose(source.of(split), limit)
    resolved = settings_of(method, settings)
    config = {
        "command": "search",
        "bundle": bundle,
        "classifier": classifier,
        "data": data,
        "split": split,
        "method": method,
        "settings": asdict(resolved),
        "target": target,
        "confidence": confidence,
        "limit": limit,
        "mask": mask,
        "bound": bound,
        "batch_size": batch_size,
        "seed": seed,
        "classes": list(models.classes),
        "preprocessing": models.preprocessing,
        "weights": models.weights(),
        "manifest": _manifest(samples),
        "versions": {name: version(name) for name in ("cfgen", "torch", "diffusers", "numpy")},
    }
    prepare = Preprocessing(**models.preprocessing)  # pyright: ignore[reportArgumentType]
    region = Region(_read_mask(mask, prepare, device), bound)
    finished = create_run(out, config)
    torch.manual_seed(seed)
    waiting = [sample for sample in samples if sample.id not in finished]
    skipped: list[Row] = []
    with tqdm(total=len(waiting), desc=method, unit="image") as progress:
        for batch, factual in _load(source, waiting, prepare, batch_size, skipped):
            rows, found = _search_batch(
                models, batch, factual.to(device), method, resolved, target, confidence, region
            )
            ids = torch.tensor([sample.id for sample in batch])
            write_shard(out, rows, ids, factual, found)
            progress.update(len(batch))
    write_skipped(out, skipped)
    for row in skipped:
        _LOG.warning("skipped: %s", row["reason"])
    return out


def _search_batch(
    models: Bundle,
    batch: Sequence[Sample],
    factual: Images,
    method: str,
    settings: Settings,
    target: str | None,
    confidence: float,
    region: Region,
) -> tuple[list[Row], Images]:
    began = time.perf_counter()
    goal = make_goal(models.classifier, factual, target, confidence)
    found = search_batch(models, goal, factual, method, settings, region)
    seconds = (time.perf_counter() - began) / len(batch)
    with torch.inference_mode():
        before, after = (goal.log_odds(images).sigmoid() for images in (factual, found.images))
    rows = [
        {
            **_known(sample),
            **_aim(models.classes, goal, place),
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


def _load(
    source: Source,
    samples: Sequence[Sample],
    prepare: Preprocessing,
    batch_size: int,
    skipped: list[Row],
) -> Iterator[tuple[list[Sample], Images]]:
    """Yield batches of the samples that can be read; list the others in `skipped`."""
    for start in range(0, len(samples), batch_size):
        some = samples[start : start + batch_size]
        batch, images = [], []
        for sample in some:
            try:
                images.append(prepare(source.load(sample)))
            except UnreadableImage as error:
                skipped.append({"path": sample.path, "reason": str(error)})
            else:
                batch.append(sample)
        if batch:
            yield batch, torch.stack(images)


def _read_mask(
    path: Path | None, prepare: Preprocessing, device: str
) -> Float[Tensor, "1 1 height width"] | None:
    if path is None:
        return None
    return (prepare(read_image(path)) > 0.5).float()[None].to(device)


def _manifest(samples: Sequence[Sample]) -> str:
    """Hash of which samples, with which labels, are searched."""
    listed = "\n".join(f"{sample.path},{sample.label}" for sample in samples)
    return hashlib.sha256(listed.encode()).hexdigest()
