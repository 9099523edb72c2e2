"""Searches again from a finished run's images: does nothing asked change nothing, and so on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen import metrics
from cfgen.data.preprocessing import preprocessing_of
from cfgen.disturbances import noisy
from cfgen.goals import CONFIDENCE, OTHER, make_goal
from cfgen.methods import settings_of
from cfgen.models.bundle import Bundle, load_bundle
from cfgen.spaces import LatentSpace
from cfgen.types import Images, Seeds
from evaluation.axioms.words import AXIOMS, to_markdown
from evaluation.batches import Batch, batches
from evaluation.runs import Run, read_run
from evaluation.search import Task, region_of
from evaluation.search.sizes import LARGEST
from evaluation.summary import attempted, target_of
from evaluation.tables import csv_text
from evaluation.writing import write_file

Column = Float[Tensor, " batch"]
CYCLES = (1, 10)
TOLERANCE = 2e-3
"""Log-odds by which a goal may be missed, since rounding differs from batch to batch."""


def axioms(run: Path, limit: int = 32) -> str:
    """Test composition, reversibility, minimality and stability; write axioms.csv and axioms.md.

    The run's own search, with its own settings, is made again from the counterfactuals back to the
    source, and from factuals with a little noise.

    Args:
        run: the run's folder, made by `cfgen search`.
        limit: samples that are tested, the first of the run that had a way to go.

    Returns:
        What axioms.md says.

    Raises:
        ValueError: the limit is below 1, the run is not whole, its bundle does not fit it, or every
            sample was at its target from the start.
    """
    if limit < 1:
        raise ValueError(f"expected a limit of 1 sample or more, got {limit}; leave it out for 32.")
    found = read_run(run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bundle = load_bundle(found.config["bundle"], found.config.get("classifier"), device)
    task = _task(found, bundle)
    chosen = list(_first(found, limit, device))
    if not chosen:
        raise ValueError(
            f"expected samples that had a way to go, got none in {run}; search others."
        )
    parts = [_searched(task, batch, int(found.config.get("seed", 0))) for batch in chosen]
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    rows = [row for batch in chosen for row in batch.rows]
    if bundle.has("autoencoder"):
        columns |= _composed(bundle, chosen) | {"latent_divergence": _diverged(bundle, chosen)}
    known = {name: columns[name].tolist() for name in AXIOMS if name in columns}
    table = [
        {"id": row["id"], **{name: _plain(values[place]) for name, values in known.items()}}
        for place, row in enumerate(rows)
    ]
    text = to_markdown(found, rows, table)
    write_file(run / "axioms.csv", csv_text(table, ("id", *known)))
    write_file(run / "axioms.md", text)
    return text


def _task(run: Run, bundle: Bundle) -> Task:
    """What the run asked of every image."""
    config = run.config
    prepare = preprocessing_of(config["preprocessing"], run.path / "config.yaml")
    mask = config.get("mask")
    bound = float(config.get("bound", 1.0))
    region = region_of(None if mask is None else Path(mask), bound, prepare, bundle.device)
    settings = settings_of(config["method"], config.get("settings"))
    confidence = float(config.get("confidence", CONFIDENCE))
    how = (config["method"], settings, config.get("target"), confidence, region)
    return Task(bundle, *how, config.get("evaluations"))


def _first(run: Run, limit: int, device: str) -> Iterator[Batch]:
    """Yield the first samples of a run that had a way to go, in batches."""
    left = {row["id"] for row in [row for row in run.samples if attempted(row)][:limit]}
    size = run.config.get("batch_size", 64)
    for batch in batches(run, LARGEST if size == "auto" else int(size), device):
        if not left:
            return
        places = [place for place, row in enumerate(batch.rows) if row["id"] in left]
        if places:
            rows = [batch.rows[place] for place in places]
            left -= {row["id"] for row in rows}
            yield Batch(rows, batch.factual[places], batch.image[places])


def _searched(task: Task, batch: Batch, seed: int) -> dict[str, Tensor]:
    """What the classifier and further searches by it say."""
    ids = torch.tensor([int(row["id"] or 0) for row in batch.rows])
    targets = [target_of(row) for row in batch.rows]
    sources = [str(row["source"]) for row in batch.rows]
    pair = (batch.factual, batch.image)
    returned = _towards(task, sources, batch.image, ids ^ seed)
    near = noisy(batch.factual, ids)
    theirs = _towards(task, targets, near, ids ^ seed)
    index = torch.tensor([task.models.classes.index(source) for source in sources])
    with torch.inference_mode():
        left = task.models.classifier.predict(batch.image) != index.to(batch.image.device)
    back = metrics.reversibility(batch.factual, returned)
    return {
        "reversibility": torch.where(left, back, torch.nan).cpu(),
        "l1": metrics.l1(*pair).cpu(),
        "least_share": _least_share(task, targets, batch).cpu(),
        "stability": metrics.stability(*pair, near, theirs).cpu(),
    }


def _towards(task: Task, targets: Sequence[str], images: Images, seeds: Seeds) -> Images:
    """Search as the run did, but each image towards a target of its own."""
    found = torch.empty_like(images)
    for target, places in _places(targets).items():
        _, theirs = replace(task, target=target).search(images[places], seeds[places])
        found[places] = theirs.images
    return found


def _least_share(task: Task, targets: Sequence[str], batch: Batch) -> Column:
    found = torch.empty(len(targets), device=batch.image.device)
    for target, places in _places(targets).items():
        factual = batch.factual[places]
        goal = make_goal(task.models.classifier, factual, target, task.confidence)
        with torch.inference_mode():
            found[places] = metrics.least_share(
                lambda images, goal=goal: goal.log_odds(images) >= goal.bar - TOLERANCE,
                factual,
                batch.image[places],
            )
    return found


def _places(targets: Sequence[str]) -> dict[str, list[int]]:
    """Places of each target, by its name."""
    found: dict[str, list[int]] = {}
    for place, target in enumerate(targets):
        found.setdefault(target, []).append(place)
    return found


@torch.inference_mode()
def _composed(bundle: Bundle, chosen: Sequence[Batch]) -> dict[str, Column]:
    """How far encoding and decoding alone goes, plainly and residually."""
    found = {}
    for name, residual in {"composition": False, "residual": True}.items():
        space = LatentSpace(bundle.autoencoder, residual=residual)

        def null(images: Images, space: LatentSpace = space) -> Images:
            encoded = space.encode(images)
            return space.decode(encoded.codes, encoded.residual)

        parts = [metrics.composition(null, batch.factual, CYCLES) for batch in chosen]
        for cycle, columns in zip(CYCLES, zip(*parts, strict=True), strict=True):
            found[f"{name}_{cycle}"] = torch.cat(columns).cpu()
    return found


@torch.inference_mode()
def _diverged(bundle: Bundle, chosen: Sequence[Batch]) -> Column:
    """Counterfactual latent divergence of each sample among all those tested."""
    encode = bundle.autoencoder.encode
    before, after = (
        torch.cat([encode(images).flatten(1).double().cpu() for images in some])
        for some in ([b.factual for b in chosen], [b.image for b in chosen])
    )
    rows = [row for batch in chosen for row in batch.rows]
    classes = [str(row["source"]) for row in rows]
    apart = torch.cdist(before, before)
    to_target, to_source = [], []
    for place, row in enumerate(rows):
        target, source = target_of(row), str(row["source"])
        own = torch.tensor([c == source and i != place for i, c in enumerate(classes)])
        # Without a target any class but the source is one.
        other = torch.tensor([c == target or (target == OTHER and c != source) for c in classes])
        to_target.append(apart[place][other])
        to_source.append(apart[place][own])
    return metrics.latent_divergence((after - before).norm(dim=1), to_target, to_source)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
