"""Searches counterfactuals over a data set and writes them as a run."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from cfgen.data.preprocessing import preprocessing_of
from cfgen.data.samples import choose
from cfgen.data.sources import open_source
from cfgen.data.splits import samples_of
from cfgen.goals import CONFIDENCE
from cfgen.methods import DEFAULT_METHOD, settings_of
from cfgen.models.bundle import load_bundle
from evaluation.runs import lasting
from evaluation.search.clock import Clock
from evaluation.search.ranks import TrainerSettings, launch
from evaluation.search.shaping import shape
from evaluation.search.sizes import BatchSize, block_of
from evaluation.search.taking import take_up
from evaluation.search.task import LEAST, Task, region_of
from evaluation.search.which import drawn, manifest, own_blocks
from evaluation.search.work import Work


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
    batch_size: int | Literal["auto"] = 32,
    seed: int = 0,
    evaluations: int | None = None,
    timeout: float | None = None,
    trainer: TrainerSettings = TrainerSettings(),  # noqa: B008 - immutable
) -> Path | None:
    """Search a counterfactual of every sample and write them as a run.

    The same command again takes up a run where it was interrupted, in as many processes as it is
    given then.

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
        batch_size: images that the networks are given at once, halved where memory does not
            suffice; 'auto' begins with few and takes more as long as that is faster.
        seed: of everything that is drawn at random, together with each sample's id.
        evaluations: of the classifier that a sample may cost at most; the best image found until
            then stands.
        timeout: seconds after which no further pool of four batches is begun.
        trainer: the processes that search, each its own samples.

    Returns:
        The run's folder; nothing in all processes but the first.

    Raises:
        ValueError: something given is not to be had, or `out` holds another run.
        TimeoutError: time was up before all samples were searched.
    """
    if batch_size != "auto" and batch_size < 1:
        raise ValueError(f"expected a batch of 1 image or more, got {batch_size}; give 32, say")
    if draws < 1:
        raise ValueError(f"expected 1 draw an image or more, got {draws}; leave it out for 1")
    if evaluations is not None and evaluations < LEAST:
        raise ValueError(
            f"expected {LEAST} evaluations a sample or more, got {evaluations}: of the image "
            "before, of a gradient, and of the image after; give more"
        )
    clock = Clock(timeout)
    ranks = launch(trainer)
    with ranks.agreeing():
        models = load_bundle(bundle, classifier, ranks.device)
        prepare = preprocessing_of(models.preprocessing, models.path / "bundle.yaml")
        source = open_source(data, models.classes, size=prepare.size)
        chosen = choose(samples_of(source, split, models.path / "split.csv"), limit)
        samples = chosen if draws == 1 else drawn(chosen, draws)
        resolved = settings_of(method, settings)
        region = region_of(mask, bound, prepare, ranks.device)
        task = Task(models, method, resolved, target, confidence, region, evaluations)
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
        "evaluations": evaluations,
        "classes": list(models.classes),
        "preprocessing": models.preprocessing,
        "weights": models.searched_with(),
        "manifest": manifest(samples),
        "samples": len(samples),
        "versions": {name: version(name) for name in ("cfgen", "torch", "diffusers", "numpy")},
    }
    work = Work(task, source, samples, prepare, out)
    with ExitStack() as stack:
        finished = take_up(stack, out, config, ranks)
        block = block_of(batch_size, len(samples), ranks.world)
        size = BatchSize(batch_size)
        own = own_blocks(samples, finished, block, ranks)
        shape(work, own, finished, size.width, ranks)
        torch.manual_seed(seed)
        work.search(own, size, seed, ranks, clock)
        ranks.share(None)
        return None if ranks.rank else work.end(clock)
