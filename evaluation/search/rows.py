"""A pool of images searched, and what its rows say of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cfgen.data.samples import Sample
from cfgen.goals import OTHER
from cfgen.types import Counterfactuals, Goal, Images
from evaluation.runs import Row
from evaluation.search.reading import Ready
from evaluation.search.task import Task


@dataclass(frozen=True)
class Found:
    """What was found for a pool, on the CPU, with its rows.

    Attributes:
        rows: one an image.
        ids: likewise.
        factual: the images before.
        image: the images after.
        width: images that were asked about at once.
    """

    rows: list[Row]
    ids: Int[Tensor, " n"]
    factual: Images
    image: Images
    width: int


def search_ready(task: Task, pool: Sequence[Ready], width: int, seed: int) -> Found:
    """Search a pool of images that have been read.

    The target's probability is asked anew, of the images as they are written.

    Args:
        task: what is asked of it.
        pool: samples and their images.
        width: images that the networks are given at once.
        seed: of what is drawn at random, together with each sample's id.
    """
    factual = torch.stack([image for _, image in pool])
    ids = torch.tensor([sample.id for sample, _ in pool])
    began = time.perf_counter()
    given = factual.to(task.models.device)
    goal, found = task.search(given, ids ^ seed, width)
    seconds = (time.perf_counter() - began) / len(pool)
    before, after = (_probability(goal, images, width) for images in (given, found.images))
    rows: list[Row] = [
        {
            **_known(sample),
            **_aim(task.models.classes, goal, place),
            **_cost(found, place),
            "p_target_factual": float(before[place]),
            "p_target": float(after[place]),
            "seconds": seconds,
        }
        for place, (sample, _) in enumerate(pool)
    ]
    return Found(rows, ids, factual, found.images.cpu(), width)


@torch.inference_mode()
def _probability(goal: Goal, images: Images, width: int) -> Float[Tensor, " batch"]:
    return goal.ask(images, width).sigmoid()


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
